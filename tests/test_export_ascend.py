"""Graphs for an Ascend, written on a CPU: their mathematics, their precision, what Lite's converter takes, mistakes."""
import dataclasses
import os
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from helpers.graphs import CONFIGS, GEARED, PRESETS, PROGRAMS, VARIATIONS, case, network_of, randomised
from helpers.graphs import exported as with_gears
from helpers.mindir_numpy import Evaluator
from mindspore import Tensor, nn, ops

from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.model import ConvTasNet
from deepspeech2.src.config import Config
from deepspeech2.src.decoder import greedy
from deepspeech2.src.features import BINS, HOP, RATE, spectrogram
from deepspeech2.src.model import DeepSpeech2, FixedLength
from deepspeech2.src.text import Alphabet
from utils import cpu_ops
from utils.audio import audio_file
from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import parse_use_config
from utils.device import setup_device
from utils.errors import SettingError, UnsupportedError
from utils.export.graph import RUNTIMES, Port, export_model
from utils.export.graph_check import check_graph, example_inputs, run_network
from utils.export.lite2 import downgrade
from utils.layers.ascend import UNITS

SMALL = Config(conv_channels=4, hidden_size=16, hidden_layers=2)
LAYERS = {"lstm": {}, "one-way lstm": {"bidirectional": False}, "gru": {"rnn_type": "gru"},
          "one-way gru": {"rnn_type": "gru", "bidirectional": False}}
DATA = os.environ.get("SPEECH_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SPEECH_DATA is not set: folder of an4/")
FRAMES = [Port("frames", "int32", (1,))]
ROUNDING = 2.0 ** -11   # the largest relative error of rounding to float16


@pytest.fixture(scope="module", autouse=True)
def device():
    """As export.py sets it up, with the faster convolutions."""
    setup_device("CPU")


def deepspeech2(**settings):
    """A network with weights in its recurrent layers, and sums of its biases, that are float16 numbers."""
    generator = np.random.default_rng(1)
    model = randomised(DeepSpeech2(dataclasses.replace(SMALL, **settings)), generator)
    for parameter in model.get_parameters():
        if ".rnn." in parameter.name:
            values = np.round(generator.uniform(-256, 256, parameter.shape)) / 1024
            parameter.set_data(Tensor(values.astype(np.float32)))
    return model


def exported(model, folder, inputs, runtime="ascend", **facts):
    """The path of the network's graph."""
    config = dataclasses.replace(SMALL, runtime=runtime, file_name=str(folder / "net"))
    return export_model(model, config, inputs, [Port("y", "float32", (1, None)), Port("n", "int32", (1,))], "net",
                        **facts)


def speech(length, frames):
    """Random features, and how many of them are of the recording."""
    features = np.random.default_rng(length).standard_normal((1, length, BINS)).astype(np.float32)
    return features, np.array([frames], np.int32)


@pytest.mark.parametrize("layers", ["lstm", "one-way gru", *(pytest.param(layers, marks=pytest.mark.slow)
                                                             for layers in ("one-way lstm", "gru"))])
def test_numbers_are_those_of_the_network(tmp_path, layers):
    """In float32, for lengths that the graph was not written for, with padding: at no frame more than 1e-5 off."""
    model = deepspeech2(**LAYERS[layers])
    inputs = [speech(*sizes) for sizes in ((12, 12), (17, 13))]
    expected = [run_network(model, [Tensor(array) for array in arrays])[0] for arrays in inputs]
    graph = Evaluator(exported(model, tmp_path, [Port("features", "float32", (1, None, BINS), 12), *FRAMES]))
    for (features, frames), wanted in zip(inputs, expected, strict=True):
        found, counted = graph(features, frames)
        assert found.shape == wanted.shape and counted == [(frames[0] + 1) // 2]
        np.testing.assert_allclose(found[:counted[0]], wanted[:counted[0]], rtol=0, atol=1e-5)
    assert {"DynamicRNN", "DynamicGRUV2"} & graph.operators == {"DynamicGRUV2" if "gru" in layers else "DynamicRNN"}


class Recurrence(nn.Cell):
    """One recurrent layer."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer

    def construct(self, x):
        return self.rnn(x)[0], x + 0.0


def error_bound(x, layer):
    """How far CANN's LSTM may be from the exact one of the same weights, after each step: (T, B, H).

    A running error analysis (Higham, "Accuracy and Stability of Numerical Algorithms", 2002, section 3.3): what rounds
    to float16 in it are x, h, c, and what the exponential takes and gives, which a 310 computes in float16. Sums of
    products are in float32, whose own rounding is covered by the 2 instead of 1.
    """
    inner, outer, biases = (np.abs(value) for value in (layer["inner"], layer["outer"], layer["bias"]))
    h = c = error_h = error_c = np.zeros((x.shape[1], outer.shape[0]))
    bounds = []
    for now in x.astype(np.float64):
        sums = now @ layer["inner"] + h @ layer["outer"] + layer["bias"]
        error = 2 * ROUNDING * (np.abs(now) @ inner + np.abs(h) @ outer + biases) + error_h @ outer
        # sigmoid has slope 1 / 4 at most, tanh 1; a relative error r of their exponential moves them by r / 4 and r / 2
        rough = ROUNDING * (np.abs(sums) + 1)
        gates = np.split(sums, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gates[k])) for k in (0, 2, 3))
        j = np.tanh(gates[1])
        error_i, _, error_f, error_o = np.split((error + rough) / 4, 4, axis=1)
        error_j = np.split(error + rough, 4, axis=1)[1]
        error_c = f * error_c + (np.abs(c) + error_c) * error_f + i * error_j + (np.abs(j) + error_j) * error_i
        c = f * c + i * j
        error_c = error_c + ROUNDING * (np.abs(c) + error_c)
        error_h = o * (error_c + ROUNDING * (np.abs(c) + 1)) + np.abs(np.tanh(c)) * error_o + error_o * error_c
        h = o * np.tanh(c)
        error_h = error_h + ROUNDING * (np.abs(h) + error_h)
        bounds.append(error_h)
    return np.stack(bounds)


def test_float16_stays_within_its_bound(tmp_path):
    """CANN's kernel, emulated, against the exact LSTM: within the error that its roundings can add up to, and 0.02.

    The weights of the state add up to less than 1 a unit: with others the bound of an error, not the error, explodes.
    """
    generator = np.random.default_rng(0)
    layer = nn.LSTM(24, 16)
    for parameter in layer.get_parameters():
        largest = 64 if "weight_hh" in parameter.name else 256
        values = np.round(generator.uniform(-largest, largest, parameter.shape)) / 1024
        parameter.set_data(Tensor(values.astype(np.float32)))
    cell = Recurrence(layer)
    x = generator.standard_normal((30, 2, 24)).astype(np.float32)
    exact = run_network(cell, [Tensor(x)])[0]
    weights = {"inner": layer.w_ih_list[0].asnumpy().T, "outer": layer.w_hh_list[0].asnumpy().T,
               "bias": layer.b_ih_list[0].asnumpy() + layer.b_hh_list[0].asnumpy()}
    gates = [*range(16), *range(32, 48), *range(16, 32), *range(48, 64)]       # input, new, forget, output
    bound = error_bound(x, {name: value[..., gates].astype(np.float64) for name, value in weights.items()})
    path = exported(cell, tmp_path, [Port("x", "float32", x.shape)])
    error = np.abs(Evaluator(path, half=True)(x)[0] - exact)
    assert error.max() > 1e-4 and (error <= bound).all() and bound.max() < 0.02
    np.testing.assert_allclose(Evaluator(path)(x)[0], exact, rtol=0, atol=1e-6)


def test_networks_in_float16_say_the_same(tmp_path):
    """Log probabilities of a whole network, emulated, move by no more than a few roundings of the largest."""
    model = deepspeech2()
    path = exported(model, tmp_path, [Port("features", "float32", (1, None, BINS), 24), *FRAMES])
    arrays = speech(60, 55)
    exact, half = (Evaluator(path, half=half)(*arrays)[0][:28] for half in (False, True))
    difference = np.abs(exact - half).max()
    assert 0 < difference < 16 * ROUNDING * np.abs(exact).max()


@needs_data
@pytest.mark.slow
def test_the_shipped_network_transcribes_the_same_in_float16(tmp_path):
    """The emulated kernel on speech that the network has not heard, for its whole length; the most certain is 1."""
    config = parse_use_config(Config, ["--checkpoint_path", str(ROOT / "deepspeech2" / "pretrained" / "best.ckpt"),
                                       "--length", "0", "--runtime", "ascend", "--file_name", str(tmp_path / "net")])
    path = PROGRAMS["deepspeech2"].export.main(config)
    for recording in sorted(Path(DATA, "an4", "wav").glob("an4test_clstk/*/*"))[::40]:
        features = spectrogram(audio_file.read(recording, RATE))[None]
        exact, half = (Evaluator(path, half=half)(features, np.array([features.shape[1]], np.int32))[0][:, 0]
                       for half in (False, True))
        assert np.abs(np.exp(exact) - np.exp(half)).max() < 0.01
        assert greedy(exact, Alphabet(config.labels)) == greedy(half, Alphabet(config.labels)) != ""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """(network as exported, ports, path) of a small DeepSpeech2."""
    model, ports = deepspeech2(), [Port("features", "float32", (1, None, BINS), 24), *FRAMES]
    return model, ports, exported(model, tmp_path_factory.mktemp("graph"), ports)


def test_a_graph_that_computes_something_else_is_noticed(graph, tmp_path):
    """A bit of a weight; gates in another order, of which the network knows too."""
    model, ports, path = graph
    inputs = example_inputs(ports)
    expected = Evaluator(path)(*(array.asnumpy() for array in inputs))
    whole, copy = path.read_bytes(), tmp_path / "net.mindir"
    weights = {parameter.name: parameter for parameter in model.get_parameters()}
    check_graph(path, model, inputs, expected)
    for name in ("conv.second.weight", "layers.1.rnn.backward.weight"):
        content = bytearray(whole)
        content[content.index(weights[name].asnumpy().tobytes()) + 4] ^= 1
        copy.write_bytes(content)
        with pytest.raises(RuntimeError, match=f"{name} is not what the network has"):
            check_graph(copy, model, inputs, expected)
    weight = weights["layers.0.rnn.forward.weight"]
    own = weight.asnumpy()
    other = own.reshape(-1, 4, 16)[:, [0, 2, 1, 3]].reshape(own.shape)
    copy.write_bytes(whole.replace(own.tobytes(), other.tobytes()))
    weight.set_data(Tensor(other))
    with pytest.raises(RuntimeError, match="does not compute what the network does"):
        check_graph(copy, model, inputs, expected)
    weight.set_data(Tensor(own))


def aligned(config):
    """The config, with a hidden size that an Ascend takes."""
    if not isinstance(config, Config):
        return config
    return dataclasses.replace(config, hidden_size=-(-config.hidden_size // UNITS) * UNITS)


NETWORKS = {name: aligned(config) for name, config in (PRESETS | VARIATIONS).items()} | {
    "deepspeech2 gru": dataclasses.replace(SMALL, rnn_type="gru")}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name.endswith("mini") else pytest.mark.slow)
                                  for name in NETWORKS])
def test_graphs_of_all_networks(converter, tmp_path, name):
    """In numpy they compute what the network does, for several lengths; Lite finds all their operators in CANN."""
    network, ports, items, reference = case(NETWORKS[name], np.random.default_rng(0))
    if ports[0].name == "waveform":     # without a count of samples such a graph takes whole hops
        items = {item: [x[:, :x.shape[1] // HOP * HOP]] for item, (x,) in items.items()}
    wanted = {item: reference(*arrays) for item, arrays in sorted(items.items(), key=lambda item: int(item[0]))[:2]}
    path = exported(network, tmp_path, ports, "lite2.0-ascend")
    graph = Evaluator(path)
    for item, expected in wanted.items():
        expected = [value.asnumpy() for value in (expected if isinstance(expected, tuple) else (expected,))]
        for found, value in zip(graph(*items[item]), expected, strict=True):
            # the weights of recurrent layers are rounded
            bound = (8 * ROUNDING if isinstance(NETWORKS[name], Config) else 1e-4) * np.abs(value).max()
            np.testing.assert_allclose(found, value, rtol=0, atol=bound, err_msg=item)
    done = converter(path)
    assert done.succeeded, done.output[-2000:]
    if "DynamicRNN" in graph.operators:
        assert {("DynamicRNN", port) for port in ("x", "w", "b", "init_h", "init_c")} <= done.inputs
    if "DynamicGRUV2" in graph.operators:
        assert {("DynamicGRUV2", port) for port in ("x", "weight_input", "weight_hidden", "bias_input", "bias_hidden",
                                                    "init_h")} <= done.inputs


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "deepspeech2" else pytest.mark.slow)
                                  for name in GEARED])
def test_lite_compiles_the_gears(converter, tmp_path, name):
    """export.py --gears --runtime lite2.0-ascend: graph and configuration go through, and CANN is given the gears."""
    config = aligned(dataclasses.replace(GEARED[name], runtime="lite2.0-ascend"))
    model = randomised(network_of(config), np.random.default_rng(0))
    path, description = with_gears(name, model, config, tmp_path)
    done = converter(path, tmp_path / description["config"])
    assert done.succeeded, done.output[-2000:]
    assert done.options["ge.dynamicDims"] == ";".join(map(str, description["gears"]))
    assert done.options["input_shape"].count("-1") == 1
    assert done.options["ge.exec.precision_mode"] == "allow_fp32_to_fp16"       # Lite's preferred_fp32


def test_lite_takes_no_other_graph(converter, graph, tmp_path):
    """The lines by which a user finds out; what each --runtime is for."""
    model = deepspeech2()
    ports = [Port("features", "float32", (1, 24, BINS)), *FRAMES]
    cast = "error convert Value to TypePtr"
    for runtime, reason in {"": "only support the maximum mind ir version: 1", "lite2.0": cast, "ascend": cast}.items():
        path = graph[2] if runtime == "ascend" else exported(model, tmp_path, ports, runtime)
        done = converter(path)
        assert not done.succeeded and reason in done.output, runtime


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_only_graphs_for_the_runner_on_a_cpu_hold_our_operators(runtime, tmp_path):
    network = ConvTasNet(ConvTasNetConfig(N=8, L=4, B=4, H=6, Sc=4, X=1, R=1))
    graph = exported(network, tmp_path, [Port("waveform", "float32", (1, 40))], runtime)
    assert (b"TemporalBlock" in graph.read_bytes()) == (runtime == "lite2.0-cpu")


def test_without_kernels_the_graph_for_the_runner_has_none(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu_ops, "library", lambda: None)
    network = ConvTasNet(ConvTasNetConfig(N=8, L=4, B=4, H=6, Sc=4, X=1, R=1))
    graph = exported(network, tmp_path, [Port("waveform", "float32", (1, 40))], "lite2.0-cpu")
    assert b"Custom" not in graph.read_bytes()


def test_our_operators_are_refused_where_no_runner_has_them(tmp_path):
    network = cpu_ops.fast(ConvTasNet(ConvTasNetConfig(N=8, L=4, B=4, H=6, Sc=4, X=1, R=1)))
    with refused(UnsupportedError, "Custom", "version 1"):
        exported(network, tmp_path, [Port("waveform", "float32", (1, 40))], "lite2.0")


def test_operators_without_a_kernel_are_refused_and_leave_no_file(tmp_path):
    class Unknown(nn.Cell):
        def construct(self, x):
            return ops.erf(x), x + 1.0

    ports = [Port("x", "float32", (1, 8))]
    (tmp_path / "net.mindir").write_bytes(b"an older graph")
    with refused(UnsupportedError, "Erf", "version 1"):
        exported(Unknown(), tmp_path, ports)
    assert [path.name for path in tmp_path.iterdir()] == ["net.mindir"]
    assert (tmp_path / "net.mindir").read_bytes() == b"an older graph"
    plain = exported(deepspeech2(), tmp_path, [Port("features", "float32", (1, 24, BINS)), *FRAMES], "")
    with refused(UnsupportedError, "LSTM", "version 1"):
        downgrade(plain, "ascend")


@pytest.mark.parametrize("layers", LAYERS)
def test_hidden_sizes_of_an_ascend(monkeypatch, layers):
    """For training on one and for graphs of one; other devices take any."""
    settings = LAYERS[layers] | {"hidden_size": 24}
    DeepSpeech2(dataclasses.replace(SMALL, **settings))
    for runtime in ("ascend", "lite2.0-ascend"):
        with refused(SettingError, "hidden_size", 24, 16):
            DeepSpeech2(dataclasses.replace(SMALL, runtime=runtime, **settings))
    monkeypatch.setattr(ms, "get_context", lambda name: "Ascend")
    with refused(SettingError, "hidden_size", 24, 16):
        DeepSpeech2(dataclasses.replace(SMALL, **settings))


MISTAKES = {
    "AIR without an Ascend": ({"file_format": "AIR", "device_target": "CPU"}, UnsupportedError,
                              ["file_format AIR", "Ascend", "MINDIR"]),
    "a runtime there is not": ({"runtime": "lite3"}, SettingError, ["runtime", "'lite3'", "MINDIR", "lite2.0-cpu"]),
    "a runtime for ONNX": ({"runtime": "ascend", "file_format": "ONNX"}, SettingError, ["runtime", "'ascend'", "ONNX"]),
    "ONNX for any length": ({"file_format": "ONNX", "length": 0}, SettingError, ["file_format ONNX", "--length"]),
    "a format there is not": ({"file_format": "OM"}, SettingError, ["file_format", "OM", "MINDIR, ONNX, AIR"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("model", PROGRAMS)
def test_mistakes_are_refused_before_anything_is_done(model, mistake, tmp_path):
    """Before the checkpoint, which there is not, is looked for."""
    settings, kind, facts = MISTAKES[mistake]
    config = dataclasses.replace(CONFIGS[model](), model_path=str(tmp_path / "none.ckpt"), **settings)
    with refused(kind, *facts):
        PROGRAMS[model].export.main(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings, facts", [
    ({"file_format": "ONNX", "input": "waveform"}, ["file_format ONNX", "input waveform", "features"]),
    ({"rnn_type": "gru", "runtime": "lite2.0"}, ["runtime lite2.0", "rnn_type gru", "lstm"]),
    ({"rnn_type": "gru", "runtime": "lite2.0-cpu"}, ["runtime lite2.0-cpu", "rnn_type gru", "lstm"])])
def test_what_a_format_lacks_for_deepspeech2_is_refused_at_once(settings, facts, tmp_path):
    config = dataclasses.replace(SMALL, model_path=str(tmp_path / "none.ckpt"), **settings)
    with refused(SettingError, *facts, "MINDIR"):
        PROGRAMS["deepspeech2"].export.main(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["Ascend", pytest.param("GPU", marks=pytest.mark.slow)])
def test_export_computes_on_the_cpu_wherever_it_runs(target, tmp_path, monkeypatch):
    """Also where the environment or the run's configuration name another device; there is none here."""
    monkeypatch.setenv("DEVICE_TARGET", target)
    model = deepspeech2()
    save_checkpoint(tmp_path / "best.ckpt", {parameter.name: parameter for parameter in model.get_parameters()})
    config = dataclasses.replace(SMALL, model_path=str(tmp_path / "best.ckpt"), device_target=target, length=24,
                                 runtime="ascend")
    path = PROGRAMS["deepspeech2"].export.main(config)
    assert ms.get_context("device_target") == "CPU"
    arrays = speech(24, 20)
    expected = run_network(model, [Tensor(array) for array in arrays])[0]
    np.testing.assert_allclose(Evaluator(path)(*arrays)[0][:10], expected[:10], rtol=0, atol=1e-5)


@pytest.mark.parametrize("settings, multiple", [({"length": 0}, HOP), ({"length": 30}, 1), ({"gears": "20,30"}, 1)])
def test_wavs_for_a_graph_of_any_length_are_padded_to_hops(settings, multiple, tmp_path):
    """By the runner, since such a graph takes no others; with gears it is given how many samples there are."""
    model = deepspeech2(bidirectional=False)
    config = dataclasses.replace(SMALL, bidirectional=False, runtime="ascend", input="waveform", **settings)
    description = with_gears("deepspeech2", model, config, tmp_path)[1]
    assert description["wav_multiple"] == multiple


def test_onnx_holds_its_lstm(tmp_path):
    """The operator LSTM, one per direction, which CANN and onnxruntime know; what it computes is tested elsewhere."""
    onnx = pytest.importorskip("onnx")
    config = dataclasses.replace(SMALL, file_format="ONNX", file_name=str(tmp_path / "net"))
    path = export_model(FixedLength(deepspeech2(), 24), config, [Port("features", "float32", (1, 24, BINS)), *FRAMES],
                        [Port("log_probs", "float32", (12, 1, 29)), Port("n", "int32", (1,))], "net")
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    assert nodes.count("LSTM") == 4 and not {"DynamicRNN", "Loop", "Scan"} & set(nodes)
