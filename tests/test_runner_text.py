"""The C++ program writes down what deepspeech2/infer.py does: whole recordings, long ones, with times of words."""
import dataclasses
import json
import signal
import subprocess

import jiwer
import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_refusal
from helpers.graphs import exported, network_of, randomised, small
from helpers.programs import called
from mindspore import Tensor

import deepspeech2.export
import deepspeech2.infer
from deepspeech2.src.config import Config
from deepspeech2.src.features import RATE
from deepspeech2.src.ngram import write_arpa
from utils.config import parse_use_config

SAMPLES = ROOT / "deepspeech2" / "samples"
CHECKPOINT = ROOT / "deepspeech2" / "pretrained" / "best.ckpt"
LENGTHS = {"any": 0, "4 s": 401, "10 s": 1001}      # frames


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """{length: the shipped checkpoint's graph for recordings}."""
    folder = tmp_path_factory.mktemp("graphs")
    return {name: deepspeech2.export.main(parse_use_config(Config, [
        "--checkpoint_path", str(CHECKPOINT), "--input", "waveform", "--runtime", "lite2.0-cpu",
        "--length", str(length), "--file_name", str(folder / name)])) for name, length in LENGTHS.items()}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """The samples, and one recording of half a minute that joins them."""
    folder = tmp_path_factory.mktemp("recordings")
    files = [SAMPLES / "command.wav", SAMPLES / "spelled.wav"]
    return [*files, joined(folder / "joined.wav", 3)]


def joined(path, times):
    """The samples behind each other, so many times."""
    sounds = [soundfile.read(SAMPLES / name, dtype="int16")[0] for name in ("command.wav", "spelled.wav")]
    soundfile.write(path, np.concatenate(sounds * times), RATE)
    return path


@pytest.fixture(scope="module")
def transcribe(runner):
    """A function that runs the program on recordings: (exit code, what it printed)."""
    def run(graph, *arguments):
        done = subprocess.run([runner, "--mindir_path", graph, "--device_target", "CPU", *map(str, arguments)],
                              capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr
    return run


@pytest.mark.parametrize("flags", [(), ("--timestamps",), ("--beam_width", "8", "--timestamps")])
def test_text_and_times_are_those_of_infer(graphs, recordings, transcribe, flags):
    expected = called(deepspeech2.infer.main, "--checkpoint_path", CHECKPOINT, *recordings, *flags)
    assert expected[0] == 0 and transcribe(graphs["any"], *recordings, *flags) == expected


@pytest.mark.parametrize(("length", "times"), [
    ("4 s", 6), ("any", 12), *(pytest.param(length, 57, marks=pytest.mark.slow) for length in LENGTHS)])
def test_a_long_recording_is_written_down(graphs, transcribe, tmp_path, length, times):
    """A minute, two and ten, of which nothing is cut: a few words differ, where one was cut by a window.

    Two minutes are more windows than the pool of MindSpore Lite has memory for.
    """
    path = joined(tmp_path / "long.wav", times)
    code, output = transcribe(graphs[length], path)
    assert code == 0, output
    once = "ERASE P Q Y V T FIVE NINETY EIGHT P L E A S A N T H I L L S"
    assert jiwer.wer(" ".join([once] * times), " ".join(output.split())) < 0.1


def test_whole_lines_are_printed_until_it_is_interrupted(graphs, runner, tmp_path):
    """The signal ends the program as its default would, after the lines that were complete."""
    process = subprocess.Popen([runner, "--mindir_path", graphs["4 s"], "--device_target", "CPU", "--json",
                                joined(tmp_path / "long.wav", 60)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate()
    assert (process.returncode, errors) == (-signal.SIGINT, b"")
    lines = (first + rest).splitlines(keepends=True)
    assert all(line.endswith(b"}\n") and json.loads(line)["text"] for line in lines) and len(lines) < 30


MANDARIN = "_" + "".join(map(chr, range(0x4e00, 0x4e50)))


@pytest.fixture(scope="module")
def mandarin(tmp_path_factory):
    """(checkpoint, graph, recordings) of a network at random that writes something else every moment."""
    folder, generator = tmp_path_factory.mktemp("mandarin"), np.random.default_rng(0)
    config = dataclasses.replace(small(Config(input="waveform")), labels=MANDARIN, bidirectional=False,
                                 runtime="lite2.0-cpu", length=0)
    network = randomised(network_of(config), generator)
    for parameter in network.get_parameters():
        if "weight" in parameter.name:
            parameter.set_data(Tensor((3 if "_hh_" in parameter.name else 6) * parameter.asnumpy()))
    graph, _ = exported("deepspeech2", network, config, folder)
    paths = [folder / f"{seconds}.wav" for seconds in (0.5, 3, 30)]
    for path in paths:
        frequency = np.repeat(generator.uniform(100, 4000, 300), RATE // 10)[:int(float(path.stem) * RATE)]
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * np.cumsum(frequency) / RATE), RATE)
    return folder / "best.ckpt", graph, paths


def test_characters_of_mandarin(transcribe, mandarin):
    checkpoint, graph, paths = mandarin
    expected = called(deepspeech2.infer.main, "--checkpoint_path", checkpoint, *paths, "--timestamps")
    assert expected[0] == 0 and len(set(expected[1]) & set(MANDARIN)) > 20
    assert transcribe(graph, *paths, "--timestamps") == expected


def test_a_language_model_changes_the_text_as_in_python(transcribe, mandarin, tmp_path):
    checkpoint, graph, paths = mandarin
    write_arpa([" ".join(MANDARIN[first:first + 9:2]) for first in range(1, 60, 5)], 3, tmp_path / "lm.arpa")
    flags = ["--lm_path", tmp_path / "lm.arpa", "--alpha", 0.7, "--beta", 2.5]
    code, output = transcribe(graph, *paths[:2], *flags)
    if "built without" in output:
        pytest.skip("KenLM could not be had")
    expected = called(deepspeech2.infer.main, "--checkpoint_path", checkpoint, *paths[:2], *flags)
    assert (code, output) == expected != called(deepspeech2.infer.main, "--checkpoint_path", checkpoint, *paths[:2])
    code, output = transcribe(graph, paths[0], "--lm_path", tmp_path / "none.arpa")
    assert_refusal(code, output, "none.arpa", "KenLM")
