"""Functions that a CPU computes slowly, written plainly: graphs for other devices and exported ones hold these.

utils/cpu_ops/layers.py has the fast ones. Letters: B items, C channels, T frames.
"""
import mindspore as ms
from mindspore import Tensor, nn, ops

from utils.layers.shapes import mean_over


class PReLU(nn.Cell):
    """x of any shape, slope (1,) -> x where positive, else slope * x."""

    def construct(self, x, slope):
        if not self.training:
            return ops.prelu(x, slope)
        positive = ops.relu(x)     # MindSpore's own gradient takes long on a CPU
        return positive + slope * (x - positive)


class ClippedReLU(nn.Cell):
    """x of any shape -> x between 0 and `ceiling`, a whole number."""

    def __init__(self, ceiling: int):
        super().__init__()
        self.ceiling = ceiling

    def construct(self, x):
        return ops.clamp(x, 0, self.ceiling)


class Masking(nn.Cell):
    """x of any shape, mask of the same, but 1 on neighbouring axes -> x times the mask, which gets no gradient."""

    def construct(self, x, mask):
        return x * mask


class Product(nn.Cell):
    """x (R, I), weight (O, I) -> x weight^T (R, O)."""

    def construct(self, x, weight):
        return ops.matmul(x, weight.T)


for_each = ops.HyperMap()   # over hundreds of gradients; a Python loop in a graph takes twice as long to compile


def times(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor


def energy(gradient: Tensor) -> Tensor:
    return gradient.astype(ms.float32).square().sum()


class Clipping(nn.Cell):
    """factor (), gradients of any shapes -> the norm (1,) of all together times factor, and the gradients times factor.

    Where the norm is above `limit`, unless that is 0, the gradients are times limit / norm too. `count`: of gradients.
    """

    def __init__(self, limit: float, count: int):
        super().__init__()
        self.limit, self.count = limit, count

    def construct(self, factor, gradients):
        norm = factor * ops.sqrt(ops.addn(for_each(energy, gradients)))
        if self.limit > 0:
            factor = factor * ops.minimum(self.limit / (norm + 1e-6), 1.0)
        return norm.reshape(1), for_each(ops.partial(times, factor), gradients)


class GlobalNorm(nn.Cell):
    """x (B, C, T), gain and bias (1, C, 1) -> each item at mean 0 and variance 1, times gain, plus bias.

    `mask` (B, 1, T): 1 for the frames that count, 0 for padding; without it all count.
    """

    keeps_float32 = True
    EPS = 1e-8      # under the variances, as in asteroid and kaituoxu's code
    AXES = (1, 2)   # of which mean and variance are taken

    def __init__(self):
        super().__init__()
        self.divided = False
        self.least = Tensor(self.EPS ** 0.5, ms.float32)

    def for_ascend(self) -> None:
        """For an Ascend that computes all in float16: squares of what is divided by `unit_of` it."""
        self.divided = True

    def construct(self, x, gain, bias, mask=None):
        x = x - self.mean(x, mask)
        return x * (gain / self.deviation(x, mask)) + bias

    def mean(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Of the channels, then of the frames: 1 / (C T) is hardly a number in float16."""
        return mean_over(x.mean(1, keep_dims=True), 2, mask)

    def deviation(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Of each item: the root of its variance and EPS."""
        # divided by the root, and a tensor by a tensor: MindSpore cannot export Rsqrt and Reciprocal as ONNX
        if not self.divided:
            return ops.sqrt(self.mean(x.square(), mask) + self.EPS)
        unit = unit_of(x, self.AXES, 64)
        return unit * ops.sqrt(self.mean((x / unit).square(), mask) + (self.least / unit).square())


def unit_of(x: Tensor, axes: tuple[int, ...], units: int) -> Tensor:
    """The largest number over `axes`, which stay as 1, or 1e-4, by `units`: what float16 squares x in.

    The networks of this zoo have numbers of 1000 in front of a norm, and in pauses some of 1e-4.
    """
    return ops.maximum(x.abs().max(axes, keepdims=True), GlobalNorm.EPS ** 0.5) / units


class FrameNorm(GlobalNorm):
    """As GlobalNorm, each frame by itself."""

    AXES = (1,)

    def mean(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x.mean(1, keep_dims=True)


class TimeStatistics(nn.Cell):
    """x (B, C, 1, T), mask (B, 1, 1, T) or None -> mean and variance over the frames of each, both (B, C, 1, 1)."""

    keeps_float32 = True

    def construct(self, x, mask=None):
        mean = mean_over(x, 3, mask)
        return mean, mean_over((x - mean).square(), 3, mask)


class SoftmaxStatistics(nn.Cell):
    """x, score (B, C, 1, T) -> mean and variance over the frames, weighted by softmax(score), both (B, C, 1, 1)."""

    keeps_float32 = True

    def construct(self, x, score):
        weight = ops.softmax(score, 3)
        mean = (x * weight).sum(3, keepdims=True)
        return mean, ((x - mean).square() * weight).sum(3, keepdims=True)


class BothDirections(nn.Cell):
    """The sum of two recurrent layers, one of them backwards: (T, B, I), frames (B,) int32 -> (T, B, H)."""

    def __init__(self, forward: nn.Cell, backward: nn.Cell):
        super().__init__()
        self.forward, self.backward = forward, backward
        # nn.LSTM leaves its fast kernel when it is given lengths; reversed within its own, each item needs none
        self.reverse = ops.ReverseSequence(seq_dim=0, batch_dim=1)

    def construct(self, x, frames):
        return self.forward(x)[0] + self.reverse(self.backward(self.reverse(x, frames))[0], frames)


class Depthwise(nn.Cell):
    """(B, C, 1, T), filters (C, 1, 1, taps) -> (B, C, 1, T + left + right - (taps - 1) * dilation).

    `left` and `right` are the frames of zeros at either end. The axis of 1 is the operator's.
    """

    MOST_ZEROS = 255    # that CANN's convolutions put at an end by themselves

    def __init__(self, channels: int, taps: int, dilation: int, left: int, right: int):
        super().__init__()
        self.settings = (dilation, left, right)
        sides = [min(side, self.MOST_ZEROS) for side in (left, right)]
        self.more = [side - zeros for side, zeros in zip((left, right), sides, strict=True)]
        self.operator = ops.Conv2D(channels, (1, taps), pad_mode="pad", pad=(0, 0, *sides), dilation=(1, dilation),
                                   group=channels)

    def construct(self, x, weight):
        left, right = self.more
        if left:
            x = ops.cat((ops.zeros((*x.shape[:3], left), x.dtype), x), 3)
        if right:
            x = ops.cat((x, ops.zeros((*x.shape[:3], right), x.dtype)), 3)
        return self.operator(x, weight)
