"""The C++ runner: what it computes, what it reads, how it takes mistakes. Whole chains are in test_*_train.py."""
import configparser
import dataclasses
import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.errors import assert_line, assert_refusal, refused
from helpers.graphs import (
    CONFIGS,
    GEARED,
    PRESETS,
    PROGRAMS,
    RATE,
    VARIATIONS,
    alone,
    case,
    exported,
    network_of,
    noise,
    randomised,
    small,
)
from helpers.originals import golden, take_over
from helpers.programs import run_runner
from helpers.shared import runner_program
from mindspore import Tensor, nn, ops
from mindspore.train import mind_ir_pb2 as pb

from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.model import ConvTasNet, WholeStrides
from ecapatdnn.src.config import Config as EcapaConfig
from ecapatdnn.src.features import FRONT_ENDS, filter_bank
from ecapatdnn.src.waveform import FilterBank
from utils.config import load_config, parse_use_config
from utils.cpu_ops.build import processor
from utils.errors import MismatchError, SettingError, UnsupportedError
from utils.export.gears import read_gears
from utils.export.graph import Port, export_model, start_export
from utils.export.runner import MIGRATIONS

FACTS = {"sample_rate": RATE, "step_seconds": 1 / RATE, "wav_multiple": 1}


@pytest.fixture(scope="session")
def run(runner):
    """run_runner of the program that the tests share."""
    return functools.partial(run_runner, runner)


class Doubled(nn.Cell):
    """A graph whose results are known: 2 x, and the sum of x."""

    def construct(self, x):
        # twice, for the runtime's sum over a single number points to memory of an earlier input
        return x * 2.0, ops.cat((x, x), 1).sum(1) / 2


@pytest.fixture(scope="session")
def doubled(tmp_path_factory):
    """The exported `Doubled` for waveforms of any length."""
    return export(Doubled(), [Port("waveform", "float32", (1, None))], tmp_path_factory.mktemp("doubled"))


def export(network, inputs, folder, runtime="lite2.0-cpu", **facts):
    """The path of the network's graph for the older runtime, in `folder`."""
    config = dataclasses.replace(EcapaConfig(), runtime=runtime, file_name=str(folder / "net.mindir"))
    return export_model(network, config, inputs, [Port("x", "float32", (1, None)), Port("y", "float32", (1,))], "net",
                        **(FACTS | facts))


def write_inputs(folder, items):
    """`items` {name: arrays} as numbered folders."""
    for name, arrays in items.items():
        for number, array in enumerate(arrays):
            path = folder / f"{number:02d}_data" / f"{name}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            array.tofile(path)


QUICK = ("ecapatdnn mini", "conv_tasnet mini", "deepspeech2 waveform")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name.endswith(QUICK) else pytest.mark.slow)
                                  for name in PRESETS | VARIATIONS])
def test_runner_computes_what_python_does(name, run, tmp_path):
    """At several lengths in one process, longer ones after shorter ones and back."""
    network, ports, items, reference = case((PRESETS | VARIATIONS)[name], np.random.default_rng(0))
    graph = export(network, ports, tmp_path)
    write_inputs(tmp_path / "in", items)
    code, output = run(graph, tmp_path / "in", tmp_path / "out", "--threads", "1", "--warmup", "0")
    assert code == 0, output
    for item, arrays in items.items():
        expected = reference(*arrays)
        for number, value in enumerate(expected if isinstance(expected, tuple) else (expected,)):
            value = value.asnumpy()
            found = np.fromfile(tmp_path / "out" / f"{item}_{number}.bin", value.dtype).reshape(value.shape)
            np.testing.assert_allclose(found, value, rtol=0, atol=1e-4 * np.abs(value).max(), err_msg=f"{item}")


@pytest.mark.slow
def test_graph_for_any_runtime_computes_the_same(run, tmp_path):
    """What MindSpore Lite does wrong on a CPU is worked around in two ways; one holds anywhere."""
    network, ports, items, _ = case(PRESETS["deepspeech2 mini"], np.random.default_rng(0))
    write_inputs(tmp_path / "in", items)
    found = []
    for runtime in ("lite2.0", "lite2.0-cpu"):
        graph = export(network, ports, tmp_path / runtime, runtime, branches=2)
        code, output = run(graph, tmp_path / "in", tmp_path / runtime, "--threads", "2")
        assert code == 0, output
        found.append([np.fromfile(tmp_path / runtime / f"{item}_0.bin", np.float32) for item in items])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(one).max())


@pytest.fixture(scope="module", params=["gLN", "cgLN"])
def block(request, tmp_path_factory):
    """(A graph with the operator of a block, folder of its input, what the network computes)."""
    folder = tmp_path_factory.mktemp("block")
    generator = np.random.default_rng(0)
    network = randomised(ConvTasNet(ConvTasNetConfig(N=24, L=16, B=18, H=20, Sc=19, X=2, R=1, norm=request.param,
                                                     causal=request.param == "cgLN")), generator)
    x = generator.standard_normal((1, 800)).astype(np.float32)
    expected = network(Tensor(x)).asnumpy()
    graph = export(WholeStrides(network), [Port("waveform", "float32", (1, None), example=400)], folder)
    assert graph.read_bytes().count(b"TemporalBlock") == 2
    write_inputs(folder / "in", {"0": [x]})
    return graph, folder / "in", expected


def program_alone(runner, folder):
    """A copy of the program without the libraries of operators."""
    copy = folder / "build"
    copy.mkdir()
    shutil.copy(runner.with_name("libspeechzoo.so"), copy)
    return Path(shutil.copy(runner, copy))


@pytest.mark.parametrize("level", ["sse2", "avx2", "avx512"])
def test_operators_for_every_kind_of_processor(level, block, runner, tmp_path):
    """Those of lesser ones in the place of those of this one."""
    graph, inputs, expected = block
    copy = program_alone(runner, tmp_path).parent
    flags = processor()["flags"].split()
    if level == "avx512" and "avx512f" not in flags:
        pytest.skip("this processor has no AVX-512")
    for name in ("sse2", "avx2", "avx512"):
        (copy / f"libcpu_ops_{name}.so").symlink_to(runner.with_name(f"libcpu_ops_{level}.so"))
    for threads in "12":
        code, output = run_runner(copy / "main", graph, inputs, tmp_path / "out", "--threads", threads)
        assert code == 0, output
        found = np.fromfile(tmp_path / "out" / "0_0.bin", np.float32).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_operators_that_cannot_be_had_are_named(block, runner, tmp_path):
    graph, inputs, _ = block
    copy = program_alone(runner, tmp_path)
    assert_refusal(*run_runner(copy, graph, inputs, tmp_path / "out"), copy.parent, "No such file", "build.sh")
    for library in runner.parent.glob("libcpu_ops_*.so"):
        (copy.parent / library.name).symlink_to(runner)     # that has no operators
    assert_refusal(*run_runner(copy, graph, inputs, tmp_path / "out"), copy.parent, "build.sh")


def test_what_is_too_short_for_the_graph_is_named(run, tmp_path):
    graph = export(Doubled(), [Port("waveform", "float32", (1, None))], tmp_path, shortest=10)
    write_inputs(tmp_path / "in", {"nine": [np.ones(9, np.float32)], "ten": [np.ones(10, np.float32)]})
    code, output = run(graph, tmp_path / "in", tmp_path / "out")
    assert_refusal(code, output, "1 of 2 items")
    assert_line(output, "nine.bin", 9, 10)
    assert (tmp_path / "out" / "ten_0.bin").is_file()


def test_each_graph_of_a_folder_has_its_own_description(run, tmp_path):
    first = export(Doubled(), [Port("waveform", "float32", (1, None))], tmp_path, shortest=10)
    (tmp_path / "net.mindir").rename(tmp_path / "other.mindir")
    description = json.loads((tmp_path / "inputs.json").read_text())
    (tmp_path / "inputs.json").write_text(json.dumps(
        description | {"file": "x.onnx", "shortest": 0, "others": {"other.mindir": description}}))
    write_inputs(tmp_path / "in", {"nine": [np.ones(9, np.float32)]})
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.mindir").symlink_to("../other.mindir")
    for graph in (tmp_path / "other.mindir", tmp_path / "links" / "a.mindir"):
        code, output = run(graph, tmp_path / "in", tmp_path / "out")
        assert code != 0
        assert_line(output, "nine.bin", 9, 10)
    first.write_bytes((tmp_path / "other.mindir").read_bytes())
    code, output = run(first, tmp_path / "in", tmp_path / "out")
    assert_refusal(code, output, tmp_path / "inputs.json", "net.mindir")


def test_graph_for_a_cpu_is_refused_elsewhere(doubled, run, tmp_path):
    write_inputs(tmp_path, {"a": [np.ones(9, np.float32)]})
    code, output = run(doubled, tmp_path, tmp_path / "out", "--device_target=Ascend")
    assert_refusal(code, output, doubled, "MindSpore Lite 2.0.0", "CPU", "--runtime ascend", "lite2.0-ascend")


def test_graph_for_an_ascend_is_refused_on_a_cpu(doubled, run, tmp_path):
    """Whatever it holds: one without recurrent layers would run, another runtime would say what it lacks."""
    graph, description = tmp_path / "net.mindir", json.loads((doubled.parent / "inputs.json").read_text())
    graph.write_bytes(doubled.read_bytes())
    write_inputs(tmp_path, {"a": [np.ones(9, np.float32)]})
    for runtime in ("ascend", "lite2.0-ascend"):
        (tmp_path / "inputs.json").write_text(json.dumps(description | {"runtime": runtime}))
        code, output = run(graph, tmp_path, tmp_path / "out")
        assert_refusal(code, output, graph, "Ascend", "CPU", "--runtime lite2.0")


IN_EVERY_RUN = ("ecapatdnn taoruijie", "conv_tasnet", "deepspeech2")


def recording(shape, length, generator):
    """One for an input of `shape`, so long."""
    shape = [length if size is None else size for size in shape]
    return noise(generator, length) if len(shape) == 2 else generator.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.slow)
                                  for name in GEARED])
def test_padded_to_a_gear_a_recording_gives_what_it_gives_alone(name, run, tmp_path):
    """export.py --gears and the runner, to 1e-4: one that fills its gear, shorter and longer ones, one too long."""
    config, generator = dataclasses.replace(GEARED[name], runtime="lite2.0-cpu"), np.random.default_rng(0)
    model = randomised(network_of(config), generator)
    graph, description = exported(name, model, config, tmp_path)
    shape, (first, second, last) = description["inputs"][0]["shape"], description["gears"]
    items = {f"{i} {n}": recording(shape, n, generator)
             for i, n in enumerate((second, last // 3 // 8 * 8, last - 8, first + 8, last + 8))}
    write_inputs(tmp_path / "in", {item: [x] for item, x in items.items()})
    code, output = run(graph, tmp_path / "in", tmp_path / "out", "--threads", "1", "--warmup", "0")
    assert_refusal(code, output, "1 of 5 items")
    assert_line(output, f"4 {last + 8}.bin", last + 8, last)
    reference = alone(config, model)
    for item, x in list(items.items())[:4]:
        expected = reference(x)
        for number, value in enumerate(expected if isinstance(expected, tuple) else (expected,)):
            value = value.asnumpy()
            found = np.fromfile(tmp_path / "out" / f"{item}_{number}.bin", value.dtype).reshape(value.shape)
            np.testing.assert_allclose(found, value, rtol=0, atol=1e-4 * np.abs(value).max(), err_msg=item)


@pytest.mark.parametrize("name", [pytest.param("conv_tasnet", marks=pytest.mark.slow), "deepspeech2",
                                  pytest.param("ecapatdnn speechbrain", marks=pytest.mark.slow)])
def test_graph_with_gears_for_any_runtime(name, tmp_path):
    """It gives what a recording gives alone, and its inputs are those that the converter is given."""
    config, generator = GEARED[name], np.random.default_rng(0)
    model = randomised(network_of(config), generator)
    graph, description = exported(name, model, config, tmp_path)
    mindir = pb.ModelProto()
    mindir.ParseFromString(graph.read_bytes())
    settings = configparser.ConfigParser()
    settings.read(tmp_path / description["config"])
    build = {key: value.strip('"') for key, value in settings["acl_build_options"].items()}
    shapes = dict(one.split(":") for one in build["input_shape"].split(";"))
    # runtimes name an input by what stands behind the colon
    assert shapes == {one.name.split(":")[-1]: ",".join(map(str, one.tensor[0].dims)) for one in mindir.graph.input}
    assert list(shapes) == [one["name"] for one in description["inputs"]]
    assert list(shapes)[-1] == description["length_input"] and sum("-1" in one for one in shapes.values()) == 1
    assert build["input_format"] == "ND" and build["ge.dynamicdims"].split(";") == config.gears.split(",")
    first, gear, _ = description["gears"]
    x = recording(description["inputs"][0]["shape"], first + 8, generator)
    padded = np.pad(x, [(0, 0), (0, gear - x.shape[1])] + [(0, 0)] * (x.ndim - 2), constant_values=3)
    outputs = (nn.GraphCell(ms.load(str(graph)))(Tensor(padded), Tensor(np.array(x.shape[1:2], np.int32))),
               alone(config, model)(x))
    found, expected = [(one[0] if isinstance(one, tuple) else one).asnumpy() for one in outputs]
    found = found[..., :expected.shape[-1]][:expected.shape[0]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def listed(model, folder):
    """Settings of preprocess.py for wav files of 0.5 to 1.9 s in `folder`, in the model's kind of list."""
    generator, rate = np.random.default_rng(1), 8000 if model == "conv_tasnet" else RATE
    seconds, path = {"a": 1.9, "b": 0.5, "c": 1.2, "d": 1.234567}, folder / "list"
    for name, length in seconds.items():
        samples = [0.1 * generator.standard_normal(int(length * rate)) for _ in range(2)]
        for number, one in enumerate((sum(samples), *samples)):
            soundfile.write(folder / f"{name}{number}.wav", one, rate)
    if model == "ecapatdnn":
        path.write_text("1 a0.wav b0.wav\n0 a0.wav c0.wav\n0 b0.wav d0.wav\n")
        return {"eval_list": str(path), "eval_path": str(folder)}
    if model == "conv_tasnet":
        rows = [f"{name},{name}0.wav,{name}1.wav,{name}2.wav,{int(length * rate)}" for name, length in seconds.items()]
        path = path.with_suffix(".csv")
        path.write_text("\n".join(["mixture_ID,mixture_path,source_1_path,source_2_path,length", *rows]) + "\n")
        return {"eval_dir": str(path), "eval_path": str(folder)}
    path.with_suffix(".txt").write_text("YES\n")
    path.with_suffix(".csv").write_text("".join(f"{folder}/{name}0.wav,{folder}/list.txt\n" for name in seconds))
    return {"test_manifest": str(path.with_suffix(".csv"))}


@pytest.mark.parametrize("model, gears", [pytest.param("ecapatdnn", "100,200", marks=pytest.mark.slow),
                                          pytest.param("conv_tasnet", "8000,16000", marks=pytest.mark.slow),
                                          ("deepspeech2", "100,200")])
def test_scores_with_gears_are_those_without(model, gears, run, tmp_path, monkeypatch):
    """preprocess.py, the runner and postprocess.py around a graph with gears, and one for any length."""
    monkeypatch.chdir(tmp_path)
    lists, found = listed(model, tmp_path), []
    network = randomised(network_of(small(CONFIGS[model]())), np.random.default_rng(0))
    for folder, settings in (("any", {"length": 0}), ("gears", {"gears": gears})):
        Path(folder).mkdir()
        config = dataclasses.replace(small(CONFIGS[model]()), runtime="lite2.0-cpu", **settings, **lists)
        graph, description = exported(model, network, config, tmp_path / folder)
        config = dataclasses.replace(config, model_path=str(graph))
        PROGRAMS[model].preprocess.main(config)
        code, output = run(graph, "preprocess_Result", "result_Files")
        assert code == 0, output
        score = PROGRAMS[model].postprocess.main(config)
        found.append((score, {path.name: np.fromfile(path, np.int32 if path.stat().st_size == 4 else np.float32)
                              for path in Path("result_Files").glob("*.bin")}))
    (scores, outputs), (geared_scores, geared_outputs) = found
    assert geared_scores == pytest.approx(scores, abs=1e-3) and geared_outputs.keys() == outputs.keys()
    for name, value in outputs.items():
        np.testing.assert_allclose(geared_outputs[name], value, rtol=0, atol=1e-4 * np.abs(value).max(), err_msg=name)
    last = description["gears"].pop()
    (tmp_path / "gears" / "inputs.json").write_text(json.dumps(description))
    with refused(MismatchError, last // 2, "--gears"):
        PROGRAMS[model].preprocess.main(config)


class DoubledFrames(nn.Cell):
    """2 x of every second frame, and n."""

    def construct(self, x, n):
        return x[:, ::2] * 2.0, n + 0


def gears(folder, runtime="lite2.0", **facts):
    """The exported `DoubledFrames` for lengths up to 8 and 16."""
    config = dataclasses.replace(EcapaConfig(), runtime=runtime, file_name=str(folder / "net.mindir"))
    return export_model(DoubledFrames(), config, [Port("x", "float32", (1, None, 3), 8), Port("n", "int32", (1,))],
                        [Port("y", "float32", (1, None, 3), length=(1, 2)), Port("m", "int32", (1,))], "net",
                        gears=[8, 16], **(FACTS | facts))


def test_configuration_is_loaded(run, tmp_path):
    """On a CPU as well, where it changes nothing; from plain .bin files, as the length has none."""
    graph = gears(tmp_path / "graph")
    items = {n: np.arange(3 * n, dtype=np.float32) for n in (1, 8, 5, 16, 9)}
    (tmp_path / "in").mkdir()
    for n, x in items.items():
        x.tofile(tmp_path / "in" / f"{n}.bin")
    code, output = run(graph, tmp_path / "in", tmp_path / "out")
    assert code == 0, output
    for n, x in items.items():
        np.testing.assert_array_equal(np.fromfile(tmp_path / "out" / f"{n}_0.bin", np.float32),
                                      2 * x.reshape(n, 3)[::2].ravel())
        assert np.fromfile(tmp_path / "out" / f"{n}_1.bin", np.int32).tolist() == [n]
    code, output = run(graph, tmp_path / "in", tmp_path / "out", "--device_target=Ascend")
    assert_refusal(code, output, graph)
    assert f"converter_lite --configFile={graph.parent}/net.ini" in output
    (graph.parent / "net.ini").unlink()
    code, output = run(graph, tmp_path / "in", tmp_path / "out")
    assert_refusal(code, output, graph.parent / "net.ini", "export.py")


def test_wav_files_with_gears(run, tmp_path):
    """Of so many samples as the graph takes, a multiple of 4; then padded, and the results cut."""
    class Doubled(nn.Cell):
        def construct(self, waveform, samples):
            return waveform * 2.0, samples + 0

    config = dataclasses.replace(EcapaConfig(), runtime="lite2.0", file_name=str(tmp_path / "net"))
    graph = export_model(Doubled(), config, [Port("waveform", "float32", (1, None)), Port("samples", "int32", (1,))],
                         [Port("x", "float32", (1, None), length=(0, 1)), Port("n", "int32", (1,))], "net",
                         gears=[8, 16], **(FACTS | {"wav_multiple": 4}))
    (tmp_path / "in").mkdir()
    for n in (5, 9, 8, 17):
        soundfile.write(tmp_path / "in" / f"{n}.wav", np.arange(n) / 32, RATE)
    code, output = run(graph, tmp_path / "in", tmp_path / "out")
    assert_refusal(code, output)
    assert_line(output, "17.wav", 20, 16)
    for n, whole in ((5, 8), (9, 12), (8, 8)):
        expected = [i / 16 for i in range(n)] + [0] * (whole - n)
        assert np.fromfile(tmp_path / "out" / f"{n}_0.bin", np.float32).tolist() == expected
        assert np.fromfile(tmp_path / "out" / f"{n}_1.bin", np.int32).tolist() == [whole]


def test_gears_that_make_no_sense(run, tmp_path):
    for text, facts in (("200", [1, "2 to 100"]), ("200,100", ["'200,100'"]), ("200,200", ["'200,200'"]),
                        ("2e2,300", ["'2e2,300'"]), ("8,20", [20, "multiples of 8"]), ("0,8", [0, 8]),
                        (",".join(str(8 * i) for i in range(1, 102)), [101, "2 to 100"])):
        with refused(SettingError, "gears", *facts):
            read_gears(text, 8, 8)
    assert read_gears("") == [] and read_gears("8, 16", 8, 8) == [8, 16]
    with refused(SettingError, "gears", "8,16", "ONNX", "MINDIR"):
        start_export(EcapaConfig(file_format="ONNX", gears="8,16"))
    graph = gears(tmp_path)
    description = json.loads((tmp_path / "inputs.json").read_text())
    write_inputs(tmp_path / "in", {"a": [np.ones(9, np.float32)]})
    first, second = description["outputs"]
    for change, facts in (({"gears": [16, 8]}, ["inputs.json", "gears"]), ({"gears": []}, ["inputs.json", "gears"]),
                          ({"gears": "8"}, ["inputs.json", "export.py"]),
                          ({"length_input": "x"}, ["length_input", "int32"]),
                          ({"outputs": []}, ["2 outputs", "inputs.json", 0]),
                          ({"outputs": [first | {"length": [1, 0]}, second]}, ["length of y"]),
                          ({"outputs": [first | {"length": [1, 1]}, second]}, ["48 bytes for y"]),
                          ({"outputs": [first | {"length": [-8, 1]}, second]}, ["48 bytes for y"]),
                          ({"outputs": [first | {"shape": [1, None, 0]}, second]}, ["48 bytes for y"])):
        (tmp_path / "inputs.json").write_text(json.dumps(description | change))
        code, output = run(graph, tmp_path / "in", tmp_path / "out")
        assert_refusal(code, output)
        assert_line(output, *facts)


def golden_case(name, run):
    """(graph of the golden original's weights, {item: inputs}, {item: what the original computed}, of its result)."""
    model, form, file = name.split()
    path, arrays = golden(file)
    programs = PROGRAMS[model]
    checkpoint = take_over(programs.import_torch, form, path, run)
    flags = ["--checkpoint_path", str(checkpoint), "--runtime", "lite2.0", "--length", "0"]
    graph = programs.export.main(parse_use_config(CONFIGS[model], flags))
    if model == "deepspeech2":      # the longest: the others have noise in their padding, which the graph leaves out
        features = np.ascontiguousarray(arrays["spectrogram"][:1, 0].transpose(0, 2, 1))
        items, expected = [[features, arrays["lengths"][:1].astype(np.int32)]], [np.log(arrays["probabilities"][0])]
    elif model == "conv_tasnet":    # whole strides, as the runner cuts wavs
        stride = load_config(ConvTasNetConfig, checkpoint).L // 2
        whole = arrays["mixture"].shape[1] // stride * stride
        items, expected = [[one[None, :whole]] for one in arrays["mixture"]], list(arrays["sources"][:, :, :whole])
    elif form == "taoruijie":
        features = np.log(arrays["mel_power"].transpose(0, 2, 1) + 1e-6)
        items, expected = [[one[None]] for one in features - features.mean(1, keepdims=True)], arrays["embeddings"]
    else:
        items, expected = [[one[None]] for one in arrays["features"]], arrays["embeddings"][:, 0]
    return graph, {str(i): [np.ascontiguousarray(x) for x in one] for i, one in enumerate(items)}, expected


GOLDEN = ["ecapatdnn speechbrain speechbrain_ecapa.pt", "ecapatdnn taoruijie taoruijie_ecapa.pt",
          "conv_tasnet asteroid asteroid_conv_tasnet.serialized.pt",
          "conv_tasnet asteroid asteroid_conv_tasnet_causal.serialized.pt",
          "conv_tasnet kaituoxu kaituoxu_conv_tasnet.pt",
          "deepspeech2 deepspeech_pytorch deepspeech_pytorch_bilstm.ckpt",
          "deepspeech2 deepspeech_pytorch deepspeech_pytorch_unilstm.ckpt"]    # no GRU, which export.py refuses for it


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDEN)
def test_runner_computes_what_the_original_does(name, run, tmp_path):
    """From the original's file through import_torch.py and export.py."""
    graph, items, expected = golden_case(name, tmp_path / "run")
    write_inputs(tmp_path / "in", items)
    code, output = run(graph, tmp_path / "in", tmp_path / "out", "--warmup", "0")
    assert code == 0, output
    for item, value in zip(items, expected, strict=True):
        found = np.fromfile(tmp_path / "out" / f"{item}_0.bin", np.float32).reshape(value.shape)
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-4 * np.abs(value).max())


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_end_as_layers_equals_features(name):
    samples = noise(np.random.default_rng(1), 12345)
    expected = filter_bank(samples[0], name)
    found = FilterBank(name, 80)(Tensor(samples)).asnumpy()[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max())


WAVS = {"PCM_U8": 1 / 128, "PCM_16": 2 ** -15, "PCM_24": 2 ** -23, "PCM_32": 2 ** -31, "FLOAT": 1e-7, "DOUBLE": 1e-7}


def test_wav_files_of_every_kind(doubled, run, tmp_path):
    """In folders, with spaces in their names, of one and two channels, plain and extensible."""
    generator = np.random.default_rng(0)
    wavs = tmp_path / "in" / "a speaker"
    wavs.mkdir(parents=True)
    expected = {}
    for kind in WAVS:
        for channels in (1, 2):
            for form in ("WAV", "WAVEX"):
                samples = generator.uniform(-0.9, 0.9, (1001, channels)).astype(np.float32).astype(np.float64)
                expected[f"{kind} {channels} {form}"] = samples.mean(axis=1), WAVS[kind]
                soundfile.write(wavs / f"{kind} {channels} {form}.WAV", samples, RATE, kind, format=form)
    code, output = run(doubled, tmp_path / "in", tmp_path / "out")
    assert code == 0, output
    for name, (samples, step) in expected.items():
        found = np.fromfile(tmp_path / "out" / "a speaker" / f"{name}_0.bin", np.float32)
        np.testing.assert_allclose(found, 2 * samples, atol=2.5 * step, err_msg=name)
        assert np.fromfile(tmp_path / "out" / "a speaker" / f"{name}_1.bin", np.float32).size == 1


def test_bad_files_are_named_and_the_others_run(doubled, run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = np.linspace(-0.5, 0.5, 400)
    for name, rate in (("good.wav", RATE), ("rate.wav", 8000), ("long.wav", RATE)):
        soundfile.write(folder / name, good, rate)
    whole = (folder / "good.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:300])
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("not audio " * 10)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan]), RATE, "FLOAT")
    soundfile.write(folder / "none.wav", np.zeros(0), RATE)
    (folder / "dangling.wav").symlink_to("nowhere")
    code, output = run(doubled, folder, tmp_path / "out")
    assert_refusal(code, output, "7 of 9 items")
    for facts in (["rate.wav", "8000 Hz", "16000 Hz"], ["cut.wav", 256, 800], ["empty.wav", "RIFF WAVE"],
                  ["text.wav", "RIFF WAVE"], ["nan.wav", "NaN"], ["none.wav", "no samples"], ["dangling.wav", "such"]):
        assert_line(output, *facts)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "good_0.bin", "good_1.bin", "long_0.bin", "long_1.bin", "time_report.txt"}
    assert "count 2\n" in (tmp_path / "out" / "time_report.txt").read_text()


def test_files_of_another_size_than_the_graph(run, tmp_path):
    """Fixed shapes: too short, too long, empty, one input missing."""
    class Sum(nn.Cell):
        def construct(self, x, y):
            return x + y, ops.relu(x)

    graph = export(Sum(), [Port("x", "float32", (1, 50)), Port("y", "float32", (1, 50))], tmp_path)
    x = np.arange(50, dtype=np.float32)
    write_inputs(tmp_path / "in", {"good": [x, x], "short": [x, x[:-1]], "oversized": [np.append(x, x[:1]), x],
                                   "empty": [x[:0], x], "half": [x, x], "bytes": [x, x]})
    (tmp_path / "in" / "01_data" / "half.bin").unlink()
    (tmp_path / "in" / "01_data" / "bytes.bin").write_bytes(x.tobytes()[:-1])
    code, output = run(graph, tmp_path / "in", tmp_path / "out")
    assert_refusal(code, output, "5 of 6 items")
    for facts in (["01_data/short.bin", "196 bytes", 200, "y"], ["00_data/oversized.bin", "204 bytes"],
                  ["00_data/empty.bin", "0 bytes"], ["01_data/half.bin"], ["01_data/bytes.bin", "199 bytes"]):
        assert_line(output, *facts)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "out" / "good_0.bin", np.float32), 2 * x)


@pytest.mark.slow
def test_ten_thousand_files(doubled, run, tmp_path):
    names = [f"{i:05d} utterance" for i in range(10000)]
    write_inputs(tmp_path / "in", {name: [np.full(20 + i % 7, i, np.float32)] for i, name in enumerate(names)})
    code, output = run(doubled, tmp_path / "in", tmp_path / "out")
    assert code == 0, output[-500:]
    report = dict(line.split() for line in (tmp_path / "out" / "time_report.txt").read_text().splitlines())
    assert report["count"] == "10000" and float(report["p50_ms"]) <= float(report["p95_ms"])
    sums = [np.fromfile(tmp_path / "out" / f"{name}_1.bin", np.float32)[0] for name in names]
    np.testing.assert_allclose(sums, [i * (20 + i % 7) for i in range(10000)], rtol=1e-6)


def test_mistakes_are_refused_in_one_line(doubled, run, tmp_path):
    (tmp_path / "empty").mkdir()
    lonely = tmp_path / "lonely" / "net.mindir"
    lonely.parent.mkdir()
    lonely.write_bytes(doubled.read_bytes())
    broken = tmp_path / "broken" / "net.mindir"
    broken.parent.mkdir()
    broken.write_bytes(doubled.read_bytes()[:200])
    (broken.parent / "inputs.json").write_text((doubled.parent / "inputs.json").read_text())
    garbled = tmp_path / "garbled" / "net.mindir"
    garbled.parent.mkdir()
    garbled.write_bytes(doubled.read_bytes())
    (garbled.parent / "inputs.json").write_text("{")
    newer = tmp_path / "newer" / "net.mindir"
    newer.parent.mkdir()
    newer.write_bytes(doubled.read_bytes())
    (newer.parent / "inputs.json").write_text((doubled.parent / "inputs.json").read_text().replace(
        f'"format": {len(MIGRATIONS)}', f'"format": {len(MIGRATIONS) + 1}'))
    anywhere = export(Doubled(), [Port("waveform", "float32", (1, None))], tmp_path / "anywhere", "lite2.0")
    soundfile.write(tmp_path / "a.wav", np.ones(100) / 2, RATE)
    for arguments, facts in (
            ((tmp_path / "no.mindir", tmp_path, tmp_path / "out"), [tmp_path / "no.mindir", "export.py"]),
            ((lonely, tmp_path, tmp_path / "out"), [lonely.parent / "inputs.json"]),
            ((garbled, tmp_path, tmp_path / "out"), [garbled.parent / "inputs.json", "export.py"]),
            ((newer, tmp_path, tmp_path / "out"),
             [newer.parent / "inputs.json", f"format {len(MIGRATIONS) + 1}", len(MIGRATIONS)]),
            ((broken, tmp_path, tmp_path / "out"), [broken, "CPU"]),
            ((doubled, tmp_path / "nowhere", tmp_path / "out"), [tmp_path / "nowhere", "no such"]),
            ((doubled, tmp_path / "empty", tmp_path / "out"), [tmp_path / "empty", "00_data/*.bin"]),
            ((doubled, tmp_path, tmp_path / "out", "--threads", "two"), ["--threads", "'two'", "whole"]),
            ((doubled, tmp_path, tmp_path / "out", "--thread", "2"), ["'--thread'", "usage: main"]),
            ((doubled, tmp_path, tmp_path / "out", "--device_target", "GPU"), ["'GPU'", "Ascend", "CPU"]),
            ((doubled, tmp_path, tmp_path / "out", "--precision", "fp16"), ["'fp16'", "enforce_fp32"]),
            ((doubled, tmp_path, tmp_path / "out", "--warmup"), ["--warmup", "missing"]),
            ((anywhere, tmp_path, tmp_path / "out", "--device_target=Ascend"), [anywhere, "Ascend 0"]),
            ((doubled, tmp_path, doubled), [doubled])):
        code, output = run(*arguments)
        assert_refusal(code, output, *facts)
        assert len([line for line in output.splitlines() if line.startswith("error: ")]) == 1, output


@pytest.mark.parametrize("flags", [["--json"], ["--timestamps"], ["--embed"], ["--threshold", "0.5"],
                                   ["--lm_path", "a.arpa"], ["--alpha", "1"], ["--beta", "1"], ["--beam_width", "8"],
                                   ["--sample_rate", "8000"], ["--enrolled", "a.json"]])
def test_flags_of_answers_are_refused_with_a_folder(flags, doubled, run, tmp_path):
    write_inputs(tmp_path / "in", {"a": [np.ones(9, np.float32)]})
    assert_refusal(*run(doubled, tmp_path / "in", tmp_path / "out", *flags), flags[0], "--input_path")
    assert not (tmp_path / "out").exists()


def test_wav_files_in_a_numbered_folder(doubled, run, tmp_path):
    (tmp_path / "in" / "00_data" / "speaker").mkdir(parents=True)
    soundfile.write(tmp_path / "in" / "00_data" / "speaker" / "a.wav", np.arange(100) / 256, RATE)
    code, output = run(doubled, tmp_path / "in", tmp_path / "out")
    assert code == 0, output
    assert np.fromfile(tmp_path / "out" / "speaker" / "a_0.bin", np.float32).tolist() == [i / 128 for i in range(100)]


def test_script_passes_the_precision_on(doubled, tree, tmp_path):
    write_inputs(tmp_path / "in", {"a": [np.ones(9, np.float32)]})
    command = ["bash", tree / "ascend310_infer" / "infer.sh", tmp_path, "eval_list", doubled, tmp_path / "in", "n"]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env=os.environ | {"DEVICE_TARGET": "CPU", "PRECISION": "fp16"})
    assert_refusal(done.returncode, done.stderr, "--precision", "'fp16'", "enforce_fp32")


def test_script_refuses_before_the_work_what_it_cannot_write(doubled, tree, tmp_path):
    (tmp_path / "acc.log").mkdir()
    command = ["bash", tree / "ascend310_infer" / "infer.sh", tmp_path, "eval_list", doubled, tmp_path, "n"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert_refusal(done.returncode, done.stderr, tmp_path / "acc.log")
    assert not (tmp_path / "result_Files").exists()


@pytest.mark.slow
def test_sanitizers_find_nothing(doubled, tmp_path):
    """Wav files cut at every byte, with every byte changed, longer than they say; .bin files of odd sizes; gears."""
    program, generator = runner_program(sanitize=True), np.random.default_rng(0)
    wavs, bins = tmp_path / "wavs", tmp_path / "bins"
    wavs.mkdir()
    bins.mkdir()
    for kind in WAVS:
        path = tmp_path / "whole.wav"
        soundfile.write(path, generator.uniform(-1, 1, (9, 2)), RATE, kind, format="WAVEX")
        whole = path.read_bytes()
        for place in range(len(whole)):
            (wavs / f"{kind} cut {place}.wav").write_bytes(whole[:place])
            changed = bytearray(whole)
            changed[place] = int(generator.integers(256))
            (wavs / f"{kind} changed {place}.wav").write_bytes(changed)
        (wavs / f"{kind} long.wav").write_bytes(whole + whole)
    for size in range(220):
        (bins / f"{size}.bin").write_bytes(bytes(size))
    for graph, folder in ((doubled, wavs), (doubled, bins), (gears(tmp_path / "gears"), bins)):
        code, output = run_runner(program, graph, folder, tmp_path / "out",
                              # of the runtime: it keeps what it allocated once, and frees what it got by new
                              ASAN_OPTIONS="detect_leaks=0:alloc_dealloc_mismatch=0")
        assert code == 2 and re.search(r"^error: \d+ of \d+ items", output, re.M), output[-2000:]
        assert "Sanitizer" not in output and "runtime error" not in output, output[-2000:]


def test_unknown_operators_are_refused(tmp_path):
    class Erf(nn.Cell):
        def construct(self, x):
            return ops.erf(x), x + 1

    with refused(UnsupportedError, "Erf", "version 1"):
        export(Erf(), [Port("x", "float32", (1, 9))], tmp_path)


def test_same_output_twice_is_refused(tmp_path):
    class Twice(nn.Cell):
        def construct(self, x):
            y = x * 2.0
            return y, y

    with refused(UnsupportedError, "MakeTuple", "version 1"):
        export(Twice(), [Port("x", "float32", (1, 9))], tmp_path)


def test_inputs_json_describes_the_graph(doubled):
    description = json.loads((doubled.parent / "inputs.json").read_text())
    assert description["inputs"] == [{"name": "waveform", "dtype": "float32", "shape": [1, None]}]
    assert description["file"] == "net.mindir" and description["wav_multiple"] == 1
