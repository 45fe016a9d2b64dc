"""When two speak: from the levels of a recording and of its separated voices.

Letters: T frames of FRAME seconds, B blocks of BLOCK frames.
"""
from collections.abc import Callable

import numpy as np

from meeting.src.sound import Sound
from utils.audio.activity import RATE, SAMPLES, filled, without_short

BLOCK = 10              # frames: so long must both voices be there
WINDOW = 8              # blocks over which their levels are compared
SHARED = 0.05           # of the mixture's power that both voices have where two speak
LEAST_OVERLAP = 0.3     # seconds
VOICE, VOICE_WINDOW = 0.05, 3       # of the louder voice's power that a voice has where it speaks; over so many blocks


def find_overlap(sound: Sound, speech: np.ndarray, advance: Callable[[float], object]) -> np.ndarray:
    """Whether two speak in each frame of `speech`, (T,) bool: (T,) bool. `advance` is told how many seconds are done.

    Of one voice the separator makes one loud output and one that holds little, or what is loud in turns. So two speak
    where both are loud at once: where the power that both outputs have in blocks of 0.1 s is a good part of the
    mixture's.
    """
    size = BLOCK * SAMPLES
    # the length is rounded up: resampling may give a sample less, and so a block less
    weak, whole = (np.zeros(-(-max(len(speech) * SAMPLES, sound.length) // size), np.float32) for _ in range(2))
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
