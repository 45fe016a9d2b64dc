"""The C++ runner's sound, without its runtime: it reads every format and rate as Python does, and writes wavs."""
import io
import json
import struct

import numpy as np
import pytest
import soundfile
from helpers.audio_fuzz import damaged, seeds, write_damaged
from helpers.native import SANITIZE, answers, native_program
from helpers.shared import LIBRARIES, has_header

from utils.audio import audio_file
from utils.audio.recording import inspect
from utils.errors import UserError

RATE = 16000
with_libraries = pytest.mark.skipif(not all(map(has_header, LIBRARIES)),
                                    reason="libsndfile1-dev and libsoxr-dev are not installed")
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
    return native_program("sound_plain", *SANITIZE)


def noise(length=40000, channels=1, peak=0.5, seed=0):
    samples = np.random.default_rng(seed).standard_normal((length, channels)).astype(np.float32)
    return samples * np.float32(peak) / np.abs(samples).max()


def facts(line):
    """(samples, rate, samples read, gain, peak of memory, notes) of an answer."""
    numbers, *notes = line.split("\t")
    return *map(float, numbers.split()), notes


@with_libraries
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


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_of_constant_value_hold_no_sound(sound, tmp_path, channels):
    """Whatever rounding makes of their power."""
    paths = [tmp_path / f"{value}.wav" for value in (0.05, 0.1, 0.4, 0.85, 0.95)]
    for path in paths:
        soundfile.write(path, np.full((4000, channels), float(path.stem)), RATE, "FLOAT")
    for path, line in zip(paths, answers([sound], [("read", path, RATE, "") for path in paths]), strict=True):
        assert line == f"error: {path}: no sound, all samples are about {path.stem}; leave the file out"


def test_the_temporary_file_is_that_of_one_program_alone(plain, tmp_path):
    """In containers all have the same number."""
    noise()[:, 0].tofile(tmp_path / "in.f32")
    start = f'for name in "" -0 -1; do echo theirs > {tmp_path}/.saving-$$$name; done; umask 027; exec {plain}'
    answers(["sh", "-c", start], [("write", tmp_path / f"{name}.wav", RATE, tmp_path / "in.f32", "whole")
                                  for name in "ab"])
    assert [path.read_text() for path in tmp_path.glob(".saving-*")] == ["theirs\n"] * 3
    assert [(tmp_path / f"{name}.wav").stat().st_mode & 0o777 for name in "ab"] == [0o640] * 2


def test_a_wav_that_grows_is_a_new_file_with_samples(plain, tmp_path):
    (tmp_path / "in.f32").touch()
    (tmp_path / "theirs.wav").write_text("theirs")
    lines = answers([plain], [("write", tmp_path / f"{name}.wav", RATE, tmp_path / "in.f32", "growing")
                              for name in ("theirs", "empty")])
    assert lines[0].startswith(f"error: {tmp_path}/theirs.wav: ") and lines[1] == "written"
    assert {path.name for path in tmp_path.iterdir()} == {"in.f32", "theirs.wav"}
    assert (tmp_path / "theirs.wav").read_text() == "theirs"


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


@with_libraries
def test_what_libsndfile_would_cut_in_silence_is_refused(sound, tmp_path):
    """A file without its end, and two joined with cat, of every container; an MP3 without a count is read whole."""
    whole = {name: content for name, content in seeds(tmp_path).items()
             if name.endswith(("1.wav", "1.w64", "1.flac", "1.ogg", "1.opus", "1.mp3", "1.aiff", "1.au", "1.sph"))}
    for name, content in whole.items():
        (tmp_path / f"cut-{name}").write_bytes(content[:2 * len(content) // 3])
        (tmp_path / f"joined-{name}").write_bytes(content + content)
    paths = sorted(path for path in tmp_path.iterdir() if path.name.startswith(("cut", "joined")))
    assert len(paths) > 40
    for path, line in zip(paths, answers([sound], [("read", path, 0, "") for path in paths]), strict=True):
        assert line.startswith(f"error: {path}: "), line
        assert ("truncated" if path.name.startswith("cut") else "second recording") in line, line
    [line] = answers([sound], [("read", tmp_path / "untold.mp3", 0, "")])
    assert facts(line)[0] == inspect(tmp_path / "untold.mp3", 1, RATE).samples


@with_libraries
def test_lengths_and_chunks_of_au_and_aiff_are_taken_as_in_python(sound, tmp_path):
    """Lengths that say "to the end", and what stands before and behind the samples."""
    found = seeds(tmp_path)
    au, aiff = found["AU-ULAW-1.au"], found["AIFF-PCM_16-1.aiff"]
    files = {f"{length:x}.au": au[:8] + struct.pack(">I", length) + au[12:]
             for length in (0, len(au) - 24, len(au) - 23, 0x7FFFEFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000,
                            0x80000001, 0xFFFFEFFF, 0xFFFFF000, 0xFFFFFFFF)}
    files |= {"zeros.aiff": aiff + bytes(64) + b"FORM" + bytes(60), "second.aiff": aiff + aiff,
              "name.aiff": aiff + b"\xff\xff\xff\xff" + struct.pack(">I", 8) + bytes(8) + b"FORM" + bytes(60)}
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(8001), RATE, "PCM_16", format="SVX")
    files |= {"whole.svx": buffer.getvalue(), "cut.svx": buffer.getvalue()[:-4000]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    read = set()
    for name, line in zip(files, answers([sound], [("read", tmp_path / name, 0, "") for name in files]), strict=True):
        is_read = not line.startswith("error: ")
        try:
            recording = inspect(tmp_path / name, 1, RATE)
        except UserError as error:
            assert not is_read and ("truncated" in line) == ("truncated" in str(error)), (line, error)
        else:   # what is joined Python reads with FFmpeg
            assert is_read and facts(line)[0] == recording.samples or "second recording" in line, (name, line)
        read |= {name} if is_read else set()
    assert read == {"1f40.au", "7ffff000.au", "ffffffff.au",    # others hold no samples for libsndfile
                    "zeros.aiff", "name.aiff", "whole.svx"}


def test_of_what_a_network_computes_only_log_probabilities_may_be_infinite(plain, tmp_path):
    commands = [("numbers", tmp_path / f"{value}.f32", kind) for value in (1.5, -np.inf, np.inf, np.nan)
                for kind in ("text", "voices")]
    for _, path, _ in commands:
        np.array([0, float(path.stem), 1], np.float32).tofile(path)
    lines = answers([plain], commands)
    assert [line == "fine" for line in lines] == [True, True, True, False, False, False, False, False]
    assert all(line.startswith("error: ") and "not numbers" in line and "; " in line for line in lines[3:])


@with_libraries
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(sound, tmp_path, count):
    """Of all formats; the sanitizers find nothing, and what both read of wav is what Python reads."""
    files = write_damaged(tmp_path, count, seed=count + 2)
    lines = answers([sound], [("read", path, 0, f"{path}.f32") for path in files])
    refused = compared = 0
    for path, line in zip(files, lines, strict=True):
        if line.startswith("error: "):
            assert line.startswith(f"error: {path}: ") and "; " in line, line
            refused += 1
        elif path.read_bytes()[8:12] == b"WAVE":
            try:
                expected = inspect(path, 1, 1000).whole(int(facts(line)[1]))
            except UserError:
                continue
            if len(expected) == facts(line)[0]:     # a header that contradicts itself is believed otherwise
                np.testing.assert_allclose(np.fromfile(f"{path}.f32", np.float32), expected, atol=1e-4, rtol=1e-5)
                compared += 1
    assert count / 10 < refused < 9 * count / 10 and compared > count / 20, (refused, compared)


GRAPH = {"format": 1, "file": "net.mindir", "runtime": "lite2.0-cpu", "sample_rate": 16000, "step_seconds": 1 / 16000,
         "shortest": 400, "wav_multiple": 1, "raise_quiet": True, "branches": 3, "config": "net.ini",
         "custom_operators": ["TemporalBlock"],
         "gears": [16000, 32000], "length_input": "length",
         "inputs": [{"name": "waveform", "dtype": "float32", "shape": [1, None]},
                    {"name": "length", "dtype": "int32", "shape": [1]}]}
ANSWERS = [({"kind": "voices", "window": 64000, "overlap": 16000}, [1, 2, None]),
           ({"kind": "embedding", "window": 48000, "threshold": 0.3}, [1, 4]),
           ({"kind": "text", "window": 320000, "overlap": 32000, "labels": "_'a\u4f60 ", "blank": 0,
             "spaced": True, "frame_samples": 320, "pause": 8000, "segment": 160000, "longest": 480000}, [None, 1, 5])]
GRAPHS = [GRAPH | {"answer": answer, "outputs": [{"name": "y", "dtype": "float32", "shape": shape, "length": [0, 1],
                                                  "scales": True}]} for answer, shape in ANSWERS]
VOICES = {"format": 1, "voices": {"ann": [[0.6, 0.8, 0, 0], [0, 0, 1, 0]], "bob \u4f60": [[0.5, 0.5, 0.5, -0.5]]}}
VALUES = [None, True, -1, 0, 1, 2 ** 31, 2 ** 63, 1e308, -0.5, "", "x" * 999, "..", "\udcff", [], [[]], {}, [None] * 99]


def changed(value, generator):
    """A JSON value of which one place, at any depth, is another value or gone."""
    if not isinstance(value, dict | list) or not value or generator.random() < 0.1:
        return VALUES[generator.integers(len(VALUES))]
    copy = value.copy()
    keys = list(copy) if isinstance(copy, dict) else range(len(copy))
    key = keys[generator.integers(len(keys))]
    if generator.random() < 0.1:
        del copy[key]
    else:
        copy[key] = changed(copy[key], generator)
    return copy


def mutants(wholes, count):
    """`count` JSON texts: the wholes with other values, and with other bytes."""
    generator = np.random.default_rng(count)
    texts = [json.dumps(whole).encode() for whole in wholes]
    for number in range(count):
        whole = number // 2 % len(wholes)
        yield (json.dumps(changed(wholes[whole], generator)).encode() if number % 2
               else damaged(texts[whole], texts, generator))


def assert_read_or_refused(paths, lines, what):
    refused = [(path, line) for path, line in zip(paths, lines, strict=True) if not line.endswith(what)]
    assert len(paths) / 10 < len(refused) < len(paths), len(refused)
    for path, line in refused:
        assert line.startswith(f"error: {path}: ") and "; " in line, line


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_descriptions_of_graphs_are_read_or_refused(sound, tmp_path, count):
    """inputs.json of every kind of answer: a line names it, and the sanitizers find nothing."""
    paths = [tmp_path / str(number) / "inputs.json" for number in range(count)]
    for path, content in zip(paths, mutants(GRAPHS, count), strict=True):
        path.parent.mkdir()
        path.write_bytes(content)
        path.with_name("net.mindir").touch()
    assert_read_or_refused(paths, answers([sound], [("graph", path.with_name("net.mindir")) for path in paths]),
                           " inputs")


@pytest.mark.parametrize("count", [600, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files_of_voices_are_read_or_refused(sound, tmp_path, count):
    """Those that --enrol writes."""
    paths = [tmp_path / f"{number}.json" for number in range(count)]
    for path, content in zip(paths, mutants([VOICES], count), strict=True):
        path.write_bytes(content)
    assert_read_or_refused(paths, answers([sound], [("voices", path, 4) for path in paths]), " voices")


@with_libraries
@pytest.mark.parametrize("seconds", [30, pytest.param(3600, marks=pytest.mark.slow)])
def test_a_long_recording_needs_no_more_memory_than_a_short_one(sound, tmp_path, seconds):
    """Both of two channels at 44.1 kHz, resampled, of wav and flac."""
    second = noise(44100, 2)
    peaks = {}
    for length in (1, seconds):
        for form in ("wav", "flac"):
            path = tmp_path / f"{length}.{form}"
            with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
                for _ in range(length):
                    file.write(second)
            [line] = answers([sound], [("read", path, RATE, "")], ASAN_OPTIONS="quarantine_size_mb=1")
            assert facts(line)[:3] == (44100 * length, 44100, RATE * length)
            peaks[form, length] = facts(line)[4]
    for form in ("wav", "flac"):
        growth = peaks[form, seconds] - peaks[form, 1]
        assert growth < 4 * 2 ** 20, f"{growth / 2 ** 20:.1f} MiB for {seconds} s of {form}"
