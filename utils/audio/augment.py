"""Waveform and feature augmentation. Every function takes the random generator it draws from."""
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import scipy  # which imports its parts at first use
import soxr

from utils.audio import audio_file
from utils.audio.fitness import is_silent
from utils.errors import ContentError, SettingError

TINY = 1e-12   # under a power, so that the level of silence is defined
RESPONSE = 1.0      # seconds of a room's impulse response: more than any room worth having
DRAWS = 10          # of a place in a recording, until there is sound; of a recording, until one can be read

Drawn = TypeVar("Drawn")


def power_db(samples: np.ndarray) -> float:
    """Mean power of `samples` (N,) in dB relative to full scale."""
    return 10 * np.log10(np.mean(np.square(samples)) + TINY)


def noise_at_snr(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`noise` (N,) scaled so that the power of `speech` (N,) is `snr_db` above it."""
    gain = 10 ** ((power_db(speech) - power_db(noise) - snr_db) / 20)
    return (np.float32(gain) * noise).astype(np.float32)


@lru_cache(maxsize=2048)
def read_response(path: str, rate: int) -> np.ndarray:
    """A room's impulse response (M,) at `rate` Hz, up to RESPONSE."""
    return audio_file.read(path, rate, resample=True)[:round(RESPONSE * rate)]


def draw_noise(paths: Sequence[str], kept: audio_file.Recordings, count: int,
               generator: np.random.Generator) -> np.ndarray:
    """`count` samples of a recording drawn from `paths`; not silent ones, as far as a few draws find others.

    What cannot be read: as of `draw_readable`.
    """
    # recordings of single sounds are silent in part
    return draw_sound(lambda: draw_readable(lambda: kept.random_crop(
        paths[int(generator.integers(len(paths)))], count, generator)))


def draw_readable(draw: Callable[[], Drawn]) -> Drawn:
    """What `draw` gives, which draws noise or a room and reads it: drawn again where that cannot be read.

    A note names what cannot, once in each process. ContentError where DRAWS in a row cannot: no AudioError, which would
    be taken for one of the speech that the noise is for.
    """
    reason = ""
    for _ in range(DRAWS):
        try:
            return draw()
        except audio_file.AudioError as error:
            reason = str(error)
            _note(reason)
    raise ContentError(f"{reason}; {DRAWS} draws in a row of noise or a room gave nothing that can be read, mend the "
                       "list or folder that it is of")


@lru_cache(maxsize=2048)
def _note(reason):
    print(f"note: {reason}; another is drawn in its place", file=sys.stderr, flush=True)


def draw_sound(draw: Callable[[], np.ndarray]) -> np.ndarray:
    """What `draw` gives, (N,): drawn again while it is silent, DRAWS times in all."""
    samples = draw()
    for _ in range(DRAWS - 1):
        if not is_silent(samples):
            break
        samples = draw()
    return samples


def from_direct_path(response: np.ndarray) -> np.ndarray:
    """An impulse response (M,) without what comes before its direct path, so that it delays nothing."""
    return response[int(np.abs(response).argmax()):]


def reverberate(speech: np.ndarray, response: np.ndarray) -> np.ndarray:
    """`speech` (N,) in the room of `response` (M,): (N,), same power, not delayed by the response's direct path."""
    wet = scipy.signal.fftconvolve(speech, from_direct_path(response))[:len(speech)]
    gain = 10 ** ((power_db(speech) - power_db(wet)) / 20)
    return (np.float32(gain) * wet).astype(np.float32)


def fade_ends(samples: np.ndarray, count: int) -> np.ndarray:
    """`samples` (N,) faded in and out over `count` samples, so that a cut is no click."""
    count = min(count, len(samples) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, count, dtype=np.float32)) ** 2
    return np.concatenate((samples[:count] * ramp, samples[count:len(samples) - count],
                           samples[len(samples) - count:] * ramp[::-1]))


def change_speed(samples: np.ndarray, factor: float) -> np.ndarray:
    """`samples` (N,) played `factor` times as fast, pitch with it: about (N / factor,)."""
    return samples if factor == 1.0 else soxr.resample(samples, factor * 1000, 1000, quality="HQ")


def read_speeds(text: str) -> list[float]:
    """[float] of a setting such as 0.95,1.0,1.05."""
    try:
        speeds = [float(speed) for speed in text.split(",")]
    except ValueError:
        speeds = []
    if not speeds or not all(0.5 <= speed <= 2 for speed in speeds):
        raise SettingError(f"speeds: found {text!r}, expected numbers from 0.5 to 2 such as 0.95,1.0,1.05")
    return speeds


def mask_features(features: np.ndarray, generator: np.random.Generator, frames: int = 10, bands: int = 8) -> np.ndarray:
    """SpecAugment (Park et al., arXiv:1904.08779): (T, F) with one time and one frequency stripe zeroed.

    Stripe widths are uniform below `frames` and `bands`, of which 0 gives no stripe; zero is the mean of
    mean-normalised features.
    """
    features = features.copy()
    for axis, widest in ((0, frames), (1, bands)):
        width = int(generator.integers(0, max(1, widest)))
        start = int(generator.integers(0, max(1, features.shape[axis] - width)))
        stripe = [slice(None), slice(None)]
        stripe[axis] = slice(start, start + width)
        features[tuple(stripe)] = 0
    return features
