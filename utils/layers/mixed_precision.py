"""Levels of mixed precision. O1: the layers that gain from float16 compute in it, everything around them in float32.

MindSpore's auto_mixed_precision(network, "O1") rewrites the network as source and loses names that its modules
define: ECAPA-TDNN would not compile. Its O2 changes the layers in place, as here.
"""
import mindspore as ms
from mindspore import Tensor, nn


class HalfConv2d(nn.Conv2d):
    """float32 (B, I, F, T) -> float32 (B, O, F', T')."""

    def construct(self, x):
        return self.convolve(x)

    def convolve(self, x: Tensor) -> Tensor:
        y = self.conv2d(x.astype(ms.float16), self.weight.astype(ms.float16))
        if self.has_bias:
            y = self.bias_add(y, self.bias.astype(ms.float16))
        return y.astype(ms.float32)


class HalfConv1d(nn.Conv1d):
    """float32 (B, I, T) -> float32 (B, O, T')."""

    convolve = HalfConv2d.convolve

    def construct(self, x):
        return self.convolve(x.expand_dims(2)).squeeze(2)


class HalfDense(nn.Dense):
    """float32 (..., I) -> float32 (..., O)."""

    def construct(self, x):
        y = self.matmul(x.reshape(-1, x.shape[-1]).astype(ms.float16), self.weight.astype(ms.float16))
        if self.has_bias:
            y = self.bias_add(y, self.bias.astype(ms.float16))
        y = y.astype(ms.float32).reshape(*x.shape[:-1], -1)
        return self.activation(y) if self.activation_flag else y


HALF = {nn.Conv2d: HalfConv2d, nn.Conv1d: HalfConv1d, nn.Dense: HalfDense}


def mixed(network: nn.Cell) -> nn.Cell:
    """`network` with such layers, in place: the same parameters, in float32. Recurrent layers stay as they are."""
    for _, cell in network.cells_and_names():
        cell.__class__ = HALF.get(type(cell), type(cell))
    return network


def mostly_half(network: nn.Cell) -> nn.Cell:
    """`network` at level O2, in place: all in float16 but BatchNorm and the cells with a true `keeps_float32`.

    Those take sums over time, or squares, which leave float16. A cast to float32 within them would not do: MindSpore
    casts to float16 again whatever is given to a method or a function.
    """
    ms.amp.auto_mixed_precision(network, "O2")
    for _, cell in network.cells_and_names():
        if getattr(cell, "keeps_float32", False):
            cell.to_float(ms.float32)
    return network
