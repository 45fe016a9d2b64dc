"""A data set and a network of a few numbers, for the training loop."""
import csv
import dataclasses
import os
import signal

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from ecapatdnn.src.config import Config
from utils.device import Device
from utils.training import loop
from utils.training.loader import Batches
from utils.training.loop import trainable
from utils.training.recipe import Recipe
from utils.training.run_folder import RunFolder
from utils.training.state import parameters
from utils.training.train_step import Precision

STEPS = {}      # what `compiled` keeps


class Points:
    """A data set: points (B, 4) of 3 classes; `bad` of its files cannot be read, batch `nan` is not a number."""

    steps, files = 6, 1000

    def __init__(self, bad=0, nan=None, kill=None):
        self.bad, self.nan, self.kill = bad, nan, kill

    def describe(self):
        return "points"

    def batch(self, epoch, index):
        if self.kill == index:
            os.kill(os.getpid(), signal.SIGKILL)
        generator = np.random.default_rng((epoch, index))
        label = generator.integers(0, 3, 8).astype(np.int32)
        x = np.eye(3, 4, dtype=np.float32)[label] + 0.3 * generator.standard_normal((8, 4)).astype(np.float32)
        if (epoch, index) == self.nan:
            x[0, 0] = np.nan
        return (x, label), {f"file {i}": "truncated" for i in range(self.bad)}


class Net(nn.Cell):
    def __init__(self, norm=True):
        super().__init__()
        self.first, self.last = nn.Dense(4, 8), nn.Dense(8, 3)
        self.norm = nn.BatchNorm1d(8, momentum=0.9) if norm else nn.Identity()

    def construct(self, x):
        return self.last(ops.tanh(self.norm(self.first(x))))


def objective_of(net):
    def objective(x, label):
        logits = net(x)
        right = (logits.argmax(1).astype(ms.int32) == label).astype(ms.float32).mean()
        return ops.cross_entropy(logits.astype(ms.float32), label), right
    return objective


def config(folder, **differences):
    values = {"ckpt_save_dir": str(folder), "num_epochs": 3, "save_steps": 2, "keep_checkpoint_max": 2}
    return dataclasses.replace(Config(), **(values | differences))


def train(folder, dataset=None, stop_at=None, validate=None, criterion="error", workers=0, norm=True, loss_scale=1.0,
          device=None, **differences):
    """A run of `fit`; (progress, {name: value}). `stop_at`: the batch after which SIGTERM arrives."""
    settings, device = config(folder, **differences), device or Device("CPU")
    net, optimizer, objective, step = compiled(norm, loss_scale, settings, device)
    rates = []

    def schedule(step):
        rates.append(step)
        if len(rates) == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0.05 * 0.9 ** step

    with RunFolder(settings, device.rank) as run, Batches(dataset or Points(), workers) as batches, \
            pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", lambda *_: step)
        recipe = Recipe(parameters(net), Precision("O0", loss_scale), objective, "accuracy", optimizer, schedule,
                        criterion, validate)
        progress = loop.fit(recipe, batches, run, settings, device)
    return progress, {name: value.asnumpy().copy() for name, value in parameters(net).items()}


def compiled(norm, loss_scale, settings, device):
    """(Net, its optimiser, its objective, their TrainStep) with the values that they begin with.

    A plain step is compiled once for all runs of a process. Those with a branch are not: a graph does not see in it
    what a resumed run has set after compiling, which no program does.
    """
    plain = loss_scale == 1 and not settings.clip_norm and settings.accumulate == 1
    if plain and (norm, device) in STEPS:
        *cells, first = STEPS[norm, device]
        for parameter, value in first:
            ops.assign(parameter, Tensor(value))
        return cells
    ms.set_seed(3)
    net = Net(norm).set_train()
    optimizer, objective = nn.Adam(trainable(net), 0.1), objective_of(net)
    recipe = Recipe(parameters(net), Precision("O0", loss_scale), objective, "accuracy", optimizer, float, "error")
    step = loop.make_step(recipe, settings, device)
    if plain:
        changing = {id(weight): weight for cell in (net, step) for weight in cell.get_parameters()}.values()
        STEPS[norm, device] = net, optimizer, objective, step, [(weight, weight.asnumpy().copy())
                                                                for weight in changing]
    return net, optimizer, objective, step


def rows(folder):
    with open(folder / "metrics.csv", newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "minutes"} for row in csv.DictReader(file)]
