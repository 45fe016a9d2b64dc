"""utils/audio/fitness.py and what reads recordings by it: which are refused, which channels and what level are used."""
import io

import numpy as np
import pytest
import soundfile
from helpers.errors import assert_line, refused
from mindspore import Tensor

from utils.audio import audio_file
from utils.audio.recording import arriving, inspect, listed, open_recording
from utils.audio.stream import AudioError
from utils.corpora.corpus import Job, verify
from utils.corpora.settings import CorpusSettings
from utils.errors import SettingError

RATE = 8000


def noise(peak=0.5, seed=0, length=2 * RATE):
    """White noise with that peak."""
    samples = np.random.default_rng(seed).standard_normal(length).astype(np.float32)
    return samples * np.float32(peak) / np.abs(samples).max()


def recordings(tmp_path, samples, rate=RATE):
    """The same sound from a file and from an array."""
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    return [inspect(tmp_path / "a.wav", 80, RATE), open_recording(samples, RATE, 80, RATE)]


UNFIT = {"digital silence": (np.zeros(RATE), ["silent", 1e-05]),
         "one step of 16 bits": (noise(2 ** -15), ["silent", 0.0001]),
         "a constant": (np.full(RATE, 0.25), [0.25]),
         "a constant with noise below what is heard": (0.25 + noise(2 ** -16), [0.25]),
         "not a number": (np.where(np.arange(RATE) == RATE - 1, np.nan, 0.1), ["NaN"]),
         "not a number in one channel": (np.stack([noise(), np.full(2 * RATE, np.nan)], 1), ["NaN"]),
         "infinite": (np.where(np.arange(RATE) == 5, -np.inf, 0.1), ["infinite"]),
         "infinite in both ways, which the mean hides": (np.full((RATE, 2), [np.inf, -np.inf]), ["infinite"]),
         "16-bit numbers as floats": (noise(20000), [20000, 32768]),
         "such in one channel": (np.stack([noise(), noise(20000)], 1), [20000]),
         "shorter than the network takes": (noise(length=79), ["79 samples", "0.0099 s", "80 at 8000 Hz", "0.0100 s"])}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_is_of_no_use_is_refused_as_a_file_and_as_an_array(tmp_path, kind):
    samples, facts = UNFIT[kind]
    samples = samples.astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with refused(AudioError, tmp_path / "a.wav", *facts):
        inspect(tmp_path / "a.wav", 80, RATE)
    with refused(AudioError, "recording", *facts):
        open_recording(samples, RATE, 80, RATE)


def test_other_numbers_and_shapes_are_no_recordings():
    for samples in (np.ones(RATE, np.int32), np.ones(RATE, bool), np.zeros((RATE, 2, 2)), np.array("a.wav")):
        with refused(AudioError, samples.dtype, samples.shape):
            open_recording(samples, RATE, 80, RATE)
    for samples in (np.zeros(0), np.zeros((0, 2)), np.ones((2, RATE))):
        with refused(AudioError, samples.shape):
            open_recording(samples, RATE, 80, RATE)


def test_16_bit_samples_and_tensors_are_what_their_file_is(tmp_path):
    numbers = np.round(noise() * 2 ** 15).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", np.stack([numbers, numbers], 1), RATE)
    expected = inspect(tmp_path / "a.wav", 80, RATE)
    for samples in (numbers, np.stack([numbers, numbers], 1), Tensor(numbers / np.float32(2 ** 15))):
        found = open_recording(samples, RATE, 80, RATE)
        np.testing.assert_array_equal(found.whole(RATE), expected.whole(RATE))
    np.testing.assert_array_equal(np.concatenate(list(arriving([numbers[:99], numbers[99:]], RATE, RATE))),
                                  expected.whole(RATE))


class OnADevice:
    """As a tensor of PyTorch there."""

    def __array__(self, dtype=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize("source", [None, 5, 0.1, b"RIFF", io.BytesIO(b"RIFF"), OnADevice()], ids=type)
def test_what_is_no_recording_is_named_with_its_type(source):
    assert listed(source) is None
    with refused(AudioError, type(source).__name__, "NumPy"):
        open_recording(source, RATE, 80, RATE)
    with refused(AudioError, type(source).__name__, "NumPy"):
        list(arriving([source], RATE, RATE))


@pytest.mark.parametrize("rate", [0, -1, None, "16000", 16000.5, float("nan"), 2 ** 40])
def test_a_rate_that_is_none_is_named(rate):
    with refused(SettingError, "rate", repr(rate)):
        open_recording(noise(), rate, 80, RATE)
    with refused(SettingError, "rate", repr(rate)):
        list(arriving([noise()], rate, RATE))


def test_a_rate_may_be_any_kind_of_whole_number():
    for rate in (float(RATE), np.int64(RATE)):
        assert type(open_recording(noise(), rate, 80, RATE).rate) is int


def test_a_recording_in_the_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    assert open_recording("~/a.wav", RATE, 80, RATE).samples == len(noise())


@pytest.mark.parametrize("peak", [0.031, 1.0, 1.5, 7.9])
def test_sound_at_the_usual_levels_is_taken_as_it_is(tmp_path, peak):
    for recording in recordings(tmp_path, noise(peak)):
        np.testing.assert_array_equal(recording.whole(RATE), noise(peak))
        assert not recording.notes


@pytest.mark.parametrize("offset", [0, 0.2])
@pytest.mark.parametrize("second", [-1.0, -0.9, -1.1])
def test_of_channels_that_cancel_the_loudest_is_used(tmp_path, second, offset):
    x = noise(0.3)
    samples = np.stack([x, np.float32(second) * x + np.float32(offset)], 1)
    used = int(second == -1.1)
    for recording in recordings(tmp_path, samples):
        np.testing.assert_array_equal(recording.whole(RATE), samples[:, used])
        assert [f"channel {used + 1}" in note for note in recording.notes] == [True]
    np.testing.assert_array_equal(audio_file.read(tmp_path / "a.wav", RATE, 500, 1000), samples[500:1500, used])


def test_which_channel_is_used_does_not_change_within_a_recording():
    """The first second has another loudest channel than the whole."""
    x = np.concatenate((noise(0.1, length=RATE), noise(0.5, length=RATE)))
    second = -x * np.where(np.arange(2 * RATE) < RATE, np.float32(1.05), np.float32(0.95))
    recording = open_recording(np.stack([x, second], 1), RATE, 80, RATE)
    np.testing.assert_array_equal(recording.whole(RATE), x)


CHANNELS = {"unrelated": (noise(0.3), noise(0.3, 1)), "the same": (noise(0.3), noise(0.3)),
            "one silent": (noise(0.3), 0 * noise()), "seven silent": (noise(0.8), *[0 * noise()] * 7),
            "two people in turn": (np.repeat([1, 0], RATE) * noise(0.3), np.repeat([0, 1], RATE) * noise(0.3)),
            "half of it inverted": (noise(0.3), -0.5 * noise(0.3))}


@pytest.mark.parametrize("kind", CHANNELS)
def test_of_other_channels_the_mean_is_used_and_that_is_said(tmp_path, kind):
    samples = np.stack(CHANNELS[kind], 1).astype(np.float32)
    for recording in recordings(tmp_path, samples):
        np.testing.assert_array_equal(recording.whole(RATE), samples.mean(axis=1))
        assert [f"{samples.shape[1]} channels" in note for note in recording.notes] == [True]


@pytest.mark.parametrize("decibel", [-31, -56, -79])
def test_a_quiet_recording_is_raised_but_in_evaluation(tmp_path, decibel):
    quiet = noise(10 ** (decibel / 20))
    for recording in recordings(tmp_path, quiet):
        np.testing.assert_allclose(recording.whole(RATE), noise(0.3), rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(recording.as_it_is().whole(RATE), quiet)
        assert [f"{decibel:.1f} dB" in note for note in recording.notes] == [True]


def test_silence_between_channels_that_cancel_is_silence(tmp_path):
    x = noise(2 ** -15)
    with refused(AudioError, "recording", "silent"):
        open_recording(np.stack([x, -x], 1), RATE, 80, RATE)


def test_prepare_counts_the_files_of_several_channels(tmp_path, capsys):
    for name, samples in (("a", noise(0.3)), ("b", np.stack([noise(0.3), noise(0.3, 1)], 1))):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    jobs = [Job(f"{name}.wav", str(tmp_path / f"{name}.wav"), str(tmp_path / f"{name}.wav"), RATE, 0) for name in "ab"]
    config = CorpusSettings(output_folder=str(tmp_path), workers=1)
    assert len(verify(jobs, config, str(tmp_path))[0]) == 2
    assert_line(capsys.readouterr().out, "1 of 2 files", tmp_path / "b.wav")
