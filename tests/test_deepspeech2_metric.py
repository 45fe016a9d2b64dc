"""Error rates of hand-made pairs."""
import pytest
from helpers.errors import refused

from deepspeech2.src.metric import alignment_text, error_rates, worst
from utils.errors import ContentError


def test_rates_of_hand_made_pairs():
    """1 substitution in 3 words of 9 letters and 2 spaces, 1 letter of them changed."""
    assert error_rates(["SEE THE CAT"], ["SEE THE BAT"]) == pytest.approx(
        {"wer": 100 / 3, "cer": 100 / 11, "cer_no_spaces": 100 / 9})
    assert error_rates(["SEE"], ["S E E"]) == pytest.approx({"wer": 300, "cer": 200 / 3, "cer_no_spaces": 0})
    assert error_rates(["A B"], [""]) == pytest.approx({"wer": 100, "cer": 100, "cer_no_spaces": 100})
    assert error_rates(["A B"], ["A  B "]) == pytest.approx({"wer": 0, "cer": 0, "cer_no_spaces": 0})
    assert error_rates(["ONE"], ["ONE TWO THREE"])["wer"] == pytest.approx(200)


def test_rates_of_a_list_are_totals_and_no_mean_of_rates():
    rates = error_rates(["A B C D E F G H", "X", "Y"], ["A B C D E F G H", "", "Y Z"])
    assert rates["wer"] == pytest.approx(100 * 2 / 10)
    assert rates["cer"] == pytest.approx(100 * 3 / 17) and rates["cer_no_spaces"] == pytest.approx(100 * 2 / 10)


def test_worst_come_first():
    references, hypotheses = ["A B", "C D", "E", "F G"], ["A B", "C X", "", "Y Z W"]
    rows = worst(references, hypotheses, list("abcd"), 3)
    assert [(row["key"], row["wer"]) for row in rows] == [("d", 150), ("c", 100), ("b", 50)]
    assert rows[1] == {"key": "c", "wer": 100, "cer": 100, "reference": "E", "hypothesis": ""}
    assert len(worst(references, hypotheses, list("abcd"), 9)) == 4


def test_alignment_puts_words_below_each_other():
    lines = alignment_text("THE QUICK BROWN FOX", "THE QUACK FOX FOX").split("\n")
    assert lines[0].split() == ["REF:", "THE", "QUICK", "BROWN", "FOX"]
    assert lines[1].split() == ["HYP:", "THE", "QUACK", "FOX", "FOX"] and lines[2].split() == ["S", "S"]
    ends = [[i for i, (a, b) in enumerate(zip(line, line[1:] + " ")) if a != " " == b] for line in lines]
    assert len(lines) == 3 and ends[0] == ends[1] and ends[2] == [ends[0][2], ends[0][3]]     # flush right
    deleted = alignment_text("A B", "").split("\n")
    assert deleted[1].split() == ["HYP:", "*", "*"] and deleted[2].split() == ["D", "D"]
    assert alignment_text("A B", "A B").split("\n") == ["REF: A B", "HYP: A B"]


@pytest.mark.parametrize("references, facts", [([], ["references", "none"]), (["A", ""], ["reference 2 of 2", "empty"]),
                                               (["  "], ["reference 1 of 1", "empty"])])
def test_empty_references_are_refused(references, facts):
    with refused(ContentError, *facts):
        error_rates(references, ["A"] * len(references))
    with pytest.raises(ValueError):
        error_rates(["A", "B"], ["A"])
