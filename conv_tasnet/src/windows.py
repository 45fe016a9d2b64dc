"""Recordings of any length through a network of fixed length: windows that overlap, joined.

In which of its outputs a network puts a speaker is by chance, and at which level and polarity too. So every window is
brought to the level of its mixture, takes the order that fits the window before best where the two overlap, and is
faded in there. Where both or all speakers pause for the whole overlap, nothing determines their order.

Letters as in model.py; S samples of a window.
"""
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import scipy  # which imports its parts at first use

from conv_tasnet.src.config import Config
from conv_tasnet.src.level import levelled
from utils.errors import SettingError

WINDOW = 16.0   # seconds; with 4 s of overlap, 1 s of it the fade: the 1.5 s to either side are more than the context
                # of the published networks, 0.8 s (asteroid) and 1.3 s (kaituoxu), so no sample lacks any


class Windows:
    """Separates window by window: `separate` (S,) -> (C, S) takes up to `size` samples.

    `size` and `overlap` are whole strides of the network, so that its frames lie where those of the whole recording
    do; at most half of a window is overlap.
    """

    def __init__(self, separate: Callable[[np.ndarray], np.ndarray], size: int, overlap: int, stride: int):
        self.separate_window, self.size, self.overlap, self.stride = separate, size, overlap, stride
        fade = overlap // 4
        before = (overlap - fade) // 2
        self.fade = np.ones(overlap, np.float32)
        self.fade[:before] = 0
        self.fade[before:before + fade] = (np.arange(fade) + 0.5) / fade

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks (n,) of a recording -> (mixture (n,), speakers (C, n)) piece by piece, each sample once."""
        held, position = None, 0     # the end of the last window (C, overlap), and where that is in the recording
        for start, mixture, is_last in self.windows(blocks):
            speakers = levelled(mixture, self.separate_window(mixture))
            first = position - start
            if held is not None:
                speakers = self.join(held, speakers, first)
            stop = len(mixture) if is_last else len(mixture) - self.overlap
            yield mixture[first:stop], speakers[:, first:stop]
            held, position = speakers[:, stop:], start + stop

    def windows(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray, bool]]:
        """(start, samples, whether it is the last) of each window.

        The last one ends with the recording, and begins where it has the full size too. A recording shorter than a
        window is one.
        """
        waiting, start, following = np.zeros(0, np.float32), 0, 0     # `waiting` begins at `start`
        for block in blocks:
            waiting = np.concatenate((waiting, block))
            while start + len(waiting) > following + self.size:
                waiting, start = waiting[following - start:], following
                yield start, waiting[:self.size], False
                following = start + self.size - self.overlap
        surplus = max(0, len(waiting) - self.size)
        skipped = -(-surplus // self.stride) * self.stride
        yield start + skipped, waiting[skipped:], True

    def join(self, held: np.ndarray, speakers: np.ndarray, first: int) -> np.ndarray:
        """The window `speakers` (C, S) in the order of `held` (C, overlap), which it follows from sample `first` on."""
        here = slice(first, first + self.overlap)
        # the order with the least difference: with the largest sum of products, as the energies are the same in each
        order = scipy.optimize.linear_sum_assignment(-(held @ speakers[:, here].T))[1]
        speakers = speakers[order]
        speakers[:, here] = (1 - self.fade) * held + self.fade * speakers[:, here]
        return speakers


def window_sizes(seconds: float, longest: int, config: Config) -> tuple[int, int]:
    """Samples of (a window, its overlap), whole strides; for recordings of up to `longest` samples.

    SettingError for a window that is too short for any speech.
    """
    if not seconds >= 1:
        raise SettingError(f"window: found {seconds} seconds, expected at least 1, better {WINDOW:g}")
    stride = config.L // 2
    overlap = int(seconds / 4 * config.sample_rate) // stride * stride
    return min(4 * overlap, -(-longest // stride) * stride), overlap


def graph_windows(config: Config, fixed: int = 0, longest: int = 0) -> tuple[int, int]:
    """As `window_sizes`, for an exported graph that takes mixtures of `fixed` samples, of up to `longest`, or of any.

    No overlap where the windows would be too short for any speech.
    """
    size, overlap = window_sizes(WINDOW, sys.maxsize, config)
    if not fixed and (not longest or longest >= size):
        return size, overlap
    size = fixed or longest
    stride = config.L // 2
    return size, size // 4 // stride * stride if size >= config.sample_rate else 0
