"""The C++ runner's text is Python's: decoding, times of words, windows, and segments between pauses."""
import numpy as np
import pytest
from helpers.errors import refused
from helpers.text_answers import Facts, TextAnswers

from deepspeech2.src.alignment import word_times
from deepspeech2.src.config import Config
from deepspeech2.src.decoder import LanguageModelDecoder, beam_search, greedy
from deepspeech2.src.features import RATE, spectrogram
from deepspeech2.src.inference import Recognizer
from deepspeech2.src.ngram import write_arpa
from deepspeech2.src.text import BLANK, LABELS, Alphabet
from deepspeech2.src.windows import FRAME, LONGEST, OVERLAP, PAUSE, SEGMENT, WINDOW, Windows
from utils.errors import MismatchError

MANDARIN = "_" + "".join(chr(0x4e00 + i) for i in range(4000))
FACTS = Facts(WINDOW * RATE, OVERLAP * RATE, FRAME, PAUSE, SEGMENT, LONGEST, RATE)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    return TextAnswers(tmp_path_factory.mktemp("answers"))


def log_softmax(scores):
    scores = np.asarray(scores, np.float64)
    return (scores - np.logaddexp.reduce(scores, 1, keepdims=True)).astype(np.float32)


def outputs(seed, labels, kind):
    """Log probabilities (T, labels): of a network that is sure or is not, with ties, or with what is impossible."""
    generator = np.random.default_rng(seed)
    scores = generator.choice([0.5, 2, 5]) * generator.standard_normal((generator.integers(0, 40), labels))
    if kind == "ties":
        scores = np.round(scores)
    if kind == "impossible":
        scores[generator.random(scores.shape) < 0.5] = -np.inf
        scores[:, generator.integers(labels)] = 0
    return log_softmax(scores)


@pytest.mark.parametrize("kind", ["any", "ties", "impossible"])
def test_texts_are_those_of_python(answers, kind):
    for seed in range(60):
        labels = ["_A", "_AB ", LABELS, MANDARIN][seed % 4]
        alphabet, log_probs = Alphabet(labels), outputs(seed, len(labels), kind)
        assert answers.decode(log_probs, labels, 0) == [(greedy(log_probs, alphabet), 0)]
        for width in (1, 2, 7, 100):
            found, expected = answers.decode(log_probs, labels, width), beam_search(log_probs, alphabet, width)
            assert [text for text, _ in found] == [text for text, _ in expected], (seed, width)
            np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], rtol=1e-12)


SENTENCES = {" ": ["SEE THE CAT", "SEE THE SEA", "DON'T SEE THE DOG", "THE CAT SEES THE DOG", "DON'T", "O A SEE"],
             "": ["丐丑丒专且", "丑专丒", "且且丕世丗", "丐丒", "世丕丐丑"]}


@pytest.fixture(scope="module", params=[2, 3])
def models(request, tmp_path_factory):
    """{what is between words: ARPA file}."""
    folder = tmp_path_factory.mktemp("models")
    for name, between in (("words", " "), ("characters", "")):
        texts = [" ".join(text.split() if between else text) for text in SENTENCES[between]]
        write_arpa(texts, request.param, folder / f"{name}.arpa")
    return {" ": folder / "words.arpa", "": folder / "characters.arpa"}


def spoken(seed, alphabet):
    """Log probabilities (T, labels) of sentences of a model, not quite understood."""
    generator = np.random.default_rng(seed)
    sentences = SENTENCES[" " if alphabet.spaced else ""]
    text = (" " if alphabet.spaced else "").join(generator.choice(sentences, generator.integers(1, 4)))
    path = np.repeat(alphabet.encode(text), 2)
    path[1::2] = np.where(generator.random(len(path) // 2) < 0.8, BLANK, path[::2])
    scores = generator.standard_normal((len(path), len(alphabet)))
    scores[np.arange(len(path)), path] += 4
    return log_softmax(generator.choice([0.7, 1.0, 2.0]) * scores)


def test_texts_by_a_language_model_are_those_of_python(answers, models):
    """Words that it knows and does not, at the end too; of Mandarin characters."""
    if not answers.has_models:
        pytest.skip("build.sh has not built KenLM")
    changed = 0
    for seed in range(24):
        alphabet = Alphabet([LABELS, MANDARIN[:60]][seed % 2])
        path, generator = models[" " if alphabet.spaced else ""], np.random.default_rng(seed)
        alpha, beta = [(0.8, 1.0), (0, 0), (2.5, -1.0), (0.3, 5.0)][seed // 2 % 4]
        width = int(generator.choice([1, 8, 100]))
        log_probs = outputs(seed, len(alphabet), "any") if seed % 3 == 0 else spoken(seed, alphabet)
        python = LanguageModelDecoder(alphabet, path, alpha, beta, width)
        expected, score = python.beams(log_probs)[0]
        found = answers.decode_by_model(log_probs, alphabet.labels, alphabet.spaced, path, alpha, beta, width)
        assert found == (expected, pytest.approx(score, abs=1e-4)), seed
        changed += expected != greedy(log_probs, alphabet)
    assert changed > 5


@pytest.mark.parametrize("kind", ["any", "ties", "impossible"])
def test_times_of_words_are_those_of_python(answers, kind):
    refusals = 0
    for seed in range(100):
        labels = ["_A ", "_AB ", LABELS, MANDARIN[:300]][seed % 4]
        alphabet, generator = Alphabet(labels), np.random.default_rng(seed)
        log_probs = outputs(seed, len(labels), kind)
        letters = generator.integers(1, len(labels), int(len(log_probs) * generator.choice([0.2, 0.5])))
        text = " ".join(alphabet.decode(letters).split())
        try:
            expected = word_times(log_probs, text, alphabet, 0.02)
        except MismatchError as error:
            refusals += 1
            with refused(MismatchError, str(error)):
                answers.word_times(log_probs, text, labels, alphabet.spaced, 0.02)
        else:
            assert answers.word_times(log_probs, text, labels, alphabet.spaced, 0.02) == expected
    assert refusals < 100


def network(samples, labels, seed=0):
    """Log probabilities of a window: the network is at random, with long pauses and letters between."""
    features = spectrogram(samples)[::2]
    weights = np.random.default_rng(seed).standard_normal((features.shape[1], labels))
    scores = 0.5 * features @ weights
    scores[:, BLANK] += np.where(np.arange(len(scores)) // 40 % 3 == 0, 9, 2)
    return log_softmax(scores)


@pytest.mark.parametrize(("seconds", "labels", "width"), [
    (0.02, LABELS, 0), (3.3, LABELS, 4), (20, LABELS, 0), (20.01, LABELS, 0), (36.5, LABELS, 4), (100, LABELS, 0),
    (45, MANDARIN[:300], 0)])
def test_segments_are_those_of_python(answers, seconds, labels, width, monkeypatch):
    """Whatever the size of the blocks in which a recording comes."""
    samples = np.random.default_rng(int(seconds)).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    alphabet = Alphabet(labels)

    def decode(log_probs):
        return beam_search(log_probs, alphabet, width)[0][0] if width else greedy(log_probs, alphabet)

    recognizer = Recognizer(None, Config(labels=labels), decode)
    windows = Windows(lambda features, length: [network(window, len(labels)) for window in features], len(samples))
    monkeypatch.setattr("deepspeech2.src.windows.spectrogram", lambda samples: samples)
    expected = list(recognizer.decode_pieces(windows.run([samples]), timestamps=True))
    for block in (RATE, 7777):
        found = answers.transcribe(samples, lambda window: network(window, len(labels)), labels, alphabet.spaced,
                                   FACTS._replace(block=block, beam_width=width))
        assert [(start, end, text) for start, end, text, _ in found] == [segment[:3] for segment in expected]
        assert [words for *_, words in found] == [[(word.text, word.start, word.end) for word in segment.words]
                                                  for segment in expected]
    assert any(text for *_, text, _ in found) or seconds < 1


class Echo:
    """A network that says of each frame which of the recording it is: what the samples of 1, 2, 3, ... hold there."""

    def __init__(self, length, is_fixed):
        self.length, self.is_fixed, self.windows = length, is_fixed, []

    def __call__(self, samples):
        self.windows.append((int(samples[0] - 1), int(samples[-1])))
        places = np.minimum(np.arange(len(samples) // FRAME + 1) * FRAME, len(samples) - 1)
        return np.stack((samples[places] / 1000, places), 1)


@pytest.mark.parametrize("is_fixed", [False, True])
def test_a_graph_that_takes_few_samples_gives_every_frame_of_a_long_recording(answers, is_fixed):
    """With windows that overlap by half at most, and of a fixed length to the last, which ends with the recording."""
    generator = np.random.default_rng(0)
    for length in (2 * FRAME, 2 * FRAME + 1, 5 * FRAME - 1, 64000, 127840, 160000, 400000):
        for count in (400, length, length + 1, *generator.integers(length, 10 * length, 6)):
            samples = np.arange(1, count + 1, dtype=np.float32)
            echo = Echo(length, is_fixed)
            facts = FACTS._replace(graph_length=length, is_fixed=is_fixed, block=int(generator.integers(200, 50000)))
            found = np.concatenate(answers.join(samples, echo, "_A", facts))
            np.testing.assert_array_equal(found[:-1, 0], np.arange(1, count - FRAME + 2, FRAME, np.float32) / 1000)
            assert len(found) == count // FRAME + 1
            starts, stops = np.transpose(echo.windows)
            assert starts[0] == 0 and stops[-1] == count and (stops - starts).max() <= length
            assert (starts % FRAME == 0).all() and (stops[:-1] - starts[1:] > 0).all()
            if is_fixed and count > length:
                assert (stops - starts).min() > length - FRAME
