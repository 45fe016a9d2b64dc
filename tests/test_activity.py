"""When somebody speaks: known places, noise, and what is left without pauses."""
import numpy as np
import pytest
from helpers.sounds import RATE, speech

from utils.audio import activity


def test_speech_is_where_it_was_put_however_much_silence_surrounds_it():
    rng = np.random.default_rng(1)
    parts = [np.zeros(RATE, np.float32), speech(3, rng), np.zeros(RATE, np.float32), speech(2, rng)]
    samples = np.concatenate([*parts, np.zeros(RATE, np.float32)])
    active = activity.find_speech(activity.frame_powers([samples]))
    assert activity.runs(active) == pytest.approx(np.array([[100, 400], [500, 700]]), abs=15)
    padded = np.concatenate((np.zeros(30 * RATE, np.float32), samples, np.zeros(50 * RATE, np.float32)))
    moved = activity.find_speech(activity.frame_powers([padded]))[3000:3000 + len(active)]
    np.testing.assert_array_equal(moved, active)


def test_the_ends_are_those_of_the_first_and_the_last_speech():
    rng = np.random.default_rng(1)
    parts = [np.zeros(RATE, np.float32), speech(3, rng), np.zeros(RATE, np.float32), speech(2, rng)]
    samples = np.concatenate([*parts, np.zeros(RATE, np.float32)])
    assert activity.ends(samples) == pytest.approx((RATE, 7 * RATE), abs=0.15 * RATE)
    assert activity.ends(samples[RATE:-RATE - 7]) == (0, 6 * RATE - 7)
    assert activity.ends(np.zeros(100, np.float32)) == (0, 100)


def test_speech_is_found_in_noise():
    rng = np.random.default_rng(2)
    samples = 0.02 * rng.normal(size=20 * RATE).astype(np.float32)
    samples[5 * RATE:9 * RATE] += speech(4, rng)
    samples[12 * RATE:15 * RATE] += speech(3, rng)
    assert activity.runs(activity.find_speech(activity.frame_powers([samples]))) == pytest.approx(
        np.array([[500, 900], [1200, 1500]]), abs=20)


def test_levels_do_not_depend_on_the_blocks():
    samples = np.random.default_rng(3).normal(size=RATE + 77).astype(np.float32)
    np.testing.assert_array_equal(activity.frame_powers([samples]), activity.frame_powers(np.array_split(samples, 13)))


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 6, 20, 21, 22])
def test_there_is_an_answer_for_each_frame_of_a_short_recording(frames):
    active = activity.find_speech(np.ones(frames, np.float32))
    assert active.shape == (frames,) and active.dtype == bool


def test_only_long_pauses_are_left_out():
    rng = np.random.default_rng(4)
    parts = [np.zeros(RATE // 2), speech(3, rng), np.zeros(RATE // 2), speech(2, rng), np.zeros(RATE // 2)]
    samples = np.concatenate(parts).astype(np.float32)
    np.testing.assert_array_equal(activity.without_pauses(samples), samples)
    parts[0], parts[2], parts[4] = np.zeros(20 * RATE), np.zeros(3 * RATE), np.zeros(60 * RATE)
    left = activity.without_pauses(np.concatenate(parts).astype(np.float32))
    assert len(left) / RATE == pytest.approx(5.3, abs=0.3)
    talk = np.concatenate((parts[1], parts[3]))
    assert np.square(left).sum() == pytest.approx(np.square(talk).sum(), rel=0.01)
    np.testing.assert_array_equal(activity.without_pauses(samples[:100]), samples[:100])
