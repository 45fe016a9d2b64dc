"""Layers with C++ kernels for a CPU, where MindSpore's are slow: the same parameters, the same values.

A network is built of plain layers (functions.py), which is what other devices run and what is exported; on a CPU
`fast(network)` makes those of layers.py of them, in place. build.py compiles kernels/ at first use; the environment
variable CPU_OPS=0 keeps the plain layers.
"""
from collections.abc import Mapping
from typing import Any, TypeVar

import mindspore as ms
from mindspore import nn

from utils.cpu_ops.build import library
from utils.cpu_ops.functions import (
    BothDirections,
    ClippedReLU,
    Depthwise,
    FrameNorm,
    GlobalNorm,
    PReLU,
    SoftmaxStatistics,
    TimeStatistics,
    unit_of,
)

__all__ = ["BothDirections", "ClippedReLU", "Depthwise", "FrameNorm", "GlobalNorm", "PReLU", "SoftmaxStatistics",
           "TimeStatistics", "fast", "unit_of"]

Network = TypeVar("Network", bound=nn.Cell)


def fast(network: Network) -> Network:
    """`network` with fast layers on a CPU that has a C++ compiler; unchanged elsewhere, and where CPU_OPS is 0.

    Its `fast_cells`, {class: fast class}, are what it knows beyond the layers that all networks share. UserError for a
    CPU_OPS that is neither 0 nor 1.
    """
    if ms.get_context("device_target") != "CPU" or not library():
        return network
    from utils.cpu_ops.layers import FAST  # only now: it derives from classes of the MindSpore that was tested

    fast_cells: Mapping[type, type] = FAST | getattr(network, "fast_cells", {})
    cell: Any       # its class changes
    for _, cell in network.cells_and_names():
        plain = type(cell)
        if plain in fast_cells:
            cell.__class__ = fast_cells[plain]
            if not cell.prepare():
                cell.__class__ = plain
    return network
