"""The front-end of features.py as layers, so that an exported graph takes samples: equal to it but for rounding.

Letters: N samples, T frames, F frequency bins, T' and K as in model.py.
"""
import mindspore as ms
import numpy as np
import scipy.fft
from mindspore import Tensor, nn, ops

from deepspeech2.src.features import BINS, HAMMING, HOP, WINDOW
from utils.shapes import mirror_ends, ones_like


class FromWaveform(nn.Cell):
    """Samples (1, N) in [-1, 1] -> what `model` gives for their features: log probabilities (T', 1, K), T' (1,)."""

    def __init__(self, model):
        super().__init__()
        self.features, self.model = Spectrogram(), model

    def construct(self, waveform):
        features = self.features(waveform)
        frames = ones_like(features[:, :, 0]).sum(1).astype(ms.int32)
        return self.model(features, frames)


class Spectrogram(nn.Cell):
    """Samples (1, N) -> features (1, T, F): features.spectrogram."""

    def __init__(self):
        super().__init__()
        spectrum = scipy.fft.rfft(np.diag(HAMMING.astype(np.float64)))          # the response to each sample of a frame
        kernel = np.concatenate((spectrum.real, spectrum.imag), axis=1).T
        self.spectrum = nn.Conv2d(1, 2 * BINS, (1, WINDOW), stride=(1, HOP), pad_mode="valid",
                                  weight_init=Tensor(kernel[:, None, None].astype(np.float32)))

    def construct(self, waveform):
        x = mirror_ends(waveform, WINDOW // 2)
        parts = self.spectrum(x.expand_dims(1).expand_dims(1)).square()         # (1, 2 F, 1, T)
        x = ops.log(1 + ops.sqrt(parts[:, :BINS] + parts[:, BINS:]))
        x = x - x.mean((1, 3), keep_dims=True)
        count = ones_like(x).sum((1, 3), keepdims=True)
        deviation = ops.sqrt(x.square().sum((1, 3), keepdims=True) / (count - 1))
        return (x / ops.maximum(deviation, 1e-5)).squeeze(2).transpose(0, 2, 1)
