"""Where a known text lies in an utterance: the most probable CTC path (Graves et al., ICML 2006), by Viterbi.

Letters: T frames, L labels of the network, n labels of the text, S = 2n + 1 states: a blank around each label.
"""
from typing import NamedTuple

import numpy as np

from deepspeech2.src.text import BLANK, Alphabet, frames_needed
from utils.errors import MismatchError


class Word(NamedTuple):
    """A word and when it is said, in seconds."""

    text: str
    start: float
    end: float


def word_times(log_probs: np.ndarray, text: str, alphabet: Alphabet, seconds_per_frame: float) -> list[Word]:
    """The words of `text` in log_probs (T, L), each from its first letter's first frame to its last letter's last.

    CTC writes a letter in one frame or few and blanks elsewhere: ends come early, most of all a one-letter word's.
    MismatchError where `text` has no path: fewer frames than `frames_needed`, or of probability zero.
    """
    states = _best_states(log_probs, alphabet.encode(text))
    times, place = [], 0
    for word in alphabet.words(text):
        place = text.index(word, place)
        frames = np.flatnonzero((states >= 2 * place + 1) & (states <= 2 * (place + len(word)) - 1))
        times.append(Word(word, float(frames[0] * seconds_per_frame), float((frames[-1] + 1) * seconds_per_frame)))
        place += len(word)
    return times


def _states_to_labels(labels: np.ndarray) -> np.ndarray:
    """(n,) -> (S,): blank, first label, blank, ..., last label, blank."""
    states = np.full(2 * len(labels) + 1, BLANK, np.int32)
    states[1::2] = labels
    return states


def _best_states(log_probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The most probable sequence of states (T,): each frame stays, goes one on, or skips a blank that isn't needed."""
    label = _states_to_labels(labels)
    frames, states = len(log_probs), len(label)
    if frames < frames_needed(labels):
        raise MismatchError(f"alignment: {frames} frames, expected at least {frames_needed(labels)} for {len(labels)} "
                            "labels; the text is too long for the recording")
    if frames == 0:
        return np.zeros(0, int)
    skips = np.append([False, False], (label[2:] != BLANK) & (label[2:] != label[:-2]))[:states]
    score = np.full(states, -np.inf)
    score[:2] = log_probs[0, label[:2]]
    steps = np.zeros((frames, states), np.int8)     # how many states back the best way into each came from
    for frame in range(1, frames):
        ways = np.full((3, states), -np.inf)
        ways[0], ways[1, 1:], ways[2, 2:] = score, score[:-1], np.where(skips[2:], score[:-2], -np.inf)
        steps[frame] = ways.argmax(0)
        score = ways.max(0) + log_probs[frame, label]
    state = states - 1 - int(states > 1 and score[-2] > score[-1])      # ends in the last label or the blank after it
    if score[state] == -np.inf:
        raise MismatchError("alignment: the text has probability zero in this recording; it belongs to another")
    path = np.empty(frames, int)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= steps[frame, state]
    return path
