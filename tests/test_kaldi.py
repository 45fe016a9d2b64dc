"""Data folders of Kaldi through prepare.py of every model, on recordings made here."""
import json
import os

import numpy as np
import pytest
import soundfile
from helpers.corpora import lines, mixtures, noise, put
from helpers.errors import assert_line, refused

import conv_tasnet.prepare
import deepspeech2.prepare
import ecapatdnn.prepare
from utils.corpora.kaldi import Recording, decoded_file, read_corpus
from utils.corpora.settings import CorpusSettings
from utils.errors import ContentError, NotFoundError

RATE = 16000
PREPARE = {"ecapatdnn": ecapatdnn.prepare, "conv_tasnet": conv_tasnet.prepare, "deepspeech2": deepspeech2.prepare}


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def data_folder(folder, speakers, entry="{}"):
    """A data folder with two utterances per speaker; `entry` is what wav.scp says of a path."""
    keys = [(f"s{speaker}-{number}", f"s{speaker}") for speaker in speakers for number in range(2)]
    for seed, (key, _) in enumerate(keys):
        put(folder.parent / f"wavs/{key}.flac", 1.5, samples=noise(1.5, RATE, seed))
    write(folder / "wav.scp", *(f"{key} {entry.format(folder.parent / 'wavs' / f'{key}.flac')}" for key, _ in keys))
    write(folder / "utt2spk", *(" ".join(pair) for pair in keys))
    write(folder / "text", *(f"{key} YES SIR" for key, _ in keys))
    return folder


@pytest.fixture
def data(tmp_path):
    """data/train, data/dev, data/test with trials: each of two speakers."""
    data_folder(tmp_path / "data/train", (0, 1), entry="flac -c -d -s {} |")
    data_folder(tmp_path / "data/dev", (2, 3))
    data_folder(tmp_path / "data/test", (4, 5))
    write(tmp_path / "data/test/trials", "s4-0 s4-1 target", "s4-0 s5-1 nontarget")
    return tmp_path / "data"


def prepare(model, data, out, *flags):
    flags = ["--resample=false", "--sample_rate=16000", "--mixtures=3", *flags] if model == "conv_tasnet" else flags
    PREPARE[model].main(["--corpus=kaldi", f"--data_folder={data}", f"--output_folder={out}", "--workers=1", *flags])


def config(data, out, **settings):
    return CorpusSettings(data_folder=str(data), output_folder=str(out), workers=1, **settings)


def test_speakers_and_trials_are_listed_for_verification(data, tmp_path, capsys):
    prepare("ecapatdnn", data, tmp_path / "out")
    assert lines(tmp_path / "out/train.txt") == [f"s{s} s{s}-{n}.flac" for s in (0, 1) for n in (0, 1)]
    assert lines(tmp_path / "out/test_trials.txt") == ["1 s4-0.flac s4-1.flac", "0 s4-0.flac s5-1.flac"]
    drawn = lines(tmp_path / "out/dev_trials.txt")      # no trials came with it
    assert len(drawn) == 6 and sum(line.startswith("1") for line in drawn) == 2
    assert_line(capsys.readouterr().out, "4 of 4 entries are commands", "none is run")


def test_speakers_are_listed_to_be_mixed(data, tmp_path):
    prepare("conv_tasnet", data, tmp_path / "out")
    assert len(lines(tmp_path / "out/train.txt")) == 4
    folder = os.path.commonpath([tmp_path / "data/wavs"])
    for part, speakers in (("valid", {"s2", "s3"}), ("test", {"s4", "s5"})):
        mixed = mixtures(tmp_path / f"out/{part}.csv", folder, sample_rate=RATE)
        assert len(mixed) == 3 and {name[:2] for key in mixed for name in key.split("_")} == speakers


def test_texts_are_listed_for_recognition(data, tmp_path):
    write(data / "dev/text", "s2-0 NO", "s2-1 YES", "s3-0 YES")
    prepare("deepspeech2", data, tmp_path / "out")
    listed = {part: json.loads((tmp_path / f"out/{part}.json").read_text())["samples"]
              for part in ("train", "valid", "test")}
    assert {part: len(rows) for part, rows in listed.items()} == {"train": 4, "valid": 3, "test": 4}
    assert (listed["valid"][0]["wav_path"], listed["valid"][0]["transcript"]) == ("s2-0.flac", "NO")
    assert ["s3-1" in line for line in lines(tmp_path / "out/rejected.txt")] == [True]


def test_segments_and_channels_become_wavs_of_their_own(tmp_path):
    samples = np.stack([noise(4, 8000, 1), noise(4, 8000, 2)], 1)
    put(tmp_path / "wavs/call.wav", rate=8000, samples=samples)
    expected = soundfile.read(tmp_path / "wavs/call.wav", dtype="int16")[0]
    write(tmp_path / "data/wav.scp", "call-A sph2pipe -f wav -p -c 1 wavs/call.wav |",
          "call-B sph2pipe -f wav -p -c 2 wavs/call.wav |", f"both {tmp_path}/wavs/call.wav")
    write(tmp_path / "data/segments", "u1 call-A 0.5 2", "u2 call-B 1.25 -1", "u3 call-B 3 4.4", "u4 both 0 2 1",
          "u5 call-A 2 5", "u6 none 0 1", "u7 both 0 -1")
    write(tmp_path / "data/spk2utt", "a u1 u5 u4", "b u2 u3 u7")
    corpus = read_corpus(config(tmp_path / "data", tmp_path / "out"), RATE)
    found = {item.key: item for item in corpus.parts["train"]}
    assert {key: item.speaker for key, item in found.items()} == {"u1": "a", "u2": "b", "u3": "b", "u4": "a", "u7": "b"}
    for key, start, stop, channel in (("u1", 4000, 16000, 0), ("u2", 10000, 32000, 1), ("u3", 24000, 32000, 1),
                                      ("u4", 0, 16000, 1)):
        made, rate = soundfile.read(os.path.join(corpus.root, found[key].path), dtype="int16")
        assert rate == 8000
        np.testing.assert_array_equal(made, expected[start:stop, channel], err_msg=key)
    assert os.path.samefile(os.path.join(corpus.root, found["u7"].path), tmp_path / "wavs/call.wav")
    assert len(corpus.reasons) == 2 and "none" in corpus.reasons[0] and "5 s" in corpus.reasons[1]
    corpus = read_corpus(config(tmp_path / "data", tmp_path / "again", resample=True), RATE)
    made, rate = soundfile.read(os.path.join(corpus.root, corpus.parts["train"][0].path))
    assert (rate, len(made)) == (RATE, 24000)


def test_segments_are_cut_again_when_they_change(tmp_path, monkeypatch):
    put(tmp_path / "a.wav", 3)
    write(tmp_path / "data/wav.scp", "a a.wav")
    write(tmp_path / "data/segments", "u a 0 1")
    made = tmp_path / "out/wav/train/u.wav"
    read_corpus(config(tmp_path / "data", tmp_path / "out"), RATE)
    first = made.stat().st_mtime_ns
    read_corpus(config(tmp_path / "data", tmp_path / "out"), RATE)
    assert made.stat().st_mtime_ns == first
    write(tmp_path / "data/segments", "u a 0 2")
    os.utime(tmp_path / "data/segments", ns=(first + 10 ** 9, first + 10 ** 9))
    read_corpus(config(tmp_path / "data", tmp_path / "out"), RATE)
    assert soundfile.info(made).frames == 2 * RATE


@pytest.mark.parametrize(("command", "file"), [
    ("sph2pipe -f wav /d/a.wv1 |", ("/d/a.wv1", 0)),
    ("/opt/sph2pipe_v2.5/sph2pipe -f wav -p -c 2 a.sph |", ("a.sph", 2)),
    ("flac -c -d -s a.flac |", ("a.flac", 0)), ("flac -cds 'a b.flac'|", ("a b.flac", 0)),
    ("cat a.wav |", ("a.wav", 0)),
    ("sox a.mp3 -r 16k -b 16 -c 1 -t wav - |", ("a.mp3", 0)), ("sox -t wav a -t wav - remix 2 |", ("a", 2)),
    ("ffmpeg -v quiet -i a.m4a -ar 16000 -ac 1 -f wav - |", ("a.m4a", 0)),
    ("sox a.wav -t wav - speed 0.9 |", None), ("sox a.wav b.wav -t wav - |", None), ("sph2pipe -t 1:2 a.sph |", None),
    ("ffmpeg -i a.m4a -ss 5 -f wav - |", None), ("flac -cd $(rm -r x) |", None), ("cat a.wav; rm b |", None),
    ("cat a.wav > b |", None), ("cat a.wav | sox - b |", None), ("cat `id` |", None), ("rm a.wav |", None),
    ("wav-reverberate --impulse-response=x a.wav - |", None), ("cat 'a |", None), ("|", None)])
def test_only_what_decodes_one_file_is_taken_for_it(command, file):
    assert decoded_file(command) == (file and Recording(*file))


@pytest.mark.parametrize(("name", "row", "facts"), [
    ("wav.scp", "x touch {marker} |", ["touch", "never run"]), ("wav.scp", "x sox a.flac -t wav - vol 2 |", ["vol 2"]),
    ("wav.scp", "x /raw/a.ark:17", ["a.ark:17", "archive"]), ("wav.scp", "x", ["'x'"]),
    ("segments", "u x 2 1", ["'u x 2 1'"]), ("segments", "u x", ["'u x'"]),
    ("utt2spk", "s0-0", ["'s0-0'"]), ("utt2spk", "s0-0 a\ns0-0 b", ["s0-0", "twice"]),
    ("trials", "s0-0 s9-9 target", ["line 1", "s9-9"]), ("trials", "s0-0 s1-0 maybe", ["maybe"]),
    ("trials", "s0 s1-0 target", ["s0", "2 utterances"])])
def test_mistakes_in_a_folder_are_named(tmp_path, name, row, facts):
    data = data_folder(tmp_path / "data", (0, 1))
    write(data / name, row.format(marker=tmp_path / "marker", wav=tmp_path / "wavs/s0-0.flac"))
    with refused(ContentError, data / name, *facts):
        prepare("ecapatdnn", data, tmp_path / "out")
    assert not (tmp_path / "marker").exists() and not (tmp_path / "out/train.txt").exists()


@pytest.mark.parametrize("model", PREPARE)
def test_a_folder_without_wav_scp_is_refused(tmp_path, model):
    (tmp_path / "data").mkdir()
    with refused(NotFoundError, tmp_path / "data", "wav.scp"):
        prepare(model, tmp_path / "data", tmp_path / "out")
