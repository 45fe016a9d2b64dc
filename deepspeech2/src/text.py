"""Transcripts as labels: the characters a network writes, and their numbers.

Label 0 is the blank of CTC, as in deepspeech.pytorch. Wide labels without a space, as those of Mandarin, write one
character after another: there each is a word.
"""
import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from utils.errors import ContentError, MismatchError, SettingError
from utils.files import StrPath, write_text
from utils.texts import read_json

LABELS = "_'ABCDEFGHIJKLMNOPQRSTUVWXYZ "    # deepspeech.pytorch's
BLANK = 0
LABELS_FILE = "labels.json"     # deepspeech.pytorch's
SHOWN = 60      # labels of a message
APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\uff07"), "'")


class Alphabet:
    """The labels of a network. UserError for a set that is none: no blank and letter, or one of them twice."""

    def __init__(self, labels: str = LABELS):
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise SettingError(f"labels: found {shown(labels)}, expected the blank and then each character once")
        self.labels = labels
        self.number = {label: i for i, label in enumerate(labels) if i != BLANK}
        self.kind = np.min_scalar_type(len(labels))      # the smallest that holds a label
        self.spaced = " " in self.number or not any(map(is_wide, labels))
        # of letters that have both cases: `ª` is a small one without a capital
        self.lower = any(label != label.upper() for label in labels)
        self.upper = any(label != label.lower() for label in labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def space(self) -> str:
        """What is between the words of a text."""
        return " " if self.spaced else ""

    def encode(self, text: str, where: str = "transcript") -> np.ndarray:
        """A normalised text -> labels (n,) int32. MismatchError naming `where` and the first character without one."""
        try:
            return np.fromiter(map(self.number.__getitem__, text), np.int32, len(text))
        except KeyError as error:
            raise MismatchError(f"{where}: {error.args[0]!r} in {text[:60]!r} is no label, expected "
                                f"{shown(self.labels[1:])}; correct the transcript or set --labels") from None

    def decode(self, labels: Iterable[int]) -> str:
        """Labels (n,) -> text."""
        return "".join(self.labels[label] for label in labels)

    @property
    def rate(self) -> str:
        """The error rate that matters: cer where a text has no words."""
        return "wer" if self.spaced else "cer"

    def words(self, text: str) -> list[str]:
        """The words of a normalised text; its characters where no space stands between words."""
        return text.split() if self.spaced else list(text)

    def normalise(self, text: str) -> str:
        """`text` as the labels write it: in their case, typographic apostrophes plain, single spaces or none."""
        text = self.space.join(unicodedata.normalize("NFC", text).translate(APOSTROPHES).split())
        if self.lower:
            return text if self.upper else text.lower()
        return text.upper()

    def normalise_reference(self, text: str) -> str:
        """As `normalise`, of a text to score against: punctuation that no label writes is no part of its words."""
        space = " " if " " in self.number else ""
        text = "".join(space if unicodedata.category(letter).startswith("P") and letter not in self.number else letter
                       for letter in self.normalise(text))
        return " ".join(text.split())


def is_wide(letter: str) -> bool:
    """Whether a letter is one of Chinese, Japanese or Korean, or as wide as those."""
    return unicodedata.east_asian_width(letter) in "WF"


def shown(labels: str) -> str:
    """Labels in a message: those of Mandarin are thousands."""
    return repr(labels) if len(labels) <= SHOWN else f"{labels[:SHOWN]!r} and {len(labels) - SHOWN} more"


def read_labels(value: str) -> str:
    """The labels that a setting names: `value` itself, or what a file that ends in .json holds, a list of characters.

    NotFoundError; ContentError for another file.
    """
    if not value.endswith(".json"):
        return value
    expected = "a list of characters, the blank first, as prepare.py writes labels.json"
    labels = read_json(value, expected)
    if not isinstance(labels, list) or {len(label) if isinstance(label, str) else 0 for label in labels} != {1}:
        raise ContentError(f"{value}: found {str(labels)[:SHOWN]}, expected {expected}")
    return "".join(labels)


def write_labels(path: StrPath, labels: str) -> None:
    """Writes a file for `read_labels`, which deepspeech.pytorch reads as well."""
    write_text(path, json.dumps(list(labels), ensure_ascii=False) + "\n")


def collect_labels(texts: Iterable[str]) -> str:
    """The characters of `texts` as labels, the blank first; without the space where some are wide, as Chinese is.

    ContentError where there are none, or where the blank's sign is among them.
    """
    blank = LABELS[BLANK]
    characters = set().union(*(unicodedata.normalize("NFC", text).translate(APOSTROPHES).upper() for text in texts))
    if blank in characters:
        raise ContentError(f"labels: the training transcripts hold {blank!r}, which stands for CTC's blank; take it "
                           "out of them, or state --labels")
    letters = sorted(letter for letter in characters if not letter.isspace())
    if not letters:
        raise ContentError("labels: the training transcripts hold no character")
    return "".join((blank, *letters)) + ("" if any(map(is_wide, letters)) else " ")


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
              f"labels and count as errors: {characters[:40]!r}; spell them out in {shown(alphabet.labels[1:])}",
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
