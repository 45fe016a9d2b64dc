"""The mini corpus: what it promises about its files, its lists, its determinism and other people's folders."""
import ctypes
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from helpers.errors import refused

from utils.corpora import mini
from utils.errors import OutputError, UnsupportedError

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def corpus(mini_corpus):
    return mini_corpus


@pytest.fixture(scope="module")
def texts(corpus):
    return dict(line.split("\t") for line in (corpus / "transcripts.tsv").read_text().splitlines())


@pytest.fixture
def small(monkeypatch):
    """A corpus of three speakers, for tests that make several."""
    monkeypatch.setattr(mini, "VARIANTS", {"train": ["f1"], "test": ["m6", "Reed"]})
    monkeypatch.setattr(mini, "UTTERANCES", {"train": 2, "test": 3})
    monkeypatch.setattr(mini, "NON_TARGETS", 5)
    monkeypatch.setattr(mini, "music", lambda kind, rng: rng.normal(size=100))
    monkeypatch.setattr(mini, "noise", lambda kind, rng: rng.normal(size=100))


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
            for path in pathlib.Path(folder).rglob("*") if path.is_file()}


def cast():
    return [who for part in mini.VARIANTS for who in mini.speakers(part, np.random.default_rng(0))]


def said(speaker, seed=3):
    args = ("GO HELP SIX", speaker.voice, speaker.rate, speaker.pitch, speaker.pitch_range, seed)
    return hashlib.md5(mini.speak(*args).tobytes()).hexdigest()


def test_every_file_has_a_transcript_and_the_reverse(corpus, texts):
    files = {str(path.relative_to(corpus)) for part in ("train", "test") for path in (corpus / part).rglob("*.wav")}
    assert files == set(texts)
    assert len(files) == 80 * 13 + 20 * 10
    listed = [line.split(" ") for line in (corpus / "train.txt").read_text().splitlines()]
    assert {f"train/{path}" for _, path in listed} == {path for path in files if path.startswith("train/")}
    assert all(path.split("/")[0] == speaker for speaker, path in listed)


def test_speech_is_16k_mono_of_bounded_length_neither_silent_nor_clipped(corpus, texts):
    total = 0
    for path in texts:
        info = soundfile.info(corpus / path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16"), path
        samples, _ = soundfile.read(corpus / path)
        total += len(samples) / 16000
        assert 1.5 <= len(samples) / 16000 <= 5, path
        assert samples.std() > 0.03 and 0.1 < np.abs(samples).max() < 0.95, path
    assert 30 < total / 60 < 55


def test_voices_and_sentences_of_the_parts_are_disjoint_and_the_words_are_known(texts):
    assert not set(mini.VARIANTS["train"]) & set(mini.VARIANTS["test"])
    train = {text for path, text in texts.items() if path.startswith("train/")}
    test = {text for path, text in texts.items() if path.startswith("test/")}
    assert not train & test
    words = {word for text in train for word in text.split()}
    assert {word for text in test for word in text.split()} <= words
    assert len(words) < 130
    assert all(re.fullmatch(r"[A-Z']+( [A-Z']+)*", text) for text in train | test)


def test_every_speaker_has_a_voice_of_its_own():
    people = cast()
    assert len({who.voice for who in people}) == len(people) == 100
    assert len({who.name for who in people}) == 100
    # espeak keeps its last voice where a variant is unknown: 40 + 20 variants must sound like 60
    distinct = {said(who._replace(voice=f"en-us+{who.voice.split('+')[1]}", rate=150, pitch=50, pitch_range=50))
                for who in people}
    assert len(distinct) == 60


def test_words_are_pronounced_as_the_transcript_says():
    """The letter A is a name, not the article, and no word is read out as an abbreviation."""
    library, data = mini._espeak_files()
    lib, given = ctypes.CDLL(library), []
    lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
    lib.espeak_Initialize(2, 0, data.encode(), 0x8000)
    for accent in mini.ACCENTS:
        assert lib.espeak_SetVoiceByName(accent.encode()) == 0
        for text, expected in (("A B A K", "'eI b'i: 'eI k'eI"), ("MAY NO", "m'eI n'oU"), ("O I U", "'oU 'aI")):
            spelling = ctypes.c_char_p(mini.respell(text).encode())
            phonemes = lib.espeak_TextToPhonemes(ctypes.byref(spelling), 1, 0).decode()
            given.append((accent, phonemes.replace(";", "").replace("2", ""), expected))
    lib.espeak_Terminate()
    ctypes.CDLL(None).dlclose(ctypes.c_void_p(lib._handle))
    assert all(phonemes.startswith(expected) for _, phonemes, expected in given), given


def test_trials_are_valid_and_balanced(corpus):
    lines = [line.split(" ") for line in (corpus / "test_trials.txt").read_text().splitlines()]
    for label, first, second in lines:
        assert (corpus / "test" / first).is_file() and (corpus / "test" / second).is_file()
        assert first != second and int(label) == (first.split("/")[0] == second.split("/")[0])
    share = np.mean([label == "1" for label, _, _ in lines])
    assert len(lines) == len({frozenset(line[1:]) for line in lines}) == 2000 and 0.4 < share < 0.6


def test_noises_music_and_rooms(corpus):
    for kind in ("noise", "music"):
        paths = sorted((corpus / "musan" / kind).glob("*.wav"))
        signals = [soundfile.read(path)[0] for path in paths]
        assert len(paths) == 8 and all(len(x) == 160000 and x.std() > 0.005 for x in signals)
        assert len({x.tobytes() for x in signals}) == 8
    rooms = [soundfile.read(path)[0] for path in sorted((corpus / "rir").glob("*.wav"))]
    assert len(rooms) == 16
    for response, t60 in zip(rooms, np.linspace(0.15, 0.8, 16), strict=True):
        assert np.argmax(np.abs(response)) == 0
        left = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-12)   # Schroeder's decay curve
        left = left[int(0.05 * 16000):]                              # behind the early reflections
        reached = np.argmax(left < left[0] - 15) / 16000
        assert reached * 4 == pytest.approx(t60, rel=0.25)


def test_speech_does_not_depend_on_order_or_process():
    people = cast()[::12]
    forward = {who.name: said(who) for who in people}
    assert {who.name: said(who) for who in reversed(people)} == forward
    code = ("import sys; sys.path.insert(0, 'tests'); from test_mini_corpus import cast, said; "
            "print(*(said(who) for who in cast()[36::12]))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         cwd=pathlib.Path(__file__).parents[1], env={"PYTHONPATH": "."}).stdout
    assert out.split() == [said(who) for who in people[3:]]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(small, tmp_path):
    first, again, other = (digests(mini.make_mini_corpus(tmp_path / name, seed))
                           for name, seed in (("first", 0), ("again", 0), ("other", 1)))
    assert first == again
    assert first["train/s001/s001-000.wav"] != other["train/s001/s001-000.wav"]


def test_a_finished_corpus_is_reused_at_once(corpus):
    before, start = digests(corpus), time.perf_counter()
    assert mini.make_mini_corpus(corpus) == corpus
    assert time.perf_counter() - start < 0.2
    assert digests(corpus) == before


def test_an_interrupted_or_outdated_corpus_is_made_again(small, tmp_path, monkeypatch):
    whole = digests(mini.make_mini_corpus(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(mini, "trials", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            mini.make_mini_corpus(tmp_path / "cut")
    assert not (tmp_path / "cut" / mini.MARKER).exists()
    (tmp_path / "cut" / "train" / "s001" / "left-over.wav").touch()
    assert digests(mini.make_mini_corpus(tmp_path / "cut")) == whole
    mini.make_mini_corpus(tmp_path / "cut", seed=1)
    assert json.loads((tmp_path / "cut" / mini.MARKER).read_text())["seed"] == 1


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "mine.wav").write_text("precious")
    with refused(OutputError, tmp_path):
        mini.make_mini_corpus(tmp_path)
    assert (tmp_path / "train" / "mine.wav").read_text() == "precious"
    with refused(OutputError, tmp_path / "train" / "mine.wav"):
        mini.make_mini_corpus(tmp_path / "train" / "mine.wav")


def test_the_missing_synthesiser_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with refused(UnsupportedError, "pip install espeakng-loader"):
        mini.make_mini_corpus(tmp_path / "new")
    assert not (tmp_path / "new").exists()
