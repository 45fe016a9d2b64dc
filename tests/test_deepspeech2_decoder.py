"""Decoding and alignment against sums over all alignments, and what a language model changes."""
import json
import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from helpers.errors import assert_line, refused

from deepspeech2 import lm
from deepspeech2.src import decoder
from deepspeech2.src.alignment import word_times
from deepspeech2.src.config import Config
from deepspeech2.src.decoder import LanguageModelDecoder, beam_search, greedy, load_log_probs, save_log_probs
from deepspeech2.src.manifest import Sample, write_manifest
from deepspeech2.src.metric import error_rates
from deepspeech2.src.ngram import write_arpa
from deepspeech2.src.text import BLANK, Alphabet, collapse
from deepspeech2.src.windows import text_of
from utils.errors import ContentError, MismatchError, NotFoundError, RunError, SettingError

ALPHABET = Alphabet()
SENTENCES = ["see the cat", "see the sea", "don't see the dog", "the cat sees the dog", "don't", "o a see", "the dog"]


def normalised(scores):
    """Natural log probabilities (T, L) of any scores."""
    scores = np.asarray(scores, np.float64)
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def random_log_probs(seed, frames, labels, spread=1.0):
    return normalised(spread * np.random.default_rng(seed).standard_normal((frames, labels)))


def says(alphabet, *frames):
    """Log probabilities (T, L) where each frame is one of the characters of a string ("_" is the blank), equally."""
    scores = np.zeros((len(frames), len(alphabet)))
    for row, characters in zip(scores, frames, strict=True):
        row[[alphabet.number.get(character, BLANK) for character in characters]] = 9
    return normalised(scores)


def all_texts(log_probs, alphabet, words=False):
    """{text: log probability} by the sum over all alignments; with `words`, of texts that differ in spaces together."""
    total = {}
    for path in product(range(len(alphabet)), repeat=len(log_probs)):
        text = alphabet.decode(collapse(path))
        text = " ".join(text.split()) if words else text
        total[text] = np.logaddexp(total.get(text, -np.inf), log_probs[np.arange(len(path)), path].sum(dtype=float))
    return total


def test_greedy_takes_repeats_together_and_drops_blanks():
    assert greedy(says(ALPHABET, *"_CC_ATT_T_S__ 'A_"), ALPHABET) == "CATTS 'A"
    assert greedy(says(ALPHABET, *"___"), ALPHABET) == ""
    assert greedy(np.zeros((0, 29), np.float32), ALPHABET) == ""


@pytest.mark.parametrize(("seed", "labels", "frames"), [(0, "_AB", 6), (1, "_A ", 5), (2, "_ABC", 5), (3, "_A", 7)])
def test_wide_beam_equals_the_sum_over_all_alignments(seed, labels, frames):
    alphabet, log_probs = Alphabet(labels), random_log_probs(seed, frames, len(labels), 2)
    expected = all_texts(log_probs, alphabet)
    found = beam_search(log_probs, alphabet, 10000)
    assert len(found) == len(expected) and found[0][0] == max(expected, key=expected.get)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    np.testing.assert_allclose([score for _, score in found], [expected[text] for text, _ in found], atol=1e-4)
    assert np.logaddexp.reduce([score for _, score in found]) == pytest.approx(0, abs=1e-4)
    for width in (1, 2, 5):
        narrow = beam_search(log_probs, alphabet, width)
        assert len(narrow) == width and all(score <= expected[text] + 1e-4 for text, score in narrow)


def test_beam_search_finds_what_greedy_misses():
    """The best single path is blank; the text A has more probability in its three paths together."""
    log_probs = np.log(np.array([[0.6, 0.4], [0.6, 0.4]], np.float32))
    assert greedy(log_probs, Alphabet("_A")) == ""
    (best, score), (second, _) = beam_search(log_probs, Alphabet("_A"), 4)[:2]
    assert (best, second) == ("A", "") and score == pytest.approx(np.log(0.64), abs=1e-6)


@pytest.mark.parametrize("width", [0, 4])
def test_what_is_no_number_becomes_no_text(width):
    decode = decoder.make_decoder(Config(beam_width=width), ALPHABET)
    log_probs = says(ALPHABET, *"AB")
    log_probs[log_probs < -5] = -np.inf
    assert decode(log_probs) == "AB" and decode(log_probs[:0]) == ""
    for value in (np.nan, np.inf):
        log_probs[1, 3] = value
        with refused(RunError, "not numbers"):
            decode(log_probs)


def test_beam_search_of_nothing_and_of_the_impossible():
    assert beam_search(np.zeros((0, 29), np.float32), ALPHABET, 8) == [("", 0.0)]
    certain = np.full((3, 29), -np.inf, np.float32)
    certain[[0, 1, 2], [ALPHABET.number["A"], BLANK, ALPHABET.number["A"]]] = 0
    assert beam_search(certain, ALPHABET, 8) == [("AA", 0.0)]


@pytest.mark.parametrize("text", ["他", "他她", "他他", "他她他", ""])
def test_alignment_is_the_best_of_all_paths(text):
    """Each character is a word, so that the times of words are the path."""
    alphabet, log_probs = Alphabet("_他她"), random_log_probs(5, 5, 3, 2)
    labels = alphabet.encode(text)
    paths = [path for path in product(range(3), repeat=5) if np.array_equal(collapse(path), labels)]
    best = max(paths, key=lambda path: log_probs[np.arange(5), path].sum())
    found = np.full(5, BLANK)
    for word, start, end in word_times(log_probs, text, alphabet, 1):
        found[int(start):int(end)] = alphabet.number[word]
    np.testing.assert_array_equal(found, best)


def test_alignment_needs_frames_and_a_possible_text():
    alphabet = Alphabet("_AB")
    assert word_times(np.zeros((0, 3), np.float32), "", alphabet, 1) == []
    with refused(MismatchError, "alignment", "2 frames", 3, "2 labels"):
        word_times(random_log_probs(0, 2, 3), "AA", alphabet, 1)
    impossible = np.full((3, 3), -np.inf, np.float32)
    impossible[:, BLANK] = 0
    with refused(MismatchError, "alignment", "probability zero"):
        word_times(impossible, "A", alphabet, 1)


def test_word_times():
    log_probs = says(ALPHABET, *"__SSE_E_ ___'OO_  _A_")
    expected = [("SEE", 2, 7), ("'O", 12, 15), ("A", 19, 20)]
    found = word_times(log_probs, "SEE 'O A", ALPHABET, 0.02)
    assert [word for word, _, _ in found] == ["SEE", "'O", "A"]
    np.testing.assert_allclose([times[1:] for times in found], [(0.02 * a, 0.02 * b) for _, a, b in expected])
    assert word_times(log_probs, "", ALPHABET, 0.02) == []


@pytest.fixture(scope="module", params=[str.upper, str.lower], ids=["upper", "lower"])
def case(request):
    return request.param


@pytest.fixture(scope="module")
def model(case, tmp_path_factory):
    """(alphabet, ARPA file) of SENTENCES in the case of the labels."""
    path = tmp_path_factory.mktemp("lm") / "bigram.arpa"
    write_arpa(map(case, SENTENCES), 2, path)
    return Alphabet(case(ALPHABET.labels)), path


def test_language_model_decides_between_what_sounds_alike(model, case, tmp_path):
    alphabet, path = model
    frames = [case(characters) for characters in "S E _ EA _|T H E _|C KC A T".replace("|", "  ").split(" ")]
    log_probs = says(alphabet, *(characters or " " for characters in frames))
    decode = LanguageModelDecoder(alphabet, path, 1.0, 1.0, 32)
    assert decode(log_probs) == case("see the cat")
    write_arpa(map(case, ["sea the cat", "the sea"]), 2, tmp_path / "sea.arpa")
    other = LanguageModelDecoder(alphabet, tmp_path / "sea.arpa", 1.0, 1.0, 32)
    assert other(log_probs) == case("sea the cat")
    dont = says(alphabet, *case("do"), *case("nm _ '_ _t t_").split(), " ", *case("dog"))
    assert decode(dont) == case("don't dog")


def test_end_of_an_utterance_is_no_unknown_word(model, case):
    """Neither a trailing space nor silence costs what pyctcdecode takes for an unknown word."""
    alphabet, path = model
    decode = LanguageModelDecoder(alphabet, path, 1.0, 0.5, 32)
    (text, score), = [beam for beam in decode.beams(says(alphabet, *case("the dog"))) if beam[0] == case("the dog")]
    (padded, padded_score), *_ = decode.beams(says(alphabet, *case("the dog "), "_"))
    assert text == padded and padded_score == pytest.approx(score, abs=0.05)
    assert decode(says(alphabet, "_", "_", "_")) == "" and decode(np.zeros((0, 29), np.float32)) == ""
    text, score = decode.beams(says(alphabet, "_", "_", "_"))[0]
    assert text == "" and -6 < score < 0


@pytest.mark.parametrize(("seed", "width"), [(0, 1), (1, 3), (2, 8), (3, 20)])
def test_many_labels_give_the_beams_of_a_search_among_all(seed, width, monkeypatch):
    """Ties apart, the labels that are passed over could not have been kept."""
    alphabet = Alphabet("_" + "".join(chr(0x4e00 + i) for i in range(300)))
    log_probs = random_log_probs(seed, 12, 301, 3)
    few = beam_search(log_probs, alphabet, width)
    monkeypatch.setattr(decoder, "_useful_labels", lambda frame, last, width: np.arange(len(frame)))
    every = beam_search(log_probs, alphabet, width)
    assert [text for text, _ in few] == [text for text, _ in every]
    assert [score for _, score in few] == [score for _, score in every]


def test_a_model_of_characters_decides_between_homophones(tmp_path):
    alphabet, path = Alphabet("_他她在是说话"), tmp_path / "lm.arpa"
    write_arpa([" ".join(alphabet.words(text)) for text in ("她在说话", "她是她", "她在", "说话")], 2, path)
    log_probs = says(alphabet, "他她", "_", "在", "在", "_", "说", "话", "_", "话")
    plain = LanguageModelDecoder(alphabet, path, 0.0, 0.0, 50)
    assert {text for text, score in plain.beams(log_probs) if score > -3} >= {"他在说话话", "她在说话话"}
    text = LanguageModelDecoder(alphabet, path, 1.0, 0.0, 50)(log_probs)
    assert text == "她在说话话"
    assert [word for word, _, _ in word_times(log_probs, text, alphabet, 0.02)] == list(text)


@pytest.mark.parametrize("seed", range(5))
def test_weights_of_zero_leave_no_language_model(seed, tmp_path):
    """But for spaces, of which pyctcdecode takes any number as one."""
    alphabet, path = Alphabet("_AB "), tmp_path / "lm.arpa"
    write_arpa(["A BA", "B A"], 2, path)
    log_probs = random_log_probs(seed, 6, 4, 0.7)
    expected = all_texts(log_probs, alphabet, words=True)
    decode = LanguageModelDecoder(alphabet, path, 2.0, 1.0, 2000)
    decode.set_weights(0, 0)
    text, score = decode.beams(log_probs)[0]
    assert text == max(expected, key=expected.get) and score == pytest.approx(expected[text], abs=1e-3)
    assert decode(log_probs) == text
    decode.set_weights(5, 0)
    assert set(decode(log_probs).split()) <= {"A", "BA", "B"}


def test_models_that_do_not_fit_are_refused_in_one_line(model, case, tmp_path):
    alphabet, path = model
    for labels, file, kind, facts in [
            (alphabet.labels.swapcase(), path, MismatchError, [path, alphabet.labels.swapcase()[1:]]),
            (alphabet.labels.strip(), path, MismatchError, ["labels", "no space"]),
            ("_你好", path, MismatchError, [path, "characters"]),
            (alphabet.labels, tmp_path / "none.arpa", NotFoundError, [tmp_path / "none.arpa"])]:
        with refused(kind, *facts):
            LanguageModelDecoder(Alphabet(labels), file, 1.0, 1.0, 8)
    broken = tmp_path / "broken.arpa"
    broken.write_text(path.read_text().replace("-99.0", "x99.0"))
    with refused(ContentError, broken, "KenLM", "x99.0000000"):
        LanguageModelDecoder(alphabet, broken, 1.0, 1.0, 8)


def test_log_probs_survive_a_file(tmp_path):
    path = tmp_path / "valid_log_probs.npz"
    latin = os.fsdecode(b"caf\xe9.wav")
    items = [("a/b-1", "SEE", random_log_probs(0, 4, 29)), (latin, "", np.zeros((0, 29), np.float32))]
    save_log_probs(path, items, ALPHABET.labels)
    loaded, labels = load_log_probs(path)
    assert labels == ALPHABET.labels and [item[:2] for item in loaded] == [("a/b-1", "SEE"), (latin, "")]
    for (_, _, a), (_, _, b) in zip(items, loaded, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with refused(ContentError, path, "one name"):
        save_log_probs(path, [items[0], items[0]], ALPHABET.labels)
    data = path.read_bytes()
    for content in (b"", b"text", data[:200], data[:-30]):
        path.write_bytes(content)
        with refused(ContentError, path, "log probabilities"):
            load_log_probs(path)
    np.savez(path, keys=np.array(["a"]))
    with refused(ContentError, path, "log probabilities"):
        load_log_probs(path)
    np.save(tmp_path / "a.npy", np.zeros(3))
    with refused(ContentError, tmp_path / "a.npy", "log probabilities", "--save_log_probs"):
        load_log_probs(tmp_path / "a.npy")
    with refused(NotFoundError, tmp_path / "none.npz"):
        load_log_probs(tmp_path / "none.npz")


def test_command_line_estimates_and_tunes(tmp_path, capsys):
    """The best weights of the grid are those with the fewest errors, and land in a preset."""
    texts, arpa, outputs = tmp_path / "texts.txt", tmp_path / "lm.arpa", tmp_path / "valid_log_probs.npz"
    texts.write_text("\n".join(SENTENCES) + "\n\ncafé 3\n")
    lm.main(["estimate", "--texts", str(texts), "--order", "2", "--output", str(arpa)])
    printed = capsys.readouterr().out
    assert "1 of 8 sentences left out" in printed and "9 words, from 7 sentences" in printed
    texts.write_text("\n".join(f"\u201c{text}!\u201d" for text in SENTENCES) + "\n")
    plain = arpa.read_text()
    lm.main(["estimate", "--texts", str(texts), "--order", "2", "--output", str(arpa)])
    assert "9 words, from 7 sentences" in capsys.readouterr().out and arpa.read_text() == plain
    (tmp_path / "a.wav").touch()
    manifest = tmp_path / "train.json"          # a model of its transcripts
    write_manifest(manifest, tmp_path, [Sample("a.wav", "", text, 1.0) for text in SENTENCES])
    lm.main(["estimate", "--texts", str(manifest), "--order", "2", "--output", str(arpa)])
    assert "9 words, from 7 sentences" in capsys.readouterr().out and arpa.read_text() == plain
    texts.write_text("café\nÄ\n")
    with refused(MismatchError, texts, "all 2 sentences", "'CAFÉ'", "--labels"):
        lm.main(["estimate", "--texts", str(texts), "--order", "2", "--output", str(arpa)])
    assert arpa.read_text() == plain
    log_probs = says(ALPHABET, "S", "E", "_", "EA", " ", *"THE ", "C", "A", "TP")
    save_log_probs(outputs, [("a", "SEE THE CAT", log_probs + np.eye(29, dtype=np.float32)[BLANK + 2] * 0.1)],
                   ALPHABET.labels)
    lm.main(["tune", "--log_probs", str(outputs), "--lm", str(arpa), "--alpha_steps", "2", "--beta_steps", "2",
             "--width", "16", "--workers", "1"])
    printed = capsys.readouterr().out
    preset = json.loads((tmp_path / "lm.json").read_text())
    assert preset == {"lm_path": str(arpa), "alpha": 2.0, "beta": 0.0, "beam_width": 16}
    assert "best: alpha 2 beta 0 WER 0.000 CER 0.000" in printed
    assert_line(printed, tmp_path / "lm.json", "eval.py")
    long = np.concatenate([log_probs] * 400)        # eval.py decodes what is longer than a minute in stretches
    save_log_probs(tmp_path / "long.npz", [("a", "A", long)], ALPHABET.labels)
    trial = lm.Trial(str(tmp_path / "long.npz"), str(arpa), 16, 1.0, 0.0)
    decode = LanguageModelDecoder(ALPHABET, arpa, 1.0, 0.0, 16)
    assert lm.measure(trial) == error_rates(["A"], [text_of(long, decode, " ")]) != error_rates(["A"], [decode(long)])
    lm.main(["tune", "--log_probs", str(outputs), "--lm", "english", "--alpha_steps", "1", "--beta_steps", "1",
             "--width", "1", "--workers", "1"])
    assert Path(json.loads((tmp_path / "lm.json").read_text())["lm_path"]).parts[-2:] == ("english", "lm.arpa.gz")
    capsys.readouterr()
    (tmp_path / "lm.json").unlink()
    (tmp_path / "lm.json").mkdir()
    lm.main(["tune", "--log_probs", str(outputs), "--lm", str(arpa), "--alpha_steps", "1", "--beta_steps", "1",
             "--width", "1", "--workers", "1"])
    printed = capsys.readouterr()
    assert "lm.json" in printed.err and "lm.json" not in printed.out and "--alpha 0" in printed.out
    with refused(SettingError, "command", "'tunes'", "tune?"):
        lm.main(["tunes"])
    with refused(SettingError, "alpha_steps", 0, 1):
        lm.main(["tune", "--log_probs", "x", "--lm", "y", "--alpha_steps", "0"])
