"""Recordings of any length through a network that takes one piece at a time, and their text piece by piece.

Letters: N samples, T' frames of 20 ms, K labels.
"""
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from deepspeech2.src.features import HOP, RATE, frame_count, spectrogram
from deepspeech2.src.text import BLANK

FRAME = 2 * HOP             # samples of a frame of the network's output
WINDOW, OVERLAP = 20, 4     # seconds
PAUSE = 25                  # frames without a letter between which a text is cut
SEGMENT = 10 * 50           # frames after which a pause is a cut
LONGEST = 60 * 50           # frames after which a text is cut anyhow


class Windows:
    """Log probabilities of a recording from windows that overlap, each normalised on its own as an utterance.

    Two windows are joined where both are surest that nothing is said, in the middle half of their overlap. A recording
    no longer than a window is what the network gives for the whole of it.

    network: (features [(T, F)], frames to pad them to) -> [log probabilities (T', K)]
    longest: samples of the longest recording, for which it is compiled
    """

    def __init__(self, network: Callable[[list[np.ndarray], int], list[np.ndarray]], longest: int):
        self.network = network
        self.size = min(WINDOW * RATE, (longest // FRAME + 2) * FRAME)      # samples; resampling may add a few

    def run(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks (N,) of a recording -> log probabilities (any number, K), piece by piece."""
        held, overlap = None, OVERLAP * RATE // FRAME       # the end of the window before
        for samples, is_last in self.windows(blocks):
            here = self.network([spectrogram(samples)], frame_count(self.size))[0]
            if held is not None:
                sure = held[:, BLANK] + here[:len(held), BLANK]
                middle = slice(len(sure) // 4, max(len(sure) // 4 + 1, 3 * len(sure) // 4))
                cut = middle.start + int(np.argmax(sure[middle]))
                yield held[:cut]
                here = here[cut:]
            stop = len(here) if is_last else self.size // FRAME - overlap - (cut if held is not None else 0)
            yield here[:stop]
            held = here[stop:stop + overlap]

    def windows(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
        """(samples, whether it is the last) of each window; each begins WINDOW - OVERLAP seconds after the last."""
        waiting, advance = np.zeros(0, np.float32), (WINDOW - OVERLAP) * RATE
        for block in blocks:
            waiting = np.concatenate((waiting, block))
            while len(waiting) > self.size:
                yield waiting[:self.size], False
                waiting = waiting[advance:]
        yield waiting, True


def stretches(pieces: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Log probabilities piece by piece -> (first frame, log probabilities) of stretches between pauses.

    So that no more than a minute has to be decoded, or held, at a time.
    """
    waiting, first = np.zeros((0, 0), np.float32), 0
    for piece in pieces:
        waiting = np.concatenate((waiting, piece)) if len(waiting) else piece
        while len(waiting) >= SEGMENT + PAUSE:
            cut = pause(waiting)
            if cut is None:
                break
            yield first, waiting[:cut]
            waiting, first = waiting[cut:], first + cut
    if len(waiting):
        yield first, waiting


def text_of(log_probs: np.ndarray, decode: Callable[[np.ndarray], str], space: str) -> str:
    """The text of log probabilities (T', K) of any length; those of more than a minute are decoded in stretches.

    space: between the texts of stretches, as between words
    """
    if len(log_probs) <= LONGEST:
        return decode(log_probs)
    texts = [" ".join(decode(part).split()) for _, part in stretches([log_probs])]
    return space.join(filter(None, texts))


def pause(log_probs: np.ndarray) -> int | None:
    """The frame in the middle of the first pause after SEGMENT frames; after LONGEST, the surest blank; else None."""
    silent = log_probs[SEGMENT:, BLANK] > np.log(0.5)
    run = 0
    for frame, is_silent in enumerate(silent):
        run = run + 1 if is_silent else 0
        if run == PAUSE:
            return SEGMENT + frame - PAUSE // 2
    return None if len(log_probs) < LONGEST else SEGMENT + int(np.argmax(log_probs[SEGMENT:, BLANK]))
