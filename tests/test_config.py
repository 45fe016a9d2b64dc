"""utils/config.py: which value wins, which are refused and how that is reported, and how a checkpoint finds its own."""
import errno
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import ClassVar

import pytest
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused

from ecapatdnn.src.config import Config
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils.config import (
    load_config,
    parse_config,
    parse_train_config,
    parse_use_config,
    read_mapping,
    read_yaml,
    require,
    save_config,
)
from utils.errors import ContentError, NotFoundError, SettingError, UserError

PRESETS = sorted(ROOT.glob("ecapatdnn/configs/*.yaml"))


@dataclass(frozen=True)
class Small:
    """A small config."""

    ALIASES: ClassVar[dict] = {"checkpoint_path": "model_path", "net.width": "width", "the-name": "name"}

    width: int = 4
    rate: float = 0.5
    mirror: bool = False
    name: str = "a"
    model_path: str = ""
    resume: str = ""
    ckpt_save_dir: str = "runs/small"


def preset(folder, text):
    path = folder / "preset.yaml"
    path.write_text(text)
    return str(path)


def run_folder(folder, config, checkpoint="best.ckpt"):
    """A run that saved `config` and an empty checkpoint."""
    (folder / checkpoint).parent.mkdir(parents=True, exist_ok=True)
    (folder / checkpoint).touch()
    save_config(config, folder)
    return str(folder / checkpoint)


def test_other_names_of_a_flag():
    assert parse_config(Small, ["--net.width", "9", "--the-name=b"]) == Small(width=9, name="b")
    with refused(SettingError, "--net.widht", "net.width"):
        parse_config(Small, ["--net.widht", "9"])


@pytest.mark.parametrize(("argv", "mirror"), [(["--mirror"], True), (["--mirror", "--width", "4"], True),
                                              (["--mirror", "false"], False), (["--mirror=yes"], True)])
def test_a_bool_needs_no_value(argv, mirror):
    assert parse_config(Small, argv) == Small(mirror=mirror)


def test_default_then_yaml_then_flag(tmp_path):
    path = preset(tmp_path, "width: 8\nname: b\n")
    assert parse_config(Small, []) == Small()
    assert parse_config(Small, ["--config", path]) == Small(width=8, name="b")
    flag, config = ["--width", "9"], ["--config", path]
    for argv in (config + flag, flag + config, ["=".join(flag), "=".join(config)]):
        assert parse_config(Small, argv) == Small(width=9, name="b")


def test_base_replaces_the_defaults_only(tmp_path):
    base = Small(width=7, rate=0.7, name="base")
    path = preset(tmp_path, "rate: 0.8\n")
    assert parse_config(Small, ["--config", path, "--name", "flag"], base) == Small(width=7, rate=0.8, name="flag")


def test_a_flag_set_to_its_default_still_beats_the_preset(tmp_path):
    path = preset(tmp_path, "width: 8\nmirror: true\nname: b\n")
    argv = ["--config", path, "--width", "4", "--mirror", "false", "--name", ""]
    assert parse_config(Small, argv) == Small(name="")


@pytest.mark.parametrize("text, field, value", [
    ("rate: 1e-4", "rate", 1e-4), ("rate: 1.0e-4", "rate", 1e-4), ("rate: 3", "rate", 3.0),
    ("rate: '0.25'", "rate", 0.25),
    ("width: 1e3", "width", 1000), ("width: 5.0", "width", 5), ("width: '6'", "width", 6), ("width: -2", "width", -2),
    ("mirror: yes", "mirror", True), ("mirror: off", "mirror", False), ("mirror: 1", "mirror", True),
    ("mirror: 'True'", "mirror", True), ("name: 1.0", "name", "1.0"), ("name:", "name", ""), ("name: ä", "name", "ä"),
    ("name: 0.9,1.0", "name", "0.9,1.0")])
def test_yaml_values_take_the_type_of_their_field(tmp_path, text, field, value):
    actual = getattr(parse_config(Small, ["--config", preset(tmp_path, text)]), field)
    assert actual == value and type(actual) is type(value)


@pytest.mark.parametrize("flag, text, value", [
    ("rate", "1e-4", 1e-4), ("rate", "2", 2.0), ("width", "7", 7), ("mirror", "TRUE", True), ("mirror", "0", False),
    ("mirror", "no", False), ("name", "1", "1"), ("name", "a b", "a b"), ("rate", "-1e-3", -1e-3), ("width", "-1", -1)])
def test_flags_take_the_type_of_their_field(flag, text, value):
    actual = getattr(parse_config(Small, [f"--{flag}={text}"]), flag)
    assert actual == value and type(actual) is type(value)


WRONG = [("width", "abc", "int"), ("width", "3.5", "int"), ("width", "inf", "int"), ("width", "nan", "int"),
         ("width", "", "int"), ("rate", "x", "float"), ("rate", "1,5", "float"), ("mirror", "maybe", "bool"),
         ("mirror", "2", "bool"), ("width", "true", "int")]


@pytest.mark.parametrize("field, text, kind", WRONG)
def test_a_flag_of_the_wrong_type_is_named_with_what_was_found(field, text, kind):
    with refused(SettingError, f"--{field}", repr(text), kind):
        parse_config(Small, [f"--{field}", text])


@pytest.mark.parametrize("field, text, kind", WRONG + [("rate", "true", "float"), ("rate", "[1]", "float"),
                                                       ("width", "{a: 1}", "int"), ("name", "[a, b]", "str"),
                                                       ("mirror", "[]", "bool"), ("width", "null", "int"),
                                                       ("rate", "null", "float"), ("width", "2024-01-01", "int")])
def test_a_yaml_value_of_the_wrong_type_is_named_with_its_file(tmp_path, field, text, kind):
    path = preset(tmp_path, f"{'name: b' if field != 'name' else 'width: 2'}\n{field}: {text}\n")
    with refused(SettingError, path, field, "found", kind):
        read_yaml(Small, path)


@pytest.mark.parametrize("flag, nearest", [("--widht", "--width"), ("--nmae", "--name"), ("--zzz", ""),
                                           ("--wid", "--width"), ("-width", "--width")])
@pytest.mark.parametrize("joined", [True, False])
def test_an_unknown_flag_names_the_nearest_as_it_is_typed(flag, nearest, joined):
    argv = [f"{flag}=1"] if joined else [flag, "1"]
    with refused(SettingError, argv[0], "--help") as error:
        parse_config(Small, argv)
    named = re.findall(r"--\w+", str(error.value).removeprefix(argv[0]))
    assert [flag for flag in named if flag != "--help"] == [*filter(None, [nearest])]


def test_a_word_that_is_no_flag_is_refused():
    with refused(SettingError, "width=1", "--help"):
        parse_config(Small, ["width=1"])


def test_an_unknown_yaml_key_names_the_nearest(tmp_path):
    path = preset(tmp_path, "widht: 3\n")
    with refused(SettingError, path, "widht", "width"):
        parse_config(Small, ["--config", path])


@pytest.mark.parametrize("text, kind, facts", [
    ("- 1\n- 2\n", ContentError, ["list", "key: value"]), ("width", ContentError, ["str", "key: value"]),
    ("a: [1\nb: }", ContentError, ["YAML", "line 2"]), ("a\0b", ContentError, ["YAML", "line 1", "NUL"]),
    ("a: \x01\n", ContentError, ["YAML", "#x0001"]),
    ("width: 1\nname: a\n\nwidth: 2\n", ContentError, ["line 4", "width", "line 1"]),
    ("1: 2\n", SettingError, [1])])
def test_a_file_that_holds_no_settings_is_refused_in_one_line(tmp_path, text, kind, facts):
    path = preset(tmp_path, text)
    with refused(kind, path, *facts):
        read_yaml(Small, path)


def test_an_empty_preset_changes_nothing(tmp_path):
    assert parse_config(Small, ["--config", preset(tmp_path, "# nothing\n")]) == Small()


def test_tabs_between_values_are_spaces_and_those_of_a_path_stay(tmp_path):
    (tmp_path / "a.yaml").write_text("\tfirst:\t2\t# two\n\tsecond: \"x\ty\"\n\tthird: 'x\ty'\n\tlist: [1,\t2]\n")
    assert read_mapping(tmp_path / "a.yaml", "settings") == {
        "first": 2, "second": "x\ty", "third": "x\ty", "list": [1, 2]}
    (tmp_path / "a.yaml").write_text("path: x\ty\n")      # is no YAML, where it is not quoted
    with refused(ContentError, tmp_path / "a.yaml", "YAML"):
        read_mapping(tmp_path / "a.yaml", "settings")


@pytest.mark.parametrize("name, reason", [("missing.yaml", errno.ENOENT), (".", errno.EISDIR)])
def test_a_preset_that_cannot_be_read_is_refused(tmp_path, name, reason):
    with refused(NotFoundError, tmp_path / name, os.strerror(reason)):
        parse_config(Small, ["--config", str(tmp_path / name)])


def test_bytes_that_are_no_utf8_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"name: \xff\xfe\n")
    with refused(ContentError, tmp_path / "a.yaml", "YAML", "0xff"):
        read_yaml(Small, tmp_path / "a.yaml")


@pytest.mark.parametrize("argv", [["--width"], ["--name", "--mirror"], ["stray"], ["--width", "1", "2"]])
def test_a_flag_without_value_and_a_value_without_flag_are_refused(argv):
    with pytest.raises((UserError, SystemExit)) as error:
        parse_config(Small, argv)
    assert getattr(error.value, "code", 2) == 2


def test_help_lists_every_setting_with_its_default(capsys):
    with pytest.raises(SystemExit) as error:
        parse_config(Config, ["--help"])
    assert error.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, value in asdict(Config()).items():
        assert f"--{name} " in printed and f"default: {value!r}" in printed


@pytest.mark.parametrize("config", [
    Small(), Small(-3, 1e-9, True, "ä: 'b' # c", "x/y.ckpt"), Small(name="yes", rate=2e20), Small(name="1e-4"),
    Small(name="null"), Small(name=" a\n")])
def test_saved_and_loaded_is_the_same(tmp_path, config):
    checkpoint = run_folder(tmp_path, config)
    assert load_config(Small, checkpoint) == config
    assert sorted(os.listdir(tmp_path)) == ["best.ckpt", "config.yaml"]


@pytest.mark.parametrize("checkpoint", ["best.ckpt", "checkpoints/3.ckpt"])
def test_a_checkpoint_finds_its_config_beside_it_or_one_folder_up(tmp_path, checkpoint, monkeypatch):
    saved = Small(width=11)
    path = run_folder(tmp_path / "run", saved, checkpoint)
    assert load_config(Small, path) == saved
    monkeypatch.chdir(Path(path).parent)
    assert load_config(Small, Path(path).name) == saved


def test_the_config_beside_wins_over_the_one_above(tmp_path):
    run_folder(tmp_path, Small(width=1))
    assert load_config(Small, run_folder(tmp_path / "inner", Small(width=2))).width == 2


def test_a_checkpoint_without_config_is_refused(tmp_path):
    run_folder(tmp_path, Small())
    deep = tmp_path / "a" / "b" / "best.ckpt"
    deep.parent.mkdir(parents=True)
    deep.touch()
    with refused(NotFoundError, deep, "config.yaml"):
        load_config(Small, deep)
    with refused(NotFoundError, tmp_path / "other.ckpt"):
        load_config(Small, tmp_path / "other.ckpt")


@pytest.mark.parametrize("flag", [["--checkpoint_path", "{}"], ["--model_path", "{}"], ["--checkpoint_path={}"]])
def test_a_checkpoint_brings_its_values_and_flags_change_them(tmp_path, flag):
    checkpoint = run_folder(tmp_path, Small(width=11, name="trained", ckpt_save_dir="elsewhere"))
    argv = [part.format(checkpoint) for part in flag]
    expected = Small(width=11, name="used", ckpt_save_dir="elsewhere", model_path=checkpoint)
    assert parse_use_config(Small, argv + ["--name", "used"]) == expected


def test_a_value_that_looks_like_the_alias_is_left_alone(tmp_path):
    checkpoint = run_folder(tmp_path, Small())
    assert parse_use_config(Small, ["--model_path", checkpoint, "--name", "a"]).name == "a"
    inside = run_folder(tmp_path / "x--checkpoint_path", Small(width=3))
    assert parse_use_config(Small, ["--model_path", inside]).width == 3


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path):
    with refused(NotFoundError, tmp_path, "best.ckpt"):
        parse_use_config(Small, ["--checkpoint_path", str(tmp_path)])
    best = run_folder(tmp_path, Small(width=7))
    assert parse_use_config(Small, ["--checkpoint_path", str(tmp_path)]) == Small(width=7, model_path=best)


def test_a_checkpoint_named_by_the_default_is_kept(tmp_path):
    """The MindSpore documents have their users edit model_path in src/config.py: the run's own is empty."""
    checkpoint = run_folder(tmp_path, Small(width=11))

    @dataclass(frozen=True)
    class Edited(Small):
        model_path: str = checkpoint

    assert parse_use_config(Edited, []) == Edited(width=11)


def test_use_without_checkpoint_is_refused():
    with refused(SettingError, "model_path", "--checkpoint_path"):
        parse_use_config(Small, ["--width", "3"])


def test_a_preset_beats_the_checkpoint_and_a_flag_beats_both(tmp_path):
    checkpoint = run_folder(tmp_path / "run", Small(width=1, rate=0.1, name="run"))
    path = preset(tmp_path, "width: 2\nrate: 0.2\n")
    config = parse_use_config(Small, ["--checkpoint_path", checkpoint, "--config", path, "--rate", "0.3"])
    assert (config.width, config.rate, config.name) == (2, 0.3, "run")


def test_resume_continues_with_the_values_and_in_the_folder_of_the_run(tmp_path):
    run_folder(tmp_path, Small(width=11, name="first", ckpt_save_dir="where/it/was"))
    config = parse_train_config(Small, ["--resume", str(tmp_path), "--rate", "0.9"])
    assert config == Small(width=11, name="first", rate=0.9, resume=str(tmp_path), ckpt_save_dir=str(tmp_path))


def test_without_resume_training_starts_from_the_defaults():
    assert parse_train_config(Small, ["--width", "5"]) == Small(width=5)


@pytest.mark.parametrize("name", ["missing", ""])
def test_resume_of_no_run_is_refused(tmp_path, name):
    with refused(NotFoundError, "resume", tmp_path / name, "config.yaml"):
        parse_train_config(Small, ["--resume", str(tmp_path / name)])


@pytest.mark.parametrize("value, fails", [("", True), ("x", False)])
def test_require(value, fails):
    config = replace(Small(), model_path=value)
    if not fails:
        return require(config, "width", "model_path")
    with refused(SettingError, "model_path", "--model_path", "--config"):
        require(config, "width", "model_path")
    return None


def test_every_default_has_the_type_of_its_field():
    kinds = {field.name: getattr(field.type, "__origin__", field.type) for field in fields(Config)}
    assert [field.name for field in fields(Config) if type(field.default) is not kinds[field.name]] == []


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_is_valid(path, monkeypatch):
    monkeypatch.setenv("SPEECH_DATA", "/data")
    kind = SpeakerIdConfig if path.stem == "speaker_id" else Config
    values, config = read_yaml(kind, path), parse_config(kind, ["--config", str(path)])
    expected = {key: value.replace("$SPEECH_DATA", "/data").replace("<seed>", "1986") if isinstance(value, str)
                else value for key, value in values.items()}
    assert {key: getattr(config, key) for key in values} == expected
    assert values and "$" not in str(config)


def test_a_dollar_that_is_part_of_a_name_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("FOLDER", "elsewhere")
    monkeypatch.delenv("unset", raising=False)
    (tmp_path / "a$unset").mkdir()
    (tmp_path / "b$FOLDER").touch()
    monkeypatch.chdir(tmp_path)
    for text, expected in (("a$unset", "a$unset"), ("a$unset/new/run", "a$unset/new/run"), ("b$FOLDER", "b$FOLDER"),
                           ("c$FOLDER", "celsewhere"), ("price$", "price$"), ("$ 1", "$ 1")):
        assert parse_config(Config, ["--train_path", text]).train_path == expected
    with refused(SettingError, "train_path", "$unset"):
        parse_config(Config, ["--train_path", "c$unset/a$unset"])
    saved = Config(train_path="gone$unset")       # what a run has saved was read once and for all
    assert parse_config(Config, [], base=saved).train_path == "gone$unset"


@pytest.mark.parametrize("argv", [["--config", "a.yaml"], ["--train_path=~/data"], ["--train_path", "~/data"]])
def test_the_folder_of_the_user_is_replaced_where_shells_leave_it(tmp_path, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("a.yaml").write_text("train_path: ~/data\n")
    assert parse_config(Config, argv).train_path == f"{tmp_path}/data"
    assert parse_config(Config, ["--train_path", "a~/b"]).train_path == "a~/b"


@pytest.mark.parametrize("text", ["$SPEECH_DATA/x", "${SPEECH_DATA}/x"])
def test_variables_of_the_environment_are_replaced(tmp_path, monkeypatch, text):
    argv = ["--config", preset(tmp_path, f"name: {text}\n")]
    monkeypatch.setenv("SPEECH_DATA", "/data")
    assert parse_config(Small, argv).name == parse_config(Small, ["--name", text]).name == "/data/x"
    monkeypatch.delenv("SPEECH_DATA")
    with refused(SettingError, "name", text, "--name"):
        parse_config(Small, argv)
    assert parse_config(Small, argv + ["--name", "y"]).name == "y"


def test_a_mistake_on_the_command_line_ends_with_code_2_and_one_line():
    process = subprocess.run([sys.executable, ROOT / "ecapatdnn" / "train.py", "--no_such_flag", "1"], text=True,
                             capture_output=True, check=False, cwd=ROOT, env=os.environ | {"GLOG_v": "3"})
    assert_refusal(process.returncode, process.stderr, "--no_such_flag")
    assert len(process.stderr.splitlines()) == 1 and process.stdout == ""


def test_resume_auto_continues_the_run_folder_if_there_is_one(tmp_path):
    argv = ["--resume", "auto", "--ckpt_save_dir", str(tmp_path / "run"), "--num_epochs", "7"]
    config = parse_train_config(Config, argv)
    assert (config.resume, config.num_epochs) == ("auto", 7)
    (tmp_path / "run").mkdir()
    save_config(replace(config, channels=24), tmp_path / "run")
    config = parse_train_config(Config, argv[:4])
    assert (config.resume, config.num_epochs, config.channels) == ("auto", 7, 24)
    assert config.ckpt_save_dir == str(tmp_path / "run")
