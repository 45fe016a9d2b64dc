"""conv_tasnet/prepare.py on tiny trees made here, and on the real corpus where SPEECH_DATA names one."""
import csv
import dataclasses
import gzip
import itertools
import json
import os

import numpy as np
import pytest
import soundfile
from helpers import corpora
from helpers.corpora import librimix, lines, mixtures, noise, printed
from helpers.errors import refused

from conv_tasnet import prepare
from conv_tasnet.src.config import Config
from conv_tasnet.src.corpora import LEVELS, PEAK
from conv_tasnet.src.dataset import TrainSet
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from utils.audio import audio_file
from utils.corpora import corpus
from utils.corpora.speakers import libri_speaker
from utils.errors import ContentError, MismatchError, NotFoundError, OutputError, SettingError

RATE = 8000
DATA = os.environ.get("SPEECH_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SPEECH_DATA is not set: folder of librispeech/ and lists/")


def put(path, seconds=1.5, rate=RATE, seed=0, samples=None):
    return corpora.put(path, rate=rate, samples=noise(seconds, rate, seed) if samples is None else samples)


def tree(folder, speakers=8, files=2, rate=RATE, level=0.1):
    for s in range(speakers):
        for f in range(files):
            put(folder / f"spk{s}/{f}.wav", rate=rate, samples=noise(1.5 + 0.2 * f, rate, 10 * s + f, level))
    return folder


def prepare_corpus(corpus, data, out, *flags):
    prepare.main(["--corpus", corpus, "--data_folder", str(data), "--output_folder", str(out), "--workers=1", *flags])


def rows(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


# ---- LibriMix as generated


def test_librimix_is_listed_where_it_stands_now(tmp_path, capsys):
    librimix(tmp_path / "made/min")
    (tmp_path / "made").rename(tmp_path / "moved")
    prepare_corpus("librimix", tmp_path / "moved/min", tmp_path / "out")
    for split in ("train-100", "train-360", "dev", "test"):
        found = rows(tmp_path / f"out/{split}.csv")
        assert len(found) == 3 and list(found[0]) == ["mixture_ID", "mixture_path", "source_1_path", "source_2_path",
                                                      "length"]
        assert found[2] == {
            "mixture_ID": "120-77-0000_121-77-0001", "length": "9600",
            "mixture_path": f"{split}/mix_clean/120-77-0000_121-77-0001.wav",
            **{f"source_{i}_path": f"{split}/s{i}/120-77-0000_121-77-0001.wav" for i in (1, 2)}}
    for mixture, sources in mixtures(tmp_path / "out/dev.csv", tmp_path / "moved/min").values():
        np.testing.assert_allclose(mixture, sources.sum(0), atol=1e-4)
    text = printed(capsys)
    assert "rejected: 0 of 36 files" in text and "train-360 3 mixtures 6" in text


def test_librimix_with_noise_has_it_in_the_mixture_alone(tmp_path):
    librimix(tmp_path / "both", task="mix_both", splits=("dev",))
    prepare_corpus("librimix", tmp_path / "both", tmp_path / "out", "--task", "mix_both")
    assert "noise" not in (tmp_path / "out/dev.csv").read_text()
    for mixture, sources in mixtures(tmp_path / "out/dev.csv", tmp_path / "both").values():
        assert 0.08 < np.std(mixture - sources.sum(0)) < 0.12
    with refused(NotFoundError, tmp_path / "both", "mixture_*_mix_clean.csv", "metrics_dev_mix_both.csv"):
        prepare_corpus("librimix", tmp_path / "both", tmp_path / "out")
    with refused(SettingError, "task", "'mix_single'", "mix_clean, mix_both"):
        prepare_corpus("librimix", tmp_path / "both", tmp_path / "out", "--task", "mix_single")


def test_libri3mix_at_16_khz_is_resampled_once(tmp_path):
    data = librimix(tmp_path / "data", count=3, rate=16000, splits=("dev",))
    prepare_corpus("librimix", data, tmp_path / "out")
    (tmp_path / "out/wav").rename(tmp_path / "wav")
    for mixture, sources in mixtures(tmp_path / "out/dev.csv", tmp_path / "wav", C=3, resample=False).values():
        assert sources.shape[0] == 3
        np.testing.assert_allclose(mixture, sources.sum(0), atol=2e-4)
    prepare_corpus("librimix", data, tmp_path / "kept", "--sample_rate", "16000")
    assert not (tmp_path / "kept/wav").exists()
    assert [row["length"] for row in rows(tmp_path / "kept/dev.csv")] == ["16000", "17600", "19200"]


def test_librimix_rows_that_are_not_whole_are_rejected(tmp_path, capsys):
    data = librimix(tmp_path / "data", splits=("dev",), keys=6)
    keys = [row["mixture_ID"] for row in rows(data / "metadata/mixture_dev_mix_clean.csv")]
    (data / f"dev/s2/{keys[0]}.wav").unlink()
    put(data / f"dev/s1/{keys[1]}.wav", seconds=1)
    put(data / f"dev/mix_clean/{keys[2]}.wav", samples=np.zeros(9600))
    put(data / f"dev/s1/{keys[3]}.wav", rate=16000)
    prepare_corpus("librimix", data, tmp_path / "out", "--resample", "false")
    assert [row["mixture_ID"] for row in rows(tmp_path / "out/dev.csv")] == keys[4:]
    reasons = lines(tmp_path / "out/rejected.txt")
    for key, words in ((0, "no such audio file"), (1, "8800 samples, but its sources have 8000, 8800"), (2, "silent"),
                       (3, "16000 Hz, expected 8000 Hz")):
        assert sum(keys[key] in reason and words in reason for reason in reasons) == 1, words
    assert len(reasons) == 4 and "rejected: 4 of 18 files" in printed(capsys)


# ---- LibriMix from its metadata

def librispeech(folder, suffix=".flac"):
    for speaker in range(4):
        put(folder / f"dev-clean/{speaker}/9/{speaker}-9-0000{suffix}", 1 + 0.25 * speaker, 16000, speaker)
    return folder


METADATA = """mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain
0-9-0000_1-9-0000,dev-clean/0/9/0-9-0000.flac,0.7925878276419455,dev-clean/1/9/1-9-0000.flac,0.5,cv/a.wav,1.1
7-9-0000_1-9-0000,dev-clean/7/9/7-9-0000.flac,0.8,dev-clean/1/9/1-9-0000.flac,0.5,cv/b.wav,1.1
2-9-0000_3-9-0000,dev-clean/2/9/2-9-0000.flac,1.2,dev-clean/3/9/3-9-0000.flac,0.25,cv/c.wav,1.1
"""


@pytest.mark.parametrize("suffix", [".flac", ".wav", ".mp3"])
def test_metadata_rows_whose_sources_are_there(tmp_path, suffix, capsys):
    data = librispeech(tmp_path / "LibriSpeech", suffix)
    (tmp_path / "meta").mkdir()
    with gzip.open(tmp_path / "meta/libri2mix_dev-clean.csv.gz", "wt") as stream:
        stream.write(METADATA)
    (tmp_path / "meta/libri2mix_train-clean-100.csv").write_text(METADATA.replace("-9-", "-8-"))
    (tmp_path / "meta/libri2mix_dev-clean_info.csv").write_text("mixture_ID,speaker_1_ID\n")
    prepare_corpus("librimix_metadata", data, tmp_path / "out", "--metadata", str(tmp_path / "meta"))
    text = printed(capsys)
    assert "libri2mix_dev-clean.csv.gz: 2 of 3 mixtures" in text and "libri2mix_train-clean-100.csv: 0 of 3" in text
    assert not (tmp_path / "out/train-100.csv").exists()
    found = rows(tmp_path / "out/dev.csv")
    assert found[0] == {
        "mixture_ID": "0-9-0000_1-9-0000", "source_1_path": f"dev-clean/0/9/0-9-0000{suffix}",
        "source_1_gain": "0.7925878276419455", "source_2_path": f"dev-clean/1/9/1-9-0000{suffix}",
        "source_2_gain": "0.5"}
    mixture, sources = mixtures(tmp_path / "out/dev.csv", data)["2-9-0000_3-9-0000"]
    assert mixture.shape == (12000,) and 4 < np.std(sources[0]) / np.std(sources[1]) < 5.6


def test_metadata_mistakes(tmp_path):
    data = librispeech(tmp_path / "LibriSpeech")
    (tmp_path / "libri2mix_dev-clean.csv").write_text(METADATA)
    (tmp_path / "none").mkdir()
    (tmp_path / "other.csv").write_text(METADATA.replace("-9-", "-8-"))
    for flags, kind, facts in (((), NotFoundError, ["metadata", "not set"]),
                               (("--metadata", "x"), NotFoundError, ["metadata", "x"]),
                               (("--metadata", str(tmp_path / "none")), NotFoundError, [tmp_path / "none", ".csv"]),
                               (("--metadata", str(tmp_path / "other.csv")), NotFoundError, [data, "--data_folder"]),
                               (("--metadata", str(tmp_path), "--task", "mix_both"), SettingError,
                                ["task", "WHAM", "--corpus librimix"])):
        with refused(kind, *facts):
            prepare_corpus("librimix_metadata", data, tmp_path / "out", *flags)
    put(data / "dev-clean/1/9/1-9-0000.flac", samples=np.zeros(16000))
    put(data / "dev-clean/2/9/2-9-0000.flac", rate=22050)
    with refused(ContentError, data, tmp_path / "out"):
        prepare_corpus("librimix_metadata", data, tmp_path / "out", "--metadata",
                       str(tmp_path / "libri2mix_dev-clean.csv"))
    assert len(lines(tmp_path / "out/rejected.txt")) == 2


# ---- WSJ0-mix

def test_wsj0_lists_are_those_of_kaituoxu(tmp_path, capsys):
    for part in ("tr", "cv", "tt"):
        for k, key in enumerate(("447o030v_0.1232_050c0109_-0.1232", "b.1", "a")):
            for name in ("mix", "s1", "s2"):
                put(tmp_path / f"min/{part}/{name}/{key}.wav", 1 + k)
    (tmp_path / "min/cv/s2/a.wav").unlink()
    prepare_corpus("wsj0", tmp_path / "min", tmp_path / "out")
    found = {name: json.loads((tmp_path / f"out/tr/{name}.json").read_text()) for name in ("mix", "s1", "s2")}
    assert [str(tmp_path / f"min/tr/mix/{key}.wav") for key in ("447o030v_0.1232_050c0109_-0.1232", "a", "b.1")] == [
        path for path, _ in found["mix"]]
    assert [samples for _, samples in found["s2"]] == [8000, 24000, 16000]
    assert "cv: a.wav is not in all of mix, s1, s2" in lines(tmp_path / "out/rejected.txt")[0]
    assert len(mixtures(tmp_path / "out/cv", "")) == 2 and len(mixtures(tmp_path / "out/tt", "")) == 3
    assert "cv 2 mixtures -" in printed(capsys)
    with refused(NotFoundError, tmp_path / "min/tr", "{tr,cv,tt}/{mix,s1,s2}"):
        prepare_corpus("wsj0", tmp_path / "min/tr", tmp_path / "out")


# ---- speakers, mixed here

def listed_speakers(path):
    """The speakers of a list of mixtures of spk<n>/<file>.wav."""
    return {value.split("/")[0] for row in rows(path) for name, value in row.items() if name.endswith("_path")}


def test_no_speaker_is_in_two_parts(tmp_path, capsys):
    prepare_corpus("tree", tree(tmp_path / "data"), tmp_path / "out", "--valid_speakers", "2", "--test_speakers", "3",
                   "--mixtures", "4")
    train = {line.split()[0] for line in lines(tmp_path / "out/train.txt")}
    valid, test = (listed_speakers(tmp_path / f"out/{name}.csv") for name in ("valid", "test"))
    assert (len(train), len(valid), len(test)) == (3, 2, 3) and not train & valid and not (train | valid) & test
    assert len(lines(tmp_path / "out/train.txt")) == 6
    assert len(rows(tmp_path / "out/valid.csv")) == len(rows(tmp_path / "out/test.csv")) == 4
    text = printed(capsys)
    assert "train 6 utterances 3" in text
    assert "valid 4 mixtures 2" in text
    dataset = TrainSet(dataclasses.replace(Config(), train_dir=str(tmp_path / "out/train.txt"),
                                           train_path=str(tmp_path / "data"), segment=1.0, minibatch_size=2))
    assert dataset.batch(1, 0)[0][1].shape == (2, 2, 8000)
    prepare_corpus("tree", tmp_path / "data", tmp_path / "out", "--test_speakers", "3", "--mixtures", "4")
    names = {path.name for path in (tmp_path / "out").glob("*.csv")}
    assert names == {"test.csv"}        # the speakers of valid.csv are trained on


@pytest.mark.parametrize("count, level", [(2, 0.1), (3, 0.01), (2, 0.9)])
def test_fixed_mixtures_have_different_speakers_and_levels_as_librimix(tmp_path, count, level):
    data = tree(tmp_path / "data", 9, level=level)
    flags = ("--valid_speakers", "5", "--C", str(count), "--mixtures", "20")
    prepare_corpus("tree", data, tmp_path / "out", *flags)
    found = mixtures(tmp_path / "out/valid.csv", data, C=count)
    assert len(found) == 20
    levels = []
    for key, (mixture, sources) in found.items():
        assert len({name.split("-")[0] for name in key.split("_")}) == count == len(sources)
        np.testing.assert_array_equal(mixture, sources.sum(0))
        assert np.abs(mixture).max() < PEAK + 1e-3
        levels += [10 * np.log10(np.mean(source ** 2)) for source in sources]
    assert LEVELS[0] - 0.5 < min(levels) < LEVELS[0] + 2 and LEVELS[1] - 2 < max(levels) < LEVELS[1] + 0.5
    uses = [key.count("spk0-") + key.count("spk4-") for key in found]
    assert sum(uses) <= 2 * 20 * count / 5 + 6      # all speakers about equally often
    prepare_corpus("tree", data, tmp_path / "again", *flags)
    prepare_corpus("tree", data, tmp_path / "other", *flags, "--seed", "1")
    first, again, other = (lines(tmp_path / name / "valid.csv") for name in ("out", "again", "other"))
    assert first == again != other


def test_fixed_mixtures_do_not_clip(tmp_path):
    for s in range(6):      # clicks: their level is low for their peak
        put(tmp_path / f"data/spk{s}/0.wav", samples=np.where(np.arange(12000) % 4000 == 2000, 0.5, 0))
    prepare_corpus("tree", tmp_path / "data", tmp_path / "out", "--valid_speakers", "4", "--mixtures", "6")
    peaks = [np.abs(mixture).max() for mixture, _ in mixtures(tmp_path / "out/valid.csv", tmp_path / "data").values()]
    np.testing.assert_allclose(peaks, PEAK, rtol=1e-5)


def test_no_mixture_twice_and_no_more_than_there_are(tmp_path):
    prepare_corpus("tree", tree(tmp_path / "data", 6, 1), tmp_path / "out", "--valid_speakers", "3")
    assert len(rows(tmp_path / "out/valid.csv")) == 3       # pairs of three speakers of one file


def test_librispeech_and_an4(tmp_path):
    for speaker in range(6):
        put(tmp_path / f"LibriSpeech/train-clean-100/{speaker}/1/{speaker}-1-0000.flac", rate=16000, seed=speaker)
    prepare_corpus("librispeech", tmp_path / "LibriSpeech", tmp_path / "libri", "--valid_speakers", "2")
    assert lines(tmp_path / "libri/train.txt")[0] == "1 train-clean-100/1/1/1-1-0000.wav"
    assert [row["mixture_ID"] for row in rows(tmp_path / "libri/valid.csv")] == ["0-1-0000_5-1-0000"]
    assert soundfile.info(tmp_path / "libri/wav/train-clean-100/1/1/1-1-0000.wav").samplerate == RATE
    for name in ("an4_clstk/fash", "an4_clstk/mblb", "an4test_clstk/fcaw", "an4test_clstk/marh"):
        put(tmp_path / f"an4/wav/{name}/an1.flac")
    prepare_corpus("an4", tmp_path / "an4", tmp_path / "out", "--test_speakers", "7")      # it has a test part
    assert rows(tmp_path / "out/test.csv")[0]["mixture_ID"] == "fcaw-an1_marh-an1"
    assert not (tmp_path / "out/valid.csv").exists()


def test_files_are_converted_and_read_once(tmp_path, monkeypatch):
    data = tree(tmp_path / "data", rate=16000)
    flags = ("--valid_speakers", "2", "--mixtures", "3")
    prepare_corpus("tree", data, tmp_path / "out", *flags)
    before = lines(tmp_path / "out/train.txt"), lines(tmp_path / "out/valid.csv")
    with monkeypatch.context() as patch:
        patch.setattr(corpus, "inspect", None)
        prepare_corpus("tree", data, tmp_path / "out", *flags)
    assert (lines(tmp_path / "out/train.txt"), lines(tmp_path / "out/valid.csv")) == before
    prepare_corpus("tree", data, tmp_path / "out", *flags, "--sample_rate", "11025")    # another rate: made again
    assert {soundfile.info(path).samplerate for path in (tmp_path / "out/wav").rglob("*.wav")} == {11025}
    prepare_corpus("tree", data, tmp_path / "kept", *flags, "--sample_rate", "16000")
    assert not (tmp_path / "kept/wav").exists()


def test_a_link_to_the_corpus_is_the_corpus(tmp_path):
    data, link = tree(tmp_path / "data", rate=16000), tmp_path / "link"
    link.symlink_to(data)
    before = {path: path.read_bytes() for path in data.rglob("*.wav")}
    with refused(OutputError, "wav_folder", link):
        prepare_corpus("tree", data, tmp_path / "out", "--wav_folder", str(link))
    assert {path: path.read_bytes() for path in data.rglob("*.wav")} == before


def test_broken_files_are_in_no_list(tmp_path, capsys):
    data = tree(tmp_path / "data")
    put(data / "spk1/silent.wav", samples=np.zeros(16000))
    put(data / "spk1/short.wav", seconds=0.5)
    (data / "spk0/broken.wav").write_bytes(b"")
    prepare_corpus("tree", data, tmp_path / "out", "--valid_speakers", "3", "--mixtures", "50")
    assert len(lines(tmp_path / "out/rejected.txt")) == 3 and "rejected: 3 of 19" in printed(capsys)
    for name in ("train.txt", "valid.csv"):
        text = (tmp_path / "out" / name).read_text()
        assert not any(word in text for word in ("silent", "short", "broken"))


def test_mini(mini_corpus, tmp_path, capsys):
    prepare_corpus("mini", mini_corpus, tmp_path / "out", "--workers", "2")
    train = {line.split()[0] for line in lines(tmp_path / "out/train.txt")}
    voices = {name: {value.split("/")[1] for row in rows(tmp_path / f"out/{name}.csv")
                     for column, value in row.items() if column.endswith("_path")} for name in ("valid", "test")}
    assert (len(train), len(voices["valid"]), len(voices["test"])) == (72, 8, 20) and not train & voices["valid"]
    assert len(lines(tmp_path / "out/train.txt")) == 936 and all(voice[0] == "t" for voice in voices["test"])
    assert printed(capsys).count("100 mixtures") == 2
    paths = audio_file.find_audio(tmp_path / "out/wav")
    assert len(paths) == 1240 and soundfile.info(tmp_path / "out/wav" / paths[0]).samplerate == RATE
    for mixture, sources in mixtures(tmp_path / "out/test.csv", tmp_path / "out/wav", resample=False).values():
        assert len(mixture) >= 1.5 * RATE - 1 and np.isfinite(mixture).all() and sources.shape == (2, len(mixture))


# ---- mistakes

@pytest.mark.parametrize("flags, kind, facts", [
    (("--valid_speakers", "1"), MismatchError, ["valid_speakers", "found 1", "0 or 2 to 6"]),
    (("--valid_speakers", "7"), MismatchError, ["valid_speakers", "found 7"]),
    (("--test_speakers", "7"), MismatchError, ["test_speakers", "found 7"]),
    (("--C", "1"), SettingError, ["C", 1, 2]), (("--mixtures", "0"), SettingError, ["mixtures", 0, 1]),
    (("--C", "9"), ContentError, ["8 speakers", "train", 9]),
    (("--C", "3", "--valid_speakers", "6"), MismatchError, ["valid_speakers", "0 or 3 to 5", "8 speakers"])])
def test_what_cannot_be_made_is_refused(tmp_path, flags, kind, facts):
    with refused(kind, *facts):
        prepare_corpus("tree", tree(tmp_path / "data", files=1), tmp_path / "out", *flags)


def test_noise_and_rooms_of_open_speech(tmp_path, capsys):
    """Copies at the network's rate, of which the test's are in no list for training; its rooms have several places."""
    for i in range(12):
        put(tmp_path / f"data/noise_esc10/rain-{i:02d}.wav", rate=2 * RATE)
    for name in ("noise/esc50_1", "noise/kitchen", "rir/hall_1_2", "rir/hall_1_3", "rir_rooms/iosr_roomA_03L",
                 "rir_rooms/iosr_roomA_03R", "rir_rooms/openair_jack_lyons_hall"):
        put(tmp_path / f"data/{name}.wav", 0.1, rate=2 * RATE)
    prepare.prepare_scenes(prepare.PrepareConfig(corpus="open_speech", data_folder=str(tmp_path / "data"), workers=1,
                                                 output_folder=str(tmp_path)))
    found = {name: lines(tmp_path / f"{name}.txt")
             for name in ("noise_train", "noise_test", "rooms_train", "rooms_test")}
    assert found == {
        "noise_train": [f"noise_esc10/rain-{i:02d}.wav" for i in range(1, 11)] + ["noise/kitchen.wav"],
        "noise_test": ["noise_esc10/rain-00.wav", "noise_esc10/rain-11.wav"],
        "rooms_train": ["hall rir/hall_1_2.wav", "hall rir/hall_1_3.wav"],
        "rooms_test": [f"iosr_roomA rir_rooms/iosr_roomA_03{ear}.wav" for ear in "LR"]}
    for line in itertools.chain(*found.values()):
        assert soundfile.info(tmp_path / "wav" / line.split()[-1]).samplerate == RATE
    assert "paths of noise_train.txt noise_test.txt rooms_train.txt rooms_test.txt are relative" in printed(capsys)


@pytest.mark.parametrize("name", ["librimix", "librispeech", "an4", "tree", "wsj0", "librispeech_an4"])
def test_empty_corpus_is_refused(name, tmp_path):
    (tmp_path / "data/other").mkdir(parents=True)
    with refused(NotFoundError, tmp_path / "data"):
        prepare_corpus(name, tmp_path / "data", tmp_path / "out")


def test_unknown_corpus_names_the_nearest(tmp_path):
    with refused(SettingError, "corpus", "'librimx'", "librimix?"):
        prepare_corpus("librimx", tmp_path, tmp_path / "out")
    with refused(NotFoundError, tmp_path / "none", "--data_folder"):
        prepare_corpus("wsj0", tmp_path / "none", tmp_path / "out")


# ---- real data

@needs_data
def test_librispeech_an4(tmp_path, capsys):
    prepare_corpus("librispeech_an4", DATA, tmp_path)
    train = {line.split()[0] for line in lines(tmp_path / "train.txt")}
    assert len(train) == len(lines(tmp_path / "train.txt")) == 226
    valid = {libri_speaker(row[f"source_{i}_path"]) for row in rows(tmp_path / "valid.csv") for i in (1, 2)}
    assert len(valid) == 25 and not valid & train and len(rows(tmp_path / "valid.csv")) == 100
    test = rows(tmp_path / "test.csv")
    speakers = {libri_speaker(row[f"source_{i}_path"]) for row in test for i in (1, 2)}
    assert len(test) == 677 and len(speakers) == 20 and not speakers & (train | valid)
    assert "677 of 3000 mixtures" in printed(capsys)
    with gzip.open(os.path.join(DATA, "lists/libri2mix_dev-clean.csv.gz"), "rt") as stream:
        official = {row["mixture_ID"]: row for row in csv.DictReader(stream)}
    for row in test:
        assert all(row[f"source_{i}_gain"] == official[row["mixture_ID"]][f"source_{i}_gain"] for i in (1, 2))
        assert row["mixture_ID"] == "_".join(os.path.basename(row[f"source_{i}_path"]).split(".")[0] for i in (1, 2))
    config = Config()
    for item in list(read_mixtures(str(tmp_path / "test.csv"), DATA, config))[::97]:
        mixture, sources = load_mixture(item, config)
        assert len(mixture) >= 2.9 * RATE and 0 < np.abs(mixture).max() < 1.5
        np.testing.assert_array_equal(mixture, sources.sum(0))
