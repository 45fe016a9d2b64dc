"""The front-ends of features.py as layers, so that an exported graph takes samples: equal to them but for rounding.

Letters: N samples, T frames, F mel bands, K frequency bins.
"""
import numpy as np
import scipy.fft
from mindspore import Parameter, Tensor, nn, ops

from ecapatdnn.src.features import EPSILON32, HOP, WINDOW, frame_count, get_front_end, mel_filters, window
from utils.layers.shapes import length_mask, mean_over
from utils.layers.spectrum import RAISE, Squares

LOWEST = -1e4       # far below any logarithm, and a number of float16


class FromWaveform(nn.Cell):
    """Samples (1, N) in [-1, 1] -> what `model` gives for their features.

    With `samples` (1,) int32 it is what the first of them give alone: N is a multiple of HOP then, the rest zeros.
    """

    def __init__(self, model: nn.Cell, front_end: str, bands: int):
        super().__init__()
        self.features, self.model, self.front_end = FilterBank(front_end, bands), model, front_end

    def construct(self, waveform, samples=None):
        if samples is None:
            return self.model(self.features(waveform))
        return self.model(self.features(waveform, samples), frame_count(samples, self.front_end))


class FilterBank(nn.Cell):
    """Samples (1, N) -> log mel features (1, T, F), zero mean over time: features.filter_bank without dither.

    `samples` as in FromWaveform; the features of frames beyond them are of no meaning. The scale of the samples is
    left out, as the mean of a logarithm takes it away, but for the floor.
    """

    def __init__(self, name: str, bands: int):
        super().__init__()
        front_end = get_front_end(name)
        self.name, self.log = name, front_end.filters
        self.pre_emphasis = front_end.pre_emphasis if front_end.frames != "snip" else 0.0   # else within each frame
        side = 0 if front_end.frames == "snip" else WINDOW // 2
        kernel, filters = fourier_kernel(name), mel_filters(name, bands)
        self.squares = Squares(kernel, HOP, side, front_end.frames == "reflect")
        filters = np.concatenate((filters, filters))        # of the squares of the real and the imaginary parts
        filters = np.pad(filters, ((0, self.squares.rows - len(filters)), (0, 0)))
        self.product = ops.MatMul()
        self.mel = Parameter(Tensor(filters), "mel", requires_grad=False)
        floor = {"hz": 1e-6, "mel": EPSILON32, "speechbrain": 1e-10}[self.log]
        self.floor = floor ** 0.5 / front_end.scale * RAISE     # its square is the least power where the gain is 1

    def construct(self, waveform, samples=None):
        x = waveform
        if self.pre_emphasis:
            x = x - self.pre_emphasis * ops.cat((x[:, 1:2], x[:, :-1]), 1)
        squares, gain = self.squares(x, samples)                                # (T, R), (T, 1)
        mask = None
        if samples is not None:
            mask = length_mask(gain.reshape(1, -1), frame_count(samples, self.name)).reshape(-1, 1)
        x = self.level(self.product(squares, self.mel), gain, mask)             # (T, F)
        x = x - mean_over(x, 0, mask)
        if self.log == "speechbrain":
            x = x * (10 / np.log(10))       # decibel
        return x.expand_dims(0)

    def level(self, mel: Tensor, gain: Tensor, mask: Tensor | None) -> Tensor:
        """Natural logarithm of the power in the bands, without the gain, but for a constant."""
        floor = (gain * self.floor).square()
        x = ops.log(mel + floor if self.log == "hz" else ops.maximum(mel, floor)) - 2 * ops.log(gain)
        if self.log != "speechbrain":
            return x
        present = x if mask is None else x + (1 - mask) * LOWEST
        return ops.maximum(x, ops.amax(present, (0, 1), keepdims=True) - 8 * np.log(10))   # 80 decibel below it


def fourier_kernel(name: str) -> np.ndarray:
    """What turns WINDOW samples into the real, then the imaginary parts of their spectrum: (2 K, WINDOW)."""
    front_end = get_front_end(name)
    shape = window(name)
    first = (len(shape) - WINDOW) // 2
    frames = np.eye(WINDOW)                                                         # the response to each sample
    if front_end.frames == "snip":
        frames = frames - frames.mean(axis=1, keepdims=True)
        frames = frames - front_end.pre_emphasis * np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
    spectrum = np.asarray(scipy.fft.rfft(frames * shape[first:first + WINDOW], n=front_end.n_fft, axis=1))
    return np.concatenate((spectrum.real, spectrum.imag), axis=1).T
