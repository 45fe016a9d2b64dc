"""The front-end of features.py as layers, so that an exported graph takes samples: equal to it but for rounding.

Letters: N samples, T frames, F frequency bins, T' and K as in model.py.
"""
import mindspore as ms
import numpy as np
import scipy.fft
from mindspore import Tensor, nn, ops

from deepspeech2.src.features import BINS, HAMMING, HOP, WINDOW, frame_count
from utils.layers.shapes import length_mask, mean_over, ones_like, unbiased
from utils.layers.spectrum import RAISE, Squares


class FromWaveform(nn.Cell):
    """Samples (1, N) in [-1, 1] -> what `model` gives for their features: log probabilities (T', 1, K), T' (1,).

    With `samples` (1,) int32 it is what the first of them give alone: N is a multiple of HOP then, the rest zeros.
    """

    def __init__(self, model: nn.Cell):
        super().__init__()
        self.features, self.model = Spectrogram(), model

    def construct(self, waveform, samples=None):
        features = self.features(waveform, samples)
        return self.model(features, rows(features[0]) if samples is None else frame_count(samples))


class Spectrogram(nn.Cell):
    """Samples (1, N) -> features (1, T, F): features.spectrogram.

    `samples` as in FromWaveform; the features of frames beyond them are of no meaning.
    """

    def __init__(self):
        super().__init__()
        self.squares = Squares(spectrum_kernel(), HOP, WINDOW // 2, mirrored=True)

    def construct(self, waveform, samples=None):
        squares, gain = self.squares(waveform, samples)                         # (T, R), (T, 1)
        mask = None if samples is None else length_mask(gain.reshape(1, -1), frame_count(samples)).reshape(-1, 1)
        x = log_magnitude(squares, gain)                                        # (T, F)
        x = x - mean_over(x.mean(1, keep_dims=True), 0, mask)
        peak = ops.maximum(ops.amax(x.abs(), (0, 1), keepdims=True), 1e-5)      # float16 squares what it divides
        frames = (ones_like(gain) if mask is None else mask).sum(0)
        variance = mean_over((x / peak).square().mean(1, keep_dims=True), 0, mask) * unbiased(frames, BINS)
        return (x / ops.maximum(peak * ops.sqrt(variance), 1e-5)).expand_dims(0)


def spectrum_kernel() -> np.ndarray:
    """What turns a frame into real, then imaginary parts: (2 F, WINDOW)."""
    spectrum = np.asarray(scipy.fft.rfft(np.diag(HAMMING.astype(np.float64))))      # the response to each sample
    return np.concatenate((spectrum.real, spectrum.imag), axis=1).T


def log_magnitude(squares: Tensor, gain: Tensor) -> Tensor:
    """features.log_magnitude of what `Squares` gives, (T, R), (T, 1) -> (T, F)."""
    return log1p(ops.sqrt(squares[:, :BINS] + squares[:, BINS:2 * BINS]) / (gain * RAISE))


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) of x >= 0, also where 1 + x is 1 in float16: up to 1/4 by the series of 2 atanh(x / (2 + x))."""
    few = ops.minimum(x, 0.25)
    z = few / (few + 2)
    s = z.square()
    return z * (2 + s * (2 / 3 + s * (2 / 5 + s * (2 / 7)))) + ops.log(ops.maximum((x + 1) * 0.8, 1.0))


def rows(x: Tensor) -> Tensor:
    """The rows of x (T, any), counted in whole numbers: (1,) int32."""
    return ops.amax(ops.cumsum((x[:, :1].abs() >= 0.0).astype(ms.int32), 0), (0,))  # a sum would be of 64 bits
