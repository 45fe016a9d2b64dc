"""ECAPA-TDNN: one embedding per utterance from its filter-bank features.

Desplanques, Thienpondt, Demuynck: "ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification", Interspeech 2020, arXiv:2005.07143.

Letters: B utterances, F mel bands, T frames, C channels, M aggregated channels, A attention channels,
E embedding size. Between input and embedding everything is (B, C, 1, T): a 1-D convolution is a 2-D one of
height 1 on every backend, and one layout throughout spares two reshapes per layer.
"""
from mindspore import Tensor, nn, ops

from ecapatdnn.src.block import RES2NET_SCALE, ConvReluNorm, FastSERes2Block, SERes2Block, Variant, batch_norm, conv1x1
from ecapatdnn.src.config import Config
from utils import cpu_ops
from utils.errors import SettingError
from utils.layers.shapes import length_mask, ones_like, unbiased

DILATIONS = (2, 3, 4)


VARIANTS = {
    "taoruijie": Variant(True, False, False, False, 256, 1e-4, True, True, True),
    "speechbrain": Variant(False, True, True, True, 128, 1e-12, False, True, False),
    "wespeaker": Variant(False, False, False, False, 128, 1e-10, True, False, False),
}


class EcapaTdnn(nn.Cell):
    """Features (B, T, F) -> embeddings (B, E), not normalised.

    `lengths` (B,) int: the frames of each utterance where the batch is padded; the result is then what each
    utterance gives alone. T is at least 9: the widest padding of a convolution must fit.
    """

    fast_cells = {SERes2Block: FastSERes2Block}     # for utils.cpu_ops.fast

    def __init__(self, in_channels: int = 80, channels: int = 1024, emb_size: int = 192, mfa_channels: int = 1536,
                 variant: str = "taoruijie", global_context: bool = True):
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
        self.pool = AttentiveStatistics(mfa_channels, kind, global_context)
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
    return EcapaTdnn(config.in_channels, config.channels, config.emb_size, config.mfa_channels, config.variant,
                     config.global_context)


class AttentiveStatistics(nn.Cell):
    """Channel- and context-dependent statistics pooling: (B, M, 1, T) -> (B, 2M, 1, 1), means then deviations.

    The published first layer convolves [x; mean; std] with the statistics repeated T times. A 1x1 convolution of
    something constant in time need not be repeated: `hidden` holds its columns for x, `context` those for the rest.
    Without the global context there is x alone.
    """

    def __init__(self, channels: int, kind: Variant, global_context: bool = True):
        super().__init__()
        self.deviation = Deviation(kind.min_variance)
        self.unbiased_context = kind.unbiased_context
        self.has_context, self.has_norm = global_context, kind.attention_norm
        self.hidden = conv1x1(channels, kind.attention_channels)
        if global_context:
            self.context = conv1x1(2 * channels, kind.attention_channels, has_bias=False)
        self.norm = batch_norm(kind.attention_channels) if kind.attention_norm else nn.Identity()
        self.score = conv1x1(kind.attention_channels, channels)
        self.statistics, self.weighted_statistics = cpu_ops.TimeStatistics(), cpu_ops.SoftmaxStatistics()

    def construct(self, x, mask=None):
        hidden = self.hidden(x)                                           # (B, A, 1, T)
        if self.has_context:
            hidden = hidden + self.context(self.statistics_of(x, mask))
        if self.has_norm:
            hidden = self.norm(ops.relu(hidden))
        score = self.score(ops.tanh(hidden))                              # (B, M, 1, T)
        if mask is not None:
            score = score + (mask - 1) * 1e4                              # within float16, and exp gives exactly 0
        mean, variance = self.weighted_statistics(x, score)
        return ops.cat((mean, self.deviation(variance)), 1)

    def statistics_of(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Means and deviations over the whole utterance: (B, M, 1, T) -> (B, 2M, 1, 1)."""
        mean, variance = self.statistics(x, mask)                         # (B, M, 1, 1)
        if self.unbiased_context:
            frames = (ones_like(x[:, :1]) if mask is None else mask).sum(3, keepdims=True)
            variance = variance * unbiased(frames)
        return ops.cat((mean, self.deviation(variance)), 1)


class Deviation(nn.Cell):
    """Variances -> standard deviations, of variances of at least `floor`: any shape -> same."""

    keeps_float32 = True        # which has numbers below 1e-7, and of a root of 0 an infinite gradient

    def __init__(self, floor: float):
        super().__init__()
        self.floor = floor

    def construct(self, variance):
        return ops.sqrt(ops.maximum(variance, self.floor))


def frame_mask(x: Tensor, lengths: Tensor) -> Tensor:
    """1 for the frames of an utterance, 0 for its padding: (B, C, 1, T), (B,) -> (B, 1, 1, T)."""
    return length_mask(x[:, 0, 0], lengths).expand_dims(1).expand_dims(1).astype(x.dtype)
