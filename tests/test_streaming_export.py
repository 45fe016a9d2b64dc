"""Graphs of one step, export.py --streaming: what they compute, what inputs.json says of them, mistakes."""
import dataclasses

import mindspore as ms
import numpy as np
import pytest
from helpers.errors import refused
from helpers.graphs import CONFIGS, PROGRAMS, exported, network_of, randomised, small
from helpers.mindir_numpy import Evaluator
from mindspore import nn

from conv_tasnet.src.inference import Separator
from conv_tasnet.src.streaming import Stream as SeparatorStream
from deepspeech2.src.inference import Recognizer
from deepspeech2.src.streaming import Stream as RecognizerStream
from deepspeech2.src.streaming import begin
from utils.errors import MismatchError, SettingError
from utils.export.runner import graph_input, read_description
from utils.layers.steps import Stepper, Steps

STREAMS = {"conv_tasnet": SeparatorStream, "deepspeech2": RecognizerStream}
USERS = {"conv_tasnet": Separator, "deepspeech2": lambda network, config: Recognizer(network, config, decode=str)}
SETTINGS = {"conv_tasnet": {"causal": True, "norm": "cgLN", "stream_step": 0.05},
            "deepspeech2": {"bidirectional": False, "stream_step": 0.2, "hidden_size": 32}}
FIELDS = [field.name for field in dataclasses.fields(Steps)]


def streaming(name, **settings):
    """(network, its config)"""
    config = dataclasses.replace(small(CONFIGS[name](streaming=True)), **SETTINGS[name] | settings)
    return randomised(network_of(config), np.random.default_rng(0)), config


def noise(samples):
    return (0.1 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("name", ["conv_tasnet", "deepspeech2"])
def test_the_graph_and_inputs_json_are_what_python_streams_with(name, tmp_path):
    """A host that knows inputs.json only; the blocks are others than Python's, the results the same to 1e-5."""
    network, config = streaming(name)
    path, description = exported(name, network, config, tmp_path)
    assert path.name == f"{name}_streaming.mindir"
    facts = description["streaming"]
    samples = noise(description["sample_rate"] * 2 + 77)
    stream = STREAMS[name](network, config, config.stream_step)
    axis, expected = stream.stepper.axis, list(stream.stepper.run([samples]))
    steps = Steps(**{field: facts[field] for field in FIELDS})
    assert steps == dataclasses.replace(stream.stepper.steps, length=list(steps.length))
    states = [port for port in description["inputs"] if port["name"] in facts["states"]]
    assert [port["name"] for port in description["inputs"]] == ["waveform", facts["count"], *facts["states"]]
    assert [port["name"] for port in description["outputs"]][1:] == list(facts["states"].values())
    zeros = [ms.Tensor(np.zeros(port["shape"], np.float32)) for port in states]
    found = list(Stepper(nn.GraphCell(ms.load(str(path))), steps, axis, zeros).run(np.array_split(samples, 9)))
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max(initial=0))
    assert sum(part.shape[axis] for part in found) == (len(samples) + steps.length[0]) // steps.length[1]


@pytest.mark.parametrize("name", ["conv_tasnet", "deepspeech2"])
def test_streams_of_one_network_do_not_mix_and_share_what_is_compiled(name):
    network, config = streaming(name)
    user = USERS[name](network, config)
    recordings, streams = [noise(16000), noise(15900)], [user.stream(0.2), user.stream(0.2)]
    alone = user.stream(0.2).stepper
    expected = [np.concatenate(list(alone.run([samples])), alone.axis) for samples in recordings]
    found = [[], []]
    for blocks in zip(*(np.array_split(samples, 7) for samples in recordings), strict=True):
        for parts, stream, block in zip(found, streams, blocks, strict=True):
            parts += stream.stepper.push(block)
    for parts, stream, wanted in zip(found, streams, expected, strict=True):
        np.testing.assert_allclose(np.concatenate([*parts, *stream.stepper.flush()], alone.axis), wanted, atol=1e-5)
    assert streams[0].stepper.step is streams[1].stepper.step
    assert user.stream(0.1).stepper.step is not streams[0].stepper.step


@pytest.mark.parametrize("settings", [{}, {"rnn_type": "gru"}])
def test_a_step_for_an_ascend_carries_the_states_of_its_layers(settings, tmp_path):
    """Two steps in CANN's operators, as numpy computes them, are those of the network."""
    network, config = streaming("deepspeech2", **settings)
    samples, length = noise(20_000), 0
    stream = RecognizerStream(network, config, config.stream_step)
    stream.stepper.reset()
    expected = [log_probs[:, 0] for log_probs in stream.stepper.push(samples)]
    for parameter in network.get_parameters():
        if ".rnn." in parameter.name:
            parameter.set_data(ms.Tensor(parameter.asnumpy().astype(np.float16).astype(np.float32)))
    path, description = exported("deepspeech2", network, dataclasses.replace(config, runtime="ascend"), tmp_path)
    graph, facts = Evaluator(path), description["streaming"]
    states = [state.asnumpy() for state in begin(network)]
    window = np.zeros((1, facts["window"]), np.float32)
    for wanted in expected:
        start = length * facts["samples"] - facts["before"]
        first = max(0, -start)
        window[:, first:] = samples[start + first:start + facts["window"]]
        if start < 0 <= start + facts["window"]:
            reach = min(first, facts["mirrored"])
            window[0, first - reach:first] = samples[reach:0:-1]
        result, *states = graph(window, np.array([facts["window"]], np.int32), *states)
        np.testing.assert_allclose(result[len(result) - len(wanted):, 0], wanted, rtol=0, atol=3e-3)
        length += 1
    assert length > 2


@pytest.mark.parametrize("name, settings, facts", [
    ("conv_tasnet", {"causal": False, "norm": "gLN"}, ["--causal true"]),
    ("deepspeech2", {"bidirectional": True}, ["--bidirectional false"]),
    *((name, settings, facts) for name in STREAMS for settings, facts in (
        ({"gears": "16000,32000"}, ["gears", "streaming"]), ({"file_format": "ONNX"}, ["ONNX", "MINDIR"])))])
def test_what_cannot_stream_is_refused(name, settings, facts, tmp_path):
    config = dataclasses.replace(streaming(name)[1], model_path=str(tmp_path / "best.ckpt"), **settings)
    with refused(MismatchError if "causal" in settings or "bidirectional" in settings else SettingError, *facts):
        PROGRAMS[name].export.main(config)
    assert not list(tmp_path.iterdir())


def test_files_are_not_prepared_for_a_graph_of_steps(tmp_path):
    path, _ = exported("conv_tasnet", *streaming("conv_tasnet"), tmp_path)
    assert "streaming" in read_description(path)
    with refused(MismatchError, path, "--streaming"):
        graph_input(dataclasses.replace(CONFIGS["conv_tasnet"](), model_path=str(path)))
