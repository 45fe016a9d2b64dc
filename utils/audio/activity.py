"""When somebody speaks, from the level of a recording: what is clearly louder than its noise.

Letters: N samples at RATE, T frames of FRAME seconds.
"""
from collections.abc import Iterable

import numpy as np

RATE = 16000            # Hz
FRAME = 0.01            # seconds
SAMPLES = int(FRAME * RATE)
SMOOTHED = 5            # frames whose mean a level is
AUDIBLE = 40            # dB under the loudest frame: what is below is no speech, and tells nothing of the noise
BETWEEN = 0.35          # how far from the noise to the speech, in dB, the threshold lies
DEEPEST = 30            # dB under the speech that it lies at most
SHORTEST, FILLED, PADDED = 0.15, 0.3, 0.1      # seconds: of speech, of a pause, and what is added on either side
LONG = 1.0              # seconds of a pause that `without_pauses` leaves out


def frame_powers(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Mean squares (T,) of blocks (n,) of a recording at RATE."""
    powers, rest = [np.zeros(0, np.float32)], np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate((rest, block))
        count = len(rest) // SAMPLES
        powers.append(np.square(rest[:count * SAMPLES].reshape(count, SAMPLES)).mean(axis=1))
        rest = rest[count * SAMPLES:]
    if len(rest):
        powers.append(np.square(rest).sum(keepdims=True) / SAMPLES)
    return np.concatenate(powers)


def find_speech(powers: np.ndarray) -> np.ndarray:
    """Whether there is speech in each frame, (T,) bool: what is clearly above the noise, smoothed.

    The noise is where the quietest tenth of the audible frames ends, the speech where the loudest tenth begins.
    """
    levels = 10 * np.log10(_around(powers, np.ones(SMOOTHED) / SMOOTHED) + 1e-12)
    audible = levels[levels > levels.max() - AUDIBLE]
    noise, speech = np.percentile(audible, (10, 90))
    active = levels > max(noise + BETWEEN * (speech - noise), speech - DEEPEST)
    active = without_short(filled(active, FILLED), SHORTEST)
    return _around(active, np.ones(2 * round(PADDED / FRAME) + 1)) > 0.5


def _around(values, weights):
    """Sums (T,) of `values` (T,) times an odd number of weights, whose middle is at each.

    numpy's "same" would be of the weights' length where those are more.
    """
    first = len(weights) // 2
    return np.convolve(values, weights)[first:first + len(values)]


def without_pauses(samples: np.ndarray, seconds: float = LONG) -> np.ndarray:
    """Samples (N,) without pauses of `seconds` or more, those before and after the speech included.

    A recording without such pauses stays as it is, and so does one in which nobody seems to speak.
    """
    active = filled(np.pad(find_speech(frame_powers([samples])), 1, constant_values=True), seconds)[1:-1]
    kept = np.repeat(active, SAMPLES)[:len(samples)]
    return samples[kept] if kept.any() else samples


def ends(samples: np.ndarray) -> tuple[int, int]:
    """(first sample, sample behind the last) of the speech in `samples` (N,); of all where nobody seems to speak."""
    spoken = runs(find_speech(frame_powers([samples])))
    if not spoken:
        return 0, len(samples)
    return spoken[0][0] * SAMPLES, min(spoken[-1][1] * SAMPLES, len(samples))


def runs(active: np.ndarray) -> list[tuple[int, int]]:
    """(first frame, frame behind the last) of each run of true frames."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], active, [False])).astype(np.int8)))
    return [(int(first), int(last)) for first, last in changes.reshape(-1, 2)]


def filled(active: np.ndarray, seconds: float) -> np.ndarray:
    """`active` (T,) where false runs shorter than `seconds` between true ones are true."""
    result = active.copy()
    for first, last in runs(~active):
        if first > 0 and last < len(active) and last - first < seconds / FRAME:
            result[first:last] = True
    return result


def without_short(active: np.ndarray, seconds: float) -> np.ndarray:
    """`active` (T,) without true runs shorter than `seconds`."""
    result = active.copy()
    for first, last in runs(active):
        if last - first < seconds / FRAME:
            result[first:last] = False
    return result
