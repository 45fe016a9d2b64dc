"""Layers over time that Conv-TasNet is made of.

Letters as in model.py.
"""
from collections.abc import Callable
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from utils import cpu_ops
from utils.errors import SettingError
from utils.export.onnx_graph import CumSum
from utils.layers.shapes import ones_like

EPS = cpu_ops.GlobalNorm.EPS


class PReLU(nn.Cell):
    """x where positive, else slope * x, with one slope for all channels: any shape -> same."""

    def __init__(self):
        super().__init__()
        self.slope = Parameter(Tensor([0.25], ms.float32))
        self.function = cpu_ops.PReLU()

    def construct(self, x):
        return self.function(x, self.slope.astype(x.dtype))


class DepthwiseConv(nn.Cell):
    """One filter of `taps` dilated taps per channel: (M, D, T) -> (M, D, T). Causal: output t sees no input after t."""

    def __init__(self, channels: int, taps: int, dilation: int, causal: bool, has_bias: bool):
        super().__init__()
        self.context = (taps - 1) * dilation
        self.dilation, self.left = dilation, self.context if causal else self.context // 2
        bound = Uniform(taps ** -0.5)     # as PyTorch draws the weights and biases of a convolution
        self.weight = Parameter(initializer(bound, (channels, 1, 1, taps)))
        self.bias = Parameter(initializer(bound, (channels,))) if has_bias else None
        self.whole = cpu_ops.Depthwise(channels, taps, dilation, self.left, self.context - self.left)
        self.following = cpu_ops.Depthwise(channels, taps, dilation, 0, 0)

    def construct(self, x):
        return self.convolve(self.whole, x)

    def start(self) -> Tensor:
        """What is past before the first frame of a mixture."""
        return ops.zeros((1, self.weight.shape[0], self.context))

    def stream(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """The frames x that follow `past` (M, D, context) in a causal network, and what is past after them."""
        x = ops.cat((past, x), 2)
        return self.convolve(self.following, x), x[:, :, x.shape[2] - self.context:]

    def convolve(self, operator: nn.Cell, x: Tensor) -> Tensor:
        y = operator(x.expand_dims(2), self.weight)
        # the bias right behind the convolution: elsewhere MindSpore exports it to ONNX without its channels
        return (y if self.bias is None else ops.bias_add(y, self.bias.astype(y.dtype))).squeeze(2)


class GlobalNorm(nn.Cell):
    """gLN: mean and variance over all channels and frames of a mixture: (M, D, T) -> same.

    `mask` (M, 1, T): 1 for the frames that count, 0 for padding; the other norms need none.
    """

    causal = False

    def __init__(self, channels: int):
        super().__init__()
        self.gain = Parameter(ops.ones((1, channels, 1)))
        self.bias = Parameter(ops.zeros((1, channels, 1)))
        self.function = cpu_ops.GlobalNorm()

    def construct(self, x, mask=None):
        return self.function(x, self.gain, self.bias, mask)


class FramewiseNorm(nn.Cell):
    """A norm that treats each frame on its own: a stream of frames is normalised part by part, without a memory."""

    causal = True
    states = 0

    def start(self) -> tuple[Tensor, ...]:
        """No state."""
        return ()

    def stream(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The frames that follow, and the state after them."""
        return self.construct(x), state


class FrameNorm(FramewiseNorm):
    """cLN of kaituoxu's code: mean and variance over the channels of each frame: (M, D, T) -> same."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = Parameter(ops.ones((1, channels, 1)))
        self.bias = Parameter(ops.zeros((1, channels, 1)))
        self.function = cpu_ops.FrameNorm()

    def construct(self, x, mask=None):
        return self.function(x, self.gain, self.bias)


class CumulativeNorm(nn.Cell):
    """cgLN: mean and variance over all channels of a frame and of those before it: (M, D, T) -> same."""

    causal = keeps_float32 = True
    states = 1
    MEMORY = 2.0 ** 23      # frames, two hours at 8 kHz: of more, what came long ago fades; float32 counts to 2^24

    def __init__(self, channels: int):
        super().__init__()
        self.gain = Parameter(ops.ones((1, channels, 1)))
        self.bias = Parameter(ops.zeros((1, channels, 1)))
        self.divided, self.cumsum = False, CumSum()
        self.least = Tensor(EPS ** 0.5, ms.float32)

    def for_ascend(self) -> None:
        """As cpu_ops.GlobalNorm does. Sums over more than 2048 frames want float32 all the same."""
        self.divided = True

    def construct(self, x, mask=None):
        nothing = ops.zeros((x.shape[0], 3, 1), x.dtype)
        if not self.divided:
            return self.normalise(x, nothing, EPS)[0]
        unit = cpu_ops.unit_of(x, (1, 2), 8)        # few, as squares are summed over the frames
        return self.normalise(x / unit, nothing, (self.least / unit).square())[0]

    def start(self) -> tuple[Tensor, ...]:
        """State before the first frame of a mixture: means of x and of its square, number of frames: (1, 3, 1)."""
        return (ops.zeros((1, 3, 1)),)

    def stream(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The frames that follow those of `state`, and the state after them."""
        y, after = self.normalise(x, state[0], EPS)
        return y, (after,)

    def normalise(self, x: Tensor, state: Tensor, eps: Tensor | float) -> tuple[Tensor, Tensor]:
        before = state[:, 2:]                                                           # (M, 1, 1)
        count = self.cumsum(ones_like(x[:, :1])) + before                               # (M, 1, T)
        means = ops.cat((x.mean(1, keep_dims=True), x.square().mean(1, keep_dims=True)), 1)     # of each frame
        means = (self.cumsum(means) + state[:, :2] * before) / count                  # (M, 2, T)
        deviation = ops.sqrt(ops.relu(means[:, 1:] - means[:, :1].square()) + eps)
        y = (x - means[:, :1]) / ops.maximum(deviation, 1e-7) * self.gain + self.bias   # float16 may have no eps
        return y, ops.cat((means[:, :, -1:], ops.minimum(count[:, :, -1:], self.MEMORY)), 1)


class BatchNorm(FramewiseNorm):
    """BN: per channel, over mixtures and frames: (M, D, T) -> same. Framewise in evaluation, where both are known."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, momentum=0.9)   # PyTorch's 0.1

    def construct(self, x, mask=None):
        return self.norm(x.expand_dims(2)).squeeze(2)


NORMS = {"gLN": GlobalNorm, "cLN": FrameNorm, "cgLN": CumulativeNorm, "BN": BatchNorm}


def norm_class(name: str, causal: bool) -> Callable[[int], Any]:
    """The class of `name`; SettingError for one that looks ahead in a causal network."""
    if causal and not NORMS[name].causal:
        raise SettingError(f"norm: {name} looks at the whole mixture, expected cLN, cgLN or BN where causal is true")
    return NORMS[name]


def conv1x1(in_channels: int, out_channels: int, has_bias: bool = True) -> nn.Conv1d:
    return nn.Conv1d(in_channels, out_channels, 1, has_bias=has_bias)
