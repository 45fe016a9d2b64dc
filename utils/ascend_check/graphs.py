"""What a model's src/ascend_graphs.py says of its graphs, and the training step that all of them have.

    CONFIG    the dataclass of its settings
    KINDS     {kind: function (config, device) -> calls}: each builds a network and returns what compiles its graphs;
              no calls where such a network has no such graph
    GRAPHS    {name: Graph}: `kind`, or `kind, what differs`, of networks small enough to compile in seconds
"""
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from mindspore import Tensor

from utils.device import Device
from utils.training.loop import make_step
from utils.training.recipe import Recipe
from utils.training.settings import RunSettings

ALONE, TABLE, MSRUN = "alone", "rank table", "msrun"    # how the processes of a graph are started
RANKS = 4                                               # of those that are not alone


class Graph(NamedTuple):
    """A graph to compile: what `run` gives for `config`, a dataclass."""

    run: Callable
    config: object
    start: str = ALONE


def variants(kind: str, run: Callable, config: RunSettings, differences: dict[str, dict]) -> dict[str, Graph]:
    """{name: Graph} of one kind: for each of `differences` {what: settings} a network that differs from `config`."""
    return {f"{kind}, {what}" if what else kind: Graph(run, dataclasses.replace(config, **settings))
            for what, settings in differences.items()}


def distributed(run: Callable, config: RunSettings) -> dict[str, Graph]:
    """{name: Graph} of several processes that train together, in each way to start them."""
    return {f"distributed, {start}": Graph(run, config, start) for start in (TABLE, MSRUN)}


def training_calls(recipe: Recipe, config: RunSettings, device: Device, batch: list[Tensor]) -> list[Callable]:
    """What utils.training.loop.fit compiles of these: the step, an accumulated batch's gradients, the gathering."""
    step = make_step(recipe, config, device)
    calls = [lambda: step(*batch)]
    if config.accumulate > 1:
        calls.append(lambda: step.add(*batch))
    if device.size > 1:
        calls.append(device.barrier)
    return calls
