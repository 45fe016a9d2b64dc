"""Functions that a CPU computes slowly, written plainly: graphs for other devices and exported ones hold these.

utils/cpu_ops/layers.py has the fast ones. Letters: B items, C channels, T frames.
"""
from mindspore import nn, ops


class PReLU(nn.Cell):
    """x of any shape, slope (1,) -> x where positive, else slope * x."""

    def construct(self, x, slope):
        if not self.training:
            return ops.prelu(x, slope)
        positive = ops.relu(x)     # MindSpore's own gradient takes long on a CPU
        return positive + slope * (x - positive)


class ClippedReLU(nn.Cell):
    """x of any shape -> x between 0 and `ceiling`, a whole number."""

    def __init__(self, ceiling):
        super().__init__()
        self.ceiling = ceiling

    def construct(self, x):
        return ops.clamp(x, 0, self.ceiling)


class GlobalNorm(nn.Cell):
    """x (B, C, T), gain and bias (1, C, 1), weight (B, T, 1) -> each item at mean 0 and variance 1, by gain and bias.

    `weight` turns sums over the frames of an item into means: it is 0 for padding.
    """

    EPS = 1e-8   # under the variances, as in asteroid and kaituoxu's code

    def construct(self, x, gain, bias, weight):
        weight = weight / x.shape[1]
        centred = x - ops.bmm(x, weight).sum(1, keepdims=True)
        # divided by the root: MindSpore cannot export Rsqrt and Reciprocal as ONNX
        deviation = ops.sqrt(ops.bmm(centred.square(), weight).sum(1, keepdims=True) + self.EPS)
        return centred * (gain / deviation) + bias


class TimeStatistics(nn.Cell):
    """x (B, C, 1, T), mask (B, 1, 1, T) or None -> mean and variance over the frames of each, both (B, C, 1, 1)."""

    def construct(self, x, mask=None):
        if mask is None:
            mean = x.mean(3, keep_dims=True)
            return mean, (x - mean).square().mean(3, keep_dims=True)
        count = mask.sum(3, keepdims=True)
        mean = (x * mask).sum(3, keepdims=True) / count
        return mean, ((x - mean).square() * mask).sum(3, keepdims=True) / count


class SoftmaxStatistics(nn.Cell):
    """x, score (B, C, 1, T) -> mean and variance over the frames, weighted by softmax(score), both (B, C, 1, 1)."""

    def construct(self, x, score):
        weight = ops.softmax(score, 3)
        mean = (x * weight).sum(3, keepdims=True)
        return mean, ((x - mean).square() * weight).sum(3, keepdims=True)


class BothDirections(nn.Cell):
    """The sum of two recurrent layers, one of them backwards: (T, B, I), frames (B,) int32 -> (T, B, H)."""

    def __init__(self, forward, backward):
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

    def __init__(self, channels, taps, dilation, left, right):
        super().__init__()
        self.settings = (dilation, left, right)
        self.operator = ops.Conv2D(channels, (1, taps), pad_mode="pad", pad=(0, 0, left, right), dilation=(1, dilation),
                                   group=channels)

    def construct(self, x, weight):
        return self.operator(x, weight)
