"""Kneser-Ney models: probabilities that sum to one, a computation by hand, lmplz's numbers, KenLM's reading."""
import itertools

import kenlm
import numpy as np
import pytest
from helpers.errors import refused

from deepspeech2.src.ngram import check_arpa, estimate, write_arpa
from utils.errors import ContentError, NotFoundError, SettingError

# of which `lmplz -o 3 --discount_fallback` of KenLM 0.3.0 takes its fallback discounts for single words only
GRAMMAR = ["YES", "GO TO THE HALL", "ENTER SIX TWO SIX", "ENTER SIX FOUR", "GO TO THE LANE", "GO TO SIX", "YES GO",
           "STOP THE CODE", "ENTER THE CODE", "NO GO TO THE LANE", "STOP"]
LMPLZ = {"<unk>": (-1.5660623, 0), "THE": (-1.0824102, -0.19836766), "SIX </s>": (-0.43218488, 0),
         "TO THE": (-0.6540175, -0.26012504), "THE CODE": (-0.64029723, -0.3258536),
         "SIX TWO": (-0.94976187, -0.15261017), "GO TO THE": (-0.68744123, 0),
         "<s> ENTER SIX": (-0.32448667, 0), "THE LANE </s>": (-0.113777585, 0)}


def sentences(count=400, words=30, seed=0):
    """Random sentences in which words are as unevenly distributed as in a language."""
    generator = np.random.default_rng(seed)
    return [" ".join(f"W{min(words, n)}" for n in generator.zipf(1.6, generator.integers(1, 9))) for _ in range(count)]


def read(text):
    """[{n-gram: (log10 probability, log10 backoff)}] of an ARPA text."""
    levels = []
    for line in text.split("\n"):
        if line.endswith("-grams:"):
            levels.append({})
        elif levels and "\t" in line:
            columns = line.split("\t")
            levels[-1][tuple(columns[1].split(" "))] = (float(columns[0]), float(columns[2]) if columns[2:] else 0.0)
    return levels


def log10_p(levels, history, word):
    """What the ARPA format says log10 p(word | history) is."""
    history = history[-(len(levels) - 1):]
    if (*history, word) in levels[len(history)]:
        return levels[len(history)][(*history, word)][0]
    backoff = levels[len(history) - 1].get(history, (0, 0.0))[1]
    return backoff + log10_p(levels, history[1:], word)


@pytest.mark.parametrize(("order", "count", "words"), [(2, 400, 30), (3, 400, 30), (3, 5, 4), (4, 60, 8), (6, 20, 5)])
def test_probabilities_of_every_history_sum_to_one(order, count, words):
    levels = read(estimate(sentences(count, words), order))
    vocabulary = [word for word, in levels[0] if word != "<s>"]
    assert len(levels) == order
    histories = [(), ("W1", "never seen"), *itertools.chain(*levels[:-1])]
    for history in [history for history in histories if history[-1:] != ("</s>",)][::max(1, len(histories) // 400)]:
        total = sum(10 ** log10_p(levels, history, word) for word in vocabulary)
        assert total == pytest.approx(1, abs=1e-6), history


def test_estimate_equals_a_computation_by_hand():
    """Counts of counts are too few, so 0.5 is taken off every count of 1, and 1 off every count of 2."""
    levels = read(estimate(["a b", "", "a  c"], 2))
    unigrams = {"a": 0.2, "b": 0.2, "c": 0.2, "</s>": 0.3, "<unk>": 0.1}     # of 5 kinds of bigrams, half for all alike
    assert {word: 10 ** p for (word,), (p, _) in levels[0].items() if word != "<s>"} == pytest.approx(unigrams)
    expected = {("<s>", "a"): 1 / 2 + 0.5 * 0.2, ("a", "b"): 0.25 + 0.5 * 0.2, ("a", "c"): 0.25 + 0.5 * 0.2,
                ("b", "</s>"): 0.5 + 0.5 * 0.3, ("c", "</s>"): 0.5 + 0.5 * 0.3}
    assert {ngram: 10 ** p for ngram, (p, _) in levels[1].items()} == pytest.approx(expected)
    assert {word: 10 ** b for (word,), (_, b) in levels[0].items()} == pytest.approx(
        {"<s>": 0.5, "a": 0.5, "b": 0.5, "c": 0.5, "</s>": 1, "<unk>": 1})


def test_estimate_equals_lmplz():
    levels = read(estimate(GRAMMAR, 3))
    assert [len(level) for level in levels] == [16, 27, 25]
    for ngram, expected in LMPLZ.items():
        words = tuple(ngram.split())
        assert levels[len(words) - 1][words] == pytest.approx(expected, abs=1e-6), ngram


@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_reads_what_we_wrote(order, tmp_path):
    texts, path = sentences(), tmp_path / "lm.arpa"
    write_arpa(texts, order, path)
    levels, model = read(path.read_text()), kenlm.Model(str(path))
    assert model.order == order and set(check_arpa(path)) == {word for text in texts for word in text.split()}
    for text in [*sentences(20, 40, seed=1), "W1 unknown W2 W2", "unknown", ""]:
        words = [word if (word,) in levels[0] else "<unk>" for word in text.split()]
        history, expected = ("<s>",), 0.0
        for word in (*words, "</s>"):
            expected += log10_p(levels, history, word)
            history = (*history, word)
        assert model.score(text) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("texts", "order"), [(["YES", "NO", "YES"], 3), (["STOP THE CODE", "STOP"], 5)])
def test_an_order_that_no_sentence_has_becomes_the_longest(texts, order, tmp_path):
    """Of two marks and a word there is no 4-gram; what is left is the model that KenLM reads."""
    assert estimate(texts, 6) == estimate(texts, order) != estimate(texts, order - 1)
    write_arpa(texts, 6, tmp_path / "lm.arpa")
    assert kenlm.Model(str(tmp_path / "lm.arpa")).order == order and len(check_arpa(tmp_path / "lm.arpa")) > 1


def test_a_model_prefers_what_it_was_made_of(tmp_path):
    write_arpa(["SEE THE CAT", "SEE THE DOG", "THE CAT SAT"], 3, tmp_path / "lm.arpa")
    model = kenlm.Model(str(tmp_path / "lm.arpa"))
    assert model.score("SEE THE CAT") > model.score("CAT THE SEE") > model.score("BAD WORDS HERE")


@pytest.mark.parametrize(("texts", "order", "kind", "facts"), [
    (["A"], 1, SettingError, ["order", "found 1", "2 to 6"]), (["A"], 7, SettingError, ["order", "found 7", "2 to 6"]),
    ([], 3, ContentError, ["texts", "no words"]), (["", " "], 3, ContentError, ["texts", "no words"]),
    (["A </s> B"], 2, ContentError, ["texts", "</s>"])])
def test_what_cannot_be_estimated(texts, order, kind, facts, tmp_path):
    with refused(kind, *facts):
        write_arpa(texts, order, tmp_path / "lm.arpa")
    assert not list(tmp_path.iterdir())


def assert_damaged(path, content, *facts):
    path.write_bytes(content)
    with refused(ContentError, path, *facts):
        check_arpa(path)


def test_damaged_models_are_refused_in_one_line(tmp_path):
    path = tmp_path / "lm.arpa"
    write_arpa(["SEE THE CAT", "SEE THE DOG"], 3, path)
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        # in its head, or after it
        assert_damaged(path, whole[:length], "\\data\\" if length < len("\\data\\") else "no end")
    assert_damaged(path, whole.replace(b"ngram 2=", b"ngram 2=1"), "expected 7 1-grams, 16 2-grams")
    assert_damaged(path, whole.replace(b"\tDOG\t", b"\tDOG\t0\n-1\tCOW\t"), "found 8 1-grams")
    assert_damaged(path, b"This is a model\n" + whole, "'This is a model'", "\\data\\")
    assert_damaged(path, b"\x1f\x8b\x08" + bytes(100), "cut")
    assert_damaged(path, b"\\data\\\nngram 1=1\n\n\\1-grams:\n-1\ta\n\n\\end\\\n", "order 1", "2 to 6")
    assert_damaged(path, whole.replace(b"DOG", b"D\xff\xff"), "UTF-8")
    path.unlink()
    with refused(NotFoundError, path):
        check_arpa(path)


def test_whole_models_pass(tmp_path):
    path = tmp_path / "lm.arpa"
    write_arpa(["SEE THE CAT"], 2, path)
    whole = path.read_bytes()
    for content in (whole, b"# comment\n\n" + whole, whole.replace(b"\n", b"\r\n"), whole.rstrip(),
                    whole.replace(b"<unk>", b"<UNK>")):
        path.write_bytes(content)
        assert sorted(check_arpa(path)) == ["CAT", "SEE", "THE"]
    head = b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(range(256))
    path.write_bytes(head + b"<unk>\0<s>\0CAT\0DON'T\0</s>\0")
    assert check_arpa(path) == ["CAT", "DON'T"]
    path.write_bytes(head)
    assert check_arpa(path) == []
