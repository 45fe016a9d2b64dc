"""Numbers out of range: every numeric setting of every program declares what it may be, and nothing else passes."""
import ast
import contextlib
import dataclasses
import importlib
import math
from dataclasses import dataclass
from typing import Annotated

import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from helpers.imports import module_of, sources

import conv_tasnet.src.model
import ecapatdnn.src.model
from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.layers import NORMS
from conv_tasnet.src.loss import LOSSES
from ecapatdnn.src.config import Config
from ecapatdnn.src.features import FRONT_ENDS
from utils.config import load_config, parse_config, save_config
from utils.errors import SettingError
from utils.ranges import OneOf, Range, Ranged, environment, number, ranges_of

PARSERS = {"parse_config", "parse_train_config", "parse_use_config"}
EXTREMES = ("-1", "-1e9", "-0.5", "0", "1e-30", "nan", "inf", "-inf", "1e9", "1e30", "1e400", "9" * 400)


def configs():
    """{name: class} of what programs parse command lines for, found by their calls."""
    found = {}
    for path, tree in sources().items():
        if path.parts[0] in ("tests", "benchmarks"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in PARSERS | {"work"} and len(node.args) > 1:
                for name in (word.id for word in node.args if isinstance(word, ast.Name)):
                    value = getattr(importlib.import_module(module_of(path)), name, None)
                    if dataclasses.is_dataclass(value):
                        found[f"{value.__module__}.{value.__name__}"] = value
    for path in ("lm",):        # names its classes in a table
        module = importlib.import_module(f"deepspeech2.{path}")
        found |= {f"{path}.{kind.__name__}": kind for kind, _ in module.COMMANDS.values()}
    return found


CONFIGS = configs()


def numeric(cls):
    return [field.name for field in dataclasses.fields(cls) if type(field.default) in (int, float)]


def test_the_programs_are_found():
    assert {cls.__name__ for cls in CONFIGS.values()} >= {"Config", "SpeakerIdConfig", "Flags", "PrepareConfig",
                                                         "An4Config", "EstimateConfig", "TuneConfig"}
    assert len(CONFIGS) >= 11


@pytest.mark.parametrize("name", CONFIGS)
def test_every_numeric_setting_has_a_range_that_holds_its_default(name):
    cls = CONFIGS[name]
    assert [setting for setting in numeric(cls) if setting not in ranges_of(cls)] == []
    assert issubclass(cls, Ranged) and cls() is not None


@pytest.mark.parametrize("name", CONFIGS)
def test_extremes_are_refused_or_in_the_range(name):
    cls = CONFIGS[name]
    for setting in numeric(cls):
        for text in EXTREMES:
            limit, value = ranges_of(cls)[setting], float(text)
            whole = isinstance(getattr(cls(), setting), float) or value.is_integer()
            if whole and value in limit:
                assert getattr(parse_config(cls, [f"--{setting}={text}"]), setting) == value
            else:
                with refused(SettingError, f"--{setting}"):
                    parse_config(cls, [f"--{setting}={text}"])


@dataclass(frozen=True)
class Small(Ranged):
    """A small config."""

    width: Annotated[int, Range(1, 8)] = 4
    rate: Annotated[float, Range(0, 1, above=True)] = 0.5
    order: Annotated[int, Range(2, 6, or_zero=True)] = 0
    free: Annotated[float, Range(0)] = 0.0
    colour: Annotated[str, OneOf(("red", "blue"))] = "red"


@dataclass(frozen=True)
class Wider(Small):
    """Another default, and the same range."""

    width: int = 8


@pytest.mark.parametrize("setting, value, expected", [
    ("width", 0, "1 to 8"), ("width", 9, "1 to 8"), ("rate", 0.0, "more than 0, at most 1"), ("rate", math.nan, "nan"),
    ("order", 1, "0, or 2 to 6"), ("free", -1.0, "0 or more"), ("free", math.inf, "inf"),
    ("colour", "rde", "one of red, blue (did you mean red?)"), ("colour", "", "one of red, blue")])
@pytest.mark.parametrize("cls", [Small, Wider])
def test_a_value_out_of_range_is_refused_wherever_it_comes_from(tmp_path, cls, setting, value, expected):
    (tmp_path / "a.yaml").write_text(f"{setting}: {str(value).replace('nan', '.nan').replace('inf', '.inf')}\n")
    for where, make in ((f"--{setting}", lambda: parse_config(cls, [f"--{setting}={value}"])),
                        (f"{tmp_path}/a.yaml: {setting}",
                         lambda: parse_config(cls, ["--config", str(tmp_path / "a.yaml")])),
                        (setting, lambda: dataclasses.replace(cls(), **{setting: value})),
                        (setting, lambda: cls(**{setting: value}))):
        with refused(SettingError, where, expected):
            make()


@pytest.mark.parametrize("cls, setting, table", [
    (Config, "front_end", FRONT_ENDS), (Config, "variant", ecapatdnn.src.model.VARIANTS),
    (ConvTasNetConfig, "variant", conv_tasnet.src.model.VARIANTS), (ConvTasNetConfig, "norm", NORMS),
    (ConvTasNetConfig, "mask_nonlinear", ("relu", "sigmoid", "softmax")), (ConvTasNetConfig, "loss", LOSSES)])
def test_the_words_of_a_setting_are_those_of_its_table(cls, setting, table):
    assert set(ranges_of(cls)[setting].words) == set(table)


def test_help_shows_ranges(capsys):
    with contextlib.suppress(SystemExit):
        parse_config(Wider, ["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 to 8; default: 8" in printed and "more than 0, at most 1; default: 0.5" in printed


def test_a_run_with_a_value_that_is_refused_today_says_which(tmp_path):
    save_config(Config(), tmp_path)
    (tmp_path / "best.ckpt").touch()
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("minibatch_size: 100", "minibatch_size: -4"))
    with refused(SettingError, f"{tmp_path}/config.yaml: minibatch_size", -4, "2 to 65536"):
        load_config(Config, tmp_path / "best.ckpt")


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/configs/*.yaml")), ids=str)
def test_presets_are_in_range(path, monkeypatch):
    monkeypatch.setenv("SPEECH_DATA", "/data")
    kind = CONFIGS["ecapatdnn.src.speaker_id_config.SpeakerIdConfig"] if path.stem == "speaker_id" else \
        importlib.import_module(f"{path.parts[-3]}.src.config").Config
    assert parse_config(kind, ["--config", str(path)])


def test_options_of_other_command_lines_have_ranges_too():
    """argparse's own `type=int` and `type=float` take 10^30 and NaN."""
    trees = {path: tree for path, tree in sources().items() if path.parts[0] not in ("tests", "benchmarks")}
    calls = [(path, ast.unparse(node)) for path, tree in trees.items() for node in ast.walk(tree)
             if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("add_argument")]
    assert len(calls) > 30
    assert [(path, call) for path, call in calls if "type=int" in call or "type=float" in call] == []


@pytest.mark.parametrize("text", ["nan", "-1", "0", "10", "x", "1.5", "inf", "1" * 5000, ""])
def test_a_number_of_an_option_and_of_a_variable(monkeypatch, text):
    with refused(SettingError, "--num", repr(text), "1 to 9"):
        number("--num", Range(1, 9), int)(text)
    monkeypatch.setenv("NUMBER", text)
    if text:
        with refused(SettingError, "NUMBER", repr(text), "1 to 9"):
            environment("NUMBER", Range(1, 9))
    else:
        assert environment("NUMBER", Range(1, 9)) is None
    monkeypatch.setenv("NUMBER", "7")
    for argument in (1.5, float("inf"), None):      # of a program
        with refused(SettingError, "num", repr(argument), "1 to 9"):
            number("num", Range(1, 9), int)(argument)
    assert environment("NUMBER", Range(1, 9)) == 7 == number("--num", Range(1, 9), int)("7")
