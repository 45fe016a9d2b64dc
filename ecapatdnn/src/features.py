"""Filter-bank front-ends at 16 kHz, by the name of the toolkit whose networks expect them.

    taoruijie    TaoRuijie/ECAPA-TDNN: torchaudio MelSpectrogram after pre-emphasis
    speechbrain  speechbrain.lobes.features.Fbank with sentence mean normalisation
    kaldi        kaldi fbank as wespeaker calls it, dithered in training
    3dspeaker    kaldi fbank as 3D-Speaker calls it: Povey's window, samples in [-1, 1], no dither

Weights trained on one do not transfer to another, so the name is saved with every run.
Letters: N samples, T frames, F mel bands, K frequency bins.
"""
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import scipy  # which imports its parts at first use

from utils.errors import SettingError, nearest

if TYPE_CHECKING:
    from mindspore import Tensor

Count = TypeVar("Count", int, "Tensor")

RATE = 16000
WINDOW, HOP = 400, 160      # 25 ms, 10 ms
MIN_FRAMES = 25             # a shorter recording, a quarter of a second, is no utterance
EPSILON32 = 1.1920929e-07   # kaldi's floor: the float32 machine epsilon


@dataclass(frozen=True)
class FrontEnd:
    """One way from samples to features; `frames` and `filters` name a branch of the functions below."""

    n_fft: int
    frames: str         # "reflect", "zeros": centred on multiples of HOP, padded so; "snip": whole frames only
    filters: str        # shape of the mel triangles
    low: float          # Hz
    high: float         # Hz
    periodic: bool      # window of a discrete Fourier transform, or symmetric
    pre_emphasis: float = 0.0
    scale: float = 1.0
    dither: float = 0.0   # standard deviation of the noise added in training, in scaled samples
    window: str = "hamming"     # or povey, Kaldi's: a Hann window to the power of 0.85


FRONT_ENDS = {
    "taoruijie": FrontEnd(512, "reflect", "hz", 20, 7600, True, pre_emphasis=0.97),
    "speechbrain": FrontEnd(400, "zeros", "speechbrain", 0, 8000, True),
    "kaldi": FrontEnd(512, "snip", "mel", 20, 8000, False, pre_emphasis=0.97, scale=32768.0, dither=1.0),
    "3dspeaker": FrontEnd(512, "snip", "mel", 20, 8000, False, pre_emphasis=0.97, window="povey"),
}


def get_front_end(name: str) -> FrontEnd:
    """The FrontEnd called `name`."""
    if name not in FRONT_ENDS:
        raise SettingError(f"front_end: found {name!r}, expected one of {', '.join(FRONT_ENDS)}"
                           f"{nearest(name, FRONT_ENDS)}")
    return FRONT_ENDS[name]


def filter_bank(samples: np.ndarray, name: str, bands: int = 80,
                generator: np.random.Generator | None = None) -> np.ndarray:
    """Normalised log mel features: float32 samples (N,) in [-1, 1] -> float32 (T, F), zero mean over time.

    `generator` draws the dither; without one, as in evaluation, there is none.
    """
    front_end = get_front_end(name)
    if generator is not None and front_end.dither:
        noise = generator.standard_normal(len(samples), dtype=np.float32)
        samples = samples + np.float32(front_end.dither / front_end.scale) * noise
    power = power_spectrum(samples, name)
    mel = power @ mel_filters(name, bands)
    features = {"hz": _log, "speechbrain": _decibel, "mel": _kaldi_log}[front_end.filters](mel)
    return features - features.mean(axis=0, keepdims=True)


def power_spectrum(samples: np.ndarray, name: str) -> np.ndarray:
    """Squared magnitudes of the windowed frames: (N,) -> (T, K = n_fft / 2 + 1)."""
    front_end = FRONT_ENDS[name]
    x = np.asarray(samples, np.float32) * np.float32(front_end.scale)
    if front_end.frames == "snip":
        frames = _slide(x, WINDOW)
        frames = frames - frames.mean(axis=1, keepdims=True)
        previous = np.concatenate((frames[:, :1], frames[:, :-1]), axis=1)
        frames = frames - np.float32(front_end.pre_emphasis) * previous
    else:
        if front_end.pre_emphasis:
            x = x - np.float32(front_end.pre_emphasis) * np.concatenate((x[1:2], x[:-1]))
        side = front_end.n_fft // 2
        x = np.pad(x, side, mode="reflect" if front_end.frames == "reflect" else "constant")
        frames = _slide(x, front_end.n_fft)
    spectrum = np.asarray(scipy.fft.rfft(frames * window(name), n=front_end.n_fft, axis=1))
    return spectrum.real ** 2 + spectrum.imag ** 2


def frame_count(samples: Count, name: str) -> Count:
    """Number of frames T that `samples` samples give."""
    if FRONT_ENDS[name].frames == "snip":
        return 1 + (samples - WINDOW) // HOP
    return 1 + samples // HOP


def sample_count(frames: int, name: str) -> int:
    """The fewest samples that give `frames` frames: the inverse of `frame_count`."""
    if FRONT_ENDS[name].frames == "snip":
        return WINDOW + (frames - 1) * HOP
    return (frames - 1) * HOP


@cache
def mel_filters(name: str, bands: int) -> np.ndarray:
    """Triangular filters (K, F), float32."""
    front_end = FRONT_ENDS[name]
    hz = np.linspace(0, RATE / 2, front_end.n_fft // 2 + 1)[:, None]
    edges = np.linspace(_mel(front_end.low), _mel(front_end.high), bands + 2)
    if front_end.filters == "mel":     # triangles straight on the mel axis; kaldi leaves the Nyquist bin out
        x, left, centre, right = _mel(hz), edges[:-2], edges[1:-1], edges[2:]
    else:
        edges = 700 * (10 ** (edges / 2595) - 1)
        x, left, centre, right = hz, edges[:-2], edges[1:-1], edges[2:]
    if front_end.filters == "speechbrain":   # both sides as wide as the left one
        right = 2 * centre - left
    filters = np.maximum(0, np.minimum((x - left) / (centre - left), (right - x) / (right - centre)))
    return filters.astype(np.float32)


def _mel(hz):
    return 2595 * np.log10(1 + np.asarray(hz, np.float64) / 700)


def _slide(x, width):
    """Overlapping frames (T, width), a view."""
    return np.lib.stride_tricks.sliding_window_view(x, width)[::HOP]


@cache
def window(name: str) -> np.ndarray:
    """The window centred in n_fft samples, or as long as the frame where frames are WINDOW long."""
    front_end = FRONT_ENDS[name]
    kind = "hann" if front_end.window == "povey" else front_end.window
    samples = np.asarray(scipy.signal.get_window(kind, WINDOW, fftbins=front_end.periodic))
    if front_end.window == "povey":
        samples = samples ** 0.85
    side = 0 if front_end.frames == "snip" else (front_end.n_fft - WINDOW) // 2
    return np.pad(samples, side).astype(np.float32)


def _log(mel):
    return np.log(mel + np.float32(1e-6))


def _kaldi_log(mel):
    return np.log(np.maximum(mel, np.float32(EPSILON32)))


def _decibel(mel):
    decibel = 10 * np.log10(np.maximum(mel, np.float32(1e-10)))
    return np.maximum(decibel, decibel.max() - np.float32(80))
