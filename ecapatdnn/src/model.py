"""ECAPA-TDNN: one embedding per utterance from its filter-bank features.

Desplanques, Thienpondt, Demuynck: "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020, arXiv:2005.07143.

Letters: B utterances, F mel bands, T frames, C channels, M aggregated channels, E embedding size.
Everything between input and embedding is kept as (B, C, 1, T): on every backend the 1-D convolution
is the 2-D one with height 1, and one layout throughout spares two reshapes a layer.
"""
from dataclasses import dataclass

import mindspore as ms
from mindspore import nn, ops

SE_CHANNELS = 128
RES2_SCALE = 8
DILATIONS = (2, 3, 4)


@dataclass(frozen=True)
class Variant:
    """What the two published networks do differently. Weights move only within a variant."""

    sum_inputs: bool          # a block takes the sum of all outputs before it, else only the last
    pass_first: bool          # Res2Net leaves its first split unconvolved, else its last
    reflect_padding: bool     # of convolutions wider than 1, else zeros
    mfa_norm: bool            # BatchNorm after the aggregation
    attention_channels: int
    min_variance: float       # floor under the square root of a standard deviation
    unbiased_context: bool    # global standard deviation divides by T - 1
    embedding_norm: bool      # BatchNorm after the last layer


VARIANTS = {
    "speechbrain": Variant(False, True, True, True, 128, 1e-12, False, False),
    "taoruijie": Variant(True, False, False, False, 256, 1e-4, True, True),
}


class ConvReluNorm(nn.Cell):
    """Dilated convolution over time, ReLU, BatchNorm: (B, C_in, 1, T) -> (B, C_out, 1, T)."""

    def __init__(self, in_channels, out_channels, kernel=1, dilation=1, reflect=False, norm=True):
        super().__init__()
        self.pad = dilation * (kernel - 1) // 2
        self.reflect = reflect and self.pad > 0
        side = 0 if self.reflect else self.pad
        self.conv = nn.Conv2d(in_channels, out_channels, (1, kernel), pad_mode="pad", padding=(0, 0, side, side),
                              dilation=(1, dilation), has_bias=True)
        self.norm = nn.BatchNorm2d(out_channels, momentum=0.9) if norm else None

    def construct(self, x, mask=None):
        if self.reflect:
            x = reflect_pad(x, self.pad)
        elif mask is not None and self.pad > 0:
            x = x * mask
        x = ops.relu(self.conv(x))
        return x if self.norm is None else self.norm(x)


def reflect_pad(x, pad):
    left = ops.flip(x[..., 1:pad + 1], (3,))
    right = ops.flip(x[..., -pad - 1:-1], (3,))
    return ops.cat((left, x, right), 3)


class Res2Net(nn.Cell):
    def __init__(self, channels, dilation, variant):
        super().__init__()
        self.width = channels // RES2_SCALE
        self.pass_first = variant.pass_first
        self.blocks = nn.CellList([ConvReluNorm(self.width, self.width, 3, dilation, variant.reflect_padding)
                                   for _ in range(RES2_SCALE - 1)])

    def construct(self, x, mask=None):
        splits = ops.split(x, self.width, 1)
        untouched, rest = (splits[0], splits[1:]) if self.pass_first else (splits[-1], splits[:-1])
        outputs = ()
        y = 0
        for block, split in zip(self.blocks, rest):
            y = block(split + y, mask)
            outputs += (y,)
        outputs = (untouched,) + outputs if self.pass_first else outputs + (untouched,)
        return ops.cat(outputs, 1)


class SqueezeExcite(nn.Cell):
    def __init__(self, channels):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, SE_CHANNELS, 1, has_bias=True)
        self.excite = nn.Conv2d(SE_CHANNELS, channels, 1, has_bias=True)

    def construct(self, x, mask=None):
        mean = x.mean(3, keep_dims=True) if mask is None else (x * mask).sum(3, keepdims=True) / mask.sum(3, keepdims=True)
        return x * ops.sigmoid(self.excite(ops.relu(self.squeeze(mean))))


class SERes2Block(nn.Cell):
    def __init__(self, channels, dilation, variant):
        super().__init__()
        self.reduce = ConvReluNorm(channels, channels)
        self.res2net = Res2Net(channels, dilation, variant)
        self.expand = ConvReluNorm(channels, channels)
        self.se = SqueezeExcite(channels)

    def construct(self, x, mask=None):
        y = self.reduce(x)
        y = self.res2net(y, mask)
        y = self.expand(y)
        return x + self.se(y, mask)


class AttentivePooling(nn.Cell):
    def __init__(self, channels, variant):
        super().__init__()
        self.min_variance = variant.min_variance
        self.unbiased = variant.unbiased_context
        self.hidden = nn.Conv2d(channels, variant.attention_channels, 1, has_bias=True)
        self.context = nn.Conv2d(2 * channels, variant.attention_channels, 1, has_bias=False)
        self.norm = nn.BatchNorm2d(variant.attention_channels)
        self.score = nn.Conv2d(variant.attention_channels, channels, 1, has_bias=True)

    def construct(self, x, mask=None):
        n = x.shape[3]
        mean = x.mean(3, keep_dims=True)
        var = (x - mean).square().mean(3, keep_dims=True)
        if self.unbiased:
            var = var * n / (n - 1)
        std = ops.sqrt(ops.maximum(var, self.min_variance))
        h = self.hidden(x) + self.context(ops.cat((mean, std), 1))
        score = self.score(ops.tanh(self.norm(ops.relu(h))))
        w = ops.softmax(score, 3)
        mean = (x * w).sum(3)
        var = (x.square() * w).sum(3) - mean.square()
        std = ops.sqrt(ops.maximum(var, self.min_variance))
        return ops.cat((mean, std), 1)


class EcapaTdnn(nn.Cell):
    def __init__(self, in_channels=80, channels=1024, emb_size=192, mfa_channels=1536, variant="speechbrain"):
        super().__init__()
        v = VARIANTS[variant]
        self.sum_inputs = v.sum_inputs
        self.stem = ConvReluNorm(in_channels, channels, 5, 1, v.reflect_padding)
        self.blocks = nn.CellList([SERes2Block(channels, d, v) for d in DILATIONS])
        self.mfa = ConvReluNorm(3 * channels, mfa_channels, norm=v.mfa_norm)
        self.pool = AttentivePooling(mfa_channels, v)
        self.pool_norm = nn.BatchNorm2d(2 * mfa_channels)
        self.fc = nn.Conv2d(2 * mfa_channels, emb_size, 1, has_bias=True)
        self.norm = nn.BatchNorm2d(emb_size) if v.embedding_norm else None

    def construct(self, features, mask=None):
        x = features.transpose(0, 2, 1).expand_dims(2)
        x = self.stem(x, mask)
        outs = ()
        for b in self.blocks:
            y = b(x, mask)
            outs += (y,)
            x = x + y if self.sum_inputs else y
        x = self.mfa(ops.cat(outs, 1))
        x = self.pool(x, mask).expand_dims(3)
        x = self.fc(self.pool_norm(x))
        if self.norm is not None:
            x = self.norm(x)
        return x[:, :, 0, 0]
