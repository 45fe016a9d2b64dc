"""Transcripts as labels: the characters a network writes, and their numbers.

Label 0 is the blank of CTC, as in deepspeech.pytorch.
"""
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from utils.errors import ContentError, MismatchError, SettingError

LABELS = "_'ABCDEFGHIJKLMNOPQRSTUVWXYZ "    # deepspeech.pytorch's
BLANK = 0
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\uff07"), "'")


class Alphabet:
    """The labels of a network. UserError for a set that is none: no blank and letter, or one of them twice."""

    def __init__(self, labels: str = LABELS):
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise SettingError(f"labels: found {labels!r}, expected the blank and then each character once")
        self.labels = labels
        self.number = {label: i for i, label in enumerate(labels) if i != BLANK}
        self.kind = np.min_scalar_type(len(labels))      # the smallest that holds a label
        self.lower, self.upper = any(map(str.islower, labels)), any(map(str.isupper, labels))

    def __len__(self) -> int:
        return len(self.labels)

    def encode(self, text: str, where: str = "transcript") -> np.ndarray:
        """A normalised text -> labels (n,) int32. MismatchError naming `where` and the first character without one."""
        try:
            return np.fromiter(map(self.number.__getitem__, text), np.int32, len(text))
        except KeyError as error:
            raise MismatchError(f"{where}: {error.args[0]!r} in {text[:60]!r} is no label, expected "
                                f"{self.labels[1:]!r}; correct the transcript or set --labels") from None

    def decode(self, labels: Iterable[int]) -> str:
        """Labels (n,) -> text."""
        return "".join(self.labels[label] for label in labels)

    def normalise(self, text: str) -> str:
        """`text` as the labels write it: in their case, typographic apostrophes plain, single spaces."""
        text = " ".join(unicodedata.normalize("NFC", text).translate(APOSTROPHES).split())
        if self.lower:
            return text if self.upper else text.lower()
        return text.upper()

    def normalise_reference(self, text: str) -> str:
        """As `normalise`, of a text to score against: punctuation that no label writes is no part of its words."""
        space = " " if " " in self.number else ""
        text = "".join(space if unicodedata.category(letter).startswith("P") and letter not in self.number else letter
                       for letter in self.normalise(text))
        return " ".join(text.split())


def references(texts: Sequence[str], alphabet: Alphabet, source: object) -> list[str]:
    """The `texts` of a manifest `source` as they are scored; says what no network of this alphabet could write.

    ContentError for one without words.
    """
    scored = [alphabet.normalise_reference(text) for text in texts]
    for text, reference in zip(texts, scored, strict=True):
        if not reference:
            raise ContentError(f"{source}: the reference {text!r} holds no word, an error rate has no meaning; take "
                               "the utterance out")
    shorter = sum(reference != alphabet.normalise(text) for text, reference in zip(texts, scored, strict=True))
    if shorter:
        print(f"note: {source}: punctuation is left out of {shorter} of {len(texts)} references", file=sys.stderr)
    unknown = [set(reference) - alphabet.number.keys() for reference in scored]
    if characters := "".join(sorted(set().union(*unknown))):
        print(f"note: {source}: {sum(map(bool, unknown))} of {len(texts)} references hold characters that are no "
              f"labels and count as errors: {characters[:40]!r}; spell them out in {alphabet.labels[1:]!r}",
              file=sys.stderr)
    return scored


def collapse(labels: np.ndarray) -> np.ndarray:
    """The labels of an alignment: one of each run of equals, then without blanks. (n,) -> (m,)."""
    labels = np.asarray(labels)
    if len(labels) == 0:
        return labels
    first = np.append(True, labels[1:] != labels[:-1])
    return labels[first & (labels != BLANK)]


def frames_needed(labels: np.ndarray) -> int:
    """Frames without which CTC has no path for `labels` (n,): one each, and a blank between equal neighbours."""
    return len(labels) + np.count_nonzero(labels[1:] == labels[:-1])
