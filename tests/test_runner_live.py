"""main --stream: text and speakers while a recording arrives, as Python's streams give them; signals and mistakes."""
import dataclasses
import json
import signal
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_refusal
from helpers.graphs import CONFIGS, exported, network_of, randomised, small
from helpers.shared import has_header
from mindspore import Tensor

import conv_tasnet.src.inference
import deepspeech2.src.inference
from conv_tasnet.src.level import Level
from deepspeech2.src import windows
from deepspeech2.src.decoder import make_decoder
from deepspeech2.src.text import Alphabet
from utils.export import graph as graph_module

RATE = {"conv_tasnet": 8000, "deepspeech2": 16000}
SETTINGS = {"conv_tasnet": {"causal": True, "norm": "cgLN", "stream_step": 0.1},
            "deepspeech2": {"bidirectional": False, "stream_step": 0.4, "hidden_size": 32}}
SECONDS = 7.03
SEED = 0
CALLS = ROOT / "tests" / "helpers" / "library_calls.py"
with_soxr = pytest.mark.skipif(not has_header("soxr.h"), reason="libsoxr-dev is not installed")
CUTS = {"pause": 10, "segment": 60, "longest": 150}     # frames: several segments


def streaming(name, folder, runtime):
    """(network, config, graph) of one step."""
    config = small(CONFIGS[name](streaming=True, runtime=runtime))
    config = type(config)(**vars(config) | SETTINGS[name])
    ms.set_seed(SEED)       # of the first weights, whichever test comes before
    network = randomised(network_of(config), np.random.default_rng(0))
    if name == "deepspeech2":       # else the same label is the most probable throughout
        for parameter in network.get_parameters():
            is_larger = ".rnn." in parameter.name or parameter.name == "lookahead.weight"
            factor = 2 if parameter.name == "output.weight" else 6 if is_larger else 1
            parameter.set_data(Tensor(factor * parameter.asnumpy()))
    graph, description = exported(name, network, config, folder)
    if name == "deepspeech2":
        description["answer"] |= CUTS
        (folder / "inputs.json").write_text(json.dumps(description))
    return network, config, graph


@pytest.fixture(scope="module", params=["lite2.0-cpu", pytest.param("lite2.0", marks=pytest.mark.slow)])
def recognizer(request, tmp_path_factory):
    """(Python's recognizer, its config, its graph)"""
    network, config, graph = streaming("deepspeech2", tmp_path_factory.mktemp("text"), request.param)
    decode = make_decoder(config, Alphabet(config.labels))
    return deepspeech2.src.inference.Recognizer(network, config, decode), config, graph


@pytest.fixture(scope="module")
def separator(tmp_path_factory):
    """(Python's separator, its config, its graph)"""
    network, config, graph = streaming("conv_tasnet", tmp_path_factory.mktemp("voices"), "lite2.0-cpu")
    return conv_tasnet.src.inference.Separator(network, config), config, graph


def sound(name):
    """16-bit samples, and as Python has them."""
    generator = np.random.default_rng(3)
    samples = generator.normal(0, 2000, round(SECONDS * RATE[name]))
    samples *= np.repeat(generator.uniform(0.1, 2, len(samples) // 997 + 1), 997)[:len(samples)]
    samples = samples.astype("<i2")
    return samples, samples.astype(np.float32) / 32768


def started(runner, graph, *flags):
    return subprocess.Popen([runner, "--mindir_path", graph, "--device_target", "CPU", "--threads", "1", "--stream",
                             *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def streamed(runner, graph, content, sizes, *flags):
    """What the program prints on standard output where the bytes come in blocks of these sizes, over and over."""
    process, place = started(runner, graph, *flags), 0
    while place < len(content):
        for size in sizes:
            process.stdin.write(content[place:place + size])
            process.stdin.flush()
            place += size
    output, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def test_text_is_that_of_python_in_whatever_blocks_it_comes(runner, recognizer, monkeypatch):
    """With the times of words, and the text so far after each step."""
    python, config, graph = recognizer
    for name, frames in CUTS.items():
        monkeypatch.setattr(windows, name.upper(), frames)
    samples, floats = sound("deepspeech2")
    segments = list(python.transcribe_stream(np.array_split(floats, 7), seconds=config.stream_step, timestamps=True))
    assert len(segments) > 1 and len({segment.text for segment in segments}) > 1 and segments[0].words
    plain = [streamed(runner, graph, samples.tobytes(), sizes) for sizes in ((len(samples) * 2,), (3001, 5, 40000))]
    assert plain[0] == plain[1] == "".join(f"{segment.text}\n" for segment in segments if segment.text)
    lines = [json.loads(line) for line in
             streamed(runner, graph, samples.tobytes(), (6400,), "--json", "--timestamps").splitlines()]
    for found, wanted in zip([line for line in lines if "text" in line], segments, strict=True):
        assert found["text"] == wanted.text and found["end"] == pytest.approx(wanted.end)
        assert [word["text"] for word in found["words"]] == [word.text for word in wanted.words]
        times = [(word["start"], word["end"]) for word in found["words"]]
        np.testing.assert_allclose(times, [(word.start, word.end) for word in wanted.words], atol=1e-6)
    partial = [line["partial"] for line in lines if "partial" in line and line["start"] == 0]
    said = np.zeros((0, len(config.labels)), np.float32)
    steps = [log_probs for log_probs in python.stream(config.stream_step).run([floats]) if len(log_probs)]
    for number, text in enumerate(partial):
        said = np.concatenate((said, steps[number]))
        assert text == " ".join(python.decode(said).split())
    assert len(set(partial)) > 3


def by_library(runner, graph, floats, folder, settings, rate, block):
    """What helpers/library_calls.py prints, and the samples of the speakers."""
    floats.tofile(folder / "samples.f32")
    done = subprocess.run([sys.executable, "-S", CALLS, runner.with_name("libspeechzoo.so"), graph,
                           json.dumps({"device_target": "CPU", "threads": 1} | settings), str(rate),
                           folder / "samples.f32", str(block), folder / "voices.f32"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), np.fromfile(folder / "voices.f32", np.float32)


@pytest.mark.parametrize("is_live", [False, True])
def test_what_is_no_number_becomes_no_text(runner, monkeypatch, tmp_path, is_live):
    monkeypatch.setattr(graph_module, "check_graph", lambda *arguments: None)      # would refuse the network
    settings = {"streaming": True, **SETTINGS["deepspeech2"]} if is_live else {"input": "waveform"}
    config = dataclasses.replace(small(CONFIGS["deepspeech2"](runtime="lite2.0-cpu")), **settings)
    network = network_of(config)
    network.output.weight.set_data(Tensor(np.full(network.output.weight.shape, np.nan, np.float32)))
    graph, _ = exported("deepspeech2", network, config, tmp_path)
    samples, _ = sound("deepspeech2")
    if is_live:
        errors = started(runner, graph).communicate(samples.tobytes())[1].decode()
    else:
        soundfile.write(tmp_path / "a.wav", samples, 16000)
        errors = subprocess.run([runner, "--mindir_path", graph, "--device_target", "CPU", tmp_path / "a.wav"],
                                capture_output=True, text=True, check=False).stderr
    assert_refusal(2, errors, "not numbers", "--precision enforce_fp32")


def test_the_library_gives_text_while_sound_arrives(runner, recognizer, tmp_path):
    """Two handles in one process, over two recordings: what the program prints."""
    _, _, graph = recognizer
    samples, floats = sound("deepspeech2")
    expected = [json.loads(line) for line in
                streamed(runner, graph, samples.tobytes(), (6400,), "--json", "--timestamps").splitlines()]
    found, _ = by_library(runner, graph, floats, tmp_path, {"partial": True, "timestamps": True},
                          RATE["deepspeech2"], 777)
    assert found["results"] == expected and found["facts"]["latency"] > 0


def test_the_library_gives_speakers_while_sound_arrives(runner, separator, tmp_path):
    python, config, graph = separator
    _, floats = sound("conv_tasnet")
    found, voices = by_library(runner, graph, floats, tmp_path, {}, RATE["conv_tasnet"], 1234)
    speakers = np.concatenate(list(python.separate_stream([floats], seconds=config.stream_step)), 1)
    np.testing.assert_allclose(voices.reshape(speakers.shape), speakers, rtol=0, atol=1e-4)
    level = Level(2)
    for mixture, parts in python.stream(config.stream_step).separate([floats]):
        level.add(mixture, parts)
    (result,) = found["results"]
    assert result["gains"] == [1, 1] and result["decibels"] == pytest.approx(level.decibels(), abs=0.05)
    assert all(len(floats) - RATE["conv_tasnet"] < count < len(floats) for count in found["before"])


@with_soxr
def test_another_rate_than_the_graph_s(runner, separator, tmp_path):
    """Files at the rate of what comes, as long as it is; the same sound within what two resamplings leave of it."""
    graph, length = separator[2], 5 * 11025
    sound = (8000 * np.sin(np.arange(length) * 2 * np.pi * 440 / 11025)).astype("<i2")
    line = json.loads(streamed(runner, graph, sound.tobytes(), (3000,), "--sample_rate", "11025", "--json",
                               "--output_path", tmp_path))
    assert line["sample_rate"] == 11025 and line["seconds"] == 5
    found = [soundfile.read(path, dtype="float32") for path in line["speakers"]]
    assert [(len(samples), rate) for samples, rate in found] == [(length, 11025)] * 2
    found_again, voices = by_library(runner, graph, sound.astype(np.float32) / 32768, tmp_path, {}, 11025, 999)
    assert [result["gains"] for result in found_again["results"]] == [[1, 1]]
    np.testing.assert_allclose(voices.reshape(2, -1).clip(-1, 1), [samples for samples, _ in found], atol=2 ** -14)


def test_speakers_are_those_of_python(runner, separator, tmp_path):
    """Within a step of 16 bit, in whatever blocks the mixture comes."""
    python, config, graph = separator
    samples, floats = sound("conv_tasnet")
    speakers = np.concatenate(list(python.separate_stream([floats], seconds=config.stream_step)), 1)
    found = []
    for number, sizes in enumerate(((len(samples) * 2,), (1501, 20000))):
        folder = tmp_path / str(number)
        assert streamed(runner, graph, samples.tobytes(), sizes, "--output_path", folder).split() == [
            str(folder / f"live_{i}.wav") for i in (1, 2)]
        found.append(np.stack([soundfile.read(folder / f"live_{i}.wav", dtype="float32")[0] for i in (1, 2)]))
    np.testing.assert_array_equal(*found)
    assert np.abs(speakers).max() > 0.01
    np.testing.assert_allclose(found[0], speakers.clip(-1, 1), rtol=0, atol=2 ** -14)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_has_come_is_kept_where_it_is_interrupted(number, runner, separator, tmp_path):
    """Before its input ends: all of it, but for what a killed program had not written yet."""
    samples, _ = sound("conv_tasnet")
    process = started(runner, separator[2], "--output_path", tmp_path)
    assert b"note: " in process.stderr.readline()
    process.stdin.write(samples[:40000].tobytes())
    process.stdin.flush()
    path = tmp_path / "live_1.wav"
    while not path.exists() or path.stat().st_size < 2 * 39000:
        assert process.poll() is None
    process.send_signal(number)
    process.wait(60)
    assert process.returncode == (-number if number == signal.SIGKILL else 0)
    assert soundfile.info(path).frames == 40000 or number == signal.SIGKILL and soundfile.info(path).frames >= 39000
    process.communicate()


def test_a_recording_is_not_written_over(runner, separator, tmp_path):
    (tmp_path / "live_2.wav").write_text("mine")
    process = started(runner, separator[2], "--output_path", tmp_path)
    errors = process.communicate(b"")[1].decode()
    assert_refusal(process.returncode, errors, tmp_path / "live_2.wav")
    assert [path.name for path in tmp_path.iterdir()] == ["live_2.wav"]


def test_two_programs_do_not_share_files(runner, separator, tmp_path):
    """Both have found the folder empty; the one whose sound comes first has it."""
    samples, _ = sound("conv_tasnet")
    programs = [started(runner, separator[2], "--output_path", tmp_path) for _ in range(2)]
    for process in programs:
        assert b"note: " in process.stderr.readline()
    assert not any(tmp_path.iterdir())
    programs[0].stdin.write(samples[:40000].tobytes())
    programs[0].stdin.flush()
    while not (tmp_path / "live_2.wav").exists():
        assert programs[0].poll() is None
    errors = programs[1].communicate(samples[:20000].tobytes())[1].decode()
    assert_refusal(programs[1].returncode, errors, tmp_path / "live_1.wav", "--output_path")
    assert programs[0].communicate()[1] == b"" and programs[0].returncode == 0
    assert [soundfile.info(tmp_path / f"live_{i}.wav").frames for i in (1, 2)] == [40000] * 2


@pytest.mark.parametrize("name", RATE)
def test_a_step_of_another_size_than_the_description_says_is_refused(name, runner, recognizer, separator, tmp_path):
    """And nothing is left that would be in the way of the next attempt."""
    graph = (separator if name == "conv_tasnet" else recognizer)[2]
    description = json.loads((graph.parent / "inputs.json").read_text())
    answer, shape = description["answer"], description["outputs"][0]["shape"]
    if name == "conv_tasnet":
        columns = shape[1] = 9
    else:
        answer["labels"] += "".join(map(chr, range(0x4e00, 0x4e64)))
        columns = shape[2] = len(answer["labels"])
    (tmp_path / "inputs.json").write_text(json.dumps(description))
    (tmp_path / graph.name).symlink_to(graph)
    process = started(runner, tmp_path / graph.name, *(["--output_path", tmp_path] if name == "conv_tasnet" else []))
    errors = process.communicate(sound(name)[0].tobytes())[1].decode()
    assert_refusal(process.returncode, errors, f"x {columns}", "export it again")
    assert {path.name for path in tmp_path.iterdir()} == {"inputs.json", graph.name}


def test_mistakes_are_one_line(runner, separator, tmp_path):
    graph = separator[2]
    process = started(runner, graph, "--output_path", tmp_path / "out")
    assert_refusal(process.returncode or 2, process.communicate(b"\0")[1].decode(), "standard input")
    assert not any((tmp_path / "out").iterdir())
    process = started(runner, graph, "--warmup", "0")
    assert_refusal(process.wait(), process.stderr.read().decode(), "--warmup", "--stream", "--input_path")
    for flags in (["--input_path", tmp_path, "--output_path", tmp_path / "out"], [tmp_path / "a.wav"]):
        done = subprocess.run([runner, "--mindir_path", graph, "--device_target", "CPU", *flags], capture_output=True,
                              text=True, check=False)
        assert_refusal(done.returncode, done.stderr, graph, "--stream", "--streaming")
