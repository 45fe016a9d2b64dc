"""The C++ runner's sound, without its runtime: it reads every format and rate as Python does, and writes wavs."""
import numpy as np
import pytest
import soundfile
from helpers.native import HEADERS, SANITIZE, WITHOUT_LIBRARIES, answers, has, native_program

from utils.audio import audio_file
from utils.audio.recording import inspect

RATE = 16000
LIBRARIES = pytest.mark.skipif(not all(map(has, HEADERS)), reason="libsndfile1-dev and libsoxr-dev are not installed")
# (name, format, encoding, rate, channels)
FORMATS = [("a.wav", "WAV", "PCM_16", 16000, 1), ("b.wav", "RF64", "PCM_24", 44100, 2),
           ("c.flac", "FLAC", "PCM_24", 48000, 3), ("d.aiff", "AIFF", "PCM_16", 11025, 1),
           ("e.sph", "NIST", "PCM_16", 8000, 1), ("f.w64", "W64", "FLOAT", 16000, 1),
           ("g.wav", "WAV", "GSM610", 8000, 1), ("h.ogg", "OGG", "VORBIS", 32000, 2),
           ("i.mp3", "MP3", "MPEG_LAYER_III", 44100, 1), ("j.opus", "OGG", "OPUS", 48000, 1)]


@pytest.fixture(scope="module")
def sound():
    """The program, which the sanitizers watch."""
    return native_program("sound", *SANITIZE)


@pytest.fixture(scope="module")
def plain():
    """The program as it is built where the libraries are not installed."""
    return native_program("sound", *WITHOUT_LIBRARIES)


def noise(length=40000, channels=1, peak=0.5, seed=0):
    samples = np.random.default_rng(seed).standard_normal((length, channels)).astype(np.float32)
    return samples * np.float32(peak) / np.abs(samples).max()


def facts(line):
    """(samples, rate, samples read, gain, peak of memory, notes) of an answer."""
    numbers, *notes = line.split("\t")
    return *map(float, numbers.split()), notes


@LIBRARIES
def test_recordings_are_what_python_reads(sound, tmp_path):
    """Of every format, at the graph's rate: the same samples, gain and notes."""
    for name, form, encoding, rate, channels in FORMATS:
        soundfile.write(tmp_path / name, noise(channels=channels, peak=0.02 if channels == 3 else 0.5), rate, encoding,
                        format=form)
    lines = answers([sound], [("read", tmp_path / name, RATE, tmp_path / f"{name}.f32") for name, *_ in FORMATS])
    for (name, *_), line in zip(FORMATS, lines, strict=True):
        recording = inspect(tmp_path / name, 1, RATE)
        samples, rate, count, gain, _, notes = facts(line)
        assert (samples, rate, notes) == (recording.samples, recording.rate, [*recording.notes]), (name, line)
        assert gain == pytest.approx(recording.gain, rel=1e-5)
        found = np.fromfile(tmp_path / f"{name}.f32", np.float32)
        assert len(found) == count
        np.testing.assert_allclose(found, recording.whole(RATE), atol=1e-4, err_msg=name)


def test_without_libraries_wav_is_read_and_the_line_says_what_would_help(plain, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    soundfile.write(tmp_path / "b.flac", noise(), RATE)
    read, rate, flac = answers([plain], [("read", tmp_path / "a.wav", RATE, tmp_path / "a.f32"),
                                         ("read", tmp_path / "a.wav", 8000, ""),
                                         ("read", tmp_path / "b.flac", RATE, "")])
    assert facts(read)[:3] == (40000, RATE, 40000)
    np.testing.assert_allclose(np.fromfile(tmp_path / "a.f32", np.float32), noise()[:, 0], atol=2 ** -15)
    assert rate.startswith(f"error: {tmp_path}/a.wav: 16000 Hz") and "8000 Hz" in rate and "libsoxr-dev" in rate
    assert flac.startswith(f"error: {tmp_path}/b.flac: is FLAC") and "libsndfile1-dev" in flac and "ffmpeg -i" in flac


def test_wavs_are_written_as_python_writes_them(plain, tmp_path):
    """Whole or not at all; one that grows is a wav at any time."""
    sound = np.concatenate((noise(3500, peak=1.2)[:, 0], [1, -1, np.nextafter(1, 0), 2 ** -15, -2 ** -15, 3, -3]))
    sound.astype(np.float32).tofile(tmp_path / "in.f32")
    audio_file.write_wav(tmp_path / "python.wav", sound, RATE)
    answers([plain], [("write", tmp_path / f"{mode}.wav", RATE, tmp_path / "in.f32", mode)
                      for mode in ("whole", "growing", "cut")])
    for mode in ("whole", "growing"):
        found, rate = soundfile.read(tmp_path / f"{mode}.wav", dtype="int16")
        assert rate == RATE
        np.testing.assert_array_equal(found, soundfile.read(tmp_path / "python.wav", dtype="int16")[0])
    assert {path.name for path in tmp_path.iterdir()} == {"in.f32", "python.wav", "whole.wav", "growing.wav"}
    [line] = answers([plain], [("write", tmp_path / "nowhere" / "a.wav", RATE, tmp_path / "in.f32", "whole")])
    assert line.startswith(f"error: {tmp_path}/nowhere/a.wav: cannot be written")


def test_a_wav_of_more_than_4_gb_is_an_rf64(plain, tmp_path):
    path, frames = tmp_path / "long.wav", 2 ** 31 + 5
    answers([plain], [("header", path, 48000, frames)])
    with open(path, "r+b") as file:
        file.truncate(len(path.read_bytes()) + 2 * frames)      # of holes
    info = soundfile.info(path)
    assert (info.format, info.frames, info.samplerate) == ("RF64", frames, 48000)
