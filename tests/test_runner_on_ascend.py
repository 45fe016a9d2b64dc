"""The C++ runner on an Ascend, with MindSpore Lite 2.0.0's libraries for one, over stand-ins for CANN's."""
import dataclasses
import json
import os
import subprocess

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import assert_line, assert_refusal
from mindspore import nn

from ecapatdnn.src.config import Config
from utils.export.graph import Port, export_model

GEARS = [8, 16]         # of the Ascend in pretended_ascend.cc


class DoubledFrames(nn.Cell):
    """What that Ascend computes."""

    def construct(self, x, n):
        return x[:, ::2] * 2.0, n + 0


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """With gears."""
    return export(tmp_path_factory.mktemp("graph"), GEARS)


def export(folder, gears=()):
    """The graph that is written for that converter."""
    config = dataclasses.replace(Config(), runtime="lite2.0-ascend", file_name=str(folder / "net"))
    return export_model(DoubledFrames(), config, [Port("x", "float32", (1, None, 3), 8), Port("n", "int32", (1,))],
                        [Port("y", "float32", (1, None, 3), length=(1, 2)), Port("m", "int32", (1,))], "net",
                        gears=gears, sample_rate=1, step_seconds=1)


@pytest.fixture(scope="module")
def run(converter, runner, tmp_path_factory):
    """A function that runs main over a folder: (exit code, what it and the Ascend say)."""
    device = tmp_path_factory.mktemp("device") / "libpretended.so"
    source = ROOT / "tests" / "helpers" / "pretended_ascend.cc"
    subprocess.run(["g++", "-std=c++17", "-shared", "-fPIC", source, "-o", device], check=True)

    def over(graph, folder, *flags):
        done = subprocess.run([runner, "--mindir_path", graph, "--input_path", folder / "in", "--output_path",
                               folder / "out", "--device_target", "Ascend", "--warmup", "0", *flags],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              env=os.environ | {"GLOG_v": "4", "LD_PRELOAD": str(device),
                                                "LD_LIBRARY_PATH": f"{converter.folder}:{converter.libraries}"})
        return done.returncode, done.stdout

    return over


def write_frames(folder, *lengths):
    """Recordings of so many frames, named by their places and lengths; {name: (length, 3)}."""
    (folder / "in").mkdir()
    frames = {f"{i} {n}": np.arange(3 * n, dtype=np.float32).reshape(n, 3) for i, n in enumerate(lengths)}
    for name, x in frames.items():
        x.tofile(folder / "in" / f"{name}.bin")
    return frames


def test_gears_are_compiled_by_the_converter_and_chosen_by_the_runner(converter, graph, run, tmp_path):
    """From export.py's configuration to the dimensions that the model is asked for, and the results of each length."""
    description = json.loads((graph.parent / "inputs.json").read_text())
    conversion = converter(graph, graph.parent / description["config"])
    assert conversion.succeeded, conversion.output
    assert conversion.options == {"input_format": "ND", "input_shape": "x:1,-1,3;n:1", "ge.dynamicDims": "8;16",
                                  "ge.exec.precision_mode": "allow_fp32_to_fp16"}
    compiled = graph.parent / "compiled.mindir"
    compiled.write_bytes(converter.converted.read_bytes())
    frames = write_frames(tmp_path, 1, 8, 9, 16, 17, 3)
    code, output = run(compiled, tmp_path, "--device_id", "3")
    assert_refusal(code, output)
    assert_line(output, "17.bin", 17, 16)
    assert [line for line in output.splitlines() if line.startswith("gear ")] == ["gear 8", "gear 16", "gear 8"]
    assert "device 3\n" in output
    for name, x in frames.items():
        if len(x) <= GEARS[-1]:
            actual = np.fromfile(tmp_path / "out" / f"{name}_0.bin", np.float32).reshape(-1, 3)
            np.testing.assert_array_equal(actual, 2 * x[::2])
            assert np.fromfile(tmp_path / "out" / f"{name}_1.bin", np.int32).tolist() == [len(x)]


@pytest.mark.parametrize("flags, mode", [((), "allow_fp32_to_fp16"), (("--precision", "enforce_fp16"), "force_fp16"),
                                         (("--precision=enforce_origin",), "must_keep_origin_dtype")])
def test_precision_is_what_cann_is_given(flags, mode, graph, run, tmp_path):
    """Where the runner compiles the graph itself: with no configuration, and over what one says."""
    for number, values in enumerate((np.ones((8, 3), np.float32), np.array([8], np.int32))):
        path = tmp_path / "in" / f"{number:02d}_data" / "a.bin"
        path.parent.mkdir(parents=True)
        values.tofile(path)
    for graph_path in (export(tmp_path), graph):
        _, output = run(graph_path, tmp_path, *flags)
        options = [line for line in output.splitlines() if line.startswith("option ")]
        assert options == [f"option ge.exec.precision_mode {mode}"], output
