"""ECAPA-TDNN: one embedding per utterance from its filter-bank features.

Desplanques, Thienpondt, Demuynck: "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020, arXiv:2005.07143.

Letters: B utterances, F mel bands, T frames, C channels, M aggregated channels, A attention channels,
E embedding size. Between input and embedding everything is (B, C, 1, T): a 1-D convolution is a 2-D one of
height 1 on every backend, and one layout throughout spares two reshapes per layer.
"""
from dataclasses import dataclass

from mindspore import Tensor, nn, ops

from ecapatdnn.src.config import Config
from utils import cpu_ops
from utils.errors import SettingError
from utils.layers.shapes import length_mask, mirror_ends, ones_like, unbiased

DILATIONS = (2, 3, 4)
RES2NET_SCALE = 8
SE_CHANNELS = 128


@dataclass(frozen=True)
class Variant:
    """What the two published networks do differently. Weights move only within a variant."""

    sum_inputs: bool          # a block takes the sum of all outputs before it (the paper), or only the last
    pass_first: bool          # Res2Net leaves its first split unconvolved, or its last
    reflect_padding: bool     # of convolutions wider than 1, or zeros
    mfa_norm: bool            # BatchNorm after the aggregation
    attention_channels: int
    min_variance: float       # floor under the square root of a standard deviation
    unbiased_context: bool    # the context's standard deviation divides by T - 1, or by T
    embedding_norm: bool      # BatchNorm after the last layer


VARIANTS = {
    "taoruijie": Variant(True, False, False, False, 256, 1e-4, True, True),
    "speechbrain": Variant(False, True, True, True, 128, 1e-12, False, False),
}


class EcapaTdnn(nn.Cell):
    """Features (B, T, F) -> embeddings (B, E), not normalised.

    `lengths` (B,) int: the frames of each utterance where the batch is padded; the result is then what each
    utterance gives alone. T is at least 9: the widest padding of a convolution must fit.
    """

    def __init__(self, in_channels: int = 80, channels: int = 1024, emb_size: int = 192, mfa_channels: int = 1536,
                 variant: str = "taoruijie"):
        super().__init__()
        if variant not in VARIANTS:
            raise SettingError(f"variant: found {variant!r}, expected one of {', '.join(VARIANTS)}")
        if channels % RES2NET_SCALE:
            raise SettingError(f"channels: found {channels}, expected a multiple of {RES2NET_SCALE}")
        kind = VARIANTS[variant]
        self.sum_inputs = kind.sum_inputs
        self.stem = ConvReluNorm(in_channels, channels, kernel=5, reflect=kind.reflect_padding)
        self.blocks = nn.CellList([SERes2Block(channels, dilation, kind) for dilation in DILATIONS])
        self.mfa = ConvReluNorm(len(DILATIONS) * channels, mfa_channels, norm=kind.mfa_norm)
        self.pool = AttentiveStatistics(mfa_channels, kind)
        self.pool_norm = batch_norm(2 * mfa_channels)
        self.fc = conv1x1(2 * mfa_channels, emb_size)
        self.norm = batch_norm(emb_size) if kind.embedding_norm else nn.Identity()

    def construct(self, features, lengths=None):
        x = features.transpose(0, 2, 1).expand_dims(2)              # (B, F, 1, T)
        return self.embed(x, lengths, None if lengths is None else frame_mask(x, lengths))

    def embed(self, x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> Tensor:
        """(B, F, 1, T) -> (B, E). With the mask (B, 1, 1, T) but without lengths as SpeechBrain treats a batch.

        Its means and its pooling leave padding out, its convolutions do not: an utterance depends on its batch.
        """
        x = self.stem(x, lengths, mask)                             # (B, C, 1, T)
        outputs = ()
        for block in self.blocks:
            y = block(x, lengths, mask)
            outputs += (y,)
            x = x + y if self.sum_inputs else y
        x = self.mfa(ops.cat(outputs, 1))                           # (B, M, 1, T)
        x = self.pool_norm(self.pool(x, mask))                      # (B, 2M, 1, 1)
        return self.norm(self.fc(x)).reshape(x.shape[0], -1)        # (B, E)


def make_network(config: Config) -> EcapaTdnn:
    """The network that `config` describes."""
    return EcapaTdnn(config.in_channels, config.channels, config.emb_size, config.mfa_channels, config.variant)


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


class AttentiveStatistics(nn.Cell):
    """Channel- and context-dependent statistics pooling: (B, M, 1, T) -> (B, 2M, 1, 1), means then deviations.

    The published first layer convolves [x; mean; std] with the statistics repeated T times. A 1x1 convolution of
    something constant in time need not be repeated: `hidden` holds its columns for x, `context` those for the rest.
    """

    def __init__(self, channels: int, kind: Variant):
        super().__init__()
        self.deviation = Deviation(kind.min_variance)
        self.unbiased_context = kind.unbiased_context
        self.hidden = conv1x1(channels, kind.attention_channels)
        self.context = conv1x1(2 * channels, kind.attention_channels, has_bias=False)
        self.norm = batch_norm(kind.attention_channels)
        self.score = conv1x1(kind.attention_channels, channels)
        self.statistics, self.weighted_statistics = cpu_ops.TimeStatistics(), cpu_ops.SoftmaxStatistics()

    def construct(self, x, mask=None):
        mean, variance = self.statistics(x, mask)                         # (B, M, 1, 1)
        if self.unbiased_context:
            frames = (ones_like(x[:, :1]) if mask is None else mask).sum(3, keepdims=True)
            variance = variance * unbiased(frames)
        context = ops.cat((mean, self.deviation(variance)), 1)            # (B, 2M, 1, 1)
        x_hidden = ops.relu(self.hidden(x) + self.context(context))       # (B, A, 1, T)
        score = self.score(ops.tanh(self.norm(x_hidden)))                 # (B, M, 1, T)
        if mask is not None:
            score = score + (mask - 1) * 1e4                              # within float16, and exp gives exactly 0
        mean, variance = self.weighted_statistics(x, score)
        return ops.cat((mean, self.deviation(variance)), 1)


class Deviation(nn.Cell):
    """Variances -> standard deviations, of variances of at least `floor`: any shape -> same."""

    keeps_float32 = True        # which has numbers below 1e-7, and of a root of 0 an infinite gradient

    def __init__(self, floor: float):
        super().__init__()
        self.floor = floor

    def construct(self, variance):
        return ops.sqrt(ops.maximum(variance, self.floor))


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


def frame_mask(x: Tensor, lengths: Tensor) -> Tensor:
    """1 for the frames of an utterance, 0 for its padding: (B, C, 1, T), (B,) -> (B, 1, 1, T)."""
    return length_mask(x[:, 0, 0], lengths).expand_dims(1).expand_dims(1).astype(x.dtype)
