"""The front-ends of features.py as layers, so that an exported graph takes samples: equal to them but for rounding.

Letters: N samples, T frames, F mel bands, K frequency bins.
"""
import numpy as np
import scipy.fft
from mindspore import Tensor, nn, ops

from ecapatdnn.src.features import EPSILON32, HOP, WINDOW, get_front_end, mel_filters, window
from utils.shapes import mirror_ends


class FromWaveform(nn.Cell):
    """Samples (1, N) in [-1, 1] -> what `model` gives for their features."""

    def __init__(self, model, front_end, bands):
        super().__init__()
        self.features, self.model = FilterBank(front_end, bands), model

    def construct(self, waveform):
        return self.model(self.features(waveform))


class FilterBank(nn.Cell):
    """Samples (1, N) -> log mel features (1, T, F), zero mean over time: features.filter_bank without dither."""

    def __init__(self, name, bands):
        super().__init__()
        front_end = get_front_end(name)
        self.scale, self.frames, self.log = front_end.scale, front_end.frames, front_end.filters
        self.pre_emphasis = front_end.pre_emphasis if front_end.frames != "snip" else 0.0   # else within each frame
        self.side = front_end.n_fft // 2
        kernel, filters = fourier_kernel(name), mel_filters(name, bands)
        self.spectrum = nn.Conv2d(1, len(kernel), (1, kernel.shape[1]), stride=(1, HOP), pad_mode="valid",
                                  weight_init=Tensor(kernel[:, None, None].astype(np.float32)))
        filters = np.concatenate((filters, filters)).T      # of the squares of the real and the imaginary parts
        self.mel = nn.Conv2d(len(kernel), bands, 1, weight_init=Tensor(filters[:, :, None, None]))

    def construct(self, waveform):
        x = waveform * self.scale
        if self.pre_emphasis:
            x = x - self.pre_emphasis * ops.cat((x[:, 1:2], x[:, :-1]), 1)
        if self.frames == "reflect":
            x = mirror_ends(x, self.side)
        elif self.frames == "zeros":
            nothing = ops.zeros((1, self.side))
            x = ops.cat((nothing, x, nothing), 1)
        x = self.spectrum(x.expand_dims(1).expand_dims(1)).square()             # (1, 2 K, 1, T)
        x = self.level(self.mel(x))                                             # (1, F, 1, T)
        return (x - x.mean(3, keep_dims=True)).squeeze(2).transpose(0, 2, 1)

    def level(self, mel):
        if self.log == "hz":
            return ops.log(mel + 1e-6)
        if self.log == "mel":
            return ops.log(ops.maximum(mel, EPSILON32))
        decibel = ops.log(ops.maximum(mel, 1e-10)) * (10 / np.log(10))
        return ops.maximum(decibel, decibel.max((1, 3), keepdims=True) - 80.0)


def fourier_kernel(name):
    """What turns a frame of samples into the real, then the imaginary parts of its spectrum: (2 K, frame length)."""
    front_end = get_front_end(name)
    frames = np.eye(WINDOW if front_end.frames == "snip" else front_end.n_fft)      # the response to each sample
    if front_end.frames == "snip":
        frames = frames - frames.mean(axis=1, keepdims=True)
        frames = frames - front_end.pre_emphasis * np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
    spectrum = scipy.fft.rfft(frames * window(name), n=front_end.n_fft, axis=1)
    return np.concatenate((spectrum.real, spectrum.imag), axis=1).T
