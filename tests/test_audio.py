"""utils/audio/audio_file.py: what is read, where a crop lies, how a bad file is refused, no half-written file."""
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.signal
import soundfile
from helpers.errors import refused

from utils.audio import audio_file
from utils.audio.audio_file import AudioError
from utils.audio.recording import inspect

RATE = 16000
LENGTH = 40000


def check(path, rate, seconds=0.0):
    """Samples of a file that is fit for training, as prepare.py reads it."""
    return inspect(path, int(seconds * rate), rate, resample=False).samples


def noise(length=LENGTH, seed=0):
    """Noise below 3 kHz, peak about 0.4."""
    rng = np.random.default_rng(seed)
    low = scipy.signal.butter(8, 3000, fs=RATE, output="sos")
    return (0.2 * scipy.signal.sosfilt(low, rng.standard_normal(length))).astype(np.float32)


def put(path, samples=None, rate=RATE, **options):
    soundfile.write(path, noise() if samples is None else samples, rate, **options)
    return str(path)


def sine(hertz, seconds, rate):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def loudest(samples, rate=RATE):
    """Frequency of the largest bin, Hz."""
    window = np.hanning(len(samples))
    return np.abs(np.fft.rfft(samples * window)).argmax() * rate / len(samples)


@pytest.mark.parametrize("ending, tolerance", [("wav", 0), ("flac", 0), ("mp3", 1e-3)])
@pytest.mark.parametrize("start, length", [(4000, 1000), (9999, 12345), (30001, 2)])
def test_a_crop_by_seeking_is_a_slice_of_the_whole(tmp_path, ending, tolerance, start, length):
    path = put(tmp_path / f"a.{ending}")
    whole = audio_file.read(path, RATE)
    crop = audio_file.read(path, RATE, start, length)
    assert len(whole) == audio_file.duration(path, RATE) == LENGTH
    assert crop.dtype == np.float32 and crop.shape == (length,)
    np.testing.assert_allclose(crop, whole[start:start + length], rtol=0, atol=tolerance)


@pytest.mark.parametrize("start, length", [(0, LENGTH), (LENGTH - 7, 7), (0, 1), (LENGTH - 1, None), (123, None)])
def test_a_crop_reaches_both_ends(tmp_path, start, length):
    path = put(tmp_path / "a.wav")
    expected = audio_file.read(path, RATE)[start:None if length is None else start + length]
    np.testing.assert_array_equal(audio_file.read(path, RATE, start, length), expected)


@pytest.mark.parametrize("start, length", [(0, LENGTH + 1), (LENGTH - 7, 8), (LENGTH, None), (LENGTH + 5, 1)])
def test_more_than_the_file_holds_is_an_error(tmp_path, start, length):
    path = put(tmp_path / "a.wav")
    with refused(AudioError, path, max(0, LENGTH - start), start):
        audio_file.read(path, RATE, start, length)


def test_channels_are_averaged(tmp_path):
    left, right = noise(seed=1), noise(seed=2)
    path = put(tmp_path / "a.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(audio_file.read(path, RATE), (left + right) / 2, atol=1e-7)
    np.testing.assert_allclose(audio_file.read(path, RATE, 100, 50), (left + right)[100:150] / 2, atol=1e-7)


@pytest.mark.parametrize("subtype, step", [("PCM_U8", 2 ** -7), ("PCM_16", 2 ** -15), ("PCM_24", 2 ** -23),
                                           ("PCM_32", 2 ** -23), ("FLOAT", 0), ("DOUBLE", 0)])
def test_every_sample_format_is_scaled_to_one(tmp_path, subtype, step):
    path = put(tmp_path / "a.wav", subtype=subtype)
    np.testing.assert_allclose(audio_file.read(path, RATE), noise(), rtol=0, atol=step)


def test_sixteen_bit_integers_are_divided_by_32768(tmp_path):
    values = np.array([-32768, -1, 0, 1, 16384, 32767], np.int16)
    np.testing.assert_array_equal(audio_file.read(put(tmp_path / "a.wav", values), RATE), values / np.float32(32768))


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_another_rate_is_refused_or_resampled(tmp_path, rate):
    path = put(tmp_path / "a.wav", sine(1000, 2, rate), rate)
    with refused(AudioError, path, f"{rate} Hz", "16000 Hz", "--resample true"):
        audio_file.read(path, RATE)
    samples = audio_file.read(path, RATE, resample=True)
    assert len(samples) == audio_file.duration(path, RATE) == 2 * RATE
    assert samples.dtype == np.float32
    assert abs(loudest(samples) - 1000) < 1
    np.testing.assert_allclose(samples[1000:-1000], sine(1000, 2, RATE)[1000:-1000], atol=5e-3)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("start, length", [(0, 16000), (1, 3217), (5000, 160), (15999, 16001)])
def test_a_resampled_crop_has_the_length_asked_for(tmp_path, rate, start, length):
    path = put(tmp_path / "a.wav", sine(440, 2, rate), rate)
    assert audio_file.read(path, RATE, start, length, resample=True).shape == (length,)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
@pytest.mark.parametrize("length", [3217, 31999, 32000])
def test_a_resampled_random_crop_has_the_length_asked_for(tmp_path, rate, length):
    path = put(tmp_path / "a.wav", sine(440, 2.0001, rate), rate)
    for seed in range(10):
        crop = audio_file.random_crop(path, RATE, length, np.random.default_rng(seed), resample=True)
        assert crop.shape == (length,)


def cut(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[:int(len(data) * keep)])


def missing(path):
    pass


def truncated(path):
    put(path)
    cut(path, 0.6)


def header_only(path):
    put(path, np.zeros(0, np.float32))


def zero_bytes(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("this is not audio\n" * 100)


def not_finite(path, value=np.nan):
    samples = noise()
    samples[LENGTH // 2] = value
    put(path, samples, subtype="FLOAT")


def infinite(path):
    not_finite(path, -np.inf)


def eight_kilohertz(path):
    put(path, rate=8000)


def silent(path):
    put(path, np.zeros(LENGTH, np.float32))


def short(path):
    put(path, noise(4000))


def folder(path):
    path.mkdir()


BAD = [(missing, "a.wav", ["no such"]),
       (truncated, "a.wav", ["truncated"]),
       (truncated, "a.flac", []),       # cut inside of a frame or after one
       (header_only, "a.wav", ["0 samples", "empty"]),
       (zero_bytes, "a.wav", ["not readable"]),
       (zero_bytes, "a.mp3", ["not readable"]),
       (text, "a.flac", ["not readable"]),
       (folder, "a.wav", ["not readable"]),
       (not_finite, "a.wav", ["NaN"]),
       (infinite, "a.wav", ["infinite"]),
       (eight_kilohertz, "a.wav", ["8000 Hz", "16000 Hz"])]


@pytest.mark.parametrize("damage, name, facts", BAD)
@pytest.mark.parametrize("use", [audio_file.read, check])
def test_a_bad_file_is_refused_in_one_line(tmp_path, damage, name, facts, use):
    damage(tmp_path / name)
    with refused(AudioError, tmp_path / name, *facts):
        use(str(tmp_path / name), RATE)


@pytest.mark.parametrize("damage, name", [(damage, name) for damage, name, _ in BAD if damage != truncated])
def test_a_random_crop_refuses_bad_files_too(tmp_path, damage, name):
    damage(tmp_path / name)
    for seed in range(5):
        with refused(AudioError, tmp_path / name):
            audio_file.random_crop(str(tmp_path / name), RATE, LENGTH, np.random.default_rng(seed))


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_random_crop_refuses_a_truncated_file_wherever_its_data_end(tmp_path, ending):
    truncated(tmp_path / f"a.{ending}")
    with refused(AudioError, tmp_path / f"a.{ending}"):
        audio_file.random_crop(str(tmp_path / f"a.{ending}"), RATE, LENGTH, np.random.default_rng(0))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_truncation_anywhere_is_found(tmp_path, ending, keep):
    put(tmp_path / f"a.{ending}")
    cut(tmp_path / f"a.{ending}", keep)
    with refused(AudioError, tmp_path / f"a.{ending}"):
        check(str(tmp_path / f"a.{ending}"), RATE)


@pytest.mark.parametrize("damage, facts", [(silent, ["silent", 1e-05]), (short, ["0.25 s", "1.00 s"])])
def test_check_refuses_what_holds_no_speech(tmp_path, damage, facts):
    damage(tmp_path / "a.wav")
    assert audio_file.read(str(tmp_path / "a.wav"), RATE).ndim == 1
    with refused(AudioError, tmp_path / "a.wav", *facts):
        check(str(tmp_path / "a.wav"), RATE, seconds=1.0)


def test_check_takes_eight_steps_of_16_bit_and_the_exact_minimum(tmp_path):
    values = np.zeros(RATE, np.int16)
    values[5] = 8
    assert check(put(tmp_path / "a.wav", values), RATE, seconds=1.0) == RATE


@pytest.mark.parametrize("length", [4001, 10000, 123456])
def test_a_short_file_is_repeated_from_its_start(tmp_path, length):
    path = put(tmp_path / "a.wav", noise(4000))
    crop = audio_file.random_crop(path, RATE, length, np.random.default_rng(0))
    np.testing.assert_array_equal(crop, np.tile(audio_file.read(path, RATE), 31)[:length])


@pytest.mark.parametrize("file_length, length", [(50, 50), (50, 49), (50, 20), (50, 1)])
def test_random_crops_lie_inside_the_file_and_reach_both_ends(tmp_path, file_length, length):
    path = put(tmp_path / "a.wav", np.arange(1, file_length + 1).astype(np.int16))
    generator = np.random.default_rng(0)
    starts = set()
    for _ in range(600):
        values = audio_file.random_crop(path, RATE, length, generator) * 32768
        starts.add(int(values[0]) - 1)
        np.testing.assert_array_equal(values, np.arange(values[0], values[0] + length))
    assert starts == set(range(file_length - length + 1))


def test_a_random_crop_depends_on_the_generator_alone(tmp_path):
    path = put(tmp_path / "a.wav")
    crops = [audio_file.random_crop(path, RATE, 100, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(crops[0], crops[1])
    assert (crops[0] != crops[2]).any()


def test_write_wav_is_16_bit_readable_by_all_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.wav"
    audio_file.write_wav(str(path), noise(), RATE)
    info = soundfile.info(path)
    assert (info.subtype, info.samplerate, info.frames) == ("PCM_16", RATE, LENGTH)
    assert os.listdir(path.parent) == ["a.wav"]
    assert path.stat().st_mode & 0o777 == 0o644
    np.testing.assert_allclose(audio_file.read(str(path), RATE), noise(), atol=2 ** -15)


def test_write_wav_that_cannot_take_the_samples_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="dtype must be one of"):
        audio_file.write_wav(str(path), np.array(["no", "samples"]), RATE)
    assert os.listdir(tmp_path) == ["a.wav"] and path.read_bytes() == b"old"


FULL_DISK = """
import resource, signal, sys
import numpy as np
from utils.audio import audio_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
audio_file.write_wav(sys.argv[1], np.full(16000, 0.5, np.float32), 16000)
"""


def test_write_wav_on_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    process = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=False)
    assert f"OutputError: {path}: cannot be written (System error); free some space" in process.stderr
    assert os.listdir(tmp_path) == ["a.wav"] and path.read_bytes() == b"old"


@pytest.mark.parametrize("compression", [0, 0.25, 0.5, 0.65, 0.8])
@pytest.mark.parametrize("length", [32000, 32160, 20001])
def test_mp3_keeps_length_and_place(compression, length):
    samples = noise(length)
    decoded = audio_file.mp3_round_trip(samples, RATE, compression)
    assert decoded.shape == (length,) and decoded.dtype == np.float32
    assert scipy.signal.correlate(decoded, samples, "full").argmax() - (length - 1) == 0
    assert 0 < np.mean((decoded - samples) ** 2) < 0.1 * np.mean(samples ** 2)


def test_mp3_compression_loses_more_the_stronger_it_is():
    samples = noise()
    lost = [np.mean((audio_file.mp3_round_trip(samples, RATE, c) - samples) ** 2) for c in (0, 0.5, 0.8)]
    assert lost[0] < lost[1] < lost[2]


def test_find_audio_is_sorted_recursive_and_blind_to_case(tmp_path):
    expected = ["B.ogg", "a.Mp3", "b.opus", "b/a.FLAC", "b/z.wav", "c/d/e/f.WAV", "c/x.sph"]
    for name in expected + ["no.txt", "b/wav", "a.wav.part"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert audio_file.find_audio(tmp_path) == expected
    assert audio_file.find_audio(tmp_path, (".wav",)) == ["b/z.wav", "c/d/e/f.WAV"]
    assert audio_file.find_audio(tmp_path / "missing") == []


def test_find_audio_follows_linked_folders(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.wav").touch()
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "linked").symlink_to(tmp_path / "disk")
    assert audio_file.find_audio(tmp_path / "corpus") == ["linked/a.wav"]


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_recordings_in_memory_give_the_crops_of_the_file(tmp_path, ending):
    paths = [str(tmp_path / f"{i}.{ending}") for i in range(3)]
    noise = np.random.default_rng(0)
    for path, rate, seconds in zip(paths, (RATE, RATE, RATE // 2), (2, 1, 1), strict=True):
        soundfile.write(path, 0.1 * noise.standard_normal(seconds * rate), rate)
    recordings = audio_file.Recordings(RATE, 2.5)        # the second has no room, the third another rate
    for i, length in enumerate((400, 5000, 40000) * 6):
        path = paths[i % 3 if i % 2 else i // 2 % 3]
        expected = audio_file.random_crop(path, RATE, length, np.random.default_rng(i), resample=True)
        np.testing.assert_array_equal(recordings.random_crop(path, length, np.random.default_rng(i)), expected)
    kept = [path for path, samples in recordings.kept.items() if samples is not None]
    assert kept == ([] if ending == "mp3" else paths[:1])


def test_recordings_in_memory_are_not_read_again(tmp_path):
    path = str(tmp_path / "a.wav")
    audio_file.write_wav(path, 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    recordings = audio_file.Recordings(RATE, 10)
    first = recordings.random_crop(path, 100, np.random.default_rng(1))
    os.unlink(path)
    np.testing.assert_array_equal(recordings.random_crop(path, 100, np.random.default_rng(1)), first)
