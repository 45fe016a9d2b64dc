"""deepspeech2/prepare.py, its manifests and downloads: on trees made here, a local server, and the real AN4."""
import hashlib
import http.server
import io
import json
import os
import re
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.corpora import lines, printed
from helpers.errors import assert_line, assert_named, refused

import deepspeech2.data.an4 as an4_script
from deepspeech2 import prepare
from deepspeech2.src import download, open_speech
from deepspeech2.src.manifest import Sample, Utterance, read_manifest, write_manifest
from deepspeech2.src.text import Alphabet
from utils.corpora import corpus
from utils.errors import ContentError, MismatchError, NotFoundError, RunError, SettingError

RATE = 16000
DATA = os.environ.get("SPEECH_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SPEECH_DATA is not set: folder of an4/ and librispeech/")


def noise(seconds, rate=RATE, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate)).clip(-1, 1)


def put(path, seconds=0.5, rate=RATE, seed=0, samples=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, rate, seed) if samples is None else samples, rate, **options)
    return path


def say(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def prepare_corpus(corpus, data, out, *flags):
    prepare.main(["--corpus", corpus, "--data_folder", str(data), "--output_folder", str(out), "--workers=1", *flags])


def texts(path):
    """{audio relative to its root: text} of a manifest, read as training does."""
    root = json.loads(path.read_text())["root_path"]
    return {os.path.relpath(item.audio, root): item.text for item in read_manifest(str(path))}


# ---- manifests

def json_manifest(folder, samples, root="data", name="a.json"):
    return say(folder / name, json.dumps({"root_path": root, "samples": samples}))


@pytest.fixture
def pair(tmp_path):
    put(tmp_path / "data/a.wav")
    say(tmp_path / "data/a.txt", "\ufeffYES  SIR \n")
    return {"wav_path": "a.wav", "transcript_path": "a.txt"}


def test_manifest_of_deepspeech_pytorch(tmp_path, pair):
    wav = str(tmp_path / "data/a.wav")
    relative = json_manifest(tmp_path, [pair])
    assert read_manifest(str(relative)) == [Utterance(wav, "YES  SIR", 0.0)]
    absolute = json_manifest(tmp_path / "x", [pair], str(tmp_path / "data"))
    assert read_manifest(str(absolute))[0].audio == wav
    with refused(NotFoundError, tmp_path / "x/data/a.wav", tmp_path / "x/a.json"):
        read_manifest(str(json_manifest(tmp_path / "x", [pair])))
    assert read_manifest(str(tmp_path / "x/a.json"), str(tmp_path / "data"))[0].audio == wav


def test_text_and_length_in_the_manifest_spare_opening_files(tmp_path, pair):
    more = {"transcript": " NO ", "seconds": 2, "speaker": "other keys are ignored"}
    found = read_manifest(str(json_manifest(tmp_path, [{**pair, **more, "transcript_path": "none.txt"}])))
    assert found[0].text == "NO" and found[0].seconds == 2.0
    assert read_manifest(str(json_manifest(tmp_path, [{"wav_path": "a.wav", "transcript": "GO"}])))[0].text == "GO"


def test_csv_of_older_versions(tmp_path, pair):
    wav, odd = tmp_path / "data/a.wav", put(tmp_path / "data/b, c d.wav")
    say(tmp_path / "data/b.txt", "NO")
    say(tmp_path / "data/a.csv", f'a.wav,a.txt\n\n"{odd.name}",b.txt\r\n{wav},{wav.with_suffix(".txt")}\n')
    found = read_manifest(str(tmp_path / "data/a.csv"))
    assert [item.text for item in found] == ["YES  SIR", "NO", "YES  SIR"]
    assert [item.audio for item in found] == [str(wav), str(odd), str(wav)]
    (tmp_path / "data/a.csv").rename(tmp_path / "a.csv")
    assert read_manifest(str(tmp_path / "a.csv"), str(tmp_path / "data")) == found


def test_manifest_comes_back_as_written(tmp_path, pair):
    rows = [Sample("a.wav", "/x/a.txt", 'À "B"', 1.5), Sample("a.wav", "", "C", 0.0000625)]
    write_manifest(tmp_path / "w.json", tmp_path / "data", rows)
    assert [(item.text, item.seconds) for item in read_manifest(str(tmp_path / "w.json"))] == [('À "B"', 1.5),
                                                                                               ("C", 0.0000625)]
    assert not (tmp_path / "w.json.part").exists() and len(lines(tmp_path / "w.json")) == 3


@pytest.mark.parametrize("text, facts", [
    ("{", ["JSON", "line 1", "root_path"]), ("[]", ["a list", "root_path"]), ("{}", ["nothing", "root_path"]),
    ('{"samples": []}', ["found samples", "root_path"]),
    ('{"root_path": 1, "samples": []}', ["found root_path, samples", "wav_path"]),
    ('{"root_path": "", "samples": []}', ["empty"]), ("", ["JSON"]), ("\xff", ["JSON"]),
    ('{"root_path": "", "samples": [1]}', ["sample 1 is 1", "wav_path"]),
    ('{"root_path": "", "samples": [{"audio": "a"}]}', ["sample 1", '{"audio": "a"}', "wav_path"]),
    ('{"root_path": "", "samples": [{"wav_path": "a.wav"}]}', ["sample 1", "transcript_path", "transcript"]),
    ('{"root_path": "", "samples": [{"wav_path": "a", "transcript": 5}]}', ["sample 1", "5}", "transcript_path"]),
    ('{"root_path": "", "samples": [{"wav_path": "a", "transcript": "B", "seconds": "1"}]}', ["sample 1", "'1'"]),
    ('{"root_path": "", "samples": [{"wav_path": "a", "transcript": "B", "seconds": NaN}]}', ["sample 1", "nan"]),
    ('{"root_path": "", "samples": [{"wav_path": "a", "transcript": "B", "seconds": -1}]}', ["sample 1", -1])])
def test_json_that_is_no_manifest(tmp_path, text, facts):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with refused(ContentError, tmp_path / "a.json", *facts):
        read_manifest(str(tmp_path / "a.json"))


@pytest.mark.parametrize("text, kind, facts", [
    ("", ContentError, ["empty"]), ("a.wav\n", ContentError, ["line 1", "'a.wav'", "wav,txt"]),
    ("a,b\na,b,c\n", ContentError, ["line 2", "'a,b,c'"]), ("a.wav,\n", ContentError, ["line 1", "'a.wav,'"]),
    ("none.wav,a.txt\n", NotFoundError, ["none.wav"]), ("a.wav,none.txt\n", NotFoundError, ["none.txt"]),
    ("a.wav,blank.txt\n", ContentError, ["blank.txt", "empty"]),
    ("a.wav,latin.txt\n", ContentError, ["latin.txt", "line 1", "UTF-8", "0xc9"])])
def test_csv_that_is_no_manifest(tmp_path, pair, text, kind, facts):
    say(tmp_path / "data/blank.txt", " \n")
    (tmp_path / "data/latin.txt").write_bytes(b"CAF\xc9")
    say(tmp_path / "data/a.csv", text)
    with refused(kind, tmp_path / "data/a.csv", *facts):
        read_manifest(str(tmp_path / "data/a.csv"))


def test_no_manifest(tmp_path):
    with refused(NotFoundError, tmp_path / "none.json", "prepare.py"):
        read_manifest(str(tmp_path / "none.json"))
    with refused(NotFoundError, "manifest"):
        read_manifest("")


# ---- AN4

def an4(folder, suffix=".wav", speakers=12, files=2, **options):
    """A small AN4; its transcripts stand in another order than its ids."""
    for part, count in (("train", speakers), ("test", 2)):
        top, ids, said = {"train": "an4_clstk", "test": "an4test_clstk"}[part], [], []
        for s in range(count):
            for f in range(files):
                name = f"an{f}-{part[1]}s{s:02d}-b"
                ids.append(f"{top}/{part[1]}s{s:02d}/{name}")
                said.append(f"<s> {WORDS[s % 4]} {WORDS[f % 4]} </s> ({name})" if part == "train"
                            else f"{WORDS[s % 4]} {WORDS[f % 4]} ({name})")
                put(folder / f"wav/{ids[-1]}{suffix}", 0.5 + 0.1 * f, seed=10 * s + f, **options)
        say(folder / f"etc/an4_{part}.fileids", "\n".join(ids) + "\n")
        say(folder / f"etc/an4_{part}.transcription", "\n".join(reversed(said)) + "\n")
    return folder


WORDS = ["YES", "NO", "GO", "RUBOUT"]


@pytest.mark.parametrize("suffix, options", [(".wav", {}), (".flac", {}),
                                             (".sph", {"format": "NIST", "endian": "BIG"})])
def test_an4_is_matched_by_id(tmp_path, capsys, suffix, options):
    data = an4(tmp_path / "an4", suffix, **options)
    prepare_corpus("an4", data, tmp_path / "out")
    found = {name: texts(tmp_path / f"out/{name}.json") for name in ("train", "valid", "test")}
    assert [len(found[name]) for name in found] == [8, 16, 4]
    assert found["test"][f"wav/an4test_clstk/es01/an0-es01-b{suffix}"] == "NO YES"
    speakers = {name: {path.split("/")[2] for path in found[name]} for name in found}
    assert len(speakers["valid"]) == 8 and not speakers["valid"] & speakers["train"]
    assert not speakers["test"] & (speakers["train"] | speakers["valid"])
    for path, text in (found["train"] | found["valid"]).items():
        _, file, speaker = re.fullmatch(rf"(.*)/an(\d)-rs(\d+)-b{suffix}", path).groups()
        assert text == f"{WORDS[int(speaker) % 4]} {WORDS[int(file)]}"
    assert lines(tmp_path / "out/texts.txt") == list(found["train"].values())
    seconds = {item.audio[-6 - len(suffix):]: item.seconds for item in read_manifest(str(tmp_path / "out/test.json"))}
    assert seconds[f"es01-b{suffix}"] == 0.6
    text = printed(capsys)
    assert "rejected: 0 of 28 files" in text and "train 8 4 0.00 16 valid 16 8 0.00 32 test 4 2 0.00 8" in text


def test_deepspeech_pytorch_can_read_the_manifest(tmp_path):
    prepare_corpus("an4", an4(tmp_path / "an4"), tmp_path / "out")
    manifest = json.loads((tmp_path / "out/test.json").read_text())
    for sample in manifest["samples"]:
        place = os.path.join(manifest["root_path"], sample["transcript_path"])
        assert os.path.isfile(os.path.join(manifest["root_path"], sample["wav_path"]))
        with open(place, encoding="utf-8") as stream:
            assert stream.read().strip() == sample["transcript"]


def test_another_seed_holds_out_others(tmp_path):
    data, held = an4(tmp_path / "an4", files=1), []
    for name, *flags in (("a",), ("b",), ("c", "--seed", "1"), ("d", "--valid_speakers", "3")):
        prepare_corpus("an4", data, tmp_path / name, *flags)
        held.append(set(texts(tmp_path / name / "valid.json")))
    assert held[0] == held[1] != held[2] and [len(one) for one in held] == [8, 8, 8, 3]
    prepare_corpus("an4", data, tmp_path / "e", "--valid_speakers", "0")
    assert not (tmp_path / "e/valid.json").exists() and len(texts(tmp_path / "e/train.json")) == 12
    with refused(MismatchError, "valid_speakers", 12, "0 or 2 to 10"):
        prepare_corpus("an4", data, tmp_path / "f", "--valid_speakers", "12")


@pytest.mark.parametrize("order", [">i2", "<i2"])
def test_an4_without_headers_becomes_wav(tmp_path, order):
    data = an4(tmp_path / "an4")
    wanted = {}
    for path in (data / "wav").rglob("*.wav"):
        samples, _ = soundfile.read(path, dtype="int16")
        wanted[str(path.relative_to(data))] = samples
        samples.astype(order).tofile(path.with_suffix(".raw"))
        path.unlink()
    for _ in range(2):      # what was written is not written again
        prepare_corpus("an4", data, tmp_path / "out")
        found = texts(tmp_path / "out/train.json")
        assert len(found) == 8 and set(found) < set(wanted)
        written = {path: (tmp_path / "out/wav" / path).stat().st_mtime_ns for path in wanted}
    for path, samples in wanted.items():
        back, rate = soundfile.read(tmp_path / "out/wav" / path, dtype="int16")
        assert rate == RATE and (back == samples).all()
    prepare_corpus("an4", data, tmp_path / "out")
    assert written == {path: (tmp_path / "out/wav" / path).stat().st_mtime_ns for path in wanted}
    (data / "wav/an4_clstk/rs00/an0-rs00-b.raw").unlink()
    put(data / "wav/an4_clstk/rs00/an0-rs00-b.wav")
    with refused(ContentError, data / "wav", f"{len(wanted) - 1} of {len(wanted)}", ".raw"):
        prepare_corpus("an4", data, tmp_path / "out")


def test_an4_ids_without_their_other_half_are_rejected(tmp_path, capsys):
    data = an4(tmp_path / "an4", files=10)
    (data / "wav/an4_clstk/rs00/an0-rs00-b.wav").unlink()
    transcription = data / "etc/an4_train.transcription"
    kept = [line for line in lines(transcription) if "an1-rs01-b" not in line]
    say(transcription, "\n".join([*kept, "EXTRA (an99-none-b)", "<s> </s> (an2-rs01-b)"]) + "\n")
    prepare_corpus("an4", data, tmp_path / "out")
    reasons = lines(tmp_path / "out/rejected.txt")
    for id, words in (("an0-rs00-b", "no audio in"), ("an1-rs01-b", "no transcript in"), ("an99-none-b", "no such id"),
                      ("an2-rs01-b", "empty transcript")):
        assert sum(id in reason and words in reason for reason in reasons) == 1, id
    assert len(reasons) == 4 and "rejected: 4 of 141 files" in printed(capsys)
    assert sum(len(texts(tmp_path / f"out/{part}.json")) for part in ("train", "valid")) == 117


@pytest.mark.parametrize("file, text, kind, facts", [
    ("an4_train.transcription", None, NotFoundError, ["an4/etc/an4_train.transcription"]),
    ("an4_train.transcription", "YES\n", ContentError,
     ["an4_train.transcription", "line 1", "'YES'", "<s> TEXT </s> (id)"]),
    ("an4_test.fileids", None, NotFoundError, ["an4/etc/an4_test.fileids"]),
    ("an4_test.transcription", "ROOM 101 (an0-es00-b)\n", MismatchError,
     ["an4_test.transcription", "an0-es00-b", "'1' in 'ROOM 101'", "--labels"]),
    ("an4_train.transcription", "<sil> YES (an0-rs00-b)\n", MismatchError,
     ["an4_train.transcription", "an0-rs00-b", "'<' in '<SIL> YES'"]),
    ("an4_test.transcription", "NO (x)\n", ContentError, ["test part", "rejected.txt"]),
    ("an4_train.fileids", None, NotFoundError, ["etc/an4_train.fileids", "found etc, wav", "--data_folder"])])
def test_an4_that_is_not_whole(tmp_path, file, text, kind, facts):
    data = an4(tmp_path / "an4", files=1)
    (data / "etc" / file).unlink()
    if text is not None:
        say(data / "etc" / file, text)
    with refused(kind, *facts):
        prepare_corpus("an4", data, tmp_path / "out")
    assert not (tmp_path / "out/train.json").exists()


def test_labels_of_ones_own(tmp_path):
    data = an4(tmp_path / "an4", files=1)
    prepare_corpus("an4", data, tmp_path / "out", "--labels", "_abcdefghijklmnopqrstuvwxyz ")
    assert set(texts(tmp_path / "out/test.json").values()) == {"yes yes", "no yes"}
    with refused(SettingError, "labels", "'_AA'"):
        prepare_corpus("an4", data, tmp_path / "out", "--labels", "_AA")
    with refused(MismatchError, "an4_train.transcription", "' ' in ", "--labels"):
        prepare_corpus("an4", data, tmp_path / "out", "--labels", "_ABCDEFGHIJKLMNOPQRSTUVWXYZ")


# ---- audio

def test_broken_audio_is_in_no_manifest(tmp_path, capsys):
    data = an4(tmp_path / "an4", files=4)
    folder = data / "wav/an4_clstk/rs05"
    put(folder / "an0-rs05-b.wav", seconds=0.09)
    put(folder / "an1-rs05-b.wav", samples=np.zeros(RATE))
    put(folder / "an2-rs05-b.wav", samples=np.full(RATE, np.nan), subtype="FLOAT")
    whole = (folder / "an3-rs05-b.wav").read_bytes()
    (folder / "an3-rs05-b.wav").write_bytes(whole[:len(whole) // 2])
    put(data / "wav/an4test_clstk/es00/an0-es00-b.wav", rate=8000)
    prepare_corpus("an4", data, tmp_path / "out")
    reasons = lines(tmp_path / "out/rejected.txt")
    for name, words in (("an0-rs05-b", "0.09 s (1440 samples at 16000 Hz), expected at least 0.10 s"),
                        ("an1-rs05-b", "silent"), ("an2-rs05-b", "NaN"), ("an3-rs05-b", "truncated"),
                        ("an0-es00-b", "8000 Hz, expected 16000")):
        assert sum(name in reason and words in reason for reason in reasons) == 1, name
    assert len(reasons) == 5 and "rejected: 5 of 56 files" in printed(capsys)
    manifests = "".join((tmp_path / f"out/{part}.json").read_text() for part in ("train", "valid", "test"))
    assert "rs05-b" not in manifests and "an0-es00-b" not in manifests
    prepare_corpus("an4", data, tmp_path / "long", "--min_seconds", "0.75")
    assert all("an3" in path for path in texts(tmp_path / "long/test.json"))
    with refused(ContentError, data, "all 56 files", "0.50 s", "5.00 s"):
        prepare_corpus("an4", data, tmp_path / "none", "--min_seconds", "5")


def test_another_rate_is_resampled_once(tmp_path, monkeypatch):
    data = an4(tmp_path / "an4", files=1, rate=8000)
    flags = ("--resample", "true")
    prepare_corpus("an4", data, tmp_path / "out", *flags)
    before = texts(tmp_path / "out/train.json")
    assert json.loads((tmp_path / "out/train.json").read_text())["root_path"] == str(tmp_path / "out/wav")
    assert {soundfile.info(path).samplerate for path in (tmp_path / "out/wav").rglob("*.wav")} == {RATE}
    assert len(list((tmp_path / "out/wav").rglob("*.wav"))) == 14
    monkeypatch.setattr(corpus, "inspect", None)
    prepare_corpus("an4", data, tmp_path / "out", *flags)
    assert texts(tmp_path / "out/train.json") == before


# ---- LibriSpeech

def librispeech(folder, splits=("train-clean-100", "train-other-500", "dev-clean", "dev-other", "test-clean")):
    for i, split in enumerate(splits):
        for speaker in (10 * i, 10 * i + 1):
            said = []
            for number in range(2):
                name = f"{speaker}-7-{number:04d}"
                put(folder / split / f"{speaker}/7/{name}.flac", seed=number)
                said.append(f"{name} IT'S {WORDS[number]} IN {split.split('-')[0].upper()}")
            say(folder / split / f"{speaker}/7/{speaker}-7.trans.txt", "\n".join(said) + "\n")
    return folder


def test_librispeech_has_a_manifest_per_split(tmp_path, capsys):
    data = librispeech(tmp_path / "LibriSpeech")
    prepare_corpus("librispeech", tmp_path, tmp_path / "out")
    names = {path.stem for path in (tmp_path / "out").glob("*.json")}
    assert names == {path.name for path in data.iterdir()} | {"train", "valid"}
    split = {name: texts(tmp_path / f"out/{name}.json") for name in names}
    assert split["train"] == split["train-clean-100"] | split["train-other-500"] and len(split["train"]) == 8
    assert split["valid"] == split["dev-clean"] | split["dev-other"]
    assert split["test-clean"]["LibriSpeech/test-clean/40/7/40-7-0001.flac"] == "IT'S NO IN TEST"
    assert lines(tmp_path / "out/texts.txt").count("IT'S YES IN TRAIN") == 4
    assert "train 8 4 0.00 32 valid 8 4 0.00 32" in printed(capsys)
    with refused(MismatchError, "valid_speakers", 2, 0):
        prepare_corpus("librispeech", tmp_path, tmp_path / "held", "--valid_speakers", "2")


def test_one_split_of_librispeech(tmp_path):
    data = librispeech(tmp_path / "LibriSpeech", ("test-other", "train-clean-100"))
    prepare_corpus("librispeech", data / "test-other", tmp_path / "test")
    assert {path.name for path in (tmp_path / "test").glob("*.json")} == {"test-other.json"}
    data = librispeech(tmp_path / "train", ("train-clean-100", "train-clean-360"))
    prepare_corpus("librispeech", data, tmp_path / "held", "--valid_speakers", "2")
    names = ("train-clean-100", "train-clean-360", "train", "valid")
    split = {name: set(texts(tmp_path / f"held/{name}.json")) for name in names}
    assert len(split["valid"]) == 4 and not split["valid"] & (split["train"] | split["train-clean-100"])
    assert split["train"] == split["train-clean-100"] | split["train-clean-360"]


def test_librispeech_lines_and_files_without_each_other(tmp_path):
    data = librispeech(tmp_path / "LibriSpeech")
    say(data / "dev-clean/20/7/20-7.trans.txt", "20-7-0000 YES\n20-7-0005 NO\n")
    (data / "test-clean/40/7/40-7.trans.txt").unlink()
    say(data / "dev-other/30/7/30-7.trans.txt", "30-7-0000\n30-7-0001 NO\n")
    prepare_corpus("librispeech", data, tmp_path / "out")
    reasons = lines(tmp_path / "out/rejected.txt")
    for name, words in (("20-7-0001", "no line of it"), ("20-7-0005", "no such audio"), ("40-7-0000", "no line of it"),
                        ("40-7-0001", "no line of it"), ("30-7-0000", "empty transcript")):
        assert sum(name in reason and words in reason for reason in reasons) == 1, name
    assert len(reasons) == 5
    say(data / "dev-clean/20/7/20-7.trans.txt", "20-7-0000 ROOM 5\n")
    with refused(MismatchError, "20-7.trans.txt", "20-7-0000", "'5' in 'ROOM 5'", "--labels"):
        prepare_corpus("librispeech", data, tmp_path / "out")


# ---- deepspeech.pytorch's tree, folders, mini

def deepspeech(folder, root, manifest="csv"):
    """data/ as deepspeech.pytorch's an4.py leaves it, written where the data folder was `root`."""
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        pairs = []
        for i in range(count):
            put(folder / f"an4_dataset/{part}/an4/wav/{part}{i}.wav", seed=i)
            say(folder / f"an4_dataset/{part}/an4/txt/{part}{i}.txt", WORDS[i] + "\n")
            pairs.append([f"{root}/an4_dataset/{part}/an4/{kind}/{part}{i}.{kind}" for kind in ("wav", "txt")])
        text = "\n".join(",".join(pair) for pair in pairs) if manifest == "csv" else json.dumps(
            {"root_path": str(root), "samples": [dict(zip(("wav_path", "transcript_path"), pair, strict=True))
                                                 for pair in pairs]})
        say(folder / f"an4_{part}_manifest.{manifest}", text)
    return folder


@pytest.mark.parametrize("manifest", ["csv", "json"])
def test_deepspeech_tree(tmp_path, capsys, manifest):
    data = deepspeech(tmp_path / "data", tmp_path / "data", manifest)
    prepare_corpus("deepspeech", data, tmp_path / "out")
    assert texts(tmp_path / "out/train.json") == {f"train/an4/wav/train{i}.wav": WORDS[i] for i in range(3)}
    assert [len(texts(tmp_path / f"out/{part}.json")) for part in ("valid", "test")] == [2, 1]
    assert "train 3 - 0.00 3 valid 2 - 0.00 2 test 1 - 0.00 1" in printed(capsys)
    data.rename(tmp_path / "moved")
    prepare_corpus("deepspeech", tmp_path / "moved", tmp_path / "again")
    assert texts(tmp_path / "again/train.json") == {f"train/an4/wav/train{i}.wav": WORDS[i] for i in range(3)}
    assert json.loads((tmp_path / "again/train.json").read_text())["root_path"] == str(tmp_path / "moved/an4_dataset")


def test_deepspeech_files_that_are_missing(tmp_path):
    data = deepspeech(tmp_path / "data", tmp_path / "data")
    (data / "an4_dataset/train/an4/wav/train0.wav").unlink()
    (data / "an4_dataset/train/an4/txt/train1.txt").unlink()
    say(data / "an4_dataset/val/an4/txt/val0.txt", "")
    prepare_corpus("deepspeech", data, tmp_path / "out")
    reasons = lines(tmp_path / "out/rejected.txt")
    for name, words in (("train0.wav", "no such audio"), ("train1.txt", "no such transcript"), ("val0.txt", "empty")):
        assert sum(name in reason and words in reason for reason in reasons) == 1, name
    assert len(reasons) == 3 and list(texts(tmp_path / "out/train.json")) == ["train/an4/wav/train2.wav"]
    manifest = data / "an4_test_manifest.csv"
    say(manifest, 2 * (manifest.read_text() + "\n"))
    prepare_corpus("deepspeech", data, tmp_path / "twice")
    assert_named(next(line for line in lines(tmp_path / "twice/rejected.txt") if "test0" in line),
                 ["test/an4/wav/test0.wav", "test part", "twice"])
    assert len(texts(tmp_path / "twice/test.json")) == 1
    say(data / "libri_train_manifest.csv", "a,b\n")
    with refused(ContentError, data / "an4_train_manifest.csv", data / "libri_train_manifest.csv", "train part"):
        prepare_corpus("deepspeech", data, tmp_path / "out")


def test_folders_of_ones_own(tmp_path):
    for part, speaker in (("train", "ann"), ("train", "bob"), ("train", "eve"), ("train", "joe"), ("test", "zoe")):
        put(tmp_path / f"data/{part}/{speaker}/1.flac")
        say(tmp_path / f"data/{part}/{speaker}/1.txt", f"hello  {speaker}")
    put(tmp_path / "data/train/sue/wav/2.wav")
    say(tmp_path / "data/train/sue/txt/2.txt", "hello")
    put(tmp_path / "data/train/sue/wav/3.wav")
    prepare_corpus("tree", tmp_path / "data", tmp_path / "out", "--valid_speakers", "2")
    assert texts(tmp_path / "out/test.json") == {"test/zoe/1.flac": "HELLO ZOE"}
    assert sorted(texts(tmp_path / "out/valid.json")) == ["train/ann/1.flac", "train/sue/wav/2.wav"]
    assert "no 3.txt beside it or in txt/" in lines(tmp_path / "out/rejected.txt")[0]


def spoken(folder, *paths, text="hello"):
    """Recordings with a transcript beside each."""
    for path in paths:
        put(folder / path)
        say((folder / path).with_suffix(".txt"), text)
    return folder


def test_lists_that_a_run_no_longer_writes_are_deleted(tmp_path, capsys):
    data = spoken(tmp_path / "data", *(f"train/{name}/1.wav" for name in ("ann", "bob", "eve", "joe")))
    out, own = tmp_path / "out", ("notes.txt", "my.json", "lm.txt.bak")
    prepare_corpus("tree", data, out, "--valid_speakers", "2", "--lm", "2", "--labels", "_ehlo")
    for name in own:
        say(out / name, "{}")
    capsys.readouterr()
    say(out / "lm.arpa", "estimated anew")      # no longer that of the first run
    prepare_corpus("tree", data, out, "--valid_speakers", "0")
    assert_line(capsys.readouterr().out, out, "labels.json", "valid.json")
    assert {path.name for path in out.iterdir()} == {"train.json", "texts.txt", "txt", "rejected.txt", "verified.txt",
                                                     "prepared.txt", "lm.arpa", *own}
    assert len(texts(out / "train.json")) == 4
    prepare_corpus("tree", data, out, "--lm", "2")
    prepare_corpus("tree", data, out)
    assert not (out / "lm.arpa").exists() and "deleted: lm.arpa" in capsys.readouterr().out
    with refused(ContentError, data):
        prepare_corpus("tree", data, out, "--min_seconds", "5")
    assert len(texts(out / "train.json")) == 4      # a run that fails deletes nothing


def test_a_mini_corpus_in_the_output_folder_stays(tmp_path):
    config = prepare.PrepareConfig(data_folder=str(tmp_path), output_folder=str(tmp_path))
    with corpus.prepared_folder(config):
        for name in ("mini_corpus.json", "train.txt", "valid.json"):
            say(tmp_path / name, "{}")
    with corpus.prepared_folder(config):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"mini_corpus.json", "train.txt", "prepared.txt"}


def test_white_space_in_the_names_of_a_corpus(tmp_path, monkeypatch):
    names = ["train/a b/ c  d.wav", "train/a b/e\u3000f .wav", "train/g\th/i.wav"]
    data = spoken(tmp_path / "my data", *names)
    for flags in ((), ("--pack", "true")):
        prepare_corpus("tree", data, tmp_path / "my lists", *flags)
        assert sorted(texts(tmp_path / "my lists/train.json")) == sorted(names)
        assert not lines(tmp_path / "my lists/rejected.txt")
    monkeypatch.setattr(corpus, "inspect", None)        # nothing is read again
    prepare_corpus("tree", data, tmp_path / "my lists")
    assert sorted(texts(tmp_path / "my lists/train.json")) == sorted(names)


def test_mini(mini_corpus, tmp_path):
    prepare_corpus("mini", mini_corpus, tmp_path / "out", "--workers", "2")
    said = dict(line.split("\t") for line in lines(mini_corpus / "transcripts.tsv"))
    found = {name: texts(tmp_path / f"out/{name}.json") for name in ("train", "valid", "test")}
    assert [len(found[name]) for name in found] == [72 * 13, 8 * 13, 20 * 10]
    assert found["train"] | found["valid"] | found["test"] == said
    assert not set(found["train"].values()) & set(found["test"].values())


@pytest.fixture
def open_corpora(tmp_path, monkeypatch):
    """The folder of all corpora of open speech, two to four speakers in each; one of each is held out."""
    data = tmp_path / "data"
    monkeypatch.setattr(open_speech, "DEVELOPMENT", dict.fromkeys(open_speech.DEVELOPMENT, 1))
    monkeypatch.setattr(open_speech, "TEST_SPEAKERS", 1)
    tables = {"librispeech_train251_transcripts": ["10-1-0000\tTEN", "11-1-0000\tELEVEN", "12-1-0000\tTWELVE ONE"],
              "librispeech/dev-clean": ["20-1-0000\tTWENTY"], "librispeech_three_more": ["file\tspeaker\ttext"],
              "speechocean762": ["file\tage\ttext"], "speech_commands": ["file\tspeaker\ttext\tclips"],
              "alphanumeric": ["file\tstyle\ttext"]}
    for speaker in (10, 11, 12):
        put(data / f"librispeech/train-251spk/{speaker}-1-0000.flac")
    put(data / "librispeech/dev-clean/20/1/20-1-0000.mp3")
    for utterance in ("0000", "0001"):
        put(data / f"mini_librispeech/LibriSpeech/train-clean-5/12/1/12-1-{utterance}.ogg")
    say(data / "mini_librispeech/LibriSpeech/train-clean-5/12/1/12-1.trans.txt",
        "12-1-0000 TWELVE ONE\n12-1-0001 TWO\n")
    for name in ("12/1/12-1-0001", "19/1/19-1-0000"):
        put(data / f"librispeech_three_more/{name}.ogg")
        tables["librispeech_three_more"].append(f"{name}.ogg\t12\tMORE OF IT")
    for name in ("0001/s1/a", "0002/s1/b"):
        put(data / f"speechocean762/{name}.ogg")
        tables["speechocean762"].append(f"{name}.ogg\t9\tan ocean")
        put(data / f"speech_commands/{name}.ogg")
        tables["speech_commands"].append(f"{name}.ogg\tx\tGO UP\tgo/0 up/0")
    for speaker, text in (("R_1", "A B"), ("R_2", "C D"), ("R_3", "E F"), ("R_4", "")):
        put(data / f"alphanumeric/{speaker}/{speaker}/name.ogg")
        tables["alphanumeric"].append(f"{speaker}/{speaker}/name.ogg\tspelled\t{text}")
    for part, speakers in (("train", "ab"), ("test", "c")):
        for speaker in speakers:
            put(data / f"an4/wav/{speaker}/{speaker}1.flac")
        say(data / f"an4/etc/an4_{part}.fileids", "".join(f"{name}/{name}1\n" for name in speakers))
        say(data / f"an4/etc/an4_{part}.transcription", "".join(f"<s> YES </s> ({name}1)\n" for name in speakers))
    for i in range(5):
        put(data / f"noise_esc10/rain-{i}.ogg")
    for name in ("noise/esc50_1.flac", "noise/kitchen.flac", "rir_rooms/iosr_roomA_03L.flac", "rir_rooms/hall.flac"):
        put(data / name)
    for folder, rows in tables.items():
        say(data / folder / "transcripts.tsv", "\n".join(rows) + "\n")
    return data


def test_open_speech(open_corpora, tmp_path):
    """Every utterance once, nobody in two parts, what has no text is said to have none."""
    prepare_corpus("open_speech", open_corpora, tmp_path / "out")
    found = {name: texts(tmp_path / f"out/{name}.json")
             for name in ("train", "valid", "dev-clean", "an4_test", "alphanumeric", "spelled_train", "spelled_valid",
                          "spelled_all")}
    assert found.pop("spelled_all") == found["spelled_train"] | found["spelled_valid"]
    mini = "mini_librispeech/LibriSpeech/train-clean-5/12/1"
    assert found == {
        "train": {f"{mini}/12-1-0000.ogg": "TWELVE ONE", f"{mini}/12-1-0001.ogg": "TWO", "an4/wav/b/b1.flac": "YES",
                  "librispeech/train-251spk/11-1-0000.flac": "ELEVEN",
                  "librispeech_three_more/19/1/19-1-0000.ogg": "MORE OF IT", "speechocean762/0002/s1/b.ogg": "AN OCEAN",
                  "speech_commands/0002/s1/b.ogg": "GO UP", "alphanumeric/R_3/R_3/name.ogg": "E F"},
        "valid": {"librispeech/train-251spk/10-1-0000.flac": "TEN", "an4/wav/a/a1.flac": "YES",
                  "speechocean762/0001/s1/a.ogg": "AN OCEAN", "speech_commands/0001/s1/a.ogg": "GO UP",
                  "alphanumeric/R_2/R_2/name.ogg": "C D"},
        "dev-clean": {"librispeech/dev-clean/20/1/20-1-0000.mp3": "TWENTY"}, "an4_test": {"an4/wav/c/c1.flac": "YES"},
        "alphanumeric": {"alphanumeric/R_1/R_1/name.ogg": "A B"},
        "spelled_train": {f"{mini}/12-1-0001.ogg": "TWO", "an4/wav/b/b1.flac": "YES",
                          "speech_commands/0002/s1/b.ogg": "GO UP", "alphanumeric/R_3/R_3/name.ogg": "E F"},
        "spelled_valid": {"an4/wav/a/a1.flac": "YES", "speech_commands/0001/s1/a.ogg": "GO UP",
                          "alphanumeric/R_2/R_2/name.ogg": "C D"}}
    assert [line.split(":")[0] for line in lines(tmp_path / "out/rejected.txt")] == ["alphanumeric/R_4/R_4/name.ogg"]
    assert {name: lines(tmp_path / f"out/{name}.txt")
            for name in ("noise_train", "noise_test", "rooms_train", "rooms_test")} == {
        "noise_train": [f"noise_esc10/rain-{i}.ogg" for i in range(1, 5)] + ["noise/kitchen.flac"],
        "noise_test": ["noise_esc10/rain-0.ogg"], "rooms_train": ["hall rir_rooms/hall.flac"],
        "rooms_test": ["iosr_roomA rir_rooms/iosr_roomA_03L.flac"]}


def test_open_speech_refuses_a_speaker_of_two_parts(open_corpora, tmp_path):
    put(open_corpora / "librispeech/dev-clean/12/1/12-1-0009.mp3")
    with (open_corpora / "librispeech/dev-clean/transcripts.tsv").open("a") as file:
        file.write("12-1-0009\tAGAIN\n")
    with refused(ContentError, "12-1-0009.mp3", "dev-clean", "train"):
        prepare_corpus("open_speech", open_corpora, tmp_path / "out")
    with (open_corpora / "alphanumeric/transcripts.tsv").open("a") as file:
        file.write("R_5/name.ogg\tspelled\n")
    with refused(ContentError, open_corpora / "alphanumeric/transcripts.tsv", "line 6", "2 columns", "expected 3"):
        prepare_corpus("open_speech", open_corpora, tmp_path / "out")


@pytest.mark.parametrize("name", ["librispeech", "an4", "tree", "deepspeech", "librispeech_an4", "open_speech"])
def test_empty_corpus_is_refused(name, tmp_path):
    (tmp_path / "data/other").mkdir(parents=True)
    with refused(NotFoundError, tmp_path / "data", "found other", "--data_folder"):
        prepare_corpus(name, tmp_path / "data", tmp_path / "out")
    with refused(SettingError, "corpus", "'librispech'", "librispeech?"):
        prepare_corpus("librispech", tmp_path / "data", tmp_path / "out")


# ---- download

class Server(http.server.ThreadingHTTPServer):
    """Files that know Range; the first `cuts` answers stop halfway, `errors` are given before any."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.errors, self.ranges, self.asked = {}, 0, [], True, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/archives/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, content = self.server, self.server.files.get(self.path.rsplit("/", 1)[-1])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if server.ranges else None
        start = int(asked[1]) if asked else 0
        server.asked.append((self.path, start))
        if server.errors or content is None:
            self.send_error(server.errors.pop(0) if server.errors else 404)
            return
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut, server.cuts = server.cuts > 0, max(0, server.cuts - 1)
        self.wfile.write(content[start:start + (len(content) - start) // 2] if cut else content[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "WAIT", 0)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def archive(folder, top=""):
    """A .tar.gz of the folder, as bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.add(folder, top or folder.name)
    return stream.getvalue()


def test_an_interrupted_download_goes_on(tmp_path, server):
    content = np.random.default_rng(0).bytes(3_000_000)
    server.files, server.cuts, server.errors = {"a.bin": content}, 2, [503]
    download.fetch(server.url + "a.bin", str(tmp_path / "a.bin"), hashlib.sha256(content).hexdigest().upper())
    assert (tmp_path / "a.bin").read_bytes() == content and not (tmp_path / "a.bin.part").exists()
    assert [start for _, start in server.asked] == [0, 0, 1_500_000, 2_250_000]
    download.fetch(server.url + "a.bin", str(tmp_path / "a.bin"), hashlib.md5(content).hexdigest())
    assert len(server.asked) == 4


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_of_an_earlier_run(tmp_path, server, ranges):
    content = np.random.default_rng(0).bytes(100_000)
    server.files, server.ranges = {"a.bin": content}, ranges
    for have in (1, 40_000, 100_000):
        (tmp_path / "a.bin.part").write_bytes(content[:have])
        download.fetch(server.url + "a.bin", str(tmp_path / "a.bin"))
        assert (tmp_path / "a.bin").read_bytes() == content
        (tmp_path / "a.bin").unlink()
    (tmp_path / "a.bin.part").write_bytes(bytes(200_000))      # of another file
    download.fetch(server.url + "a.bin", str(tmp_path / "a.bin"))
    assert (tmp_path / "a.bin").read_bytes() == content


def test_a_download_that_cannot_be(tmp_path, server):
    path = str(tmp_path / "a.bin")
    with refused(NotFoundError, "archives/a.bin", "404 Not Found", "--base_url"):
        download.fetch(server.url + "a.bin", path)
    assert len(server.asked) == 1
    server.files = {"a.bin": b"content"}
    server.errors = [500] * 9
    with refused(RunError, "archives/a.bin", "500 Internal Server Error", "0 bytes"):
        download.fetch(server.url + "a.bin", path)
    assert len(server.asked) == 4
    server.errors = []
    with refused(ContentError, path, "checksum", hashlib.md5(b"content").hexdigest(), "0" * 32):
        download.fetch(server.url + "a.bin", path, "0" * 32)
    assert os.listdir(tmp_path) == []
    for url, checksum, kind, facts in (
            ("x/a.bin", "", SettingError, ["x/a.bin", "http://", "--base_url"]),
            (server.url, "abc", SettingError, ["checksum", "'abc'", "MD5"]),
            ("http://127.0.0.1:1/a", "", RunError, ["http://127.0.0.1:1/a", "Connection refused", "0 bytes"])):
        with refused(kind, *facts):
            download.fetch(url, path, checksum)


def test_an4_is_downloaded_and_prepared(tmp_path, server):
    content = archive(an4(tmp_path / "made/an4", ".sph", files=1, format="NIST"))
    server.files, server.cuts = {"an4_sphere.tar.gz": content}, 1
    data, flags = tmp_path / "data", ("--download", "true", "--base_url", server.url)
    with refused(ContentError, data / "an4_sphere.tar.gz", "checksum", "1" * 32):
        prepare_corpus("an4", data, tmp_path / "out", *flags, "--checksum", "1" * 32)
    assert not data.exists()
    prepare_corpus("an4", data, tmp_path / "out", *flags, "--checksum", hashlib.md5(content).hexdigest())
    assert os.listdir(data) == ["an4"] and len(texts(tmp_path / "out/train.json")) == 4
    asked = len(server.asked)
    for folder in (data, data / "an4"):     # it is there
        prepare_corpus("an4", folder, tmp_path / "out", *flags)
    assert len(server.asked) == asked


def test_an4_is_laid_out_as_deepspeech_pytorch_does(tmp_path, server, monkeypatch):
    """cd data; python3 an4.py: the documented tree, whose manifests are read as they stand and by prepare.py."""
    server.files = {"an4_sphere.tar.gz": archive(an4(tmp_path / "made/an4", ".sph", files=1, format="NIST"))}
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.chdir(data)
    an4_script.main(["--base_url", server.url])
    counts = {"train": 4, "val": 8, "test": 2}
    for part, count in counts.items():
        found = read_manifest(data / f"an4_{part}_manifest.csv")
        assert len(found) == count and all(one.text for one in found)
        assert {Path(one.audio).parent for one in found} == {data / "an4_dataset" / part / "an4" / "wav"}
        rows = lines(data / f"an4_{part}_manifest.csv")
        assert all(re.fullmatch(rf"an4_dataset/{part}/an4/wav/(\S+)\.wav,an4_dataset/{part}/an4/txt/\1\.txt", row)
                   for row in rows)
    one = read_manifest(data / "an4_test_manifest.csv")[0]
    source = next((data / "an4" / "wav").rglob(f"{Path(one.audio).stem}.sph"))
    np.testing.assert_array_equal(soundfile.read(one.audio)[0], soundfile.read(source)[0])
    data.rename(tmp_path / "moved")
    prepare_corpus("deepspeech", tmp_path / "moved", tmp_path / "out")
    assert [len(texts(tmp_path / f"out/{part}.json")) for part in ("train", "valid", "test")] == [4, 8, 2]
    monkeypatch.chdir(tmp_path / "moved")
    an4_script.main(["--valid_speakers", "0"])      # no speaker of the run before is in two parts
    assert len(read_manifest("an4_train_manifest.csv")) == 12
    assert not Path("an4_val_manifest.csv").exists() and not Path("an4_dataset/prepared/valid.json").exists()


def test_librispeech_splits_are_downloaded(tmp_path, server, monkeypatch):
    made = librispeech(tmp_path / "made/LibriSpeech", ("dev-clean", "train-clean-100"))
    say(made / "SPEAKERS.TXT", "; who reads")
    for split in ("dev-clean", "train-clean-100"):
        kept = tmp_path / split / "LibriSpeech"
        kept.mkdir(parents=True)
        (made / split).rename(kept / split)
        say(kept / "SPEAKERS.TXT", "; who reads")
        server.files[f"{split}.tar.gz"] = archive(kept)
        monkeypatch.setitem(download.MD5, split, hashlib.md5(server.files[f"{split}.tar.gz"]).hexdigest())
    data = tmp_path / "data"
    flags = ("--download", "true", "--base_url", server.url.rstrip("/"), "--splits")
    prepare_corpus("librispeech", data, tmp_path / "out", *flags, "dev-clean")
    prepare_corpus("librispeech", data, tmp_path / "out", *flags, "dev-clean,train-clean-100")
    assert [path for path, _ in server.asked] == ["/archives/dev-clean.tar.gz", "/archives/train-clean-100.tar.gz"]
    assert sorted(os.listdir(data / "LibriSpeech")) == ["SPEAKERS.TXT", "dev-clean", "train-clean-100"]
    assert os.listdir(data) == ["LibriSpeech"] and len(texts(tmp_path / "out/train.json")) == 4
    for more, facts in (((*flags, "dev-clear"), ["splits", "'dev-clear'", "dev-clean?"]),
                        ((*flags, "dev-clean", "--checksum", "0" * 32), ["checksum", "librispeech", "--checksum"])):
        with refused(SettingError, *facts):
            prepare_corpus("librispeech", data, tmp_path / "out", *more)
    with refused(SettingError, "download", "--corpus mini", "an4 or librispeech"):
        prepare_corpus("mini", data, tmp_path / "out", "--download", "true")


def test_the_command_line_is_looked_at_before_a_download(tmp_path, server):
    given = {"--corpus": "an4", "--data_folder": str(tmp_path / "data"), "--output_folder": str(tmp_path / "out")}
    for left_out in given:
        flags = [word for flag, value in given.items() if flag != left_out for word in (flag, value)]
        with refused(SettingError, left_out.removeprefix("--")):
            prepare.main([*flags, "--download", "true", "--base_url", server.url])
    for flag, value in (("base_url", server.url), ("splits", "dev-clean"), ("checksum", "0" * 32)):
        with refused(SettingError, flag, "--download true"):
            prepare_corpus("an4", an4(tmp_path / "made/an4", files=1), tmp_path / "out", f"--{flag}", value)
    assert not server.asked and not (tmp_path / "data").exists() and not (tmp_path / "out").exists()


def test_published_checksums_are_md5():
    assert len(download.MD5) == 7 and all(re.fullmatch("[0-9a-f]{32}", value) for value in download.MD5.values())


def test_an_archive_does_not_leave_its_folder(tmp_path):
    for name in ("../escaped.txt", "/tmp/escaped.txt", "an4/../../escaped.txt"):
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        with refused(ContentError, tmp_path / "a.tar.gz", "escaped.txt"):
            download.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path / "data"), "an4")
        assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_an_archive_that_is_none(tmp_path):
    whole = archive(an4(tmp_path / "made/an4", files=1))
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    for content, fact in ((whole[:len(whole) // 2], "whole .tar.gz"), (b"<html>", "whole .tar.gz"),
                          (stream.getvalue(), "whole .tar.gz"), (archive(tmp_path / "made/an4", "other"), "no an4/")):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with refused(ContentError, tmp_path / "a.tar.gz", fact):
            download.unpack(str(tmp_path / "a.tar.gz"), str(tmp_path), "an4")
        assert sorted(os.listdir(tmp_path)) == ["a.tar.gz", "made"]


# ---- real data

@needs_data
def test_real_an4(tmp_path, capsys):
    prepare_corpus("an4", os.path.join(DATA, "an4"), tmp_path)
    found = {name: texts(tmp_path / f"{name}.json") for name in ("train", "valid", "test")}
    assert len(found["train"]) + len(found["valid"]) == 948 and len(found["test"]) == 130
    speakers = {name: {path.split("/")[2] for path in found[name]} for name in found}
    assert [len(speakers[name]) for name in found] == [66, 8, 10]
    assert not speakers["train"] & speakers["valid"] and not speakers["test"] & (speakers["train"] | speakers["valid"])
    assert sum(len(text.split()) for text in found["test"].values()) == 773
    assert found["test"]["wav/an4test_clstk/fcaw/an406-fcaw-b.flac"] == "RUBOUT G M E F THREE NINE"
    for text in found["test"].values():
        assert Alphabet().decode(Alphabet().encode(text)) == text
    assert "rejected: 0 of 1078 files" in printed(capsys)


@needs_data
def test_real_librispeech_an4(tmp_path, capsys):
    """AN4 with the same eight speakers held out; all of dev-clean is in the training part."""
    prepare_corpus("an4", os.path.join(DATA, "an4"), tmp_path / "an4")
    prepare_corpus("librispeech_an4", DATA, tmp_path / "both")
    an4, both = ({name: texts(tmp_path / folder / f"{name}.json") for name in ("train", "valid", "test")}
                 for folder in ("an4", "both"))
    for name in ("valid", "test"):
        assert both[name] == {f"an4/{path}": text for path, text in an4[name].items()}
    libri = {path: text for path, text in both["train"].items() if path.startswith("librispeech/dev-clean/")}
    assert len(libri) == 1313 and len(both["train"]) == 1313 + len(an4["train"])
    assert libri["librispeech/dev-clean/84/121123/84-121123-0000.mp3"].startswith("GO DO YOU HEAR")
    assert "rejected: 0 of 2391 files" in printed(capsys)


@needs_data
def test_real_open_speech(tmp_path):
    root, parts, reasons = open_speech.scan_open_speech(
        prepare.PrepareConfig(corpus="open_speech", data_folder=DATA, output_folder=str(tmp_path)))
    assert {part: (len(items), len({item.speaker for item in items})) for part, items in parts.items()} == {
        "train": (4582, 686), "valid": (255, 69), "dev-clean": (1313, 20), "an4_test": (130, 10),
        "alphanumeric": (32, 10), "spelled_train": (1474, 319), "spelled_valid": (146, 21), "spelled_all": (1620, 340)}
    assert len(reasons) == 43 and all(reason.startswith("alphanumeric/") for reason in reasons)
    names = [os.path.basename(item.path) for part, items in parts.items() for item in items
             if item.speaker[:5] == "libri" and not part.startswith("spelled")]
    assert len({os.path.splitext(name)[0] for name in names}) == len(names)
    for item in parts["train"] + parts["valid"]:
        Alphabet().encode(Alphabet().normalise(item.text), item.where)


@needs_data
def test_real_librispeech(tmp_path):
    (tmp_path / "dev-clean").mkdir()
    for speaker in ("84", "251"):
        (tmp_path / "dev-clean" / speaker).symlink_to(os.path.abspath(f"{DATA}/librispeech/dev-clean/{speaker}"))
    prepare_corpus("librispeech", tmp_path, tmp_path / "out")
    found = texts(tmp_path / "out/valid.json")
    assert found == texts(tmp_path / "out/dev-clean.json") and len(found) == 140
    assert found["dev-clean/84/121123/84-121123-0000.mp3"].startswith("GO DO YOU HEAR")
    assert any("'" in text for text in found.values())
