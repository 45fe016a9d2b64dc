"""Packed corpora: the same samples and batches as from the files, MindSpore's own reader sees the same records, and a
damaged, missing or half-made shard is reported in one line."""
import dataclasses
import os
import resource
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.errors import refused

import conv_tasnet.prepare
import deepspeech2.prepare
import ecapatdnn.prepare
from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.dataset import TrainSet as ConvTasNetTrainSet
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.dataset import TrainSet as DeepSpeech2TrainSet
from ecapatdnn.src.config import Config as ECAPAConfig
from ecapatdnn.src.dataset import TrainSet
from utils.audio import audio_file, packed
from utils.corpora import pack as packing
from utils.corpora.settings import CorpusSettings
from utils.errors import ContentError, NotFoundError, OutputError
from utils.training.loader import Batches

RATE = 16000
PREPARE = {"ecapatdnn": ecapatdnn.prepare, "conv_tasnet": conv_tasnet.prepare, "deepspeech2": deepspeech2.prepare}


def sound(samples, seed=0, channels=()):
    """Tones and some noise: like speech, FLAC makes it smaller."""
    generator, time = np.random.default_rng(seed), np.arange(samples)[:, None][:, [0] * len(channels) or 0]
    return 0.3 * np.sin(time * (0.02 + 0.01 * seed)) + generator.standard_normal((samples, *channels)) * 0.01


@pytest.fixture(autouse=True)
def forget():
    """Every test reads the shards it finds: a process keeps what it has seen of them."""
    yield
    packed._index.cache_clear()
    packed._open_shard.cache_clear()


FILES = {   # name: channels, rate, format, subtype
    "a/1.wav": ((), RATE, "WAV", "PCM_16"), "a/two channels.wav": ((2,), RATE, "WAV", "PCM_16"),
    "b/o'clock é.wav": ((), 8000, "WAV", "PCM_16"), "b/deep.wav": ((), RATE, "WAV", "PCM_24"),
    "c/float.wav": ((), RATE, "WAV", "FLOAT"), "c/1.flac": ((), RATE, "FLAC", "PCM_16"),
    "c/1.mp3": ((), RATE, "MP3", "MPEG_LAYER_III"), "d/many.wav": ((9,), RATE, "WAV", "PCM_16"),
    "d/1.sph": ((), RATE, "NIST", "PCM_16")}


@pytest.fixture
def corpus(tmp_path):
    """(folder of FILES, the folder of their shards, three or more)."""
    folder = tmp_path / "corpus"
    for number, (name, (channels, rate, kind, subtype)) in enumerate(FILES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, sound(20000 + 999 * number, number, channels), rate, subtype, format=kind)
    return str(folder), small_shards(str(folder), FILES, tmp_path)


def small_shards(folder, paths, tmp_path, size=100_000):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "SHARD_BYTES", size)
        return packing.pack(folder, list(paths), CorpusSettings(output_folder=str(tmp_path), workers=1))


def shards(folder):
    return sorted(str(path) for path in Path(folder).glob("*.mindrecord"))


def test_every_sample_is_what_the_file_holds(corpus):
    folder, target = corpus
    assert len(shards(target)) >= 3 and not os.path.exists(f"{target}.part")
    for name in FILES:
        there, here = f"{folder}/{name}", f"{target}/{name}"
        assert audio_file.header(here) == audio_file.header(there)
        whole = (audio_file.read(path, RATE, resample=True) for path in (here, there))
        np.testing.assert_array_equal(*whole)
        crops = (audio_file.random_crop(path, RATE, 5000, np.random.default_rng(3), True) for path in (here, there))
        np.testing.assert_array_equal(*crops)
        assert packed.exists(here) and packed.exists(f"{target}/./{name.replace('/', '//')}")
    assert not packed.exists(f"{target}/a/2.wav") and not packed.exists(f"{target}/a")
    with refused(audio_file.AudioError, f"{target}/a/2.wav", "no such"):
        audio_file.read(f"{target}/a/2.wav", RATE)
    with refused(audio_file.AudioError, shards(target)[0], "no such"):     # though there is a file of this path
        audio_file.read(shards(target)[0], RATE)


def test_records_are_flac_where_that_is_exact_and_smaller(corpus):
    folder, target = corpus
    for name, (_, _, kind, subtype) in FILES.items():
        record = packed.open_record(f"{target}/{name}").read()
        if (kind, subtype) in (("WAV", "PCM_16"), ("NIST", "PCM_16")) and name != "d/many.wav":
            assert record.startswith(b"fLaC") and len(record) < os.path.getsize(f"{folder}/{name}")
        else:
            assert record == Path(folder, name).read_bytes()


def test_mindspores_readers_see_the_same_records(corpus):
    from mindspore.dataset import MindDataset
    from mindspore.mindrecord import FileReader

    found, expected = {}, {name: packed.open_record(f"{corpus[1]}/{name}").read() for name in FILES}
    for shard in shards(corpus[1]):
        reader = FileReader(shard)
        found |= {item["path"]: bytes(item["audio"]) for item in reader.get_next()}
        reader.close()
    assert found == expected
    rows = MindDataset(shards(corpus[1]), ["path", "audio"], shuffle=False).create_dict_iterator(1, output_numpy=True)
    assert {str(row["path"]): row["audio"].tobytes() for row in rows} == expected


def test_a_long_record_is_read_in_pieces(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).standard_normal(60 * RATE) * 0.1
    soundfile.write(tmp_path / "long.wav", noise, RATE)
    target = packing.pack(str(tmp_path), ["long.wav"], CorpusSettings(output_folder=str(tmp_path), workers=1))
    asked, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, start: asked.append(count) or pread(file, count, start))
    for start in (0, 555_555, 900_000):
        np.testing.assert_array_equal(audio_file.read(f"{target}/long.wav", RATE, start, 32000),
                                      audio_file.read(f"{tmp_path}/long.wav", RATE, start, 32000))
    assert packed.find_record(f"{target}/long.wav")[2] > 1.5e6 and sum(asked) < 0.6e6


# ---- batches

def same_batches(files, shards):
    """All batches of two epochs, and those made by a worker process."""
    assert files.steps == shards.steps > 1
    for epoch in (1, 2):
        for index in range(files.steps):
            (actual, bad), (expected, none) = shards.batch(epoch, index), files.batch(epoch, index)
            assert bad == none == {}
            for a, b in zip(actual, expected, strict=True):
                np.testing.assert_array_equal(a, b)
    batches = Batches(shards, workers=1)
    try:
        for actual, index in zip(batches.epoch(2), range(files.steps), strict=True):
            np.testing.assert_array_equal(actual[0], files.batch(2, index)[0][0])
    finally:
        batches.close()


@pytest.fixture
def speakers(tmp_path):
    """speaker/file.wav of 6 speakers, 4 files each, with transcripts beside them, in train/ and valid/."""
    for number in range(24):
        path = tmp_path / "corpus" / "train" / f"s{number // 4}" / f"{number}.wav"
        audio_file.write_wav(str(path), sound(30000 + 500 * number, number), RATE)
        path.with_suffix(".txt").write_text("YES\n")
    shutil.copytree(tmp_path / "corpus" / "train" / "s0", tmp_path / "corpus" / "valid" / "s0")
    return tmp_path / "corpus"


def prepare(model, folder, output, corpus="tree", **flags):
    flags = {"corpus": corpus, "data_folder": folder, "output_folder": output, "workers": 1, "pack": "true"} | flags
    PREPARE[model].main([text for name, value in flags.items() for text in (f"--{name}", str(value))])
    return f"{output}/audio.mindrecord"


def ecapa_set(lists, folder, **differences):
    values = {"train_list": f"{lists}/train.txt", "train_path": str(folder), "crop": 100, "minibatch_size": 4}
    return TrainSet(dataclasses.replace(ECAPAConfig(), **(values | differences)))


def test_ecapatdnn_trains_on_the_same_batches(speakers, tmp_path, capsys):
    target = prepare("ecapatdnn", speakers / "train", tmp_path / "lists")
    assert f"paths are relative to {target}" in capsys.readouterr().out
    shutil.copytree(speakers / "train" / "s5", tmp_path / "noise")
    files, shards = (ecapa_set(tmp_path / "lists", folder, musan_path=f"{tmp_path}/noise", speeds="0.9,1.0,1.1")
                     for folder in (speakers / "train", target))
    assert files.files == 24
    same_batches(files, shards)
    for path in speakers.rglob("*.wav"):    # nothing is read but the shards
        path.unlink()
    assert shards.batch(3, 0)[1] == {}


@pytest.mark.parametrize("on_the_fly", [True, False])
def test_conv_tasnet_trains_on_the_same_batches(speakers, tmp_path, on_the_fly):
    target = prepare("conv_tasnet", speakers / "train", tmp_path / "lists", resample="false", sample_rate=RATE,
                     valid_speakers=3, mixtures=9)
    files, shards = (ConvTasNetTrainSet(dataclasses.replace(
        ConvTasNetConfig(), train_dir=f"{tmp_path}/lists/{'train.txt' if on_the_fly else 'valid.csv'}",
        minibatch_size=3, train_path=str(folder), segment=0.5, sample_rate=RATE))
        for folder in (speakers / "train", target))
    same_batches(files, shards)


def test_conv_tasnets_absolute_lists_lead_into_the_shards(tmp_path):
    for part in ("tr", "cv", "tt"):
        for number in range(3):
            tracks = [sound(20000, 10 * number + i) for i in (1, 2)]
            for name, track in zip(("s1", "s2", "mix"), (*tracks, sum(tracks)), strict=True):
                audio_file.write_wav(f"{tmp_path}/wsj0/{part}/{name}/{number}.wav", track, 8000)
    target = prepare("conv_tasnet", tmp_path / "wsj0", tmp_path / "lists", "wsj0")
    shutil.rmtree(tmp_path / "wsj0")
    config = dataclasses.replace(ConvTasNetConfig(), train_dir=f"{tmp_path}/lists/tr", minibatch_size=3, segment=0.5)
    train_set = ConvTasNetTrainSet(config)
    assert train_set.batch(1, 0)[1] == {} and train_set.items.mixtures[0].mixture.startswith(target)


def test_deepspeech2_trains_on_the_same_batches(speakers, tmp_path):
    prepare("deepspeech2", speakers, tmp_path / "lists")
    config = dataclasses.replace(DeepSpeech2Config(), train_manifest=f"{tmp_path}/lists/train.json", minibatch_size=4)
    shards = DeepSpeech2TrainSet(config)    # the manifest names the shards
    files = DeepSpeech2TrainSet(dataclasses.replace(config, data_folder=str(speakers)))
    assert ".mindrecord/" in shards.path(0) and ".mindrecord/" not in files.path(0)
    same_batches(files, shards)


# ---- again, and interrupted

def stamps(folder):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path(folder).iterdir()}


def test_packing_again_keeps_what_is_current(corpus, tmp_path, capsys):
    folder, target = corpus
    before = stamps(target)
    assert small_shards(folder, FILES, tmp_path) == target and stamps(target) == before
    assert "is there, 9 files" in capsys.readouterr().out
    soundfile.write(f"{folder}/a/1.wav", sound(20000, 77), RATE, "PCM_16")
    small_shards(folder, FILES, tmp_path)
    packed._index.cache_clear()
    packed._open_shard.cache_clear()
    np.testing.assert_array_equal(*(audio_file.read(f"{place}/a/1.wav", RATE) for place in (target, folder)))
    fewer = [name for name in FILES if not name.startswith("d/")]
    small_shards(folder, fewer, tmp_path)
    assert sorted(key for shard in shards(target) for key in packed.read_shard(shard)[0]) == sorted(fewer)


def test_an_interrupted_packing_goes_on_where_it_stopped(corpus, tmp_path, monkeypatch):
    folder, target = corpus
    made = []

    def interrupted(path):
        made.append(path)
        if len(made) == 6:
            raise KeyboardInterrupt
        return encode(path)

    encode = packing.encode
    shutil.rmtree(target)
    monkeypatch.setattr(packing, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_shards(folder, FILES, tmp_path)
    before = stamps(f"{target}.part")
    assert before and not os.path.exists(target)
    small_shards(folder, FILES, tmp_path)
    after = stamps(target)
    assert {name: after[name] for name in before} == before and len(made) < 6 + len(FILES)
    assert sorted(os.listdir(tmp_path)) == ["audio.mindrecord", "corpus"]
    assert all(packed.exists(f"{target}/{name}") for name in FILES)


def test_a_full_disk_is_named(corpus, tmp_path):
    folder, target = corpus
    shutil.rmtree(target)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with refused(OutputError, target):
            small_shards(folder, FILES, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not os.path.exists(target)


def test_a_cut_file_is_not_packed(corpus, tmp_path):
    folder, target = corpus
    os.truncate(f"{folder}/a/1.wav", 9000)
    with refused(audio_file.AudioError, "a/1.wav", "truncated"):
        small_shards(folder, FILES, tmp_path)
    assert packed.exists(f"{target}/a/1.wav")       # the shards made before are still there


# ---- damage

def cut(path):
    os.truncate(path, os.path.getsize(path) - 1000)


def garble(path):
    Path(path).write_bytes(b"no such thing " * 500)


@pytest.mark.parametrize("name, damage, kind, facts", [
    ("shard", os.unlink, NotFoundError, ["{shard}", "{count} shards"]),
    ("shard", cut, ContentError, ["{shard}", "{size} bytes"]), ("shard", garble, ContentError, ["{shard}"]),
    ("index", os.unlink, NotFoundError, ["{shard}.db", "{count} shards"]),
    ("index", garble, ContentError, ["{shard}", "not a database"]),
    ("folder", shutil.rmtree, NotFoundError, ["{folder}"])])
def test_a_damaged_shard_stops_the_start_in_one_line(corpus, name, damage, kind, facts):
    folder, shard, count = corpus[1], shards(corpus[1])[1], len(shards(corpus[1]))
    damage({"shard": shard, "index": f"{shard}.db", "folder": folder}[name])
    size = os.path.getsize(shard) if os.path.exists(shard) else 0
    facts = [fact.format(shard=shard, folder=folder, count=count, size=size) for fact in facts]
    with refused(kind, *facts, "prepare.py --pack true"):
        packed.load_index(folder)


@pytest.mark.parametrize("column", ["PAGE_OFFSET_BLOB", "PAGE_OFFSET_BLOB_END", "PAGE_ID_BLOB"])
@pytest.mark.parametrize("value", [-2 ** 62, 2 ** 62, "'x'"])
def test_a_hostile_index_is_refused(corpus, column, value):
    shard = shards(corpus[1])[0]
    with sqlite3.connect(f"{shard}.db") as table:
        table.execute(f"UPDATE INDEXES SET {column} = {value} WHERE ROW_ID = 0")
    table.close()
    with refused(ContentError, shard):
        packed.load_index(corpus[1])


def test_shards_of_two_packings_are_refused(corpus):
    shutil.copy(shards(corpus[1])[0], f"{corpus[1]}/00000-of-00099.mindrecord")
    with refused(ContentError, corpus[1], "00000-of-00099.mindrecord"):
        packed.load_index(corpus[1])


def test_a_damaged_record_is_replaced_and_named_with_its_shard(speakers, tmp_path):
    target = prepare("ecapatdnn", speakers / "train", tmp_path / "lists")
    shard, start, size = packed.find_record(f"{target}/s1/5.wav")
    with open(shard, "rb+") as file:
        file.seek(start + 50)
        file.write(b"\0" * (size - 50))
    train_set = ecapa_set(tmp_path / "lists", target, minibatch_size=24)
    (features, _), bad = train_set.batch(1, 0)
    assert features.shape[0] == 24 and list(bad) == [f"{target}/s1/5.wav"]
    assert "00000-of-00001.mindrecord" in bad[f"{target}/s1/5.wav"]


def test_a_shard_that_goes_away_in_training_stops_it(speakers, tmp_path):
    target = prepare("ecapatdnn", speakers / "train", tmp_path / "lists")
    train_set = ecapa_set(tmp_path / "lists", target)
    os.unlink(shards(target)[0])
    with refused(NotFoundError, target, "00000-of-00001.mindrecord"):
        train_set.batch(1, 0)
