"""utils/audio/augment.py: levels, delays, lengths, and that masks stay within their limits."""
import os

import numpy as np
import pytest
from helpers.errors import assert_named, refused

from utils.audio import audio_file, augment
from utils.errors import ContentError

RATE = 16000


def white(length=RATE, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal(length)).astype(np.float32)


def power(samples):
    return np.mean(np.square(samples, dtype=np.float64))


@pytest.mark.parametrize("samples, expected", [(np.ones(10), 0), (np.full(10, 0.1), -20), (np.zeros(10), -120),
                                               (np.sin(2 * np.pi * np.arange(1000) / 10), -3.0103)])
def test_power_in_decibel(samples, expected):
    assert augment.power_db(samples) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("snr", [-10, 0, 5, 20])
@pytest.mark.parametrize("level", [1e-3, 1])
def test_noise_has_the_snr_asked_for(snr, level):
    speech, noise = white(seed=1), white(seed=2, level=level)
    scaled = augment.noise_at_snr(speech, noise, snr)
    assert scaled.dtype == np.float32
    assert 10 * np.log10(power(speech) / power(scaled)) == pytest.approx(snr, abs=1e-3)
    assert np.corrcoef(noise, scaled)[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("speech_level, noise_level", [(0, 0.1), (0.1, 0), (0, 0)])
def test_silence_gives_no_noise_and_no_nan(speech_level, noise_level):
    scaled = augment.noise_at_snr(white(level=speech_level), white(seed=1, level=noise_level), 10)
    assert np.abs(scaled).max() < 1e-5


@pytest.mark.parametrize("delay, gain", [(0, 1), (0, -0.3), (1, 1), (300, 0.01), (3999, 20)])
def test_a_single_reflection_is_the_identity_wherever_it_arrives(delay, gain):
    response = np.zeros(4000, np.float32)
    response[delay] = gain
    wet = augment.reverberate(white(), response)
    assert wet.dtype == np.float32
    np.testing.assert_allclose(wet, np.sign(gain) * white(), atol=1e-6)


def test_an_echo_arrives_when_the_response_says():
    response = np.zeros(500, np.float32)
    response[[100, 400]] = 1, 0.5
    click = np.zeros(1000, np.float32)
    click[10] = 1
    wet = augment.reverberate(click, response)
    assert set(np.flatnonzero(np.abs(wet) > 1e-3)) == {10, 310}
    assert wet[310] / wet[10] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("length", [10, 4000, 40000])
def test_reverberation_keeps_power_and_length(length):
    response = white(length, seed=5) * np.exp(-np.arange(length) / 2000)
    wet = augment.reverberate(white(), response)
    assert wet.shape == (RATE,)
    assert power(wet) == pytest.approx(power(white()), rel=1e-4)


def test_noise_that_cannot_be_read_is_named_once_and_another_is_drawn(tmp_path, capsys):
    whole, cut = str(tmp_path / "whole.wav"), str(tmp_path / "cut.wav")
    for path in (whole, cut):
        audio_file.write_wav(path, white(), RATE)
    os.truncate(cut, 20000)
    kept = audio_file.Recordings(RATE, 1.5)
    for seed in range(20):
        assert power(augment.draw_noise([cut, whole], kept, 400, np.random.default_rng(seed))) > 1e-3
    assert_named(capsys.readouterr().err.strip(), [cut, "truncated", "another"])
    assert kept.kept[whole] is not None     # what cannot be read takes no room
    with refused(ContentError, cut, augment.DRAWS) as record:
        augment.draw_noise([cut], kept, 400, np.random.default_rng(0))
    assert not isinstance(record.value, audio_file.AudioError)      # of which training would blame the speech


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1, 0.5, 2.0])
def test_speed_scales_length_and_frequency(factor):
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    played = augment.change_speed(tone, factor)
    assert abs(len(played) - len(tone) / factor) <= 1
    assert played.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played))))
    assert spectrum.argmax() * RATE / len(played) == pytest.approx(1000 * factor, abs=1)
    assert power(played) == pytest.approx(0.5, rel=0.01)


def test_speed_one_changes_no_sample():
    np.testing.assert_array_equal(augment.change_speed(white(), 1.0), white())


def masked(seed, shape=(50, 40), **limits):
    return augment.mask_features(np.ones(shape, np.float32), np.random.default_rng(seed), **limits) == 0


def stripe(zero, axis):
    """Where whole rows (axis 0) or columns are masked."""
    return np.flatnonzero(zero.all(axis=1 - axis))


def test_masks_are_one_narrow_stripe_an_axis():
    widths = {0: set(), 1: set()}
    for seed in range(300):
        zero = masked(seed, frames=10, bands=8)
        rows, columns = stripe(zero, 0), stripe(zero, 1)
        for axis, where in ((0, rows), (1, columns)):
            assert (np.diff(where) == 1).all()
            widths[axis].add(len(where))
        expected = np.zeros_like(zero)
        expected[rows], expected[:, columns] = True, True
        np.testing.assert_array_equal(zero, expected)
    assert widths == {0: set(range(10)), 1: set(range(8))}


@pytest.mark.parametrize("frames, bands", [(0, 8), (10, 0), (0, 0)])
def test_a_widest_mask_of_nothing_masks_nothing(frames, bands):
    """The other stripe stays what it is where it is drawn first."""
    for seed in range(20):
        zero, both = masked(seed, frames=frames, bands=bands), masked(seed, frames=10, bands=8)
        assert frames or not stripe(zero, 0).size
        assert bands or not stripe(zero, 1).size
        assert not frames or (stripe(zero, 0) == stripe(both, 0)).all()


def test_masks_start_in_the_half_open_range_of_the_paper():
    """Park et al. draw the start from [0, size - width): every frame and band but the last can be masked."""
    for axis in (0, 1):
        reached = np.any([masked(seed).all(axis=1 - axis) for seed in range(2000)], axis=0)
        assert reached[:-1].all() and not reached[-1]


def test_masking_does_not_touch_its_input_nor_anything_outside_the_mask():
    features = white(2000).reshape(50, 40)
    for seed in range(20):
        changed = augment.mask_features(features, np.random.default_rng(seed))
        kept = changed != 0
        np.testing.assert_array_equal(changed[kept], features[kept])
        np.testing.assert_array_equal(~kept, masked(seed))
    np.testing.assert_array_equal(features, white(2000).reshape(50, 40))


@pytest.mark.parametrize("shape", [(1, 80), (5, 80), (50, 3), (9, 7)])
def test_masking_takes_features_smaller_than_the_widest_mask(shape):
    assert all(masked(seed, shape).shape == shape for seed in range(50))


def test_masks_depend_on_the_generator_alone():
    np.testing.assert_array_equal(masked(3), masked(3))
    assert any((masked(3) != masked(seed)).any() for seed in (4, 5))
