"""deepspeech2/src/text.py: characters to labels and back, and what CTC makes of labels."""
import itertools

import numpy as np
import pytest
from helpers.errors import assert_line, refused

from deepspeech2.src.text import BLANK, LABELS, Alphabet, collapse, frames_needed, references
from utils.errors import ContentError, MismatchError, SettingError


def test_the_labels_are_deepspeech_pytorchs():
    assert len(LABELS) == 29 and LABELS[BLANK] == "_" and LABELS[1] == "'" and LABELS[28] == " "
    assert len(Alphabet()) == 29 and Alphabet().encode("A Z'").tolist() == [2, 28, 27, 1]


@pytest.mark.parametrize("labels", [LABELS, "_abc ", "_'абвгдеё ", "_你好吗"])
def test_every_character_comes_back(labels):
    alphabet = Alphabet(labels)
    numbers = alphabet.encode(labels[1:])
    assert numbers.dtype == np.int32 and numbers.tolist() == list(range(1, len(labels)))
    assert alphabet.decode(numbers) == labels[1:]


def test_the_empty_text():
    assert Alphabet().encode("").shape == (0,) and Alphabet().decode([]) == "" and Alphabet().normalise(" \n") == ""


@pytest.mark.parametrize("text, character", [("YES 7", "'7'"), ("_", "'_'"), ("yes", "'y'"), ("A\tB", r"'\t'"),
                                             ("CAFÉ", "'É'")])
def test_a_character_without_a_label_is_named(text, character):
    with refused(MismatchError, "a.txt", character, repr(text), repr(Alphabet().labels[1:]), "--labels"):
        Alphabet().encode(text, "a.txt")


@pytest.mark.parametrize("labels", ["", "_", "_AA", "AB A"])
def test_labels_that_are_none(labels):
    with refused(SettingError, "labels", repr(labels)):
        Alphabet(labels)


@pytest.mark.parametrize("labels, text, expected", [
    (LABELS, "  it’s\tfive \n o'clock ", "IT'S FIVE O'CLOCK"),
    (LABELS, "don\u02bct \uff07tis", "DON'T 'TIS"),
    ("_abcé ", "CAB Cafe\u0301", "cab café"),
    ("_Aa ", "aA  a", "aA a"), ("_ABCªº ", "1ª ab º", "1ª AB º"), ("_abcª ", "AB ª", "ab ª"),
    ("_你好", "你好", "你好")])
def test_normalise_writes_as_the_labels_do(labels, text, expected):
    assert Alphabet(labels).normalise(text) == expected
    assert Alphabet(labels).normalise(expected) == expected


@pytest.mark.parametrize("labels, text, expected", [
    (LABELS, "“Yes, it’s five—o'clock!”", "YES IT'S FIVE O'CLOCK"),
    (LABELS, "Room 7, Café.", "ROOM 7 CAFÉ"),
    ("_AB- ", "a-b, a", "A-B A"),
    ("_你好", "你，好。", "你好")])
def test_punctuation_is_no_part_of_a_reference_unless_it_is_a_label(labels, text, expected):
    assert Alphabet(labels).normalise_reference(text) == expected


def test_references_that_no_network_could_write_are_counted(capsys):
    texts = ["Yes, two.", "ROOM 7 IS 40 %", "CAFÉ", "NO"]
    assert references(texts, Alphabet(), "t.json") == ["YES TWO", "ROOM 7 IS 40", "CAFÉ", "NO"]
    printed = capsys.readouterr().err
    assert_line(printed, "t.json", "punctuation", "2 of 4")
    assert_line(printed, "t.json", "2 of 4", "047É", "labels")
    assert references(["NO", "YES"], Alphabet(), "t.json") == ["NO", "YES"] and not capsys.readouterr().err


def test_a_reference_without_a_word_is_named():
    with refused(ContentError, "t.json", "'...'"):
        references(["YES", "..."], Alphabet(), "t.json")


@pytest.mark.parametrize("alignment, labels", [
    ([], []), ([0, 0], []), ([3], [3]), ([3, 3, 3], [3]), ([3, 0, 3], [3, 3]), ([0, 1, 1, 0, 0, 1, 2, 2, 0], [1, 1, 2]),
    ([1, 2, 1], [1, 2, 1])])
def test_collapse(alignment, labels):
    assert list(collapse(alignment)) == labels
    assert list(collapse(np.array(alignment, np.int32))) == labels


def test_frames_needed_is_the_shortest_alignment():
    """Against all alignments of up to 7 frames over 2 labels and the blank."""
    shortest = {}
    for length in range(8):
        for alignment in itertools.product(range(3), repeat=length):
            shortest.setdefault(tuple(collapse(alignment)), length)
    assert len(shortest) > 50
    for labels, length in shortest.items():
        assert frames_needed(np.array(labels, np.int32)) == length, labels
