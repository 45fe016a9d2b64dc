"""The block that ECAPA-TDNN repeats, and the layers it is made of. Letters as in model.py."""
from dataclasses import dataclass
from typing import Any

from mindspore import nn, ops

from utils import cpu_ops
from utils.layers.shapes import mirror_ends

RES2NET_SCALE = 8
SE_CHANNELS = 128


@dataclass(frozen=True)
class Variant:
    """What the published networks do differently. Weights move only within a variant."""

    sum_inputs: bool          # a block takes the sum of all outputs before it (the paper), or only the last
    pass_first: bool          # Res2Net leaves its first split unconvolved, or its last
    reflect_padding: bool     # of convolutions wider than 1, or zeros
    mfa_norm: bool            # BatchNorm after the aggregation
    attention_channels: int
    min_variance: float       # floor under the square root of a standard deviation
    unbiased_context: bool    # the context's standard deviation divides by T - 1, or by T
    attention_norm: bool      # ReLU and BatchNorm in the attention, before its tanh
    embedding_norm: bool      # BatchNorm after the last layer


class SERes2Block(nn.Cell):
    """1x1 convolution, Res2Net, 1x1 convolution, squeeze-excitation, around a residual: (B, C, 1, T) -> same."""

    def __init__(self, channels: int, dilation: int, kind: Variant):
        super().__init__()
        self.reduce = ConvReluNorm(channels, channels)
        self.res2net = Res2Net(channels, dilation, kind)
        self.expand = ConvReluNorm(channels, channels)
        self.se = SqueezeExcitation(channels)

    def construct(self, x, lengths=None, mask=None):
        y = self.res2net(self.reduce(x), lengths, mask)
        return x + self.se(self.expand(y), mask)


class Res2Net(nn.Cell):
    """Splits of C / 8 channels; each is added the previous one's output, then convolved: (B, C, 1, T) -> same."""

    def __init__(self, channels: int, dilation: int, kind: Variant):
        super().__init__()
        self.width = channels // RES2NET_SCALE
        self.pass_first = kind.pass_first
        self.convs = nn.CellList([ConvReluNorm(self.width, self.width, 3, dilation, kind.reflect_padding)
                                  for _ in range(RES2NET_SCALE - 1)])

    def construct(self, x, lengths=None, mask=None):
        splits = ops.split(x, self.width, 1)
        first, last = (splits[:1], ()) if self.pass_first else ((), splits[-1:])
        splits = splits[1:] if self.pass_first else splits[:-1]
        y = self.convs[0](splits[0], lengths, mask)
        outputs = (y,)
        for i in range(1, RES2NET_SCALE - 1):
            y = self.convs[i](splits[i] + y, lengths, mask)
            outputs += (y,)
        return ops.cat(first + outputs + last, 1)


class SqueezeExcitation(nn.Cell):
    """Scales every channel by a gate computed from the mean over time of all: (B, C, 1, T) -> same."""

    def __init__(self, channels: int):
        super().__init__()
        self.squeeze = conv1x1(channels, SE_CHANNELS)
        self.excite = conv1x1(SE_CHANNELS, channels)
        self.statistics = cpu_ops.TimeStatistics()

    def construct(self, x, mask=None):
        mean, _ = self.statistics(x, mask)
        gate = self.excite(ops.relu(self.squeeze(mean)))                 # (B, C, 1, 1)
        return x * ops.sigmoid(gate)


class FastSERes2Block(SERes2Block):
    """A block as one operator of a CPU where no mask is given: in training, and for utterances without padding.

    Which of its parameters are which inputs of `cpu_ops.layers.res2net_block`; the operator and its gradients are
    beside their kernel.
    """

    bfloat16: bool

    def prepare(self) -> bool:
        """Makes the operators, and puts the parameters together; while a graph is compiled that takes seconds."""
        from utils.cpu_ops.layers import res2net_block  # only now: nobody comes here where CPU_OPS is 0

        res2net = self.res2net
        dilation, mirrored = res2net.convs[0].conv.dilation[1], res2net.convs[0].reflect
        self.train_function, self.function = (
            res2net_block((dilation, training, int(res2net.pass_first), int(mirrored)), self.bfloat16)
            for training in (1, 0))
        cells: Any = (self.reduce, *res2net.convs, self.expand)     # all of which have a norm
        layers = [(cell.conv.weight, cell.conv.bias, cell.norm.gamma, cell.norm.beta, cell.norm.moving_mean,
                   cell.norm.moving_variance) for cell in cells]
        self.first, self.last = layers[0], layers[-1]
        self.between = tuple(zip(*layers[1:-1], strict=True))       # the seven layers of Res2Net, to be stacked
        self.moving = tuple(weight for layer in layers for weight in layer[4:])
        return True

    def construct(self, x, lengths=None, mask=None):
        if mask is not None or lengths is not None:
            return super().construct(x, lengths, mask)
        between = ()
        for weights in self.between:
            between += (ops.stack(weights),)
        se = self.se
        function = self.train_function if self.training else self.function
        y = function(x, *self.first, *between, *self.last, se.squeeze.weight, se.squeeze.bias, se.excite.weight,
                     se.excite.bias)
        if self.training:
            for i, statistic in enumerate(self.moving):
                ops.assign(statistic, y[7 + i])
        return y[0]


class ConvReluNorm(nn.Cell):
    """Convolution over time that keeps T, ReLU, BatchNorm (in this order): (B, C_in, 1, T) -> (B, C_out, 1, T)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, dilation: int = 1, reflect: bool = False,
                 norm: bool = True):
        super().__init__()
        self.side = dilation * (kernel - 1) // 2
        self.reflect = reflect and self.side > 0
        pad = 0 if self.reflect else self.side
        self.conv = nn.Conv2d(in_channels, out_channels, (1, kernel), pad_mode="pad", padding=(0, 0, pad, pad),
                              dilation=(1, dilation), has_bias=True)
        self.norm = batch_norm(out_channels) if norm else nn.Identity()

    def construct(self, x, lengths=None, mask=None):
        if self.reflect:
            x = mirror_ends(x, self.side, lengths)
        elif mask is not None and self.side > 0:
            x = x * mask
        return self.norm(ops.relu(self.conv(x)))


def conv1x1(in_channels: int, out_channels: int, has_bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, has_bias=has_bias)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=0.9)   # PyTorch's 0.1
