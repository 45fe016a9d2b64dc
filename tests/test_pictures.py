"""Pictures: all cards are of one size, and what they show is in them."""
import numpy as np
import pytest
from matplotlib import image

from conv_tasnet.src.plots import draw_separation
from deepspeech2.src.alignment import Word
from deepspeech2.src.plots import draw_transcript, lay_out
from ecapatdnn.src.plots import draw_verdicts

RATE = 8000


def tone(hertz):
    """Half a second."""
    return np.sin(2 * np.pi * hertz * np.arange(RATE // 2) / RATE).astype(np.float32)


def drawn(path):
    """Red, green and blue (height, width, 3), from 0 to 1, of the picture at `path`."""
    pixels = image.imread(path)
    assert pixels.shape == (675, 900, 4)
    return pixels[..., :3]


@pytest.mark.parametrize("known", [True, False])
def test_each_voice_has_its_colour_in_the_mixture_and_alone(tmp_path, known):
    voices = np.stack([tone(1000), tone(3000)])
    draw_separation(voices.sum(0), voices, voices if known else None, RATE, tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    blue = (pixels[..., 2] > 0.8) & (pixels[..., 0] < 0.4)
    orange = (pixels[..., 0] > 0.8) & (pixels[..., 2] < 0.4)
    rows = [np.flatnonzero(color.sum(1) > 200) for color in (blue, orange)]
    panels = [len(np.split(found, np.flatnonzero(np.diff(found) > 20) + 1)) for found in rows]
    assert panels == [2, 2]     # the mixture, and that voice alone
    assert rows[0].min() > rows[1].min()        # 1 kHz is below 3 kHz


def test_words_that_would_cover_each_other_go_into_another_lane():
    words = [Word("LONGER", 0.0, 0.5), Word("A", 0.1, 0.2), Word("NEXT", 1.2, 1.4)]
    assert lay_out(words, 5.0) == [0, 1, 0] and lay_out([], 5.0) == []
    assert lay_out([Word("EARLY", 3.9, 4.2), Word("LAST", 4.9, 5.0)], 5.0) == [0, 1]   # LAST is moved to the left


@pytest.mark.parametrize("words", [[Word("END", 0.45, 0.5)], []])
def test_a_transcript_is_drawn_with_and_without_words(tmp_path, words):
    draw_transcript(tone(440), RATE, words, tmp_path / "x.png")
    below = drawn(tmp_path / "x.png")[400:]
    blue = (below[..., 2] > below[..., 0] + 0.4).sum(1)
    assert (blue.max() > 20) == bool(words)     # the bar of a word


def test_a_verdict_has_the_colour_of_its_side(tmp_path):
    draw_verdicts({"a, b": (0.8, 0.5), "a, c": (0.1, 0.4)}, tmp_path / "x.png")
    pixels = drawn(tmp_path / "x.png")
    blue = (pixels[..., 2] > 0.6) & (pixels[..., 0] < 0.3)
    orange = (pixels[..., 0] > 0.8) & (pixels[..., 2] < 0.2)
    assert np.flatnonzero(blue.any(0)).max() > np.flatnonzero(orange.any(0)).max()
    assert np.flatnonzero(blue.any(1)).max() < np.flatnonzero(orange.any(1)).min()
