"""The speakers that the C++ runner writes: windows, levels and files are those of Python."""
import ctypes
import subprocess

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.shared import RUNNER, shared_folder

from conv_tasnet.src.level import Level
from conv_tasnet.src.windows import Windows

FLOATS = ctypes.POINTER(ctypes.c_float)
NETWORK = ctypes.CFUNCTYPE(None, FLOATS, ctypes.c_long, FLOATS)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The runner's windows and levels, and what calls them from Python."""
    def build(folder):
        sources = [ROOT / "tests" / "helpers" / "voices.cc", *(RUNNER / "src" / f"{name}.cc"
                                                               for name in ("voice_windows", "level"))]
        subprocess.run(["c++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{RUNNER / 'inc'}", *sources, "-o",
                        folder / "voices.so"], check=True)

    loaded = ctypes.CDLL(str(shared_folder(tmp_path_factory, "voices", build) / "voices.so"))
    whole, real = ctypes.c_long, ctypes.c_double
    loaded.Separated.argtypes = [NETWORK, *[whole] * 4, FLOATS, whole, whole, FLOATS]
    loaded.Separated.restype = whole
    loaded.Gains.argtypes = [whole, whole, FLOATS, FLOATS, ctypes.POINTER(real)]
    return loaded


def noise(samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def pointer(array, kind=ctypes.c_float):
    return array.ctypes.data_as(ctypes.POINTER(kind))


def separated(library, separate, speakers, sizes, samples, block):
    """(mixture, speakers) by the library, with the function `separate` (S,) -> (C, S) as the network; None if refused.
    """
    def network(mixture, count, result):
        found = separate(np.ctypeslib.as_array(mixture, (count,)).copy())
        np.ctypeslib.as_array(result, (speakers, count))[:] = found

    results = np.zeros((1 + speakers, len(samples)), np.float32)
    done = library.Separated(NETWORK(network), speakers, *sizes, pointer(samples), len(samples), block,
                             pointer(results))
    assert done in (-1, len(samples))
    return None if done < 0 else (results[0], results[1:])


def parts(mixture, speakers):
    """Speakers that a network without context would give, each at a level and a polarity of its own."""
    limits = np.quantile(mixture, np.linspace(0, 1, speakers + 1))
    gains = np.linspace(-0.5, 1.6, speakers)
    return [gain * np.clip(mixture - low, 0, high - low) for gain, low, high in zip(gains, limits, limits[1:],
                                                                                  strict=False)]


@pytest.mark.parametrize("speakers", [1, 2, 3, 6])
@pytest.mark.parametrize("length", [1, 399, 400, 401, 701, 5003])
def test_windows_are_pythons(library, speakers, length):
    """Each window comes in an order of its own, now and then with a silent speaker; blocks of any size give the same.
    """
    samples = noise(length) + np.float32(0.1) * np.sin(np.arange(length, dtype=np.float32) / 40)

    def separate(mixture):
        generator = np.random.default_rng(mixture[:4].view(np.uint32))
        result = np.array(parts(mixture, speakers), np.float32)[generator.permutation(speakers)]
        result[generator.integers(speakers)] *= generator.integers(4) > 0
        return result

    sizes = (400, 100, 4)
    expected = zip(*Windows(separate, *sizes).separate([samples]), strict=True)
    mixture, sounds = (np.concatenate(pieces, axis=-1) for pieces in expected)
    for block in (7, 1000):
        found = separated(library, separate, speakers, sizes, samples, block)
        assert found is not None
        np.testing.assert_array_equal(found[0], mixture)
        np.testing.assert_allclose(found[1], sounds, rtol=0, atol=1e-6)


def test_silence_and_what_is_no_number(library):
    samples = noise(2000)
    _, sounds = separated(library, lambda mixture: np.zeros((3, len(mixture))), 3, (400, 100, 4), samples, 500)
    assert not sounds.any()
    assert separated(library, lambda mixture: mixture * [[1], [np.nan]], 2, (400, 100, 4), samples, 500) is None


def test_the_order_is_kept_through_silence(library):
    """Where nothing determines it, nothing changes it."""
    samples = noise(2000)
    samples[280:420] = 0
    _, sounds = separated(library, lambda mixture: [[1], [0], [2]] * mixture, 3, (400, 100, 4), samples, 500)
    assert not sounds[1].any() and sounds[0].any() and sounds[2].any()


@pytest.mark.parametrize("speakers", [1, 2, 5])
def test_levels_are_pythons(library, speakers):
    sounds = np.stack([noise(3000, seed) for seed in range(speakers)])
    mixture = (np.linspace(-2, 3, speakers) @ sounds).astype(np.float32)
    sounds[0] *= np.float32(1e-3)       # 60 dB below: not blown up
    gains = np.zeros(speakers)
    library.Gains(speakers, 3000, pointer(mixture), pointer(sounds), pointer(gains, ctypes.c_double))
    level = Level(speakers)
    level.add(mixture, sounds)
    np.testing.assert_allclose(gains, level.gains(), rtol=1e-5)


def test_a_recording_beyond_a_graph_too_short_for_windows_is_refused(library):
    def separate(mixture):
        return np.stack((mixture, mixture))

    assert separated(library, separate, 2, (400, 0, 4), noise(400), 100) is not None
    assert separated(library, separate, 2, (400, 0, 4), noise(401), 100) is None
