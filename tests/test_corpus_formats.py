"""prepare.py of every model on trees of phone recordings and of files that are not taken; their shards and noise."""
import json

import numpy as np
import pytest
import soundfile
from helpers.corpora import lines, noise
from helpers.encode import encode
from helpers.errors import assert_line, refused

import conv_tasnet.prepare
import deepspeech2.prepare
import ecapatdnn.prepare
from deepspeech2.src.config import Config
from deepspeech2.src.dataset import find_noises
from utils.audio import audio_file
from utils.corpora.pack import pack
from utils.corpora.settings import CorpusSettings
from utils.errors import NotFoundError

RATE = 16000
PREPARE = {"ecapatdnn": ecapatdnn.prepare, "conv_tasnet": conv_tasnet.prepare, "deepspeech2": deepspeech2.prepare}
FORMATS = {"a.m4a": {"codec": "aac"}, "b.webm": {"codec": "libopus", "rate": 48000}, "c.WAV": {"codec": "pcm_s16le"},
           "d.flac": {"codec": "flac", "pipe": True, "form": "flac"}, "e.mp3": {"codec": "libmp3lame", "write_xing": 0}}


def tree(folder, formats=FORMATS):
    """train/s0/a.m4a ... and train/s1/, each with a text beside it."""
    for speaker in range(2):
        (folder / f"train/s{speaker}").mkdir(parents=True)
        for number, (name, options) in enumerate(formats.items()):
            options = {"rate": RATE, "form": "wav" if name == "c.WAV" else None} | options
            encode(folder / f"train/s{speaker}" / name, noise(1.5, options["rate"], number), **options)
            (folder / f"train/s{speaker}" / name).with_suffix(".txt").write_text("YES")
    return folder


def prepare(model, folder, out):
    data = folder if model == "deepspeech2" else folder / "train"
    flags = ["--resample=false", "--sample_rate=16000"] if model == "conv_tasnet" else []
    PREPARE[model].main(["--corpus=tree", f"--data_folder={data}", f"--output_folder={out}", "--workers=1", *flags])


@pytest.mark.parametrize("model", PREPARE)
def test_a_tree_of_phone_recordings_becomes_wavs(tmp_path, model, capsys):
    data = tree(tmp_path / "data")
    (data / "train/s0/._a.m4a").write_bytes(b"\0\5\x16\7 of a Mac")
    (data / "train/s0/x.xyz").touch()
    (data / "train/s1/y.raw").touch()
    prepare(model, data, tmp_path / "out")
    assert (tmp_path / "out/rejected.txt").read_text() == ""
    assert_line(capsys.readouterr().out, "left out", "1 .xyz", "1 .raw")
    if model == "deepspeech2":
        samples = json.loads((tmp_path / "out/train.json").read_text())["samples"]
        listed = {sample["wav_path"]: sample["seconds"] for sample in samples}
    else:
        listed = {line.split()[1]: 0 for line in lines(tmp_path / "out/train.txt")}
    assert len(listed) == 10
    for path, seconds in listed.items():
        info = soundfile.info(tmp_path / "out/wav" / path)
        assert path.endswith(".wav") and info.samplerate == RATE and 1.5 <= info.duration < 1.65
        assert not seconds or seconds == pytest.approx(info.duration, abs=0.01)


@pytest.mark.parametrize("model", PREPARE)
def test_a_tree_of_what_is_not_taken_names_it(tmp_path, model):
    for speaker in "ab":
        (tmp_path / "data/train" / speaker).mkdir(parents=True)
        for number in range(2):
            (tmp_path / f"data/train/{speaker}/{number}.xyz").touch()
    with refused(NotFoundError, tmp_path / "data", "4 .xyz"):
        prepare(model, tmp_path / "data", tmp_path / "out")


def test_of_two_files_that_differ_by_their_ending_one_becomes_a_wav_and_a_line_says_so(tmp_path, capsys):
    data = tree(tmp_path / "data", {"a.m4a": FORMATS["a.m4a"], "a.flac": FORMATS["d.flac"]})
    prepare("ecapatdnn", data, tmp_path / "out")
    assert len(lines(tmp_path / "out/train.txt")) == 2
    assert_line(capsys.readouterr().out, 2, "ending")


def test_noise_of_any_format_is_found_kept_and_cropped(tmp_path):
    tree(tmp_path)
    def noises_in(folder):
        return find_noises(Config(noise_dir=str(folder)))

    assert len(noises_in(tmp_path)) == len(audio_file.find_recordings(str(tmp_path), "musan_path")) == 10
    recordings = audio_file.Recordings(RATE, 100)
    for path in noises_in(tmp_path):
        expected = audio_file.random_crop(path, RATE, 4000, np.random.default_rng(1), resample=True)
        np.testing.assert_array_equal(recordings.random_crop(path, 4000, np.random.default_rng(1)), expected)
    assert sum(samples is not None for samples in recordings.kept.values()) == 8      # all but those of another rate
    (tmp_path / "none").mkdir()
    (tmp_path / "none/a.xyz").touch()
    for find in (noises_in, lambda folder: audio_file.find_recordings(folder, "rir_path")):
        with refused(NotFoundError, "1 .xyz"):
            find(f"{tmp_path}/none")


def test_shards_hold_all_of_what_does_not_tell_its_length(tmp_path):
    tree(tmp_path)
    content = bytearray((tmp_path / "train/s0/c.WAV").read_bytes())
    place = content.index(b"data") + 4
    content[place:place + 4] = bytes(4)
    (tmp_path / "train/s0/c.WAV").write_bytes(content)
    soundfile.write(tmp_path / "train/gsm.wav", noise(1.5, RATE), RATE, subtype="GSM610")
    paths = audio_file.find_audio(tmp_path)
    target = pack(str(tmp_path), paths, CorpusSettings(output_folder=str(tmp_path / "out"), workers=1))
    for path in paths:
        whole = audio_file.read(f"{tmp_path}/{path}", RATE, resample=True)
        np.testing.assert_array_equal(audio_file.read(f"{target}/{path}", RATE, resample=True), whole)
        crops = [audio_file.random_crop(f"{folder}/{path}", RATE, 999, np.random.default_rng(3), resample=True)
                 for folder in (tmp_path, target)]
        np.testing.assert_array_equal(*crops)
