"""The front-end of deepspeech.pytorch: log magnitude spectrograms, normalised over the utterance.

librosa.stft(n_fft=320, hop_length=160, window="hamming"), centred, reflected at the ends; log1p; mean 0, deviation 1.
Letters: N samples, T frames, F frequency bins.
"""
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import scipy  # which imports its parts at first use

if TYPE_CHECKING:
    from mindspore import Tensor

Count = TypeVar("Count", int, "Tensor")

RATE = 16000
WINDOW, HOP = 320, 160      # 20 ms, 10 ms
BINS = WINDOW // 2 + 1
HAMMING = np.hamming(WINDOW + 1)[:-1].astype(np.float32)     # of a period, as scipy.signal.get_window's


def frame_count(samples: Count) -> Count:
    """T of N `samples`: of a number, or of a tensor of numbers."""
    return samples // HOP + 1


def sample_count(frames: int) -> int:
    """The fewest samples that give `frames` frames: the inverse of `frame_count`."""
    return (frames - 1) * HOP


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Samples (N,) -> features (T, F) float32."""
    return normalise(log_magnitude(samples))


def log_magnitude(samples: np.ndarray) -> np.ndarray:
    """log(1 + |STFT|), not normalised: (N,) -> (T, F) float32."""
    # numpy reflects over and again what is shorter than half a window
    samples = np.pad(np.asarray(samples, np.float32), WINDOW // 2, "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    return np.log1p(np.abs(np.asarray(scipy.fft.rfft(windows * HAMMING)))).astype(np.float32)


def normalise(features: np.ndarray) -> np.ndarray:
    """(T, F) minus its mean, divided by its (unbiased) standard deviation."""
    return (features - features.mean()) / np.float32(max(features.std(ddof=1), 1e-5))
