"""The sound of a recording from its start to its end, with a minute of it in memory: the mixture and its voices.

The separator is given CHUNK seconds at a time, so it is compiled for one length, and each chunk answers for the STEP
seconds in its middle: what a sample needs before and after it, about a second, is always there.

Letters: n samples at RATE; C voices.
"""
from collections.abc import Callable, Iterable

import numpy as np

from utils.audio.activity import RATE

CHUNK, STEP = 16, 12        # seconds
KEPT = 64                   # seconds that can be asked for again
Separate = Callable[[np.ndarray], np.ndarray]       # (n,) -> (C, n)


class Sound:
    """Blocks (n,) of a recording, of `length` samples in all, that are read once, and separated where it is asked."""

    def __init__(self, blocks: Iterable[np.ndarray], length: int, separate: Separate):
        self.blocks, self.length, self.separate = iter(blocks), length, separate
        self.held, self.first = np.zeros(0, np.float32), 0      # the samples in memory, and where they begin
        self.separated: dict[int, np.ndarray] = {}      # by chunk

    def mixture(self, start: int, stop: int) -> np.ndarray:
        """Samples `start` to `stop`; zeros outside of the recording. No more than KEPT seconds back."""
        self._read_up_to(stop)
        samples = np.zeros(stop - start, np.float32)
        begin, end = max(start, self.first), min(stop, self.first + len(self.held))
        if end > begin:
            samples[begin - start:end - start] = self.held[begin - self.first:end - self.first]
        return samples

    def voices(self, start: int, stop: int) -> np.ndarray:
        """The voices (C, n) of samples `start` to `stop`. Which is first may change where a chunk ends, see `edges`."""
        pieces, behind = [], max(0, stop - self.length)
        while start < stop - behind:
            number = min(start // (STEP * RATE), self.chunks - 1)
            begin, answered = self._place(number)
            end = min(stop - behind, answered)
            pieces.append(self._chunk(number)[:, start - begin:end - begin])
            start = end
        return np.pad(np.concatenate(pieces, axis=1), ((0, 0), (0, behind)))

    @property
    def chunks(self) -> int:
        """How many there are."""
        return max(1, -(-(self.length - (CHUNK - STEP) // 2 * RATE) // (STEP * RATE)))

    @property
    def edges(self) -> list[int]:
        """The samples from which on another chunk answers."""
        return [number * STEP * RATE for number in range(1, self.chunks)]

    def chunk_around(self, sample: int) -> tuple[int, int]:
        """(first sample, sample behind the last) of what the chunk answers for that answers for `sample`."""
        number = min(sample // (STEP * RATE), self.chunks - 1)
        return number * STEP * RATE, self._place(number)[1]

    def _place(self, number):
        """(its first sample, the sample behind the last it answers for) of a chunk."""
        begin = max(0, number * STEP - (CHUNK - STEP) // 2) * RATE
        begin = min(begin, max(0, self.length - CHUNK * RATE))
        return begin, self.length if number == self.chunks - 1 else (number + 1) * STEP * RATE

    def _chunk(self, number):
        if number not in self.separated:
            begin, _ = self._place(number)
            self.separated[number] = self.separate(self.mixture(begin, begin + CHUNK * RATE))
            for old in sorted(self.separated)[:-KEPT // STEP]:
                del self.separated[old]
        return self.separated[number]

    def _read_up_to(self, stop):
        while self.first + len(self.held) < min(stop, self.length):
            block = next(self.blocks, None)
            if block is None:
                break
            self.held = np.concatenate((self.held, block))
            surplus = len(self.held) - (KEPT + CHUNK) * RATE
            if surplus > 0:
                self.held, self.first = self.held[surplus:], self.first + surplus
