"""Layers with kernels of our own on a CPU, where MindSpore's are slow: the same parameters, the same values.

A network is built of plain layers, which is what other devices run and what is exported; `fast(network)` changes those
that it knows, in place.
"""
import mindspore as ms

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
from utils.cpu_ops.layers import FAST, temporal_block

__all__ = ["BothDirections", "ClippedReLU", "Depthwise", "FrameNorm", "GlobalNorm", "PReLU", "SoftmaxStatistics",
           "TimeStatistics", "fast", "temporal_block", "unit_of"]


def fast(network):
    """`network` with fast layers on a CPU that has a C++ compiler; unchanged elsewhere.

    Its `fast_cells`, {class: fast class}, are what it knows beyond the layers that all networks share.
    """
    if ms.get_context("device_target") == "CPU" and library():
        known = FAST | getattr(network, "fast_cells", {})
        for _, cell in network.cells_and_names():
            kind = type(cell)
            if kind in known:
                cell.__class__ = known[kind]
                if not cell.prepare():
                    cell.__class__ = kind
    return network
