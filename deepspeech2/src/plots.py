"""Picture of a transcript: when each word is said."""
from collections.abc import Sequence

import numpy as np
import scipy.signal

from deepspeech2.src.alignment import Word
from utils.files import StrPath
from utils.plots import BLUE, card

FLOOR = -60     # dB under the loudest point that is shown
LETTER, POINTS = 0.027, 14  # of the words: width of one letter, as a part of the picture's, and its size


def draw_transcript(samples: np.ndarray, rate: int, words: Sequence[Word], path: StrPath) -> None:
    """The spectrogram of samples (N,) and the words below it, each in the first lane where there is room."""
    seconds = len(samples) / rate
    lanes = lay_out(words, seconds)
    with card(path, 2, sharex=True, height_ratios=(1.7, 1)) as (figure, axes):
        above, below = axes[:, 0]
        window = rate * 25 // 1000
        frequencies, _, spectrum = scipy.signal.stft(samples, rate, nperseg=window, noverlap=window * 3 // 4)
        decibels = 20 * np.log10(np.abs(spectrum) + 1e-20)
        above.imshow(decibels, origin="lower", aspect="auto", cmap="magma", vmin=decibels.max() + FLOOR,
                     vmax=decibels.max(), extent=(0, seconds, 0, frequencies[-1] / 1000))
        above.set_ylabel("kHz")
        for word, lane in zip(words, lanes, strict=True):
            for axis in (above, below):
                axis.axvline(word.start, color="white" if axis is above else BLUE, linewidth=0.8, alpha=0.5)
            below.plot([word.start, word.end], [lane - 0.38] * 2, color=BLUE, linewidth=4, solid_capstyle="butt")
            below.text(text_start(word, seconds), lane, word.text, va="center", fontsize=POINTS, fontweight="bold",
                       bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
        below.set(xlabel="seconds", yticks=[], ylim=(max(lanes, default=0) + 0.6, -0.6))
        below.spines["left"].set_visible(False)
        figure.align_ylabels()


def lay_out(words: Sequence[Word], seconds: float) -> list[int]:
    """The lane of each word, from 0: the first whose last word ends before this one begins, as they are written."""
    ends: list[float] = []
    lanes = []
    for word in words:
        start = text_start(word, seconds)
        lane = next((lane for lane, end in enumerate(ends) if end <= start), len(ends))
        ends[lane:lane + 1] = [start + LETTER * seconds * (len(word.text) + 0.5)]
        lanes.append(lane)
    return lanes


def text_start(word: Word, seconds: float) -> float:
    """Where a word is written, in seconds: at its start, or so far before it that it ends in the picture."""
    return min(word.start, seconds * (1 - LETTER * len(word.text)))
