"""ecapatdnn/src/features.py against the definitions of the three toolkits, written out in float64.

The references follow torchaudio.transforms.MelSpectrogram, speechbrain.lobes.features.Fbank and
torchaudio.compliance.kaldi.fbank, with the Fourier sum as a matrix. T frames, K bins, F bands.
"""
import librosa
import numpy as np
import pytest
from helpers.errors import refused

from ecapatdnn.src import features
from ecapatdnn.src.features import filter_bank, frame_count, mel_filters, sample_count
from utils.errors import SettingError

RATE = 16000
NAMES = ["taoruijie", "speechbrain", "kaldi", "3dspeaker"]


def signal(length=RATE, seed=0):
    """Three gliding tones and noise, with a loud and a quiet half."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / RATE
    tones = sum(a * np.sin(2 * np.pi * f * time * (1 + 0.1 * time)) for a, f in ((0.3, 130), (0.1, 1234), (0.05, 5000)))
    samples = (tones + 0.01 * rng.standard_normal(length)) * np.where(time < time[-1] / 2, 1, 0.1)
    return samples.astype(np.float32)


def dft_power(frames, n_fft):
    """|sum_n x[n] exp(-2 pi i k n / n_fft)|^2: (T, width) -> (T, K)."""
    angle = 2 * np.pi * np.outer(np.arange(frames.shape[1]), np.arange(n_fft // 2 + 1)) / n_fft
    return (frames @ np.cos(angle)) ** 2 + (frames @ np.sin(angle)) ** 2


def hamming(width, divisor):
    return 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(width) / divisor)


def cut(x, width):
    """Frames of `width` samples every 160: (T, width)."""
    return np.stack([x[start:start + width] for start in range(0, len(x) - width + 1, 160)])


def torchaudio_mel(samples, bands):
    x = samples.astype(np.float64)
    x = np.array([x[t] - 0.97 * (x[t - 1] if t else x[1]) for t in range(len(x))])
    x = np.concatenate((x[256:0:-1], x, x[-2:-258:-1]))
    window = np.concatenate((np.zeros(56), hamming(400, 400), np.zeros(56)))
    mel = dft_power(cut(x, 512) * window, 512) @ librosa.filters.mel(
        sr=RATE, n_fft=512, n_mels=bands, fmin=20, fmax=7600, htk=True, norm=None, dtype=np.float64).T
    return np.log(mel + 1e-6)


def speechbrain_filters(bands, bins=201):
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), bands + 2)
    hz = 700 * (10 ** (mel / 2595) - 1)
    slope = (np.linspace(0, 8000, bins)[:, None] - hz[1:-1]) / np.diff(hz)[:-1]
    return np.maximum(0, np.minimum(slope + 1, -slope + 1))


def speechbrain_fbank(samples, bands):
    x = np.concatenate((np.zeros(200), samples.astype(np.float64), np.zeros(200)))
    mel = dft_power(cut(x, 400) * hamming(400, 400), 400) @ speechbrain_filters(bands)
    decibel = 10 * np.log10(np.clip(mel, 1e-10, None))
    return np.clip(decibel, decibel.max() - 80, None)


def kaldi_filters(bands):
    def to_mel(hz):
        return 1127 * np.log(1 + hz / 700)
    low, step = to_mel(20), (to_mel(8000) - to_mel(20)) / (bands + 1)
    filters = np.zeros((257, bands))
    for band in range(bands):
        left, centre, right = (low + (band + i) * step for i in range(3))
        for k in range(256):
            mel = to_mel(k * RATE / 512)
            if left < mel < right:
                filters[k, band] = (mel - left) / (centre - left) if mel <= centre else (right - mel) / (right - centre)
    return filters


def kaldi_fbank(samples, bands, scale=32768, window=None):
    window = hamming(400, 399) if window is None else window
    frames = cut(samples.astype(np.float64) * scale, 400)
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames.copy()
    emphasised[:, 1:] -= 0.97 * frames[:, :-1]
    emphasised[:, 0] -= 0.97 * frames[:, 0]
    mel = dft_power(emphasised * window, 512) @ kaldi_filters(bands)
    return np.log(np.maximum(mel, 1.1920928955078125e-07))


def povey_fbank(samples, bands):
    return kaldi_fbank(samples, bands, 1, (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85)


REFERENCES = {"taoruijie": torchaudio_mel, "speechbrain": speechbrain_fbank, "kaldi": kaldi_fbank,
              "3dspeaker": povey_fbank}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length, bands", [(RATE, 80), (8123, 80), (4001, 40)])
def test_front_end_equals_its_definition(name, length, bands):
    reference = REFERENCES[name](signal(length), bands)
    reference -= reference.mean(axis=0)
    found = filter_bank(signal(length), name, bands)
    assert found.shape == reference.shape and found.dtype == np.float32
    assert np.abs(reference).max() > 1
    assert np.abs(found - reference).max() < 1e-3


def test_the_decibel_floor_is_80_below_the_loudest():
    samples = signal() * np.where(np.arange(RATE) < 8000, 1, 1e-6).astype(np.float32)
    reference = speechbrain_fbank(samples, 80)
    assert (reference == reference.max() - 80).sum() > 1000
    np.testing.assert_allclose(filter_bank(samples, "speechbrain"), reference - reference.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize("bands", [40, 64, 80])
def test_torchaudio_filters_equal_librosa_htk(bands):
    expected = librosa.filters.mel(sr=RATE, n_fft=512, n_mels=bands, fmin=20, fmax=7600, htk=True, norm=None)
    np.testing.assert_allclose(mel_filters("taoruijie", bands), expected.T, atol=1e-6)


@pytest.mark.parametrize("name, reference", [("speechbrain", speechbrain_filters), ("kaldi", kaldi_filters)])
@pytest.mark.parametrize("bands", [40, 80])
def test_filters_equal_their_definition(name, reference, bands):
    np.testing.assert_allclose(mel_filters(name, bands), reference(bands), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_tone_is_loudest_in_the_band_around_it(name):
    step = (2595 * np.log10(1 + np.array(features.FRONT_ENDS[name].high) / 700)) / 81
    for hertz in (500, 1500, 4000):
        tone = np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32)
        mel = (features.power_spectrum(tone, name) @ mel_filters(name, 80)).mean(axis=0)
        assert abs(mel.argmax() + 1 - 2595 * np.log10(1 + hertz / 700) / step) < 1.2


LENGTHS = [*range(3995, 4005), *range(4155, 4165), 16000, 15999, 16001, 16159, 16160, 16161, 32240, 12345]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", LENGTHS)
def test_frame_count_is_the_number_of_frames(name, length):
    assert filter_bank(signal(length), name).shape == (frame_count(length, name), 80)


@pytest.mark.parametrize("name", NAMES)
def test_sample_count_is_the_fewest_for_so_many_frames(name):
    for frames in range(2, 400):
        fewest = sample_count(frames, name)
        assert frame_count(fewest, name) == frames
        assert frame_count(fewest - 1, name) == frames - 1
    assert len(filter_bank(signal(sample_count(200, name)), name)) == 200


@pytest.mark.parametrize("frames, name, samples", [(200, "taoruijie", 31840), (200, "speechbrain", 31840),
                                                   (200, "kaldi", 32240), (1, "kaldi", 400)])
def test_sample_count_known_values(frames, name, samples):
    assert sample_count(frames, name) == samples


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_over_time_is_zero(name):
    found = filter_bank(signal(), name)
    assert np.abs(found.mean(axis=0, dtype=np.float64)).max() < 1e-4
    assert found.std() > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_silence_gives_zeros(name):
    np.testing.assert_allclose(filter_bank(np.zeros(RATE, np.float32), name), np.zeros((frame_count(RATE, name), 80)),
                               atol=1e-4)


@pytest.mark.parametrize("name, gain", [("kaldi", 0.1), ("kaldi", 3), ("speechbrain", 0.5)])
def test_a_gain_moves_the_mean_only(name, gain):
    louder = filter_bank(np.float32(gain) * signal(), name)
    np.testing.assert_allclose(louder, filter_bank(signal(), name), atol=1e-3)


def test_kaldi_removes_a_constant_offset():
    moved = filter_bank(signal() + np.float32(0.125), "kaldi")
    np.testing.assert_allclose(moved, filter_bank(signal(), "kaldi"), atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_shift_by_one_hop_shifts_the_frames_by_one(name):
    whole, later = (features.power_spectrum(samples, name) for samples in (signal(), signal()[160:]))
    inner = slice(3, -3)     # the others see the padding
    np.testing.assert_allclose(later[inner], whole[1:][inner], rtol=1e-2, atol=1e-6 * whole.max())


@pytest.mark.parametrize("name", ["", "Kaldi", "taoruije", "mfcc"])
def test_an_unknown_front_end_is_named_with_the_known_ones(name):
    with refused(SettingError, "front_end", repr(name), "taoruijie, speechbrain, kaldi"):
        filter_bank(signal(), name)


def test_a_misspelt_front_end_is_guessed():
    with refused(SettingError, "'taoruije'", "taoruijie?"):
        filter_bank(signal(), "taoruije")


@pytest.mark.parametrize("name", ["taoruijie", "speechbrain"])
def test_no_dither_but_kaldis(name):
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(filter_bank(signal(), name, generator=generator), filter_bank(signal(), name))
    assert generator.random() == np.random.default_rng(0).random(), "numbers were drawn for nothing"


def test_dither_is_one_sixteen_bit_step_of_white_noise_and_depends_on_the_generator():
    drawn = [filter_bank(signal(), "kaldi", generator=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any() and (drawn[0] != filter_bank(signal(), "kaldi")).any()
    noise = np.random.default_rng(1).standard_normal(RATE, dtype=np.float32) / 32768
    np.testing.assert_allclose(drawn[0], filter_bank(signal() + noise, "kaldi"), atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_samples_are_not_changed(name):
    samples = signal()
    filter_bank(samples, name, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(samples, signal())
