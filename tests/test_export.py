"""Where export.py writes graphs: folders and names of all kinds, several graphs in one folder."""
import os

import numpy as np
import onnx
import pytest
from helpers.errors import refused
from helpers.graphs import python
from mindspore import Tensor, nn, ops

from conv_tasnet.src.layers import CumulativeNorm
from ecapatdnn.src.config import Config
from utils.cpu_ops.functions import BothDirections
from utils.errors import MismatchError, OutputError, SettingError, UnsupportedError
from utils.export.graph import Port, export_model, graph_path, start_export
from utils.export.onnx_graph import write_onnx
from utils.export.runner import description_text, read_description
from utils.files import PLAIN, whole_files


class Halved(nn.Cell):
    def construct(self, x):
        return x * 0.5


def export(path, file_format="MINDIR"):
    config = Config(file_format=file_format, file_name=str(path))
    return export_model(Halved(), config, [Port("waveform", "float32", (1, 8))], [Port("half", "float32", (1, 8))],
                        "net")


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
        assert read_description(path)["file"] == written
    assert sorted(os.listdir(folder)) == ["inputs.json", "v1.2.mindir", "v1.2.onnx"]
    assert onnx.load_from_string((folder / "v1.2.onnx").read_bytes()).graph.input[0].name == "waveform"


@pytest.mark.parametrize(("given", "expected"), [
    ("", "run/net.onnx"), ("x", "x.onnx"), ("x.onnx", "x.onnx"), ("x.ONNX", "x.onnx"),
    ("ecapa_v1.2", "ecapa_v1.2.onnx"), ("v1.2.onnx", "v1.2.onnx"), ("a.b/c", "a.b/c.onnx"), (".", "net.onnx"),
    ("run", "run/net.onnx"), ("new/", "new/net.onnx"), (".hidden", ".hidden.onnx")])
def test_a_name_keeps_all_but_the_suffix_of_a_format(given, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    config = Config(file_format="onnx", file_name=given, model_path="run/best.ckpt")
    assert graph_path(config, "net").as_posix() == expected


@pytest.mark.parametrize(("given", "kind", "facts"), [
    ("x.mindir", SettingError, ["file_name", ".mindir", "file_format ONNX", "--file_format MINDIR"]),
    ("v1.AIR", SettingError, ["file_name", ".AIR", "--file_format AIR"]),
    ("/dev/full", OutputError, ["/dev/full", "is no file", "--file_name"])])
def test_a_name_that_is_not_meant_is_refused_before_anything_is_computed(given, kind, facts):
    with refused(kind, *facts):
        start_export(Config(file_format="onnx", file_name=given, model_path="run/best.ckpt", length=8))


def describe(path, samples):
    """As after an export of so many samples to `path`."""
    path.touch()
    inputs_json = path.with_name("inputs.json")
    inputs_json.write_text(description_text({"file": path.name, "samples": samples}, inputs_json))


def test_inputs_json_describes_every_graph_of_its_folder(tmp_path):
    lengths = {"one.mindir": 32, "two.mindir": 16, "one.onnx": 24}
    for name, samples in (("one.mindir", 8), *list(lengths.items())[1:], ("one.mindir", 32)):
        describe(tmp_path / name, samples)
    assert {name: read_description(tmp_path / name)["samples"] for name in lengths} == lengths
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.mindir").symlink_to("../two.mindir")
    assert read_description(tmp_path / "other" / "link.mindir")["samples"] == 16
    with refused(MismatchError, tmp_path / "inputs.json", *lengths, "converted.mindir"):
        read_description(tmp_path / "converted.mindir")
    for name in ("two.mindir", "one.onnx"):
        (tmp_path / name).unlink()
    describe(tmp_path / "one.mindir", 40)       # what is no longer there is no longer described
    assert read_description(tmp_path / "converted.mindir")["samples"] == 40


def test_what_inputs_json_of_an_earlier_program_holds_stays_readable(tmp_path):
    (tmp_path / "inputs.json").write_text('{"file": "old.mindir", "samples": 7}')
    (tmp_path / "old.mindir").touch()
    describe(tmp_path / "new.mindir", 8)
    assert [read_description(tmp_path / f"{name}.mindir")["samples"] for name in ("old", "new")] == [7, 8]
    (tmp_path / "inputs.json").write_text("[")      # what is not ours is replaced
    describe(tmp_path / "new.mindir", 9)
    assert read_description(tmp_path / "new.mindir")["samples"] == 9


# operators that MindSpore does not write as ONNX, and ONNX has

def both_runtimes(network, *arrays, tmp_path):
    """(what the network gives, what onnxruntime gives of its graph)"""
    onnxruntime = pytest.importorskip("onnxruntime")
    network.set_train(False)
    expected = python(network)(*arrays).asnumpy()
    inputs = [f"input_{number}" for number in range(len(arrays))]
    write_onnx(network, [Tensor(array) for array in arrays], inputs, ["output"], tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession((tmp_path / "net.onnx").read_bytes())
    return expected, session.run(["output"], dict(zip(inputs, arrays, strict=True)))[0]


def test_a_sum_over_time_is_written_as_onnx(tmp_path):
    x = np.random.default_rng(0).standard_normal((1, 3, 7), np.float32)
    expected, found = both_runtimes(CumulativeNorm(3), x, tmp_path=tmp_path)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert "CumSum" in {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}


def test_a_gru_in_both_directions_is_written_as_onnx(tmp_path):
    x, frames = np.random.default_rng(0).standard_normal((5, 1, 3), np.float32), np.array([4], np.int32)
    network = BothDirections(nn.GRU(3, 4), nn.GRU(3, 4))
    expected, found = both_runtimes(network, x, frames, tmp_path=tmp_path)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert [node.op_type for node in graph.node].count("GRU") == 2
    assert not {"LSTM", "Loop"} & {node.op_type for node in graph.node}
    # inputs, gates and biases of 4 units from 3: 2 * 3 * (3 * 4 + 4 * 4 + 2 * 4) and little else
    assert sum(np.prod(part.dims) for part in graph.initializer if part.name.startswith("gru_")) == 216


class Signs(nn.Cell):
    def construct(self, x):
        return ops.sign(x)


def test_an_operator_that_onnx_export_lacks_is_named(tmp_path):
    with refused(UnsupportedError, "Sign", "ONNX", "MINDIR"):
        write_onnx(Signs(), [Tensor(np.ones(3, np.float32))], ["x"], ["y"], tmp_path / "net.onnx")
