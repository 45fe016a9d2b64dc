"""Where export.py writes graphs: folders and names of all kinds, several graphs in one folder."""
import os

import onnx
import pytest
from helpers.errors import refused
from mindspore import nn

from ecapatdnn.src.config import Config
from utils.errors import MismatchError
from utils.export.graph import Port, export_model, graph_path
from utils.export.runner import read_description
from utils.files import PLAIN, whole_files


class Halved(nn.Cell):
    def construct(self, x):
        return x * 0.5


def export(path, file_format="MINDIR", samples=8, **facts):
    config = Config(file_format=file_format, file_name=str(path))
    port = Port("waveform", "float32", (1, samples))
    return export_model(Halved(), config, [port], [Port("half", "float32", (1, samples))], "net", **facts)


NAMES = ["plain", "my runs", "run(1)", "lr=0.1", "a,b;c", "$HOME", "100%d", "'\"`", "模型", "new\nline", "-dash",
         "a*?[x]#&|<>!", os.fsdecode(b"caf\xe9"), "x" * 240]


@pytest.mark.parametrize("name", NAMES)
def test_mindspore_writes_to_a_plain_path_what_gets_any_name(name, tmp_path):
    targets = [tmp_path / name / f"{name}.mindir", tmp_path / name / f"{name}.ini"]
    with whole_files(*targets, plain=True) as written:
        for path in written:
            assert PLAIN.fullmatch(str(path)) and path.suffix in (".mindir", ".ini")
            path.write_text(path.suffix)
            path.chmod(0o400)       # as MindSpore leaves it
    assert [path.read_text() for path in targets] == [".mindir", ".ini"]
    assert all(path.stat().st_mode & 0o200 for path in targets)
    assert len(os.listdir(tmp_path / name)) == 2 and not written[0].parent.exists()


def test_a_folder_for_temporary_files_may_have_any_name(tmp_path, monkeypatch):
    (tmp_path / "my tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "my tmp"))
    with whole_files(tmp_path / "a b", plain=True) as (path,):
        assert PLAIN.fullmatch(str(path))
        path.touch()


def test_a_graph_is_written_into_a_folder_of_any_name(tmp_path):
    folder = tmp_path / os.fsdecode(b"my runs (1) \xe9")
    for file_format, written in (("MINDIR", "v1.2.mindir"), ("ONNX", "v1.2.onnx")):
        path = export(folder / "v1.2", file_format)
        assert path == folder / written and path.stat().st_size > 100
    assert sorted(os.listdir(folder)) == ["inputs.json", "v1.2.mindir", "v1.2.onnx"]
    assert onnx.load_from_string((folder / "v1.2.onnx").read_bytes()).graph.input[0].name == "waveform"


@pytest.mark.parametrize(("given", "expected"), [
    ("", "run/net.onnx"), ("x", "x.onnx"), ("x.onnx", "x.onnx"), ("x.ONNX", "x.onnx"), ("x.mindir", "x.onnx"),
    ("ecapa_v1.2", "ecapa_v1.2.onnx"), ("v1.2.onnx", "v1.2.onnx"), ("a.b/c", "a.b/c.onnx"), (".", "net.onnx"),
    ("run", "run/net.onnx"), ("new/", "new/net.onnx"), (".hidden", ".hidden.onnx")])
def test_a_name_keeps_all_but_the_suffix_of_a_format(given, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    config = Config(file_format="onnx", file_name=given, model_path="run/best.ckpt")
    assert graph_path(config, "net").as_posix() == expected


def test_inputs_json_describes_every_graph_of_its_folder(tmp_path):
    for name, samples in (("one.mindir", 8), ("two.mindir", 16), ("one.onnx", 24), ("one.mindir", 32)):
        export(tmp_path / name, name.rpartition(".")[2], samples)
    lengths = {name: read_description(tmp_path / name)["inputs"][0]["shape"][1]
               for name in ("one.mindir", "two.mindir", "one.onnx")}
    assert lengths == {"one.mindir": 32, "two.mindir": 16, "one.onnx": 24}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.mindir").symlink_to("../two.mindir")
    assert read_description(tmp_path / "other" / "link.mindir")["inputs"][0]["shape"] == [1, 16]
    with refused(MismatchError, tmp_path / "inputs.json", "one.mindir", "two.mindir", "one.onnx", "converted.mindir"):
        read_description(tmp_path / "converted.mindir")
    for name in ("two.mindir", "one.onnx"):
        (tmp_path / name).unlink()
    export(tmp_path / "one.mindir", samples=40)      # what is no longer there is no longer described
    assert read_description(tmp_path / "converted.mindir")["inputs"][0]["shape"] == [1, 40]


def test_what_inputs_json_of_an_earlier_program_holds_stays_readable(tmp_path):
    (tmp_path / "inputs.json").write_text('{"file": "old.mindir", "inputs": []}')
    (tmp_path / "old.mindir").touch()
    export(tmp_path / "new")
    assert read_description(tmp_path / "old.mindir") == {"file": "old.mindir", "inputs": []}
    (tmp_path / "inputs.json").write_text("[")      # what is not ours is replaced
    export(tmp_path / "new")
    assert read_description(tmp_path / "new.mindir")["inputs"][0]["shape"] == [1, 8]
