"""When somebody speaks, and when two do: from the levels of a recording and of its separated voices.

Letters: T frames of FRAME seconds, B blocks of BLOCK seconds.
"""
from collections.abc import Callable, Iterable

import numpy as np

from meeting.src.sound import RATE, Sound

FRAME = 0.01            # seconds
SAMPLES = int(FRAME * RATE)
SMOOTHED = 5            # frames whose mean a level is
AUDIBLE = 40            # dB under the loudest frame: what is below is no speech, and tells nothing of the noise
BETWEEN = 0.35          # how far from the noise to the speech, in dB, the threshold lies
DEEPEST = 30            # dB under the speech that it lies at most
SHORTEST, FILLED, PADDED = 0.15, 0.3, 0.1      # seconds: of speech, of a pause, and what is added on either side

BLOCK = 10              # frames: so long must both voices be there
WINDOW = 8              # blocks over which their levels are compared
SHARED = 0.05           # of the mixture's power that both voices have where two speak
LEAST_OVERLAP = 0.3     # seconds
VOICE, VOICE_WINDOW = 0.05, 3       # of the louder voice's power that a voice has where it speaks; over so many blocks


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
    levels = 10 * np.log10(np.convolve(powers, np.ones(SMOOTHED) / SMOOTHED, "same") + 1e-12)
    audible = levels[levels > levels.max() - AUDIBLE]
    noise, speech = np.percentile(audible, (10, 90))
    active = levels > max(noise + BETWEEN * (speech - noise), speech - DEEPEST)
    active = without_short(filled(active, FILLED), SHORTEST)
    return np.convolve(active, np.ones(2 * round(PADDED / FRAME) + 1), "same") > 0.5


def find_overlap(sound: Sound, speech: np.ndarray, advance: Callable[[float], object]) -> np.ndarray:
    """Whether two speak in each frame of `speech`, (T,) bool: (T,) bool. `advance` is told how many seconds are done.

    Of one voice the separator makes one loud output and one that holds little, or what is loud in turns. So two speak
    where both are loud at once: where the power that both outputs have in blocks of 0.1 s is a good part of the
    mixture's.
    """
    weak, whole = (np.zeros(-(-len(speech) // BLOCK), np.float32) for _ in range(2))
    size = BLOCK * SAMPLES
    for first, last in chunks_of(sound):
        here = slice(first // size, -(-last // size))
        if speech[first // SAMPLES:-(-last // SAMPLES)].any():
            stop = here.stop * size
            powers = [np.square(voice).reshape(-1, size).mean(axis=1) for voice in sound.voices(first, stop)]
            weak[here] = np.sort(powers, axis=0)[-2]
            whole[here] = np.square(sound.mixture(first, stop)).reshape(-1, size).mean(axis=1)
        advance((last - first) / RATE)
    window = np.ones(WINDOW)
    shared = np.convolve(weak, window, "same") / (np.convolve(whole, window, "same") + 1e-12)
    two = np.repeat(shared > SHARED, BLOCK)[:len(speech)] & speech
    return without_short(filled(two, LEAST_OVERLAP) & speech, LEAST_OVERLAP)


def find_voices(voices: np.ndarray) -> np.ndarray:
    """Which of the voices (C, n) of a stretch where two speak is speaking in each of its frames: (C, T) bool."""
    size = BLOCK * SAMPLES
    count = -(-voices.shape[1] // size)
    padded = np.zeros((len(voices), count * size), np.float32)
    padded[:, :voices.shape[1]] = voices
    powers = np.square(padded).reshape(len(voices), count, size).mean(axis=2)
    powers = np.array([np.convolve(row, np.ones(VOICE_WINDOW), "same")[:count] for row in powers])
    active = powers > VOICE * powers.max(axis=0)
    return np.repeat(active, BLOCK, axis=1)[:, :-(-voices.shape[1] // SAMPLES)]


def chunks_of(sound: Sound) -> list[tuple[int, int]]:
    """(first sample, sample behind the last) of what each chunk answers for."""
    edges = [0, *sound.edges, sound.length]
    return list(zip(edges[:-1], edges[1:], strict=True))


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
