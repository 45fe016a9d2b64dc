"""Transcripts as labels: the characters a network writes, and their numbers.

Label 0 is the blank of CTC, as in deepspeech.pytorch.
"""
import unicodedata

import numpy as np

from utils.errors import UserError

LABELS = "_'ABCDEFGHIJKLMNOPQRSTUVWXYZ "    # deepspeech.pytorch's
BLANK = 0
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\uff07"), "'")


class Alphabet:
    """The labels of a network. UserError for a set that is none: no blank and letter, or one of them twice."""

    def __init__(self, labels=LABELS):
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise UserError(f"labels: found {labels!r}, expected the blank and then each character once")
        self.labels = labels
        self.number = {label: i for i, label in enumerate(labels) if i != BLANK}

    def __len__(self):
        return len(self.labels)

    def encode(self, text, where="transcript"):
        """A normalised text -> its labels (n,) int32. UserError naming `where` and the first character without one."""
        for character in text:
            if character not in self.number:
                raise UserError(f"{where}: {character!r} in {text[:60]!r} is no label, expected "
                                f"{self.labels[1:]!r}; correct the transcript or set --labels")
        return np.array([self.number[character] for character in text], np.int32)

    def decode(self, labels):
        """Labels (n,) -> text."""
        return "".join(self.labels[label] for label in labels)

    def normalise(self, text):
        """`text` as the labels write it: in their case, typographic apostrophes plain, single spaces."""
        text = " ".join(unicodedata.normalize("NFC", text).translate(APOSTROPHES).split())
        if any(label.islower() for label in self.labels):
            return text if any(label.isupper() for label in self.labels) else text.lower()
        return text.upper()


def collapse(labels):
    """The labels of an alignment: one of each run of equals, then without blanks. (n,) -> (m,)."""
    labels = np.asarray(labels)
    if len(labels) == 0:
        return labels
    first = np.append(True, labels[1:] != labels[:-1])
    return labels[first & (labels != BLANK)]


def frames_needed(labels):
    """Frames without which CTC has no path for `labels` (n,): one each, and a blank between equal neighbours."""
    return len(labels) + int((np.diff(labels) == 0).sum())
