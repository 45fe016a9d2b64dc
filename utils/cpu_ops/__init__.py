"""Layers with C++ kernels for a CPU, where MindSpore's are slow: the same parameters, the same values.

A network is built of plain layers (functions.py), which is what other devices run and what is exported; on a CPU
`fast(network)` makes those of layers.py of them, in place. build.py compiles kernels/ at first use; the environment
variable CPU_OPS=0 keeps the plain layers. `python -m utils.cpu_ops` prints what is used on this machine, and why.
"""
from collections.abc import Mapping
from typing import Any, TypeVar

import mindspore as ms
from mindspore import nn

from utils.cpu_ops.build import library
from utils.cpu_ops.functions import (
    BothDirections,
    ClippedReLU,
    Clipping,
    Depthwise,
    FrameNorm,
    GlobalNorm,
    Masking,
    PReLU,
    Product,
    SoftmaxStatistics,
    TimeStatistics,
    for_each,
    unit_of,
)
from utils.cpu_ops.speed import BF16, bfloat16_is_faster
from utils.device import uncap_onednn

__all__ = ["BF16", "BothDirections", "ClippedReLU", "Clipping", "Depthwise", "FrameNorm", "GlobalNorm", "Masking",
           "PReLU", "Product", "SoftmaxStatistics", "TimeStatistics", "bfloat16_is_faster", "exchange", "fast",
           "for_each", "fuse", "unit_of", "usable"]

STOCK = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Conv1dTranspose, nn.Conv2dTranspose, nn.Conv3dTranspose, Depthwise)
Network = TypeVar("Network", bound=nn.Cell)


def fast(network: Network, bfloat16: bool = False) -> Network:
    """`network` with fast layers on a CPU that has a C++ compiler; unchanged elsewhere, and where CPU_OPS is 0.

    Its `fast_cells`, {class: fast class}, are what it knows beyond the layers that all networks share. With `bfloat16`
    products of matrices round what they take to bfloat16 and sum in float32, where `bfloat16_is_faster`. UserError for
    a CPU_OPS that is neither 0 nor 1.
    """
    if not usable():
        return network
    exchange(network, False)
    if not any(isinstance(cell, STOCK) and not hasattr(cell, "prepare") for _, cell in network.cells_and_names()):
        uncap_onednn()
    if bfloat16 and bfloat16_is_faster():
        exchange(network, True)
    return network


def usable() -> bool:
    """Whether this is a CPU that has a C++ compiler, and CPU_OPS is not 0. UserError as of `fast`."""
    return ms.get_context("device_target") == "CPU" and library() is not None


def fuse(network: Network) -> Network:
    """`network` for the C++ runner, in place, with the fast cells that networks in it name as the runner's.

    MindSpore Lite has its own of the rest, which are as fast. Unchanged where the kernels cannot be used.
    """
    if library():
        for _, cell in network.cells_and_names():
            _exchange(cell, getattr(cell, "runner_cells", {}), False)
    return network


def exchange(network: Network, bfloat16: bool) -> Network:
    """`network` with fast layers where the kernels know them, in place, plain ones elsewhere."""
    from utils.cpu_ops.layers import FAST  # only now: it derives from classes of the MindSpore that was tested

    _exchange(network, FAST | getattr(network, "fast_cells", {}), bfloat16)
    return network


def _exchange(network: nn.Cell, fast_cells: Mapping[type, type], bfloat16: bool) -> None:
    plain_cells = {quick: plain for plain, quick in fast_cells.items()}
    cell: Any       # its class changes
    for _, cell in network.cells_and_names():
        plain = plain_cells.get(type(cell), type(cell))
        if plain in fast_cells:
            cell.__class__ = fast_cells[plain]
            cell.bfloat16 = bfloat16
            if not cell.prepare():
                cell.__class__ = plain
