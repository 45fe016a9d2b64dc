"""scripts/results_*.sh: hours of commands, of which each finds what an earlier one has made.

The script itself runs, with a stand-in for Python; its commands are then read by the real command lines, and leave the
files that they would.
"""
import dataclasses
import importlib
import json
import shlex
from pathlib import Path

import pytest
from helpers.documents import ROOT
from helpers.programs import recorded

from deepspeech2.lm import EstimateConfig, TuneConfig
from utils import average
from utils.config import parse_config, parse_train_config, parse_use_config, save_config

SCRIPTS = [("ecapatdnn", "results_librispeech_an4.sh"), ("ecapatdnn", "results_open_speech.sh"),
           ("conv_tasnet", "results_librispeech_an4.sh"), ("conv_tasnet", "results_open_speech.sh"),
           ("deepspeech2", "results_an4.sh"), ("deepspeech2", "results_open_speech.sh")]
PRESETS = [("conv_tasnet", "results_open_speech.sh", "open_speech_noisy"),
           ("conv_tasnet", "results_open_speech.sh", "open_speech_causal"),
           ("deepspeech2", "results_open_speech.sh", "open_speech_streaming"),
           ("deepspeech2", "results_open_speech.sh", "open_speech_spelled")]
SPELLED = (0.5, 1.0)        # alpha and beta of deepspeech2/configs/open_speech_spelled.yaml, which nothing tunes again


@pytest.fixture(params=SCRIPTS + PRESETS, ids="-".join)
def script(request, tmp_path, monkeypatch):
    """(model, name) of a script that can run in `tmp_path`, where the model's folder is the current one."""
    model, name, *preset = request.param
    if preset:
        monkeypatch.setenv("PRESET", *preset)
    folder = tmp_path / model
    folder.mkdir()
    (folder / "configs").symlink_to(ROOT / model / "configs")
    for checkpoint in (ROOT / model / "pretrained").glob("*/best.ckpt"):     # a stage may begin with what ships
        made(folder / checkpoint.relative_to(ROOT / model))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SPEECH_DATA", "/data")
    return model, name


def test_every_step_finds_what_an_earlier_one_made(script, tmp_path):
    model, name = script
    code, output, calls = recorded(model, name, place=tmp_path)
    assert code == 0, output
    evaluated = [path for path in (played(model, command) for command in commands(calls)) if path]
    assert evaluated[-1].parent.is_dir() and len(set(evaluated[-2:])) == 1


def test_a_given_checkpoint_is_only_evaluated(script, tmp_path):
    model, name = script
    code, output, calls = recorded(model, name, "pretrained/best.ckpt", place=tmp_path)
    assert code == 0, output
    config = importlib.import_module(f"{model}.src.config").Config()
    save_config(config, made(Path("pretrained", "best.ckpt")).parent)
    assert {played(model, command) for command in commands(calls)} == {None, Path("pretrained/best.ckpt")}
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", [name for model, name in SCRIPTS if model == "conv_tasnet"])
def test_a_stage_that_was_interrupted_goes_on_before_the_next_begins(tmp_path, monkeypatch, name):
    """After its first epoch it has a best.ckpt already."""
    monkeypatch.setenv("SPEECH_DATA", "/data")
    place = tmp_path / "conv_tasnet"
    place.mkdir()
    code, output, calls = recorded("conv_tasnet", name, place=tmp_path)
    for run in ("librispeech_an4", "librispeech_an4_again", "open_speech"):
        made(place / "runs" / run / "best.ckpt")
    assert (code, output, calls) == recorded("conv_tasnet", name, place=tmp_path)
    assert all("--resume auto" in call for call in calls if "train.py" in call)


def commands(calls):
    """Programs and arguments of what was recorded."""
    return [shlex.split(call.split(": ", 2)[2]) for call in calls]


def played(model, command):
    """Leaves the files that the command would, if those it reads are there; of eval.py, the checkpoint it takes."""
    name, *arguments = command
    if name == "-m" and arguments[0] == "utils.corpora.simulate_rooms":
        assert "--room_list" in arguments
        made(Path(arguments[arguments.index("--output_folder") + 1], "rooms.txt"))
        return None
    if name == "-m":
        assert arguments[0] == "utils.average"
        args = average.parse(arguments[1:])
        assert all(path.is_file() for of_run in args.chosen for path in of_run)
        made(Path(args.output))
        return None
    if name == "lm.py" and arguments[0] == "estimate":
        config = parse_config(EstimateConfig, arguments[1:])
        assert Path(config.texts).parent.is_dir()
        made(Path(config.output))
        return None
    if name == "lm.py":
        config = parse_config(TuneConfig, arguments[1:])
        assert arguments[0] == "tune" and Path(config.log_probs).is_file() and Path(config.lm).is_file()
        weights = {"lm_path": config.lm, "alpha": 0.25, "beta": 2.0, "beam_width": config.width}
        Path(config.log_probs).with_name("lm.json").write_text(json.dumps(weights))
        return None
    if name == "prepare.py":
        config = parse_config(importlib.import_module(f"{model}.prepare").PrepareConfig, arguments)
        made(Path(config.output_folder, "lm.arpa" if getattr(config, "lm", 0) else "train"))
        return None
    kind = importlib.import_module(f"{model}.src.config").Config
    if name == "remix.py":
        config = parse_config(kind, arguments)
        assert Path(config.eval_dir).parent.is_dir()
        made(Path(config.output_folder, "mixtures.csv"))
        return None
    config = {"train.py": parse_train_config, "eval.py": parse_use_config}[name](kind, arguments)
    for value in dataclasses.asdict(config).values():
        if isinstance(value, str) and value.startswith("lists/") and (name == "train.py" or value in arguments):
            assert Path(value).parent.is_dir(), value
    if name == "train.py":
        assert not config.initial_model or Path(config.initial_model).is_file(), config.initial_model
        run = Path(config.ckpt_save_dir)
        assert not run.exists()     # of an earlier stage
        for epoch in range(max(0, config.num_epochs - config.keep_checkpoint_max), config.num_epochs):
            made(run / "checkpoints" / f"epoch_{epoch + 1:04d}.ckpt")
        made(run / "best.ckpt")
        save_config(config, run)
        return None
    if getattr(config, "save_log_probs", False):
        made(Path(config.model_path).parent / f"eval_{Path(config.test_manifest).stem}" / "log_probs.npz")
    if model == "deepspeech2" and "runs/" in config.model_path and config.lm_path:
        tuned = any(Path("runs").glob("*/eval_*/lm.json"))
        assert Path(config.lm_path).is_file() and (config.alpha, config.beta) == ((0.25, 2.0) if tuned else SPELLED)
    return Path(config.model_path)


def made(path):
    """`path`, an empty file now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path
