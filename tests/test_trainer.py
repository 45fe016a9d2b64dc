"""The training loop on a network of a few numbers: resume, accumulation, clipping, mixed precision, faults."""
import dataclasses
import multiprocessing
import os
import re
import resource
import shutil
import signal
import time

import mindspore as ms
import numpy as np
import pytest
from helpers.errors import refused
from helpers.points import Net, Points, config, objective_of, rows, train
from mindspore import Parameter, Tensor, nn, ops

from ecapatdnn.src.config import Config
from utils import plots
from utils.checkpoints.checkpoint import load_checkpoint, load_into, save_checkpoint
from utils.device import Device
from utils.errors import ContentError, MismatchError, OutputError, RunError
from utils.layers.mixed_precision import mixed
from utils.locks import LOCK
from utils.training import loader, loop
from utils.training.loader import Batches
from utils.training.loop import fit, trainable
from utils.training.recipe import Recipe
from utils.training.run_folder import RunFolder
from utils.training.state import PLAN, Progress, parameters, statistics
from utils.training.train_step import Precision, TrainStep, adapt


@pytest.mark.parametrize("stop_at", [3, 6, 17])
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(tmp_path, stop_at):
    _, expected = train(tmp_path / "whole")
    with pytest.raises(SystemExit) as left:
        train(tmp_path / "cut", stop_at=stop_at)
    assert left.value.code == 128 + signal.SIGTERM
    record = load_checkpoint(tmp_path / "cut" / "last" / "state.ckpt")[1]
    assert record["batches"] == stop_at      # the very step in which the signal came
    _, found = train(tmp_path / "cut", resume=str(tmp_path / "cut"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_resume_with_accumulation_and_dynamic_scale_is_exact(tmp_path):
    options = {"accumulate": 4, "amp_level": "O0"}
    _, expected = train(tmp_path / "whole", **options)
    with pytest.raises(SystemExit):
        train(tmp_path / "cut", stop_at=6, **options)     # in the middle of an accumulation
    _, found = train(tmp_path / "cut", resume=str(tmp_path / "cut"), **options)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_a_signal_in_the_validation_ends_the_run_after_its_epoch(tmp_path):
    def validate():
        os.kill(os.getpid(), signal.SIGTERM)
        return {"error": 1.0}

    with pytest.raises(SystemExit):
        train(tmp_path / "run", validate=validate)
    record = load_checkpoint(tmp_path / "run" / "last" / "state.ckpt")[1]
    assert (record["epoch"], record["step"], record["batches"]) == (2, 0, Points.steps)


def test_workers_and_no_workers_give_the_same_run(tmp_path):
    _, alone = train(tmp_path / "a", workers=0)
    _, shared = train(tmp_path / "b", workers=2)
    for name, value in alone.items():
        np.testing.assert_array_equal(shared[name], value)


def test_killed_worker_stops_the_run_with_its_cause(tmp_path):
    with refused(RunError, "worker", "--num_workers", "--resume"):
        train(tmp_path / "run", Points(kill=2), workers=1)


def test_unusable_files_are_counted_and_too_many_stop_the_run(tmp_path):
    train(tmp_path / "few", Points(bad=10))
    assert "10 unusable files" in (tmp_path / "few" / "train.log").read_text()
    with refused(ContentError, "11 of 1000", "1%", "file 0"):
        train(tmp_path / "many", Points(bad=11))


def test_loss_that_is_not_a_number_stops_before_it_is_saved(tmp_path):
    with refused(RunError, "loss", "epoch 2", "batch 4", tmp_path / "run" / "last" / "state.ckpt", "--resume"):
        train(tmp_path / "run", Points(nan=(2, 3)))
    state, record = load_checkpoint(tmp_path / "run" / "last" / "state.ckpt")
    assert (record["epoch"], record["step"]) == (2, 2)
    assert all(np.isfinite(value.asnumpy()).all() for value in state.values())


def test_batch_that_is_not_a_number_is_skipped_and_counted_under_loss_scaling(tmp_path):
    """Nothing of it is left: the run goes on as if the batch had not been, BatchNorm's statistics included."""
    progress, weights = train(tmp_path / "run", Points(nan=(2, 3)), loss_scale=128.0)
    assert progress.updates == 18 and all(np.isfinite(value).all() for value in weights.values())
    assert re.search(r"epoch 2 .*1 steps skipped for overflow", (tmp_path / "run" / "train.log").read_text())
    assert all(0 < float(row["loss"]) < 2 for row in rows(tmp_path / "run"))


def test_a_run_whose_every_step_overflows_stops(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "HOPELESS", 1)
    with refused(RunError, "epoch 1", "batch 3", "loss_scale"):
        train(tmp_path / "run", dataset=Points(nan=(1, 2)), loss_scale=0.0, amp_level="O0")


def test_weights_that_are_not_numbers_are_never_saved(tmp_path):
    """A gradient may be infinite where the loss is not: the root of 0."""
    weight, settings = ms.Parameter(Tensor([0.0], ms.float32), "weight"), config(tmp_path, save_steps=1, num_epochs=1)

    def objective(x):
        y = ops.sqrt((weight * x).square().sum())
        return y, y

    with refused(RunError, "weight", "epoch 1", "batch 1", tmp_path / "last" / "state.ckpt", "--resume"):
        train_weight(weight, objective, nn.SGD, lambda update: 0.1, settings)
    assert not (tmp_path / "last").exists()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a run stopped at epoch 2, batch 3, and the weights that it would have ended with."""
    folder = tmp_path_factory.mktemp("stopped")
    _, expected = train(folder / "whole")
    with pytest.raises(SystemExit):
        train(folder / "cut", stop_at=9)
    return folder / "cut", expected


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "other network", "missing"])
def test_resume_auto_goes_back_to_the_state_before_a_damaged_one(stopped, tmp_path, damage):
    folder, expected = stopped
    shutil.copytree(folder, tmp_path / "cut")
    state = tmp_path / "cut" / "last" / "state.ckpt"
    damage_file(state, damage)
    if damage != "missing":
        with refused(MismatchError if damage == "other network" else ContentError, state):
            train(tmp_path / "cut", resume=str(tmp_path / "cut"))
    _, found = train(tmp_path / "cut", resume="auto")
    log = (tmp_path / "cut" / "train.log").read_text()
    assert "resumed from " + str(state.with_name("previous.ckpt")) + " at epoch 2, batch 2" in log
    assert damage == "missing" or f"{state}: " in log
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    for path in (state, state.with_name("previous.ckpt")):
        assert load_checkpoint(path)[1]["epoch"] in (3, 4)      # the damaged one is not kept


def test_resume_auto_starts_a_run_and_never_one_over_damaged_states(tmp_path):
    train(tmp_path / "run", resume="auto", num_epochs=1)
    for path in (tmp_path / "run" / "last").iterdir():
        damage_file(path, "cut")
    with refused(ContentError, "previous.ckpt", "checkpoint"):
        train(tmp_path / "run", resume="auto")


def snapshot(folder):
    """{path: (content, when it was written)} of all files of a folder."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("setting, value", [("seed", 7), ("minibatch_size", 4), ("accumulate", 2), ("steps", 3)])
def test_a_run_of_other_batches_is_not_resumed(stopped, tmp_path, setting, value):
    """Its epochs and updates would not be those that the state counts."""
    shutil.copytree(stopped[0], tmp_path / "run")
    points = Points()
    changed = {setting: value} if setting != "steps" else {}
    points.steps = value if setting == "steps" else Points.steps
    with refused(MismatchError, "state.ckpt", setting, value):
        train(tmp_path / "run", dataset=points, resume=str(tmp_path / "run"), **changed)


def test_states_of_before_do_not_say_what_batches_they_count(stopped, tmp_path):
    shutil.copytree(stopped[0], tmp_path / "run")
    for path in (tmp_path / "run" / "last").iterdir():
        state, record = load_checkpoint(path)
        kept = {name: value for name, value in record.items() if name not in PLAN}
        save_checkpoint(path, state, **kept | {"format": 1, "finished": False})
    _, found = train(tmp_path / "run", resume=str(tmp_path / "run"))
    for name, value in stopped[1].items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("refusal", ["other network", "other processes", "other precision"])
@pytest.mark.parametrize("resume", ["run", "auto"])
def test_a_refused_resume_leaves_no_trace(stopped, tmp_path, resume, refusal):
    folder, expected = stopped
    shutil.copytree(folder, tmp_path / "run")
    resume = resume if resume == "auto" else str(tmp_path / "run")
    if refusal == "other processes":
        for path in (tmp_path / "run" / "last").iterdir():
            state, record = load_checkpoint(path)
            save_checkpoint(path, state, **record | {"devices": 8})
    before = snapshot(tmp_path / "run")
    with refused(MismatchError, "ckpt"):
        train(tmp_path / "run", resume=resume, norm=refusal != "other network",
              loss_scale=0.0 if refusal == "other precision" else 1.0)
    assert snapshot(tmp_path / "run") == before
    if refusal != "other processes":
        _, found = train(tmp_path / "run", resume=resume)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("kept", ["last/state.ckpt", "best.ckpt", "checkpoints/epoch_0002.ckpt"])
@pytest.mark.parametrize("resume", ["", "auto"])
def test_a_run_is_never_overwritten(tmp_path, kept, resume):
    """--resume auto starts a run where there is none, not one over what cannot be continued."""
    path = tmp_path / "run" / kept
    path.parent.mkdir(parents=True)
    path.write_text("a checkpoint")
    kind, names = (ContentError, [path]) if (kept, resume) == ("last/state.ckpt", "auto") else (
        OutputError, [tmp_path / "run", kept, "--ckpt_save_dir"])
    with refused(kind, *names) as refusal:
        train(tmp_path / "run", resume=resume)
    assert resume or ("--resume" in str(refusal.value)) == (kept == "last/state.ckpt")
    assert list(snapshot(tmp_path / "run")) == [path]


def test_what_ended_before_its_first_checkpoint_starts_again(tmp_path):
    run = tmp_path / "run"
    with pytest.raises(RuntimeError), RunFolder(config(run)) as folder:
        folder.log("before the start")
        folder.start()
        raise RuntimeError
    assert "before the start" in (run / "train.log").read_text() and (run / "config.yaml").exists()
    train(run, num_epochs=1, seed=5)
    assert "before the start" not in (run / "train.log").read_text()
    assert "seed: 5" in (run / "config.yaml").read_text()


def test_two_runs_at_once_in_one_folder(tmp_path):
    """The second is refused whatever it wants; the first goes on."""
    def validate():
        for resume in ("", "auto", str(tmp_path / "run")):
            before = snapshot(tmp_path / "run")
            with refused(OutputError, "ckpt_save_dir", tmp_path / "run", f"process {os.getpid()}"), \
                    RunFolder(config(tmp_path / "run", resume=resume)):
                pass
            assert snapshot(tmp_path / "run") == before
        return {"error": 1.0}

    progress, _ = train(tmp_path / "run", validate=validate)
    assert progress.epoch == 4 and not (tmp_path / "run" / LOCK).exists()


def test_other_ranks_neither_lock_nor_write(tmp_path):
    with RunFolder(config(tmp_path / "run")) as folder, RunFolder(config(tmp_path / "run"), rank=1) as other:
        folder.start()
        before = snapshot(tmp_path / "run")
        other.start()
        assert snapshot(tmp_path / "run") == before


def test_other_number_of_devices_is_refused(tmp_path):
    train(tmp_path / "run", num_epochs=1)
    path = tmp_path / "run" / "last" / "state.ckpt"
    state, record = load_checkpoint(path)
    save_checkpoint(path, state, **record | {"devices": 8})
    with refused(MismatchError, path, "8 process", "found 1", "--initial_model"):
        train(tmp_path / "run", resume=str(tmp_path / "run"))


@pytest.mark.parametrize("when", ["start", "middle"])
def test_folder_that_cannot_be_written(tmp_path, when):
    """A file where a folder is expected: root may write into read-only folders."""
    folder = tmp_path / "run"
    if when == "start":
        folder.write_text("")
        with refused(OutputError, "ckpt_save_dir", folder):
            train(folder)
        return

    def validate():
        (folder / "checkpoints").rename(folder / "before")
        (folder / "checkpoints").write_text("")
        return {"error": 1.0}

    with refused(OutputError, folder / "checkpoints" / "epoch_0002.ckpt"):
        train(folder, validate=validate, test_step=2)
    assert load_checkpoint(folder / "last" / "state.ckpt")[1]["epoch"] == 2


def test_full_disk_in_training_keeps_the_last_state_and_the_run_goes_on_later(stopped, tmp_path):
    _, expected = stopped
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(Points):
        def batch(self, epoch, index):
            if (epoch, index) == (2, 3):
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))     # the log still fits
            return super().batch(epoch, index)

    try:
        with refused(OutputError, tmp_path / "cut" / "last" / "state.ckpt"):
            train(tmp_path / "cut", Filling())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(tmp_path / "cut" / "last" / "state.ckpt")[1]["step"] == 2
    _, found = train(tmp_path / "cut", resume=str(tmp_path / "cut"))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_leftovers_of_a_killed_save_are_removed(tmp_path):
    leftover = tmp_path / "run" / "last" / ".saving-x"
    leftover.mkdir(parents=True)
    (leftover / "new.ckpt").write_text("half")
    train(tmp_path / "run", num_epochs=1)
    assert not leftover.exists()


def test_run_folder_holds_what_it_should(tmp_path):
    scores = iter([30.0, 10.0, 20.0])
    progress, _ = train(tmp_path / "run", criterion="valid_eer",
                        validate=lambda: {"threshold": 0.5, "valid_eer": next(scores)})
    assert (progress.best, progress.best_epoch) == (10.0, 2)
    names = sorted(str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert names == ["best.ckpt", "checkpoints/epoch_0002.ckpt", "checkpoints/epoch_0003.ckpt", "config.yaml",
                     "curves.png", "last/previous.ckpt", "last/state.ckpt", "metrics.csv", "train.log"]
    assert load_checkpoint(tmp_path / "run" / "best.ckpt")[1] == {"epoch": 2, "valid_eer": 10.0, "threshold": 0.5}
    assert [row["valid_eer"] for row in rows(tmp_path / "run")] == ["30.0", "10.0", "20.0"]


def test_curves_mark_the_best_epoch_by_the_criterion(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    metrics = [{"epoch": epoch, "threshold": epoch, "valid_eer": eer} for epoch, eer in ((1, 30.0), (2, 10.0), (3, ""))]
    plots.draw_curves(metrics, tmp_path / "curves.png", "valid_eer")
    plots.draw_curves(metrics, tmp_path / "curves.png", "not measured")
    assert [[text.get_text() for axis in figure.axes for text in axis.texts] for figure in figures] == [["2", "10"], []]


def test_curves_of_a_run_that_ends_without_validation_have_those_of_the_validation(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    plots.draw_curves([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "valid_eer": 30.0},
                       {"epoch": 3, "loss": 1.0, "minutes": 5.0}], tmp_path / "curves.png", "valid_eer")
    assert [(axis.get_title(), len(axis.lines[0].get_xdata())) for axis in figures[0].axes] == [
        ("loss", 3), ("valid eer", 1)]


class Ones:
    """Batches of ones, whose gradient with respect to a weight that multiplies them is 1."""

    steps, files = 4, 4

    def describe(self):
        return "ones"

    def batch(self, epoch, index):
        return (np.ones((2, 1), np.float32),), {}


def train_weight(weight, objective, optimizer, schedule, settings):
    """A run of `fit` over Ones, of one parameter."""
    recipe = Recipe({"weight": weight}, Precision("O0", 1.0), objective, "y", optimizer([weight], schedule(0)),
                    schedule, criterion="error")
    with RunFolder(settings) as folder:
        fit(recipe, Batches(Ones(), 0), folder, settings, Device("CPU"))


@pytest.mark.parametrize("clip_norm", [0.0, 100.0])
@pytest.mark.parametrize("optimizer", [nn.SGD, nn.Adam])
def test_every_update_has_the_scheduled_rate(tmp_path, clip_norm, optimizer):
    rates = [0.1, 0.02, 0.5, 0.01]
    settings = config(tmp_path, num_epochs=1, clip_norm=clip_norm)
    weight = ms.Parameter(Tensor([0.0], ms.float32), "weight")

    def objective(x):
        y = (weight * x).mean()
        return y, y

    train_weight(weight, objective, optimizer, lambda update: rates[update], settings)
    assert float(weight[0]) == pytest.approx(-sum(rates), rel=1e-4)


def test_early_stop_counts_validations(tmp_path):
    scores = iter([5.0, 4.0, 6.0, 7.0, 1.0])
    progress, _ = train(tmp_path / "run", num_epochs=20, early_stop=2, validate=lambda: {"error": next(scores)})
    assert (progress.epoch - 1, progress.best_epoch) == (4, 2)
    assert "early stop: no better error in 2 validations" in (tmp_path / "run" / "train.log").read_text()
    progress, _ = train(tmp_path / "run", num_epochs=5, validate=lambda: {"error": next(scores)},
                        resume=str(tmp_path / "run"))
    assert (progress.epoch - 1, progress.best_epoch) == (5, 5)      # without early_stop it goes on


def test_checkpoints_that_users_put_into_the_run_folder_stay(tmp_path):
    train(tmp_path / "run", num_epochs=2)
    for epoch in range(4):
        shutil.copy(tmp_path / "run" / "best.ckpt", tmp_path / "run" / f"epoch_{epoch}.ckpt")
    train(tmp_path / "run", num_epochs=5, resume=str(tmp_path / "run"))
    assert len([*(tmp_path / "run").glob("epoch_*.ckpt")]) == 4
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").iterdir())] == [
        "epoch_0004.ckpt", "epoch_0005.ckpt"]       # keep_checkpoint_max


def test_validation_every_test_step_epochs_and_at_the_end(tmp_path):
    calls = []
    train(tmp_path / "run", num_epochs=5, test_step=2, validate=lambda: {"error": float(calls.append(1) or 1)})
    assert [row["error"] != "" for row in rows(tmp_path / "run")] == [False, True, False, True, True]
    assert len(calls) == 3


# one step

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LABEL = np.array([0, 1, 2, 0, 1, 2], np.int32)


def step_of(net, optimizer=nn.SGD, **options):
    return TrainStep(objective_of(net), optimizer(trainable(net), 0.1), **options)


def make_net(norm=False):
    ms.set_seed(1)
    return Net(norm).set_train()


def weights_of(net):
    return [weight.asnumpy().copy() for weight in net.trainable_params()]


def test_accumulated_halves_equal_the_whole_batch():
    whole, halves = make_net(), make_net()
    step_of(whole)(Tensor(X), Tensor(LABEL))
    step = step_of(halves, accumulate=2)
    for _ in range(2):                       # the sums start again at zero
        halves_before = weights_of(halves)
        step.add(Tensor(X[:3]), Tensor(LABEL[:3]))
        assert all((a == b).all() for a, b in zip(weights_of(halves), halves_before, strict=True))
        step(Tensor(X[3:]), Tensor(LABEL[3:]))
    step_of(whole)(Tensor(X), Tensor(LABEL))
    for a, b in zip(weights_of(whole), weights_of(halves), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_clipping_scales_all_gradients_to_the_norm():
    free, clipped = make_net(), make_net()
    start = weights_of(free)
    step_of(free)(Tensor(X), Tensor(LABEL))
    step_of(clipped, clip_norm=0.01)(Tensor(X), Tensor(LABEL))
    moved = np.concatenate([(a - b).ravel() / 0.1 for a, b in zip(start, weights_of(clipped), strict=True)])
    direction = np.concatenate([(a - b).ravel() for a, b in zip(start, weights_of(free), strict=True)])
    assert np.linalg.norm(moved) == pytest.approx(0.01, rel=1e-3)
    assert moved @ direction == pytest.approx(np.linalg.norm(moved) * np.linalg.norm(direction), rel=1e-4)


@pytest.mark.parametrize("loss_scale", [128.0, 0.0])
def test_loss_scale_does_not_change_the_step(loss_scale):
    plain, scaled = make_net(), make_net()
    step_of(plain)(Tensor(X), Tensor(LABEL))
    loss, _, finite = step_of(scaled, loss_scale=loss_scale)(Tensor(X), Tensor(LABEL))
    assert bool(finite) and float(loss) < 10
    for a, b in zip(weights_of(plain), weights_of(scaled), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_overflow_changes_nothing_and_halves_a_dynamic_scale():
    net = make_net()
    start, step = weights_of(net), step_of(net, loss_scale=0.0)
    before = float(step.scale)
    _, _, finite = step(Tensor(np.full_like(X, np.inf)), Tensor(LABEL))
    step.adjust_scale(bool(finite))
    assert not bool(finite) and float(step.scale) == before / 2
    for _ in range(200):
        step.adjust_scale(False)
    assert float(step.scale) == 1
    assert all((a == b).all() for a, b in zip(start, weights_of(net), strict=True))


class Saturating(nn.Cell):
    """FloatStatus of a device on which an input beyond 1000 overflows and every number stays finite."""

    def __init__(self):
        super().__init__(auto_prefix=False)
        self.largest = Parameter(Tensor(0, ms.float32), "largest", requires_grad=False)

    def clear(self, batch):
        x, label = batch
        ops.assign(self.largest, x.abs().max())
        return x.clip(-1, 1), label

    def has_counted(self, gradients):
        return ops.depend(self.largest > 1000, gradients)


def test_overflow_on_a_device_that_saturates_skips_the_step_also_of_a_batch_added_before():
    net = make_net(norm=True)
    step = step_of(net, loss_scale=0.0, accumulate=2, overflow=Saturating(), statistics=statistics(parameters(net)))
    scale, huge = float(step.scale), np.full_like(X, 1e4)
    before = {name: value.asnumpy().copy() for name, value in parameters(net).items()}
    for added, last, good in ((huge, X, False), (X, huge, False), (X, X, True)):
        step.add(Tensor(added), Tensor(LABEL))
        finite = bool(step(Tensor(last), Tensor(LABEL))[2])
        step.adjust_scale(finite)
        moved = {name for name, value in parameters(net).items() if (value.asnumpy() != before[name]).any()}
        assert (finite, "norm.moving_mean" in moved, "last.weight" in moved, bool(moved)) == (good,) * 4
    assert float(step.scale) == scale / 4


@pytest.mark.parametrize("delay", [0, 0.5])
def test_workers_go_on_when_all_processes_get_sigterm(monkeypatch, delay):
    """As clusters send it: the main process still has its step, or its validation, to finish before it saves.

    Also one that has hardly started: the machine may be busy.
    """
    start = loader._start_worker
    late = multiprocessing.Value("b", 0)

    def start_late(*arguments):
        with late.get_lock():
            late.value += 1
            wait = delay * (late.value > 1)
        time.sleep(wait)
        start(*arguments)

    monkeypatch.setattr(loader, "_start_worker", start_late)
    points = Points()
    points.steps = 200
    with Batches(points, workers=2) as batches:
        arrays = batches.epoch(1)
        next(arrays)
        for worker in multiprocessing.active_children():
            worker.terminate()
        assert len(list(arrays)) == 199


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_mixed_precision_follows_float32(level):
    losses = {}
    for name in ("O0", level):
        net = make_net(norm=True)
        step = step_of(net, loss_scale=adapt(net, Config(amp_level=name), Device("CPU")).loss_scale)
        losses[name] = [float(step(Tensor(X), Tensor(LABEL))[0]) for _ in range(8)]
    np.testing.assert_allclose(losses[level], losses["O0"], rtol=0.02)
    assert losses[level][-1] < losses[level][0] and losses[level] != losses["O0"]


def test_layers_of_o1_compute_in_float16_and_give_float32():
    class Layers(nn.Cell):
        def __init__(self):
            super().__init__()
            self.two, self.one = nn.Conv2d(2, 3, 3, has_bias=True, bias_init="normal"), nn.Conv1d(3, 4, 3)
            self.dense = nn.Dense(5, 6, activation="relu")

        def construct(self, x):
            return self.dense(self.one(self.two(x).mean(2)))

    nets, x = [], Tensor(np.random.default_rng(0).standard_normal((2, 2, 4, 5)).astype(np.float32))
    for _ in range(2):
        ms.set_seed(0)
        nets.append(Layers())
    expected, half = nets[0](x).asnumpy(), mixed(nets[1])(x)
    assert half.dtype == ms.float32
    assert [one.name for one in nets[1].get_parameters()] == [one.name for one in nets[0].get_parameters()]
    difference = np.abs(half.asnumpy() - expected).max() / np.abs(expected).max()
    assert 1e-6 < difference < 5e-3


def test_ascend_defaults_to_o1_and_scales_the_loss_at_every_level():
    for target, level, precision in (("Ascend", "", ("O1", 64.0)), ("Ascend", "O0", ("O0", 64.0)),
                                     ("CPU", "", ("O0", 1.0)), ("CPU", "O2", ("O2", 64.0))):
        assert adapt(Net(), Config(amp_level=level, loss_scale=64.0), Device(target)) == precision


# checkpoints

def damage_file(path, damage):
    """Does to the checkpoint at `path` what disks, networks and users do."""
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "other network":
        save_checkpoint(path, parameters(nn.Dense(2, 2)))
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes({"cut": bytes(data[:len(data) // 2]), "flipped": bytes(data),
                          "foreign": b"hello " * 50}[damage])


def test_full_disk_keeps_the_previous_checkpoint(tmp_path):
    path, net = tmp_path / "x.ckpt", Net()
    save_checkpoint(path, parameters(net), epoch=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))     # what a full disk does to a write
    try:
        with refused(OutputError, path):
            save_checkpoint(path, parameters(net), epoch=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(path)[1] == {"epoch": 1}
    assert sorted(os.listdir(tmp_path)) == ["x.ckpt"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign"])
def test_damaged_checkpoint_is_refused(tmp_path, damage, capfd):
    path = tmp_path / "x.ckpt"
    save_checkpoint(path, parameters(Net()))
    damage_file(path, damage)
    with refused(ContentError, path, "damaged"):
        load_checkpoint(path)
    assert capfd.readouterr().err == ""     # MindSpore's own five lines are not wanted beside the one


def test_loading_is_strict(tmp_path):
    path, net = tmp_path / "x.ckpt", Net()
    weights = parameters(net)
    save_checkpoint(path, weights)
    larger = dict(weights, extra=ms.Parameter(Tensor([1.0]), name="extra"))
    with refused(MismatchError, path, "extra", "nothing", (1,)):
        load_into(path, larger)
    assert load_into(path, larger, skip=("extra",)) == {}
    with refused(MismatchError, path, "first.weight", 0):
        load_into(path, {name: value for name, value in weights.items() if name != "first.weight"})
    other = nn.Dense(4, 9)
    other.update_parameters_name("first.")
    with refused(MismatchError, path, "first.weight", (8, 4), (9, 4)):
        load_into(path, parameters(other))


def test_progress_round_trip(tmp_path):
    progress = Progress(epoch=3, loss=1 / 3)
    save_checkpoint(tmp_path / "x.ckpt", parameters(Net()), **dataclasses.asdict(progress))
    assert Progress(**load_checkpoint(tmp_path / "x.ckpt")[1]) == progress     # inf included
