"""Runs that commit 775f61c saved, before files held a format, are read by today's programs."""
import csv
import shutil

import mindspore as ms
import numpy as np
import pytest
import yaml
from helpers import saved_runs
from helpers.documents import ROOT
from mindspore import Parameter, Tensor, nn

import conv_tasnet.eval
import conv_tasnet.src.config
import conv_tasnet.train
import deepspeech2.eval
import deepspeech2.src.config
import deepspeech2.train
import ecapatdnn.eval
import ecapatdnn.src.config
import ecapatdnn.train
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils.config import parse_train_config, parse_use_config, read_yaml
from utils.training.train_step import TrainStep

SAVED = ROOT / "tests" / "runs_775f61c"
MODELS = {"conv_tasnet": conv_tasnet, "deepspeech2": deepspeech2, "ecapatdnn": ecapatdnn}
PLACES = {"conv_tasnet": "epoch 2, batch 4 of 7", "deepspeech2": "epoch 2, batch 4 of 8",
          "ecapatdnn": "epoch 2, batch 5 of 8"}


@pytest.mark.parametrize("model", [
    pytest.param("ecapatdnn", marks=pytest.mark.slow), "conv_tasnet", "deepspeech2"])    # 20 s of compilation, 8, 6
def test_a_run_is_evaluated_and_resumed_with_the_numbers_of_its_own_version(model, tmp_path, monkeypatch):
    """Made by `PYTHONPATH=$PWD/../old python tests/helpers/saved_runs.py $PWD/../old tests/runs_775f61c`.

    ../old is a checkout of 775f61c; it evaluated best.ckpt and resumed the state of the middle of an epoch.
    """
    monkeypatch.chdir(tmp_path)
    saved_runs.make_data(tmp_path)
    run, expected, package = tmp_path / model, SAVED / model / "expected", MODELS[model]
    shutil.copytree(SAVED / model, run, ignore=shutil.ignore_patterns("expected"))
    cls = package.src.config.Config
    package.eval.main(parse_use_config(cls, ["--checkpoint_path", f"{model}/best.ckpt"]))
    scores = saved_runs.SCORES[model]
    assert_same(run / scores, expected / scores.split("/")[1])
    progress = package.train.main(parse_train_config(cls, ["--resume", model, "--max_steps", "0"]))
    assert progress.epoch == 3
    assert f"resumed from {model}/last/state.ckpt at {PLACES[model]}" in (run / "train.log").read_text()
    assert_same(run / "metrics.csv", expected / "metrics.csv")
    assert yaml.safe_load((run / "config.yaml").read_text())["format"] == 1


def assert_same(actual, expected):
    """The files hold the same: arrays, or words and numbers; but for minutes, to what processors differ in."""
    if expected.suffix == ".npz":
        with np.load(actual) as ours, np.load(expected) as theirs:
            assert ours.files == theirs.files
            for name in ours.files:
                check = np.testing.assert_array_equal if ours[name].dtype.kind == "U" else np.testing.assert_allclose
                check(ours[name], theirs[name], **{} if ours[name].dtype.kind == "U" else {"rtol": 1e-3})
        return
    ours, theirs = [list(csv.reader(path.read_text().splitlines(), delimiter="," if path.suffix == ".csv" else " "))
                    for path in (actual, expected)]
    skipped = {i for i, name in enumerate(theirs[0]) if name == "minutes"}
    for row, other in zip(ours, theirs, strict=True):
        for i, (text, value) in enumerate(zip(row, other, strict=True)):
            assert i in skipped or text == value or float(text) == pytest.approx(float(value), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("model", saved_runs.RUNS)
def test_every_setting_of_a_run_has_the_same_value_today(model):
    path = SAVED / model / "config.yaml"
    config = MODELS[model].src.config.Config(**read_yaml(MODELS[model].src.config.Config, path, of_run=True))
    for name, value in yaml.safe_load(path.read_text()).items():
        assert getattr(config, name) == value, name


def test_every_setting_of_a_speaker_identification_has_the_same_value_today():
    path = SAVED / "speaker_id" / "config.yaml"
    assert SpeakerIdConfig(**read_yaml(SpeakerIdConfig, path, of_run=True)) == SpeakerIdConfig()


def test_names_in_a_saved_state_are_those_of_775f61c():
    """Of all that a step may keep, loss scale and statistics included; the runs above have none of the last two."""
    weight = Parameter(Tensor([1.0], ms.float32), "weight")
    mean = Parameter(Tensor([1.0], ms.float32), "moving_mean", requires_grad=False)
    step = TrainStep(lambda: None, nn.Adam([weight], 0.1), 0.0, accumulate=2, statistics=[mean])
    assert {parameter.name for parameter in step.get_parameters()} == {
        "loss_scale", "finite_steps", "kept.moving_mean", "accumulated.weight", "weight", "moving_mean",
        "learning_rate", "beta1_power", "beta2_power", "moment1.weight", "moment2.weight",
        "global_step"}
