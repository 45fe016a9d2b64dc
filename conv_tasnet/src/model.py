"""Conv-TasNet: the voices of a mixture, by masks on a learnt representation of the waveform.

Luo, Mesgarani: "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking for Speech Separation",
IEEE/ACM TASLP 27(8), 2019, arXiv:1809.07454.

Letters, for all modules of src/; those of sizes are the paper's and the names of the settings:

    M   mixtures of a batch
    S   samples of a mixture, n any number of samples
    T   frames, each a stride of L / 2 after the one before: see frames.py
    D   channels of a layer that is used with several numbers of them
    N   filters of the encoder and of the decoder
    L   their length in samples
    B   channels of the bottleneck and of the residual path
    H   channels inside a block
    Sc  channels of the skip path
    P   taps of a depthwise convolution
    X   blocks per repeat
    R   repeats
    C   speakers
"""
from dataclasses import dataclass
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from conv_tasnet.src.block import Block, FastBlock
from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import frame_count
from conv_tasnet.src.layers import PReLU, conv1x1, norm_class
from utils.errors import SettingError
from utils.layers.shapes import length_mask


@dataclass(frozen=True)
class Variant:
    """What the published networks do differently. Weights move only within a variant."""

    encoder_relu: bool    # rectified representation, or linear
    first_norm: str       # norm of the representation; "": as in the blocks
    has_bias: bool        # of the separator's convolutions
    mask_prelu: bool      # PReLU before the masks


VARIANTS = {
    "asteroid": Variant(False, "", True, True),            # torchaudio's too
    "kaituoxu": Variant(True, "cLN", False, False),        # SpeechBrain's too
}


class ConvTasNet(nn.Cell):
    """Mixtures (M, S) -> sources (M, C, S).

    Only whole strides are separated: where S is no multiple of L / 2, the samples that are left over give zeros, as
    in the originals. `lengths` (M,) int: the samples of each mixture where the batch is padded; the result is then
    what each mixture gives alone (for BN: in evaluation).
    """

    fast_cells = {Block: FastBlock}     # for utils.cpu_ops.fast
    runner_cells = fast_cells           # for utils.cpu_ops.fuse: ascend310_infer/src/lite_ops.cc has the operator

    def __init__(self, config: Config):
        super().__init__()
        check(config)
        kind = VARIANTS[config.variant]
        norm = norm_class(config.norm, config.causal)
        first_norm = norm_class(kind.first_norm or config.norm, config.causal)
        self.stride, self.filters, self.speakers = config.L // 2, config.N, config.C
        self.encoder_relu, self.mask_nonlinear = kind.encoder_relu, config.mask_nonlinear
        self.has_skip = config.Sc > 0
        self.encoder = conv1x1(config.L, config.N, has_bias=False)
        self.norm = first_norm(config.N)
        self.bottleneck = conv1x1(config.N, config.B, kind.has_bias)
        self.blocks = nn.CellList([Block(config, 2 ** x, norm, kind.has_bias)
                                   for _ in range(config.R) for x in range(config.X)])
        self.mask_prelu = PReLU() if kind.mask_prelu else nn.Identity()
        self.mask = conv1x1(config.Sc or config.B, config.C * config.N, kind.has_bias)
        self.decoder = conv1x1(config.N, config.L, has_bias=False)
        start_as_spectrum(self.encoder.weight, self.decoder.weight)

    def construct(self, mixture, lengths=None):
        samples = mixture.shape[1]
        whole = samples // self.stride * self.stride
        return pad_to(self.separate(mixture[:, :whole], lengths), samples, self.stride)

    def separate(self, mixture: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`construct` for whole strides of samples."""
        x = self.encode(self.frames(mixture))                              # (M, N, T)
        mask = None if lengths is None else frame_mask(x, frame_count(lengths, self.stride))   # (M, 1, T)
        y = self.bottleneck(self.norm(x, mask))                            # (M, B, T)
        skips = 0.0
        for block in self.blocks:
            y, skip = block(y, mask)
            skips = skips + skip
        return self.decode(x, skips if self.has_skip else y, mask)

    def start(self) -> tuple[Tensor, ...]:
        """The state of `stream` before a recording: of the first norm, of each block, and of the overlap."""
        state = self.norm.start()
        for block in self.blocks:
            state += block.start()
        return *state, ops.zeros((1, self.speakers, self.stride))

    def stream(self, mixture: Tensor, mask: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`construct` of a causal network part by part: (1, S + L / 2), (1, 1, T), state -> (1, C, S), state after it.

        Each part begins S samples, whole strides, after the one before. `mask`: 1 for the frames that are of the
        recording. The last stride of the part goes into the state: the next part adds to it.
        """
        x = self.encode(self.frames(mixture))                              # (1, N, T)
        first = self.norm.states
        y, after = self.norm.stream(x, state[:first])
        y, skips = self.bottleneck(y), 0.0                                 # (1, B, T)
        for block in self.blocks:
            last = first + 1 + block.norm1.states + block.norm2.states
            y, skip, inside = block.stream(y, state[first:last])
            after, skips, first = after + inside, skips + skip, last
        sounds = self.decode(x, skips if self.has_skip else y, mask)       # (1, C, S + L / 2)
        length = sounds.shape[2] - self.stride
        sounds = sounds + ops.cat((state[-1], ops.zeros((1, self.speakers, length))), 2)
        return sounds[:, :, :length], (*after, sounds[:, :, length:])

    def frames(self, mixture: Tensor) -> Tensor:
        """Frames of L samples that overlap by half: (M, S) -> (M, L, T), S of whole strides."""
        halves = mixture.reshape(mixture.shape[0], -1, self.stride).transpose(0, 2, 1)
        return ops.cat((halves[:, :, :-1], halves[:, :, 1:]), 1)

    def encode(self, frames: Tensor) -> Tensor:
        """(M, L, T) -> (M, N, T)."""
        x = self.encoder(frames)
        return ops.relu(x) if self.encoder_relu else x

    def decode(self, x: Tensor, y: Any, mask: Tensor | None = None) -> Tensor:
        """Masks from y (M, B or Sc, T) on x (M, N, T), back to sound: (M, C, (T + 1) L / 2)."""
        masks = self.nonlinear(self.mask(self.mask_prelu(y)))              # (M, C N, T)
        if mask is not None:
            x = x * mask
        sounds = ()
        for speaker_mask in ops.split(masks, self.filters, 1):             # (M, N, T)
            sounds += (overlap_add(self.decoder(speaker_mask * x)),)
        return ops.stack(sounds, 1)

    def nonlinear(self, score: Tensor) -> Tensor:
        if self.mask_nonlinear == "softmax":
            shape = (score.shape[0], self.speakers, self.filters, -1)
            return ops.softmax(score.reshape(shape), 1).reshape(score.shape[0], self.speakers * self.filters, -1)
        return ops.relu(score) if self.mask_nonlinear == "relu" else ops.sigmoid(score)


class WholeStrides(nn.Cell):
    """The network for mixtures of whole strides: without the slices for others, which would fix its length."""

    def __init__(self, model: ConvTasNet):
        super().__init__()
        self.model = model

    def construct(self, mixture, lengths=None):
        return self.model.separate(mixture, lengths)


def check(config: Config) -> None:
    """SettingError for sizes that make no network."""
    if config.L % 2:
        raise SettingError(f"L: found {config.L}, expected an even number: the stride is half of it")
    if config.P % 2 == 0 and not config.causal:
        raise SettingError(f"P: found {config.P}, expected an odd number, as many taps before as after")


def start_as_spectrum(encoder: Parameter, decoder: Parameter) -> None:
    """Starts the encoder, (N, L, 1, 1), as windowed sinusoids in four phases and the decoder as its inverse.

    Masks of 1 then give the mixture back, and masks can tell voices by frequency from the first step. Drawn at random,
    as in the originals, the two give noise at -25 dB and thousands of steps pass before the network begins to
    separate. Phases: Ditter, Gerkmann, arXiv:1910.11615.
    """
    filters, length = encoder.shape[:2]
    frequencies = -(-filters // 4)
    number, sample = np.arange(filters)[:, None], np.arange(length)
    phase = (number // 4 + 0.5) * np.pi / frequencies * (sample + 0.5) + number % 4 * np.pi / 2
    window = np.sin((sample + 0.5) * np.pi / length)             # its square and that of the next half add up to 1
    frame = window * np.cos(phase) / np.sqrt(2 * frequencies)    # a tight frame where N >= 2 L
    encoder.set_data(Tensor(frame.reshape(encoder.shape), encoder.dtype))
    decoder.set_data(Tensor(frame.T.reshape(decoder.shape), decoder.dtype))


def overlap_add(frames: Tensor) -> Tensor:
    """Frames of L samples that overlap by half, added up: (M, L, T) -> (M, (T + 1) L / 2)."""
    stride = frames.shape[1] // 2
    nothing = ops.zeros((frames.shape[0], stride, 1), frames.dtype)
    halves = ops.cat((frames[:, :stride], nothing), 2) + ops.cat((nothing, frames[:, stride:]), 2)
    return halves.transpose(0, 2, 1).reshape(frames.shape[0], -1)


def frame_mask(x: Tensor, count: Tensor) -> Tensor:
    """1 for the first `count` (M,) frames of each mixture, 0 for the rest: (M, 1, T)."""
    return length_mask(x[:, 0], count).expand_dims(1).astype(x.dtype)


def pad_to(sounds: Tensor, samples: int, stride: int) -> Tensor:
    """Zeros at the end, less than a stride of them: (M, C, S) -> (M, C, samples)."""
    # without an `if`, which a graph for any length would keep, and MindSpore 2.10 cannot load that twice in a process
    zeros = ops.zeros(sounds.shape[:2] + (stride,), sounds.dtype)
    return ops.cat((sounds, zeros), 2)[:, :, :samples]
