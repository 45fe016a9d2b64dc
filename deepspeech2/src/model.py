"""DeepSpeech2: spectrograms to the log probabilities of characters, as deepspeech.pytorch builds it.

Amodei et al.: "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin", ICML 2016, arXiv:1512.02595.

Letters: B utterances, T frames of 10 ms, T' frames of 20 ms, F frequency bins, C channels, H hidden, K labels.
"""
from typing import TypeVar

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Uniform, initializer

from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS
from utils import cpu_ops
from utils.errors import SettingError
from utils.export.lite2 import ASCEND
from utils.layers.ascend import UNITS
from utils.layers.shapes import length_mask

Count = TypeVar("Count", int, Tensor)
CEILING = 20        # of the clipped ReLU
BEFORE, AFTER = 16, 14   # features around those of their own time that frames of 20 ms depend on


class DeepSpeech2(nn.Cell):
    """Features (B, T, F), frames (B,) int32 -> log probabilities (T', B, K) float32, frames (B,) of them.

    In evaluation a padded batch gives what each utterance gives alone.
    """

    def __init__(self, config: Config):
        super().__init__()
        check(config)
        self.conv = ConvStack(config.conv_channels)
        if ms.get_context("device_target") == "Ascend":
            self.conv.for_ascend()
        self.mask = cpu_ops.Masking()
        width = config.conv_channels * bins_after(BINS)
        sizes = [width] + [config.hidden_size] * (config.hidden_layers - 1)
        self.layers = nn.CellList([Recurrent(config, size, has_norm=i > 0) for i, size in enumerate(sizes)])
        self.lookahead = None if config.bidirectional else Lookahead(config.hidden_size, config.lookahead_context)
        self.norm = FrameBatchNorm(config.hidden_size)
        self.output = nn.Dense(config.hidden_size, len(config.labels), has_bias=False)

    def construct(self, features, frames):
        mask = time_mask(features, frames)
        return self.listen(self.mask(features, mask.expand_dims(2)), frames, mask)

    def listen(self, features: Tensor, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """`construct` with the mask of the frames, (B, T), and zeros in the padding of the features.

        deepspeech.pytorch takes the padding as it is: whatever stands there reaches 10 frames into the utterance.
        """
        x, mask = self.conv(features, mask)                                 # (T', B, 41 C), (B, T')
        frames, mask = frames_after(frames), mask.transpose(1, 0).expand_dims(2)    # (B,), (T', B, 1)
        for layer in self.layers:
            x = layer(x, frames, mask)                                      # (T', B, H)
        if self.lookahead is not None:
            x = self.lookahead(x)
        return self.label(x), frames

    def label(self, x: Tensor) -> Tensor:
        """(T', B, H) -> log probabilities (T', B, K)."""
        scores = self.output(self.norm(x).reshape(-1, x.shape[2])).astype(ms.float32)
        return ops.log_softmax(scores, -1).reshape(-1, x.shape[1], scores.shape[1])

    def start(self) -> tuple[Tensor, ...]:
        """The state of `stream` before a recording: of each recurrent layer, and what the lookahead waits for."""
        nothing = ops.zeros((1, 1, self.output.in_channels))
        states = [nothing] * sum(layer.states for layer in self.layers)
        context = self.lookahead.context    # pyright: ignore[reportOptionalMemberAccess]  # only such stream
        return *states, ops.zeros((context - 1, 1, self.output.in_channels))

    def stream(self, features: Tensor, inside: Tensor, mask: Tensor,
               *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`construct` of a unidirectional network part by part: log probabilities (n, 1, K), state after the part.

        features: (1, BEFORE + 2 n + AFTER, F) that the next n frames depend on, zeros beyond the recording
        inside:   (1, n + 10), 1 for the frames of the first convolution that are of the recording
        mask:     (n,), the same for the next n frames
        The result belongs to the n frames that end context - 1 frames before those.
        """
        x, after, first = self.conv.slide(features, inside), (), 0          # (n, 1, 41 C)
        for layer in self.layers:
            x, carried = layer.stream(x, state[first:first + layer.states])
            after, first = after + carried, first + layer.states
        x = ops.cat((state[first], x * mask.reshape(-1, 1, 1)), 0)          # (context - 1 + n, 1, H)
        x, behind = self.lookahead(x), x[mask.shape[0]:]    # pyright: ignore[reportOptionalCall]  # likewise
        return self.label(x[:mask.shape[0]]), after + (behind,)


class FixedLength(nn.Cell):
    """The network with the frames' numbers as a constant: MindSpore's ONNX export knows no CumSum."""

    def __init__(self, model: DeepSpeech2, length: int):
        super().__init__()
        self.model = model
        self.number = Tensor(np.arange(length, dtype=np.float32)[None])

    def construct(self, features, frames):
        mask = (self.number < frames.reshape(-1, 1).astype(ms.float32)).astype(ms.float32)
        return self.model.listen(features * mask.expand_dims(2), frames, mask)


class ConvStack(nn.Cell):
    """Two convolutions over time and frequency: (B, T, F), mask (B, T) -> (T', B, 41 C), mask (B, T').

    Between them are images of frequency by time, or for an Ascend of time by frequency.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first = conv(1, channels, (41, 11), (2, 2))
        self.first_norm = nn.BatchNorm2d(channels, momentum=0.9)            # PyTorch's 0.1
        self.second = conv(channels, channels, (21, 11), (2, 1))
        self.second_norm = nn.BatchNorm2d(channels, momentum=0.9)
        self.clip = cpu_ops.ClippedReLU(CEILING)
        self.mask = cpu_ops.Masking()
        self.upright = False

    def for_ascend(self) -> None:
        """Exchanges the axes of the images: the convolutions of CANN take 100,000 rows, but 4096 columns.

        And fewer under a tall kernel, of whose rows the buffer L1 must hold all and some more (CANN's check_l1_size
        in util_conv2d_dynamic.py): 43 rows of 762 columns, where a recording has 100 columns a second.
        """
        self.upright = True
        for layer in (self.first, self.second):
            layer.conv2d = ExchangedAxes(layer)

    def construct(self, features, mask):
        x = self.first(self.image(features))                                # (B, C, 81, T')
        mask = mask[:, ::2]
        inside = self.image_mask(mask)
        x = self.mask(self.clip(self.first_norm(self.mask(x, inside))), inside)
        x = self.mask(self.clip(self.second_norm(self.mask(self.second(x), inside))), inside)   # (B, C, 41, T')
        return self.flatten(x), mask

    def slide(self, features: Tensor, inside: Tensor) -> Tensor:
        """Features (1, BEFORE + 2 n + AFTER, F), mask of the first layer (1, n + 10) -> (n, 1, 41 C), not padded."""
        x = self.cut(self.first(self.image(features)), 3, 2)                # the rest has seen padding
        x = self.clip(self.first_norm(x)) * self.image_mask(inside)
        return self.flatten(self.cut(self.clip(self.second_norm(self.second(x))), 5, 5))

    def image(self, features: Tensor) -> Tensor:
        """(B, T, F) -> (B, 1, F, T)."""
        return (features if self.upright else features.transpose(0, 2, 1)).expand_dims(1)

    def image_mask(self, mask: Tensor) -> Tensor:
        """(B, T) -> (B, 1, 1, T)."""
        return mask.reshape(mask.shape[0], 1, -1, 1) if self.upright else mask.reshape(mask.shape[0], 1, 1, -1)

    def cut(self, x: Tensor, first: int, last: int) -> Tensor:
        """(B, C, F, T) without its first and last frames."""
        return x[:, :, first:-last] if self.upright else x[:, :, :, first:-last]

    def flatten(self, x: Tensor) -> Tensor:
        """(B, C, 41, T') -> (T', B, 41 C)."""
        x = x.transpose(2, 0, 1, 3) if self.upright else x.transpose(3, 0, 1, 2)
        return x.reshape(-1, x.shape[1], x.shape[2] * x.shape[3])


class ExchangedAxes(nn.Cell):
    """The operator of a convolution, for images whose axes are exchanged: its filters stay as they are stored."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        top, bottom, left, right = layer.padding
        self.operator = ops.Conv2D(layer.out_channels, layer.kernel_size[::-1], pad_mode="pad",
                                   pad=(left, right, top, bottom), stride=layer.stride[::-1])

    def construct(self, x, weight):
        return self.operator(x, weight.transpose(0, 1, 3, 2))


def conv(in_channels: int, out_channels: int, kernel: tuple[int, int], stride: tuple[int, int]) -> nn.Conv2d:
    """Over frequency and time, with zeros that keep the kernel central: (B, I, F, T) -> (B, O, F', T')."""
    tall, wide = kernel[0] // 2, kernel[1] // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride, pad_mode="pad", padding=(tall, tall, wide, wide),
                     has_bias=True)


class FrameBatchNorm(nn.Cell):
    """BatchNorm over all frames of a batch: (T', B, H) -> same."""

    def __init__(self, size: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(size, momentum=0.9)                      # PyTorch's 0.1

    def construct(self, x):
        return self.norm(x.reshape(-1, x.shape[2], 1, 1)).reshape(-1, x.shape[1], x.shape[2])


class Recurrent(nn.Cell):
    """BatchNorm but for the first, and one or both directions in time, summed: (T', B, I) -> (T', B, H)."""

    def __init__(self, config: Config, size: int, has_norm: bool):
        super().__init__()
        rnn = {"lstm": nn.LSTM, "gru": nn.GRU}[config.rnn_type]
        self.states = 2 if config.rnn_type == "lstm" else 1      # h and c, or h
        self.norm = FrameBatchNorm(size) if has_norm else None
        self.mask = cpu_ops.Masking()
        self.bidirectional = config.bidirectional
        self.rnn = rnn(size, config.hidden_size)
        if self.bidirectional:
            self.rnn = cpu_ops.BothDirections(self.rnn, rnn(size, config.hidden_size))

    def construct(self, x, frames, mask):
        if self.norm is not None:
            x = self.norm(x)
        y = self.rnn(x, frames) if self.bidirectional else self.rnn(x)[0]
        return self.mask(y.astype(x.dtype), mask)   # Ascend's kernels return float16

    def stream(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(n, 1, I), the layer's states -> (n, 1, H), the states after it."""
        if self.norm is not None:
            x = self.norm(x)
        if self.states == 1:
            y, h = self.rnn(x, state[0])
            return y.astype(x.dtype), (h,)
        y, after = self.rnn(x, state)
        return y.astype(x.dtype), after


class Lookahead(nn.Cell):
    """A filter a unit over this frame and the `context` - 1 after it, clipped: (T', B, H) -> same.

    Wang et al., "Lookahead Convolution Layer for Unidirectional Recurrent Neural Networks", ICLR 2016 workshop.
    """

    def __init__(self, size: int, context: int):
        super().__init__()
        self.context = context
        bound = Uniform(context ** -0.5)      # as PyTorch draws the weights of a convolution
        self.weight = Parameter(initializer(bound, (size, 1, 1, context)))
        self.function = cpu_ops.Depthwise(size, context, 1, 0, context - 1)
        self.clip = cpu_ops.ClippedReLU(CEILING)

    def construct(self, x):
        y = self.function(x.transpose(1, 2, 0).expand_dims(2), self.weight).squeeze(2)  # (B, H, T')
        return self.clip(y).transpose(2, 0, 1)


def check(config: Config) -> None:
    """SettingError for settings that make no network."""
    for_ascend = config.runtime in ASCEND or ms.get_context("device_target") == "Ascend"
    if for_ascend and config.hidden_size % UNITS:
        raise SettingError(f"hidden_size: found {config.hidden_size}, expected a multiple of {UNITS}, which the "
                           "recurrent layers of an Ascend need")


def frames_after(frames: Count) -> Count:
    """T' of T."""
    return (frames - 1) // 2 + 1


def bins_after(bins: int) -> int:
    """What the convolutions leave of F frequency bins."""
    return ((bins - 1) // 2) // 2 + 1


def time_mask(features: Tensor, frames: Tensor) -> Tensor:
    """1 for the first `frames` (B,) of the T frames of features (B, T, F), 0 for the rest: (B, T) float32."""
    return length_mask(features[:, :, 0], frames)
