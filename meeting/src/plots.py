"""Picture of a meeting: a lane for each speaker, where two speak at once, and the words."""
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meeting.src.turns import Turn, Word, speakers_of
from utils.files import StrPath
from utils.plots import LETTERS, save_figure

COLORS = ("#1f77b4", "#e8590c", "#2b8a3e", "#9c36b5", "#c92a2a", "#0b7285", "#5c940d", "#a61e4d")
OVERLAP = "#ffd43b"
ROW, ROWS = 15.0, 12        # seconds of a row of the picture, and rows; a longer recording gets longer rows, no words
WIDTH, LANE = 12.0, 0.62    # inches of the picture, and of a lane
LETTER = 0.0072             # width of one, as a part of the picture's
LINES = 2                   # of words below a lane's bars


def draw_meeting(turns: Sequence[Turn], seconds: float, path: StrPath) -> None:
    """Draws the turns of a recording of `seconds` row by row, time from left to right, to the PNG `path`."""
    speakers = speakers_of(turns)
    count = min(ROWS, max(1, int(np.ceil(seconds / ROW))))
    span = max(ROW, seconds / count)
    letters: dict[Any, Any] = LETTERS | {"axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 9}
    with matplotlib.rc_context(letters):
        figure = Figure(figsize=(WIDTH, count * (LANE * max(1, len(speakers)) + 0.35) + 0.3))
        for row, axis in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
            _draw_row(axis, turns, speakers, row * span, (row + 1) * span, words=span == ROW)
        axis.set_xlabel("seconds")
        save_figure(figure, path)


def _draw_row(axis: Axes, turns: Sequence[Turn], speakers: Sequence[str], first: float, last: float,
              words: bool) -> None:
    """What is said from second `first` to `last`."""
    here = [turn for turn in turns if turn.start < last and turn.end > first]
    for start, end in overlaps(here):
        axis.axvspan(max(first, start), min(last, end), color=OVERLAP, alpha=0.55, linewidth=0)
    for lane, speaker in enumerate(speakers):
        color = COLORS[lane % len(COLORS)]
        own = [turn for turn in here if turn.speaker == speaker]
        axis.broken_barh([(turn.start, turn.end - turn.start) for turn in own], (lane - 0.42, 0.28), color=color)
        for word, line in _lines([word for turn in own for word in turn.words] if words else [], first, last):
            axis.text(word.start, lane + 0.02 + 0.24 * line, word.text, color=color, fontsize=7.5, va="center",
                      clip_on=True)
    axis.set(xlim=(first, last), ylim=(max(1, len(speakers)) - 0.45, -0.55), yticks=range(len(speakers)),
             yticklabels=speakers)
    axis.tick_params(axis="y", length=0)


def _lines(words: Sequence[Word], first: float, last: float) -> Iterator[tuple[Word, int]]:
    """(word, line below the bar, from 0) of those that begin from second `first` to `last` and find room."""
    ends = [first] * LINES
    for word in sorted(words):
        line = next((line for line, end in enumerate(ends) if end <= word.start), None)
        if first <= word.start < last and line is not None:
            ends[line] = word.start + LETTER * (last - first) * (len(word.text) + 0.6)
            yield word, line


def overlaps(turns: Sequence[Turn]) -> list[tuple[float, float]]:
    """(start, end) in seconds of every time in which two turns are at once."""
    return [(max(turn.start, other.start), min(turn.end, other.end)) for i, turn in enumerate(turns)
            for other in turns[i + 1:] if min(turn.end, other.end) > max(turn.start, other.start)]
