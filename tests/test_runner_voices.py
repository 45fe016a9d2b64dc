"""The speakers that the C++ runner writes: windows, levels and files are those of Python."""
import ctypes
import dataclasses
import json
import os
import subprocess

import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_line, assert_refusal
from helpers.shared import RUNNER, shared_folder

from conv_tasnet.src.config import Config
from conv_tasnet.src.export import export
from conv_tasnet.src.inference import Separator
from conv_tasnet.src.level import Level
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.outputs import write_speakers
from conv_tasnet.src.windows import WINDOW, Windows, graph_windows, window_sizes
from utils.audio.recording import inspect
from utils.checkpoints.checkpoint import save_checkpoint

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


def test_silence_stays_silent(library):
    samples = noise(2000)
    _, sounds = separated(library, lambda mixture: np.zeros((3, len(mixture))), 3, (400, 100, 4), samples, 500)
    assert not sounds.any()


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


SMALL = dataclasses.replace(Config(), N=16, L=16, B=8, H=12, Sc=8, X=2, R=1, C=3)
FIXED = SMALL.sample_rate       # samples of the graph of one length


def test_windows_of_graphs():
    """Those of infer.py, but for graphs that take fewer samples at once."""
    config = SMALL
    usual = window_sizes(WINDOW, 10 ** 9, config)
    assert graph_windows(config) == graph_windows(config, longest=10 ** 6) == usual
    for kind in ("fixed", "longest"):
        assert graph_windows(config, **{kind: 4 * FIXED}) == window_sizes(4, 10 ** 9, config)
        assert graph_windows(config, **{kind: FIXED - 8}) == (FIXED - 8, 0)
    assert graph_windows(config, fixed=60 * FIXED) == (60 * FIXED, 15 * FIXED)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """(The separator, {length of a graph, 0: any: the graph})."""
    folder = tmp_path_factory.mktemp("graphs")
    ms.set_seed(0)
    network = ConvTasNet(SMALL)
    save_checkpoint(folder / "best.ckpt", network.parameters_dict())
    made = {}
    for length in (0, FIXED):
        made[length] = export(dataclasses.replace(SMALL, model_path=str(folder / "best.ckpt"), file_format="MINDIR",
                                                  runtime="lite2.0-cpu", length=length,
                                                  file_name=str(folder / str(length) / "net.mindir")))
    return Separator(network, SMALL), made


def separate(runner, graph, folder, *arguments):
    """(Exit code, standard output, standard error) of the runner, whose speakers go into `folder`."""
    done = subprocess.run([runner, "--mindir_path", graph, "--device_target", "CPU", "--output_path", folder,
                           *arguments], capture_output=True, text=True, check=False, env=os.environ | {"GLOG_v": "4"})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("length", [0, FIXED])
def test_speakers_are_those_of_infer(runner, graphs, tmp_path, length):
    """Whole and long, quiet and stereo: within a step of 16 bits; a graph of one length by windows of its length."""
    separator, made = graphs
    seconds = length / FIXED or WINDOW
    sounds = {"long": noise(5 * FIXED + 77), "quiet": noise(FIXED, 1) / 50,
              "stereo": np.stack((noise(2 * FIXED, 2), noise(2 * FIXED, 3)), 1)}
    paths = [tmp_path / f"{name}.wav" for name in sounds]
    for path, samples in zip(paths, sounds.values(), strict=True):
        soundfile.write(path, samples, FIXED, "FLOAT")
    code, output, errors = separate(runner, made[length], tmp_path / "out", *paths)
    assert code == 0, errors
    windows = separator.windows(6 * FIXED, seconds)
    for path in paths:
        expected = [str(tmp_path / "python" / f"{path.stem}_{i}.wav") for i in (1, 2, 3)]
        recording = inspect(path, separator.fewest, separator.rate)
        pieces = windows.separate(recording.blocks(separator.rate))
        written = write_speakers(expected, recording, pieces, separator.rate)
        levels = ", ".join(f"{level:.1f}" for level in written.decibels)
        found = [tmp_path / "out" / f"{path.stem}_{i}.wav" for i in (1, 2, 3)]
        assert_line(output, path, f"at {FIXED} Hz -> ", *found, f" ({levels} dB)")
        for one, other in zip(found, expected, strict=True):
            (samples, rate), (reference, _) = (soundfile.read(file, dtype="int16") for file in (one, other))
            assert rate == FIXED and len(samples) == len(sounds[path.stem])
            assert np.abs(samples.astype(int) - reference).max() <= 1, one


def test_a_recording_shorter_than_the_graph(runner, graphs, tmp_path):
    """It is run over and over, which is closer to what it gives alone than silence behind it."""
    separator, made = graphs
    samples = noise(FIXED // 3)
    soundfile.write(tmp_path / "short.wav", samples, FIXED, "FLOAT")
    code, output, errors = separate(runner, made[FIXED], tmp_path / "out", tmp_path / "short.wav", "--json")
    assert code == 0, errors
    line = json.loads(output)
    assert line["voices"] == sum(level > -20 for level in line["decibels"]) and max(line["decibels"]) > -20
    assert line["sample_rate"] == FIXED and line["seconds"] == len(samples) / FIXED and len(line["speakers"]) == 3
    expected = separator.separate(samples)
    for path, reference in zip(line["speakers"], expected, strict=True):
        difference = soundfile.read(path)[0] * 10 ** (line["turned_down_db"] / 20) - reference
        assert np.square(difference).sum() < 0.01 * np.square(reference).sum()


@pytest.mark.parametrize("length", [0, FIXED])
def test_speakers_of_another_number_than_the_description_says_are_refused(runner, graphs, tmp_path, length):
    graph = graphs[1][length]
    description = json.loads((graph.parent / "inputs.json").read_text())
    description["outputs"][0]["shape"][1] = 9
    (tmp_path / "inputs.json").write_text(json.dumps(description))
    (tmp_path / graph.name).symlink_to(graph)
    soundfile.write(tmp_path / "a.wav", noise(FIXED), FIXED)
    code, _, errors = separate(runner, tmp_path / graph.name, tmp_path / "out", tmp_path / "a.wav")
    assert_refusal(code, errors, tmp_path / "a.wav", 3 * FIXED, f"9 x {FIXED}", "export it again")


def test_outputs_overwrite_neither_inputs_nor_each_other(runner, graphs, tmp_path):
    for path in (tmp_path / "a.wav", tmp_path / "a_1.wav", tmp_path / "other" / "a.wav"):
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise(FIXED), FIXED)
    graph = graphs[1][0]
    for second, named in (("a_1.wav", tmp_path / "a_1.wav"), ("other/a.wav", tmp_path / "other" / "a.wav")):
        code, _, errors = separate(runner, graph, tmp_path, tmp_path / "a.wav", tmp_path / second)
        assert_refusal(code, errors, named, "--output_path")
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "a_1.wav", "other"}
