"""Versions of saved files: config.yaml, last/state.ckpt and inputs.json of older and newer programs."""
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from helpers.documents import ROOT
from helpers.errors import refused

from conv_tasnet.src.config import Config as ConvTasNetConfig
from deepspeech2.src.config import Config as DeepSpeech2Config
from ecapatdnn.src.config import Config as EcapaConfig
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils.config import history, load_config, parse_config, parse_train_config, save_config
from utils.errors import ContentError, SettingError
from utils.export.runner import description_text, graph_input, read_description
from utils.formats import NewerFormatError, migrate, numbered, renamed, with_format
from utils.training.state import Progress
from utils.version import VERSION


@dataclass(frozen=True)
class Small:
    """Settings of which format 2 has renamed one and format 3 has removed one."""

    MIGRATIONS: ClassVar[tuple] = (numbered, renamed(size="width"), renamed(colour=None))
    width: int = 4
    ckpt_save_dir: str = ""
    resume: str = ""


def run_folder(folder, text):
    """The checkpoint of a run with this config.yaml."""
    (folder / "config.yaml").write_text(text)
    (folder / "best.ckpt").write_bytes(b"")
    return folder / "best.ckpt"


def test_each_format_takes_the_steps_it_lacks():
    steps = (numbered, renamed(a="b"), renamed(b="c", gone=None))
    for values in ({"a": 1, "gone": 2}, {"format": 1, "a": 1, "gone": 2}, {"format": 2, "b": 1, "gone": 2},
                   {"format": 3, "c": 1}):
        before = dict(values)
        assert migrate(values, steps, "x") == {"c": 1}
        assert values == before
    assert migrate(with_format({"a": 1}, steps), steps, "x") == {"a": 1}    # a name of today is no name of then


@pytest.mark.parametrize("found", ["one", 1.0, True, -1, None])
def test_what_is_no_number_of_a_format_is_refused(found):
    with refused(ContentError, "x: format", repr(found), "0 to 1"):
        migrate({"format": found}, (numbered,), "x")


def test_a_newer_format_names_the_version_that_is_needed():
    with refused(NewerFormatError, "x: format 3", f"{VERSION} reads up to 2", f"later than {VERSION}"):
        migrate({"format": 3}, (numbered, numbered), "x")


# config.yaml

def test_settings_of_older_runs_are_renamed_and_dropped(tmp_path):
    for text in ("size: 7\ncolour: red\n", "format: 1\nsize: 7\ncolour: red\n", "format: 2\nwidth: 7\ncolour: red\n",
                 "format: 3\nwidth: 7\n"):
        assert load_config(Small, run_folder(tmp_path, text)) == Small(width=7)
        assert parse_train_config(Small, ["--resume", str(tmp_path)]).width == 7


@pytest.mark.parametrize("text, kind, fact", [
    ("format: 3\nsize: 7\n", SettingError, "size"), ("format: 3\ncolor: red\n", SettingError, "color"),
    ("format: 4\nsomething: new\n", NewerFormatError, "format 4")])
def test_unknown_settings_and_newer_formats_are_refused(tmp_path, text, kind, fact):
    checkpoint = run_folder(tmp_path, text)
    for read in (lambda: load_config(Small, checkpoint), lambda: parse_train_config(Small, ["--resume", str(tmp_path)]),
                 lambda: parse_config(Small, ["--config", str(tmp_path / "config.yaml")])):
        with refused(kind, tmp_path / "config.yaml", fact):
            read()


def test_a_preset_is_of_today_unless_it_holds_a_format(tmp_path):
    path = tmp_path / "preset.yaml"
    path.write_text("size: 7\n")
    with refused(SettingError, path, "size"):
        parse_config(Small, ["--config", str(path)])
    path.write_text("format: 1\nsize: 7\n")
    assert parse_config(Small, ["--config", str(path)]).width == 7


@pytest.mark.parametrize("cls", [ConvTasNetConfig, DeepSpeech2Config, EcapaConfig, SpeakerIdConfig, Small])
def test_config_comes_back_and_holds_its_format_first(cls, tmp_path):
    save_config(cls(), tmp_path)
    lines = (tmp_path / "config.yaml").read_text().splitlines()
    assert lines[0] == f"format: {len(history(cls))}"
    assert load_config(cls, run_folder(tmp_path, "\n".join(lines))) == cls()
    assert "format" not in {field.name for field in dataclasses.fields(cls)}


def test_what_ships_holds_its_format():
    shipped = {"conv_tasnet": ConvTasNetConfig, "deepspeech2": DeepSpeech2Config, "ecapatdnn": EcapaConfig}
    for model, cls in shipped.items():
        path = ROOT / model / "pretrained" / "config.yaml"
        assert yaml.safe_load(path.read_text())["format"] == len(history(cls)), path


# last/state.ckpt

def test_progress_comes_back_and_older_records_too():
    progress = Progress(epoch=3, loss=1 / 3, seed=5)
    record = progress.record()
    assert record["format"] == 2 and Progress.read(record, "x") == progress     # infinite `best` included
    for older in ({}, {"format": 1}):
        values = dataclasses.asdict(progress) | {"finished": True}
        assert Progress.read(older | values, "x") == progress
    lacking = {name: value for name, value in record.items() if name != "halved"}
    assert Progress.read(lacking, "x") == progress


def test_a_removed_field_of_progress_is_dropped(monkeypatch):
    monkeypatch.setattr("utils.training.state.MIGRATIONS", (numbered, renamed(mood=None, turn="epoch")))
    assert Progress.read({"format": 1, "turn": 5, "mood": 1.0}, "x") == Progress(epoch=5)
    with refused(ContentError, "x: mood"):
        Progress.read({"format": 2, "epoch": 5, "mood": 1.0}, "x")
    with refused(NewerFormatError, "x: format 3"):
        Progress.read({"format": 3, "epoch": 5}, "x")


# inputs.json

def test_inputs_json_of_any_known_format_is_read(tmp_path):
    port = {"name": "features", "dtype": "float32", "shape": [1, 200, 80]}
    path, config = tmp_path / "inputs.json", EcapaConfig(model_path=str(tmp_path / "net.mindir"))
    path.write_text(description_text({"inputs": [port], "gears": [100, 200]}))
    written = json.loads(path.read_text())
    assert list(written)[0] == "format"
    assert read_description(tmp_path / "net.mindir") == {"inputs": [port], "gears": [100, 200]}
    expected = graph_input(config)
    assert expected == ("features", 200, [100, 200])
    del written["format"]
    path.write_text(json.dumps(written))
    assert graph_input(config) == expected
    path.write_text(json.dumps(written | {"format": 2}))
    with refused(NewerFormatError, path, "format 2"):
        graph_input(config)
    for text in ("{", "[]", "7", "{}"):
        path.write_text(text)
        with refused(ContentError, path, "export.py"):
            graph_input(config)


def test_the_runner_in_cpp_knows_the_same_format():
    source = Path(ROOT, "ascend310_infer/src/interface.cc").read_text()
    assert f"kFormat = {json.loads(description_text({}))['format']};" in source
