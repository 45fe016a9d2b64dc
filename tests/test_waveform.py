"""Front-ends as layers against those in numpy: for any number of samples, and for recordings with zeros behind."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from deepspeech2.src.features import spectrogram
from deepspeech2.src.waveform import Spectrogram, log1p
from ecapatdnn.src.features import FRONT_ENDS, filter_bank, frame_count
from ecapatdnn.src.waveform import FilterBank
from utils.layers.shapes import length_mask, mean_over, mirror_ends, unbiased

HOP = 160
LENGTHS = (801, 3200, 12345, 16000, 16079, 16080, 16159)     # the last frames are cut at 80 over a hop


@pytest.fixture(autouse=True)
def operator_by_operator():
    """To compile a graph for every length takes long."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def front_end(name):
    return Spectrogram() if name == "deepspeech2" else FilterBank(name, 80)


def expected_features(name, samples):
    return spectrogram(samples) if name == "deepspeech2" else filter_bank(samples, name)


def sound(length):
    """Noise with a loud and a quiet half."""
    x = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    x[length // 2:] /= 100
    return x / 10


@pytest.mark.parametrize("name", [*FRONT_ENDS, "deepspeech2"])
def test_features_are_those_in_numpy(name):
    """Cut by the convolution, by a reshape as an Ascend must, and by one of samples with zeros behind."""
    plain, ascend = front_end(name), front_end(name)
    ascend.squares.for_ascend()
    for length in LENGTHS:
        x = sound(length)
        expected = expected_features(name, x)
        tolerance = {"rtol": 0, "atol": 5e-5 * np.abs(expected).max()}
        for cell in (plain, ascend):
            np.testing.assert_allclose(cell(Tensor(x[None])).asnumpy()[0], expected, **tolerance)
        for size in (-(-length // HOP) * HOP, (length // HOP + 7) * HOP):
            padded = np.pad(x, (0, size - length))[None]
            actual = plain(Tensor(padded), Tensor([length], ms.int32)).asnumpy()[0]
            np.testing.assert_allclose(actual[:len(expected)], expected, **tolerance)


@pytest.mark.parametrize("name", [*FRONT_ENDS, "deepspeech2"])
def test_silence_and_steps_are_finite(name):
    """Zeros, a constant, and one loud sample in silence."""
    cell = front_end(name)
    for x in (np.zeros(1600), np.full(1600, 0.5), np.eye(1, 1600, 777)[0]):
        expected = expected_features(name, x.astype(np.float32))
        actual = cell(Tensor(x[None].astype(np.float32))).asnumpy()[0]
        assert np.isfinite(actual).all()
        if x[0] == 0:       # of a constant only rounding is left, which the logarithm shows
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-3 * max(1, np.abs(expected).max()))


def test_the_80_decibel_are_those_of_the_recording():
    """A click behind the recording, which its number of samples leaves out, is no part of it."""
    x, cell = sound(16000), front_end("speechbrain")
    behind = np.pad(x, (0, 8 * HOP))
    behind[-100:] = 1
    actual = cell(Tensor(behind[None]), Tensor([16000 - 400], ms.int32)).asnumpy()[0]
    frames = frame_count(16000 - 400, "speechbrain") - 2     # whose window ends before the samples do
    expected = cell(Tensor(np.pad(x, (0, 8 * HOP))[None]), Tensor([16000 - 400], ms.int32)).asnumpy()[0]
    np.testing.assert_allclose(actual[:frames], expected[:frames], atol=1e-4)


def test_helpers_equal_their_formulas():
    generator = np.random.default_rng(0)
    x, lengths = generator.standard_normal((3, 11)).astype(np.float32), [11, 7, 5]
    mask = length_mask(Tensor(x), Tensor(lengths, ms.int32))
    assert mask.asnumpy().tolist() == [[1] * n + [0] * (11 - n) for n in lengths]
    for row, length, mean in zip(x, lengths, mean_over(Tensor(x), 1, mask).asnumpy(), strict=True):
        assert mean[0] == pytest.approx(row[:length].mean(), rel=1e-5)
    mirrored = mirror_ends(Tensor(x), 3, Tensor(lengths, ms.int32)).asnumpy()
    for row, length, actual in zip(x, lengths, mirrored, strict=True):
        np.testing.assert_array_equal(actual[:length + 6], np.pad(row[:length], 3, "reflect"))
    np.testing.assert_array_equal(mirror_ends(Tensor(x), 3).asnumpy(), np.pad(x, ((0, 0), (3, 3)), "reflect"))
    for frames, numbers in ((10, 1), (300, 161), (10 ** 6, 1)):
        count = frames * numbers
        assert float(unbiased(Tensor(float(frames)), numbers)) == pytest.approx(count / (count - 1), rel=2e-5)
    values = np.float32([0, 1e-7, 1e-3, 0.2, 0.25, 0.3, 1, 50])
    np.testing.assert_allclose(log1p(Tensor(values)).asnumpy(), np.log1p(values.astype(np.float64)), rtol=1e-6)
