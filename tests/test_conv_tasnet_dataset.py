"""The data of Conv-TasNet: fixed mixtures read by key and by seeking, mixing on the fly; each mistake reported."""
import dataclasses
import gzip
import json
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import scipy.signal
import soundfile
from helpers.errors import assert_line, refused

from conv_tasnet import remix
from conv_tasnet.src.config import Config
from conv_tasnet.src.dataset import LEVEL, TrainSet
from conv_tasnet.src.mixtures import load_mixture, mixture_length, read_mixtures
from utils.audio.audio_file import AudioError
from utils.errors import ContentError, MismatchError, NotFoundError, OutputError, SettingError
from utils.locks import locked_folder
from utils.training.loader import Batches

RATE = 8000


def config(**differences):
    return dataclasses.replace(Config(), **({"segment": 0.5, "minibatch_size": 3, "seed": 1} | differences))


def sound(samples, seed=0, level=0.1):
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def tone(hertz, seconds, rate=RATE):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def put(path, samples, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return str(path)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


# ---- fixed mixtures

def generated(folder, keys=("a", "b", "c", "d"), count=2, rate=RATE, samples=6000):
    """A list and the files of mixtures; sources are noise, every key longer than the one before."""
    rows = []
    for number, key in enumerate(keys):
        sources = [sound(samples + 1000 * number, seed=10 * number + i) for i in range(count)]
        for name, track in (("mix", sum(sources)), *((f"s{i + 1}", source) for i, source in enumerate(sources))):
            put(folder / name / f"{key}.wav", track, rate)
        rows.append(",".join([key, f"mix/{key}.wav", *(f"s{i + 1}/{key}.wav" for i in range(count)), str(samples)]))
    columns = ["mixture_ID", "mixture_path", *(f"source_{i + 1}_path" for i in range(count)), "length"]
    return write(folder / "list.csv", ",".join(columns), *rows)


HEADER = "mixture_ID,mixture_path,source_1_path,source_2_path,length"
METADATA = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain"


def metadata(folder, rate=16000):
    """Utterances of several lengths, some with two channels, and LibriMix's metadata of them."""
    for number, samples in enumerate((20001, 16002, 24000)):
        mono = sound(samples, number)
        put(folder / f"dev/{number}.flac.wav", np.stack((mono, sound(samples, 9)), 1) if number == 2 else mono, rate)
    return write(folder / "meta.csv", METADATA, "0_1,dev/0.flac.wav,0.75,dev/1.flac.wav,1.5,cv/none.wav,1.1",
                 "2_0,dev/2.flac.wav,0.3333333333333333,dev/0.flac.wav,0.9,cv/none.wav,1.1")


def test_generated_mixture_is_what_the_files_hold_whatever_the_order_of_the_columns(tmp_path):
    generated(tmp_path)
    rows = [line.split(",") for line in (tmp_path / "list.csv").read_text().splitlines()]
    write(tmp_path / "turned.csv", *(",".join(row[::-1]) for row in [rows[0], *rows[:0:-1]]))
    for name in ("list.csv", "turned.csv"):
        mixtures = read_mixtures(str(tmp_path / name), str(tmp_path), config())
        assert [item.key for item in mixtures] == (["a", "b", "c", "d"] if name == "list.csv" else ["d", "c", "b", "a"])
        for item in mixtures:
            mixture, sources = load_mixture(item, config())
            assert mixture.dtype == sources.dtype == np.float32 and sources.shape == (2, len(mixture))
            for name_of, samples in (("mix", mixture), ("s1", sources[0]), ("s2", sources[1])):
                np.testing.assert_array_equal(samples, soundfile.read(tmp_path / name_of / f"{item.key}.wav")[0])
            np.testing.assert_allclose(mixture, sources.sum(0), atol=1e-7)


def as_librimix(paths, gains, rate):
    """LibriMix's create_librimix_from_metadata.py in float64: gain, scipy's resample_poly, min mode, sum."""
    sources = [soundfile.read(path, always_2d=True)[0].mean(1) * gain for path, gain in zip(paths, gains, strict=True)]
    if rate != 16000:
        sources = [scipy.signal.resample_poly(source, rate, 16000) for source in sources]
    shortest = min(map(len, sources))
    sources = np.stack([source[:shortest] for source in sources])
    return sources.sum(0), sources


@pytest.mark.parametrize("rate", [8000, 16000, 11025])
def test_mixtures_from_metadata_are_librimix(tmp_path, rate):
    mixtures = read_mixtures(metadata(tmp_path), str(tmp_path), config())
    for item, numbers, gains in zip(mixtures, ((0, 1), (2, 0)), ((0.75, 1.5), (1 / 3, 0.9)), strict=True):
        expected = as_librimix([tmp_path / f"dev/{i}.flac.wav" for i in numbers], gains, rate)
        actual = load_mixture(item, config(sample_rate=rate))
        assert mixture_length(item, config(sample_rate=rate)) == len(expected[0])
        for a, b in zip(actual, expected, strict=True):
            assert a.dtype == np.float32 and a.shape == b.shape
            np.testing.assert_allclose(a, b, atol=2e-6)
        np.testing.assert_array_equal(actual[0], actual[1].sum(0))
    assert len(load_mixture(mixtures[0], config())[0]) == 8001     # of 16,002 samples


def test_a_packed_list_says_the_same(tmp_path):
    plain = read_mixtures(metadata(tmp_path), str(tmp_path), config())
    with gzip.open(tmp_path / "meta.csv.gz", "wt") as stream:
        stream.write((tmp_path / "meta.csv").read_text())
    assert list(read_mixtures(str(tmp_path / "meta.csv.gz"), str(tmp_path), config())) == list(plain)


@pytest.mark.parametrize("kind, native, rate", [("generated", 8000, 8000), ("generated", 16000, 8000),
                                                ("metadata", 16000, 8000), ("metadata", 44100, 8000),
                                                ("metadata", 8000, 16000), ("metadata", 16000, 11025)])
def test_a_part_by_seeking_is_a_slice_of_the_whole(tmp_path, kind, native, rate):
    path = generated(tmp_path, rate=native) if kind == "generated" else metadata(tmp_path, native)
    settings, generator = config(sample_rate=rate), np.random.default_rng(0)
    for item in read_mixtures(path, str(tmp_path), settings):
        whole, length = load_mixture(item, settings), mixture_length(item, settings)
        assert len(whole[0]) == length
        starts = [0, 1, length - 1, length - 700, *generator.integers(0, length - 700, 6)]
        for start, count in zip(starts, [5, length, 50, 700, *[700] * 6], strict=True):
            for part, all_of_it in zip(load_mixture(item, settings, int(start), count), whole, strict=True):
                np.testing.assert_allclose(part, all_of_it[..., start:start + count], atol=1e-7)


def write_json(folder, keys=("a", "b", "c", "d"), count=2):
    generator = np.random.default_rng(0)
    for name in ("mix", *(f"s{i + 1}" for i in range(count))):
        order = generator.permutation(len(keys))
        (folder / f"{name}.json").write_text(json.dumps([[str(folder / name / f"{keys[i]}.wav"), 6000] for i in order]))
    return str(folder)


def test_json_lists_are_paired_by_name_not_by_order(tmp_path):
    keys = ("wav", "a.v", "b_0.12_c", "d")      # names of which strip('.wav') would eat letters
    from_csv = read_mixtures(generated(tmp_path, keys), str(tmp_path), config())
    from_json = read_mixtures(write_json(tmp_path, keys), "", config())
    assert [line for line in from_json if line.key == keys[0]] == [from_csv[0]]
    assert sorted(from_json) == sorted(from_csv)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_three_speakers(tmp_path, kind):
    path = generated(tmp_path, count=3)
    path = path if kind == "csv" else write_json(tmp_path, count=3)
    (mixture, sources, lengths), bad = TrainSet(config(C=3, train_dir=path, train_path=str(tmp_path))).batch(1, 0)
    assert sources.shape == (3, 3, 4000) and mixture.shape == (3, 4000) and not bad
    np.testing.assert_allclose(mixture, sources.sum(1), atol=1e-6)


def test_segments_are_padded_and_say_how_long_they_are(tmp_path):
    generated(tmp_path)     # 6000, 7000, 8000, 9000 samples
    dataset = TrainSet(config(train_dir=str(tmp_path / "list.csv"), train_path=str(tmp_path), segment=1.0,
                              minibatch_size=4))
    (mixture, sources, lengths), _ = dataset.batch(1, 0)
    assert mixture.shape == (4, 8000) and sources.shape == (4, 2, 8000)
    assert (mixture.dtype, sources.dtype, lengths.dtype) == (np.float32, np.float32, np.int32)
    assert sorted(lengths) == [6000, 7000, 8000, 8000]
    for x, s, length in zip(mixture, sources, lengths, strict=True):
        assert not x[length:].any() and not s[:, length:].any()
        assert x[length - 1] and (s[:, length - 1] != 0).all()
    assert "4 fixed mixtures of 2, generated, segments of 1 s" in dataset.describe()


def test_every_mixture_once_an_epoch_at_a_new_place(tmp_path):
    dataset = TrainSet(config(train_dir=generated(tmp_path), train_path=str(tmp_path), minibatch_size=4))
    assert dataset.steps == 1 and dataset.files == 4
    wholes = [load_mixture(item, config())[0] for item in dataset.items.mixtures]
    places = set()
    for number in range(1, 6):
        mixtures = dataset.batch(number, 0)[0][0]
        found = [[np.flatnonzero(whole == x[0]) for whole in wholes] for x in mixtures]
        assert sorted(i for places_of in found for i, place in enumerate(places_of) if len(place)) == [0, 1, 2, 3]
        places |= {(i, int(place[0])) for of in found for i, place in enumerate(of) if len(place)}
    assert len(places) == 20
    orders = []
    for number in range(8):
        dataset.batch(number, 0)
        orders.append(tuple(dataset.items.order))
    assert len(set(orders)) > 4


def test_a_segment_in_which_a_speaker_pauses_is_drawn_again(tmp_path):
    sources = sound(40000, 1), np.pad(sound(3000), (0, 37000))      # as LibriMix's "max" mode pads the shorter one
    for name, samples in (("s1", sources[0]), ("s2", sources[1]), ("mix", sum(sources))):
        put(tmp_path / name / "a.wav", samples)
    path = write(tmp_path / "l.csv", HEADER, "a,mix/a.wav,s1/a.wav,s2/a.wav,40000")
    dataset = TrainSet(config(train_dir=path, train_path=str(tmp_path), minibatch_size=1))
    for number in range(50):
        (_, sources, _), bad = dataset.batch(number, 0)
        assert not bad and (np.abs(sources).max(axis=2) > 0).all()


def test_a_list_of_train_360_is_small(tmp_path):
    keys = [f"{i:05d}-123-0000_{i:05d}-456-0000" for i in range(50_800)]
    path = write(tmp_path / "l.csv", HEADER, *(
        f"{key},train-360/mix_clean/{key}.wav,train-360/s1/{key}.wav,train-360/s2/{key}.wav,112345" for key in keys))
    tracemalloc.start()
    mixtures = read_mixtures(path, "folder", config(), check_files=False)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(mixtures) == 50_800 and kept < 20e6
    assert mixtures[50_799].sources[1] == "folder/train-360/s2/50799-123-0000_50799-456-0000.wav"


@pytest.mark.parametrize("lines, kind, facts", [
    ([HEADER.replace(",source_2_path", ",x"), "a,m,s,s,1"], MismatchError, ["1 sources", "C is 2", "C to 1"]),
    ([HEADER.replace("source_2", "source_2_path,source_3"), "a,m,s,s,s,1"], MismatchError, ["3 sources", "C is 2"]),
    ([HEADER.replace("mixture_ID", "id"), "a,m,s,s,1"], ContentError, ["column mixture_ID", "id,mixture_path"]),
    ([METADATA.replace("source_2_gain", "gain"), "a,s,1,s,1"], ContentError, ["column source_2_gain"]),
    (["a,b", "c,d"], ContentError, ["column mixture_ID", "a,b"]),
    ([HEADER, "a,mix/a.wav,s1/a.wav,,1"], ContentError, ["line 2", "source_2_path"]),
    ([HEADER, "a,mix/a.wav,s1/a.wav,s2/a.wav,1", "b,mix/b.wav"], ContentError, ["line 3", "source_1_path"]),
    ([HEADER, "a,mix/a.wav,s1/a.wav,s2/a.wav,1", "", "a,mix/b.wav,s1/b.wav,s2/b.wav,1"], ContentError,
     ["line 4", "mixture_ID a", "line 2"]),
    ([METADATA, "a,mix/a.wav,loud,s2/a.wav,1"], ContentError, ["line 2", "source_1_gain", "'loud'", "positive"]),
    ([METADATA, "a,mix/a.wav,nan,s2/a.wav,1"], ContentError, ["line 2", "source_1_gain", "'nan'", "positive"]),
    ([HEADER, "a,mix/a.wav,s1/a.wav,s2/a.wav,1", "b,mix/b.wav,s1/b.wav,s2/z.wav,1"],
     NotFoundError, ["mixture b", "s2/z.wav"]),
    ([HEADER], ContentError, ["no mixtures"]),
    ([""], ContentError, ["column mixture_ID", "nothing"])])
def test_a_bad_list_is_refused_in_one_line(tmp_path, lines, kind, facts):
    generated(tmp_path)
    path = write(tmp_path / "bad.csv", *lines)
    with refused(kind, path, *facts):
        read_mixtures(path, str(tmp_path), config())


@pytest.mark.parametrize("name, content, kind, facts", [
    ("l.csv.gz", b"\x1f\x8bno gzip", ContentError, ["CSV"]), ("l.csv", b"\xff\xfe\x00", ContentError, ["CSV"]),
    ("l.csv", None, NotFoundError, []), ("folder", None, NotFoundError, [".csv", "mix.json"])])
def test_what_is_no_list_is_refused(tmp_path, name, content, kind, facts):
    if content:
        (tmp_path / name).write_bytes(content)
    with refused(kind, tmp_path / name, *facts):
        read_mixtures(str(tmp_path / name), "", config())


@pytest.mark.parametrize("name, text, kind, facts", [
    ("s2", '[["s2/a.wav", 1], ["s2/b.wav", 1], ["s2/c.wav", 1]]', MismatchError, ["d is in mix.json", "s2.json"]),
    ("mix", '[["mix/a.wav", 1]]', MismatchError, ["b is in s1.json", "mix.json"]),
    ("s1", '[["s1/a.wav", 1], ["x/a.wav", 1]]', ContentError, ["s1.json", "2 files"]),
    ("s1", "[[1, 2], [3]]", ContentError, ["s1.json", "JSON"]),
    ("s1", '{"a": ', ContentError, ["s1.json", "JSON"]), ("s2", None, NotFoundError, ["s2.json"]),
    ("s3", "[]", MismatchError, ["s3.json", "C is 2"])])
def test_bad_json_lists_are_refused(tmp_path, name, text, kind, facts):
    write_json(tmp_path)
    if text is None:
        (tmp_path / f"{name}.json").unlink()
    else:
        (tmp_path / f"{name}.json").write_text(text)
    with refused(kind, tmp_path, *facts):
        read_mixtures(str(tmp_path), "", config())


def first(path, folder, **differences):
    return load_mixture(read_mixtures(path, str(folder), config())[0], config(**differences))


@pytest.mark.parametrize("name, samples, facts", [
    ("s2", sound(5000), ["s2/a.wav", "5000 samples", "mix/a.wav", 6000]),
    ("mix", sound(7000), ["s1/a.wav", "6000 samples", "mix/a.wav", 7000]),
    ("mix", np.zeros(6000), ["a: mixture", "silent", "0 to 6000"]),
    ("s1", np.zeros(6000), ["a: ", "s1/a.wav", "silent"]),
    ("s1", np.where(np.arange(6000) % 9, sound(6000), np.nan), ["s1/a.wav", "NaN"])])
def test_files_that_do_not_fit_are_refused(tmp_path, name, samples, facts):
    path = generated(tmp_path)
    put(tmp_path / name / "a.wav", samples)
    with refused(AudioError, *facts):
        first(path, tmp_path)
    # in training another takes its place, and the report names it
    dataset = TrainSet(config(train_dir=path, train_path=str(tmp_path), minibatch_size=4))
    (mixture, _, _), bad = dataset.batch(1, 0)
    assert mixture.shape == (4, 4000) and list(bad) == ["a"]


def test_another_rate_is_an_error_unless_resampled(tmp_path):
    for path in (generated(tmp_path / "g", rate=16000), metadata(tmp_path / "m")):
        with refused(AudioError, "16000 Hz", "8000 Hz"):
            first(path, path.rsplit("/", 1)[0], resample=False)
    assert len(first(str(tmp_path / "g/list.csv"), tmp_path / "g")[0]) == 3000


def test_channels_are_averaged(tmp_path):
    path = generated(tmp_path)
    for name in ("mix", "s1", "s2"):
        put(tmp_path / name / "a.wav", np.stack((sound(6000, 1), sound(6000, 2)), 1))
    mixture, sources = first(path, tmp_path)
    np.testing.assert_allclose(mixture, (sound(6000, 1) + sound(6000, 2)) / 2, atol=1e-7)
    np.testing.assert_array_equal(mixture, sources[1])


# ---- speakers mixed on the fly

def speakers(folder, count=6, files=3, seconds=1.0, rate=RATE):
    """A list of speakers whose voices are tones: speaker i at 300 + 200 i Hz."""
    lines = []
    for s in range(count):
        for f in range(files):
            put(folder / f"s{s}/{f}.wav", tone(300 + 200 * s, seconds + 0.1 * f, rate), rate)
            lines.append(f"s{s} s{s}/{f}.wav")
    return write(folder / "train.txt", *lines)


@pytest.fixture
def voices(tmp_path):
    """A function that makes a TrainSet of tones."""
    def make(count=6, files=3, seconds=1.0, rate=RATE, **differences):
        path = speakers(tmp_path, count, files, seconds, rate)
        return TrainSet(config(train_dir=path, train_path=str(tmp_path), **differences))
    return make


def pitches(sources):
    """Hz of the loudest frequency of each (T,)."""
    spectrum = np.abs(np.fft.rfft(sources * np.hanning(sources.shape[-1]), axis=-1))
    return spectrum.argmax(-1) * RATE / sources.shape[-1]


def batches(dataset, epoch=1):
    return [dataset.batch(epoch, index)[0] for index in range(dataset.steps)]


def test_mixture_is_the_sum_of_its_sources(voices):
    for mixture, sources, lengths in batches(voices()):
        assert mixture.shape == (3, 4000) and sources.shape == (3, 2, 4000) and (lengths == 4000).all()
        assert (mixture.dtype, sources.dtype, lengths.dtype) == (np.float32, np.float32, np.int32)
        np.testing.assert_array_equal(mixture, sources.sum(1))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_never_two_crops_of_one_speaker(voices, count):
    dataset = voices(C=count, count=5, mixtures_per_epoch=150)
    assert dataset.steps == 50
    heard = np.concatenate([np.round((pitches(sources) - 300) / 200) for _, sources, _ in batches(dataset)])
    assert heard.shape == (150, count) and all(len(set(row)) == count for row in heard.tolist())
    assert set(heard.ravel()) == {0, 1, 2, 3, 4}
    assert len({tuple(sorted(row)) for row in heard.tolist()}) > 4      # and not always the same company


def test_batches_depend_on_seed_epoch_and_position_alone(voices):
    one, two, other = voices(), voices(), voices(seed=2)
    two.batch(7, 3)                                         # what was made before must not matter
    for a, b, c in zip(batches(one), batches(two), batches(other), strict=True):
        np.testing.assert_array_equal(a[1], b[1])
        assert (a[1] != c[1]).any()
    assert (one.batch(1, 0)[0][0] != one.batch(2, 0)[0][0]).any()


@pytest.mark.parametrize("kind", ["segments", "mixed on the fly"])
def test_ranks_and_workers_give_the_same_items(tmp_path, kind):
    path = generated(tmp_path, [f"k{i}" for i in range(12)]) if kind == "segments" else speakers(tmp_path)
    settings = {"train_dir": path, "train_path": str(tmp_path), "mixtures_per_epoch": 12}
    whole = TrainSet(config(minibatch_size=4, **settings))
    ranks = [batches(TrainSet(config(minibatch_size=2, **settings), rank, 2)) for rank in (0, 1)]
    loader = Batches(whole, workers=2)
    try:
        for batch, loaded, left, right in zip(batches(whole), loader.epoch(1), *ranks, strict=True):
            for i in range(3):
                np.testing.assert_array_equal(batch[i], np.concatenate((left[i], right[i])))
                np.testing.assert_array_equal(batch[i], loaded[i])
    finally:
        loader.close()


def level(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def test_levels_spread_over_the_gain_range(voices):
    levels = np.array([[level(s) for s in pair] for _, sources, _ in batches(voices(mixtures_per_epoch=150))
                       for pair in sources])
    assert LEVEL - 5.01 <= levels.min() < LEVEL - 4 and LEVEL + 4 < levels.max() <= LEVEL + 5.01


def test_a_loud_mixture_is_scaled_down_as_one(voices):
    loud = 0
    for mixture, sources, _ in batches(voices(gain_range=40.0, mixtures_per_epoch=60)):
        np.testing.assert_array_equal(mixture, sources.sum(1))
        assert np.abs(mixture).max() <= 1 + 1e-6 and np.abs(sources).max() <= 1 + 1e-6
        loud += (np.abs(mixture).max(axis=1) > 0.99).sum()
    assert loud > 5


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.5])
def test_speed_changes_the_pitch(voices, speed, rate):
    for _, sources, _ in batches(voices(speeds=str(speed), rate=rate, seconds=1.5)):
        numbers = (pitches(sources) / speed - 300) / 200
        np.testing.assert_allclose(numbers, np.round(numbers), atol=0.05)
        assert (sources[..., -20:] != 0).any(axis=-1).all()       # a crop fills the segment


def test_a_short_source_starts_anywhere_and_is_not_repeated(voices):
    starts = []
    for _, sources, lengths in batches(voices(seconds=0.2, files=1, mixtures_per_epoch=60)):
        assert (lengths == 4000).all()
        for source in sources.reshape(-1, 4000):
            heard = np.flatnonzero(source)
            assert heard[-1] - heard[0] < 1600          # 0.2 s
            starts.append(heard[0])
    assert min(starts) < 300 and max(starts) > 2100 and len(set(starts)) > 60


def test_a_silent_place_is_drawn_again_and_a_silent_file_replaced(voices, tmp_path):
    dataset = voices(mixtures_per_epoch=60)
    for f in range(3):
        put(tmp_path / f"s0/{f}.wav", np.pad(tone(300, 0.4), (0, 8000)))        # 0.4 s of 1.4
    put(tmp_path / "s1/0.wav", np.zeros(8000))
    bad = {}
    for index in range(dataset.steps):
        (_, sources, _), found = dataset.batch(1, index)
        assert (np.abs(sources).max(axis=2) > 1e-3).all()
        bad |= found
    assert list(bad) == [f"{tmp_path}/s1/0.wav"] and "silent in 10 places" in bad[f"{tmp_path}/s1/0.wav"]


@pytest.mark.parametrize("count", [2, 5])
def test_a_bad_file_is_replaced_by_none_of_the_other_speakers(voices, tmp_path, count):
    dataset = voices(count=count, mixtures_per_epoch=60)
    (tmp_path / "s1/1.wav").write_bytes(b"no audio")
    bad = {}
    for index in range(dataset.steps):
        (_, sources, _), found = dataset.batch(1, index)
        assert all(len(set(row)) == 2 for row in np.round((pitches(sources) - 300) / 200).tolist())
        bad |= found
    assert list(bad) == [f"{tmp_path}/s1/1.wav"] and "not readable" in bad[f"{tmp_path}/s1/1.wav"]
    with refused(ContentError, "20 files", tmp_path / "nowhere"):
        TrainSet(dataclasses.replace(dataset.config, train_path=str(tmp_path / "nowhere"))).batch(1, 0)


def test_speakers_without_a_good_file_are_replaced_by_different_ones(voices, tmp_path):
    dataset = voices(count=5, files=1, mixtures_per_epoch=60)
    for number in (1, 2):
        (tmp_path / f"s{number}/0.wav").unlink()
    for index in range(dataset.steps):
        heard = np.round((pitches(dataset.batch(1, index)[0][1]) - 300) / 200)
        assert all(len(set(row)) == 2 and set(row) < {0, 3, 4} for row in heard.tolist())


def test_what_cannot_be_mixed_is_refused(voices):
    for settings, kind, facts in (
            ({"C": 7}, MismatchError, ["6 speakers", "C is 7"]),
            ({"speeds": "1.0,fast"}, SettingError, ["speeds", "'1.0,fast'"]),
            ({"speeds": "0"}, SettingError, ["speeds", "'0'", "0.5 to 2"]),
            ({"segment": 0.001}, SettingError, ["segment", "0.001 s"]),
            ({"minibatch_size": 19}, MismatchError, ["minibatch_size: 19", "18 mixtures"])):
        with refused(kind, *facts):
            voices(**settings)


# ---- what is around the speakers: silence, pauses, rooms, noise

ALL_OFF = dict.fromkeys(("one_voice_share", "partial_share", "noise_share", "room_share"), 0.0)


@pytest.fixture
def scenes(tmp_path, voices):
    """A function that makes a TrainSet of tones with two noises and two rooms."""
    put(tmp_path / "noise/a.wav", sound(3000, 1))
    put(tmp_path / "noise/b.wav", np.pad(sound(3000, 2), (5000, 5000)))     # with silence in it
    for path, delays in (("rooms/x_1.wav", (3, 40)), ("rooms/x_2.wav", (9, 90)), ("rooms/y.wav", (0, 400))):
        response = np.zeros(800)
        response[list(delays)] = 1.0, 0.6
        put(tmp_path / path, response)
    lists = {"noise_list": write(tmp_path / "noise.txt", "noise/a.wav", "noise/b.wav"), "scene_path": str(tmp_path),
             "room_list": write(tmp_path / "rooms.txt", "x rooms/x_1.wav", "x rooms/x_2.wav", "y rooms/y.wav")}
    return lambda **differences: voices(**({"mixtures_per_epoch": 60} | ALL_OFF | lists | differences))


def test_what_happens_never_changes_nothing(voices, scenes):
    for plain, off in zip(batches(voices(mixtures_per_epoch=60)), batches(scenes()), strict=True):
        for a, b in zip(plain, off, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_voice_leaves_the_others_silent(scenes):
    dataset = scenes(one_voice_share=0.5, loss="snr")
    counts = [(np.abs(sources).max(axis=2) > 0).sum(1) for _, sources, _ in batches(dataset)]
    assert set(np.concatenate(counts)) == {1, 2} and 20 <= (np.concatenate(counts) == 1).sum() <= 40
    assert "50% with one voice" in dataset.describe()


def test_who_pauses_speaks_between_a_quarter_and_three_quarters_of_the_time(scenes):
    shares, overlaps = [], []
    for mixture, sources, _ in batches(scenes(partial_share=1.0)):
        np.testing.assert_array_equal(mixture, sources.sum(1))
        speaks = np.abs(sources) > 1e-6
        shares.extend(speaks.mean(-1).ravel())
        overlaps.extend(speaks.all(1).mean(-1))
    assert 0.2 < min(shares) < 0.3 and 0.7 < max(shares) <= 0.76
    assert min(overlaps) == 0 and 0.3 < max(overlaps) < 0.75


def test_noise_has_the_ratio_that_was_asked_for_and_is_in_no_source(scenes):
    ratios = []
    for mixture, sources, _ in batches(scenes(noise_share=0.5, snr_min=3.0, snr_max=6.0)):
        for x, s in zip(mixture, sources, strict=True):
            speech = s.sum(0)
            if np.abs(x - speech).max() > 1e-6:
                ratios.append(level(speech) - level(x - speech))
    assert 20 <= len(ratios) <= 40 and 2.99 < min(ratios) < 3.5 and 5.5 < max(ratios) < 6.01


def test_speakers_of_a_mixture_are_in_different_places_of_one_room(scenes, tmp_path):
    """What a room adds to a tone is found again by undoing it: an echo comes so many samples later."""
    dry, wet = batches(scenes(seconds=1.5)), batches(scenes(seconds=1.5, room_share=1.0))
    assert "100% in one of 2 rooms" in scenes(room_share=1.0).describe()
    alone = scenes(room_share=1.0, room_list=write(tmp_path / "one.txt", "y rooms/y.wav"))
    assert "100% in one of 1 rooms" in alone.describe()
    drawn = [scenes(room_share=1.0).items.scenes.draw(8000, np.random.default_rng(i)).responses for i in range(40)]
    names = {tuple(sorted(path.rsplit("/", 1)[1] for path in pair)) for pair in drawn}
    assert names == {("x_1.wav", "x_2.wav"), ("y.wav", "y.wav")}
    changed = [np.abs(a[1] - b[1]).max() > 1e-3 for a, b in zip(dry, wet, strict=True)]
    assert all(changed)
    for mixture, sources, _ in wet:
        np.testing.assert_array_equal(mixture, sources.sum(1))
        assert all(LEVEL - 5.1 < level(s) < LEVEL + 5.1 for pair in sources for s in pair)


def test_noise_and_rooms_that_cannot_be_read_are_named_and_others_drawn(scenes, tmp_path, capsys):
    for name in ("noise/a.wav", "rooms/x_2.wav"):
        os.truncate(tmp_path / name, 400)
    dataset = scenes(room_share=1.0, noise_share=1.0)
    assert [dataset.batch(1, index)[1] for index in range(dataset.steps)] == [{}] * dataset.steps
    named = capsys.readouterr().err
    assert_line(named, tmp_path / "noise/a.wav", "truncated")
    assert_line(named, tmp_path / "rooms/x_2.wav", "truncated")


def test_speakers_of_one_corpus(tmp_path):
    speakers(tmp_path, count=6)
    lines = [f"{'ab'[int(line[1]) % 2]}-{line}" for line in (tmp_path / "train.txt").read_text().splitlines()]
    settings = config(train_dir=write(tmp_path / "two.txt", *lines), train_path=str(tmp_path), mixtures_per_epoch=60)
    parities = {one_corpus: {len(set(row % 2)) for _, sources, _ in batches(TrainSet(
        dataclasses.replace(settings, one_corpus=one_corpus)))
        for row in np.round((pitches(sources) - 300) / 200).astype(int)} for one_corpus in (False, True)}
    assert parities == {False: {1, 2}, True: {1}}
    alone = write(tmp_path / "alone.txt", *lines, "c-1 s0/0.wav")
    with refused(MismatchError, "one_corpus", "1 speaker(s) named c-"):
        TrainSet(dataclasses.replace(settings, train_dir=alone, one_corpus=True))


def test_the_mixtures_of_a_list_get_pauses_noise_and_one_voice(tmp_path, capsys):
    """The files hold what was drawn: sources add up to the mixture but for the noise, which has its ratio."""
    path, noises = generated(tmp_path), write(tmp_path / "noise.txt", put(tmp_path / "hum.wav", sound(9000, 99)))
    drawn = config(eval_dir=path, eval_path=str(tmp_path), gain_range=0.0, partial_share=1.0, noise_list=noises,
                   noise_share=1.0, snr_min=6.0, snr_max=6.0, output_folder=str(tmp_path / "out"), room_share=0.0)
    lists = [remix.main(drawn), remix.main(dataclasses.replace(
        drawn, one_voice_share=1.0, loss="snr", output_folder=str(tmp_path / "one")))]
    assert "4 mixtures" in capsys.readouterr().out
    voices = []
    for name, folder in zip(lists, ("out", "one"), strict=True):
        items = read_mixtures(name, str(tmp_path / folder), drawn)
        assert [item.key for item in items] == ["a", "b", "c", "d"]
        for item, dry in zip(items, read_mixtures(path, str(tmp_path), drawn), strict=True):
            mixture, sources = load_mixture(item, drawn, silent_sources=True)
            assert level(sources.sum(0)) - level(mixture - sources.sum(0)) == pytest.approx(6, abs=0.1)
            kept, whole = np.abs(sources[0]) > 1e-3, load_mixture(dry, drawn)[1][0]
            assert 0.2 < kept.mean() < 0.76 and len(mixture) == len(whole)
            middle = np.flatnonzero(kept)[100:-100]
            ratio = sources[0][middle] / whole[middle]
            assert np.median(ratio) == pytest.approx(ratio[kept[middle]].mean(), rel=0.01)     # one gain, in its place
            voices.append(int((np.abs(sources).max(axis=1) > 0).sum()))
    assert voices == [2] * 4 + [1] * 4
    with refused(AudioError, "silent"):
        load_mixture(items[0], drawn)


def test_mixtures_are_written_over_nothing_that_is_read(tmp_path):
    path, out = generated(tmp_path), tmp_path / "out"
    out.symlink_to(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    moved = write(tmp_path / remix.LIST, *(tmp_path / "list.csv").read_text().splitlines())
    for eval_dir, fact in ((path, "mix/a.wav"), (moved, remix.LIST)):
        with refused(OutputError, out / fact, "input", "--output_folder"):
            remix.main(config(eval_dir=eval_dir, eval_path=str(tmp_path), output_folder=str(out)))
    assert {file: file.read_bytes() for file in before} == before
    (tmp_path / "full").write_text("")
    with refused(OutputError, tmp_path / "full", "--output_folder"):
        remix.main(config(eval_dir="none.csv", output_folder=str(tmp_path / "full")))


def test_a_list_is_never_beside_the_mixtures_of_another_run(tmp_path, monkeypatch):
    drawn = config(eval_dir=generated(tmp_path), eval_path=str(tmp_path), output_folder=str(tmp_path / "out"))
    path = remix.main(drawn)
    write_wav = remix.write_wav
    monkeypatch.setattr(remix, "write_wav", lambda file, *sound: write_wav(file, *sound) if "c.wav" not in file else
                        1 / 0)
    with pytest.raises(ZeroDivisionError):
        remix.main(dataclasses.replace(drawn, seed=2))
    assert not os.path.exists(path) and (tmp_path / "out" / "mix" / "a.wav").exists()
    with locked_folder(tmp_path / "out", "output_folder"), refused(OutputError, tmp_path / "out", "in use"):
        remix.main(drawn)


def test_scenes_that_cannot_be_are_refused(scenes):
    for settings, facts in (({"snr_min": 9.0, "snr_max": 3.0}, ["snr_min", "9.0", "3.0"]),
                            ({"one_voice_share": 0.1}, ["one_voice_share", "0.1", "--loss snr"])):
        with refused(SettingError, *facts):
            scenes(**settings)
    for name, other in (("noise.txt", "room_list"), ("rooms.txt", "noise_list")):
        with refused(NotFoundError, name, "--scene_path"):
            scenes(**{"scene_path": "elsewhere", other: ""})


def test_a_worker_imports_no_mindspore():
    command = "import conv_tasnet.src.dataset, sys; print('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], capture_output=True, text=True).stdout == "False\n"
