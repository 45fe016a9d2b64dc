"""Graphs for inference: MINDIR, ONNX or AIR, with inputs.json beside them that holds all a runner must know."""
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from utils.cpu_ops import fuse
from utils.device import choose_target, setup_device
from utils.errors import SettingError, UnsupportedError
from utils.export.gears import converter_config
from utils.export.graph_check import check_graph, example_inputs, run_network
from utils.export.lite2 import ASCEND, downgrade
from utils.export.onnx_graph import write_onnx
from utils.export.runner import DESCRIPTION, description_text
from utils.files import whole_files
from utils.layers.ascend import as_float16, for_ascend
from utils.results import require_output
from utils.training.settings import ModelSettings

RUNTIMES = ("", *ASCEND, "lite2.0", "lite2.0-cpu")
COLUMNS = 4096      # of an image, in CANN's specification of Conv2D: more "may cause compilation errors"
REMEDY = "name another place with --file_name"
SUFFIX = {"MINDIR": "mindir", "ONNX": "onnx", "AIR": "air"}


@dataclass(frozen=True)
class Port:
    """A tensor that goes in or out; None in its shape is any size, `example` one to try.

    `length` (a, s) of an output: its None is (n + a) // s where that of the first input is n.
    `scales`: an output is as loud as the first input, whose gain it is divided by.
    `state`: an input is what a step before has left, float32 and not negative, if only by way of example.
    """

    name: str
    dtype: str
    shape: tuple
    example: int = 300
    length: tuple = ()
    scales: bool = False
    state: bool = False

    def describe(self) -> dict[str, Any]:
        """The content of inputs.json."""
        description = {"name": self.name, "dtype": self.dtype, "shape": self.shape}
        if self.length:
            description["length"] = self.length
        return description | {"scales": True} if self.scales else description

    def example_shape(self) -> list[int]:
        """The shape where any size is the example's."""
        return [size or self.example for size in self.shape]


def start_export(config: ModelSettings) -> None:
    """Refuses what cannot be written, before anything is computed, and sets up the device that writes it: the CPU.

    Even where there is an Ascend, which computes in less than float32 and has no kernel for graphs of other runtimes.
    Only AIR is written by the Ascend itself.
    """
    kind = config.file_format.upper()
    if kind not in SUFFIX:
        raise SettingError(f"file_format: found {config.file_format}, expected one of {', '.join(SUFFIX)}")
    if config.runtime not in RUNTIMES or (config.runtime and kind != "MINDIR"):
        raise SettingError(f"runtime: found {config.runtime!r} with file_format {kind}, expected nothing, or one of "
                           f"{', '.join(RUNTIMES[1:])} with MINDIR")
    if kind == "AIR" and choose_target(config.device_target) != "Ascend":
        raise UnsupportedError("file_format AIR: needs an Ascend to be written; MINDIR can be exported anywhere")
    if kind == "ONNX" and not config.length:
        raise SettingError("file_format ONNX: MindSpore writes it with fixed shapes only; give --length, or take "
                           "MINDIR")
    if config.gears and kind != "MINDIR":
        raise SettingError(f"gears: found {config.gears} with file_format {kind}, expected MINDIR")
    graph_path(config, "graph")
    setup_device("Ascend" if kind == "AIR" else "CPU", device_id=config.device_id)


def export_model(network: nn.Cell, config: ModelSettings, inputs: Sequence[Port], outputs: Sequence[Port], name: str,
                 gears: Sequence[int] = (), **facts: Any) -> Path:
    """Writes `network` as config.file_format to config.file_name, or <name>.<suffix> beside the checkpoint.

    `facts` go into inputs.json as they are: sample_rate, step_seconds (of the second dimension of the first input),
    wav_multiple (of samples, where it is a waveform), raise_quiet (whether wav files are, as by infer.py), branches (of
    the graph that can run side by side), shortest (length of the first input that it takes), labels, ...
    With `gears` the graph is compiled for so many lengths of the first input, and the last input is the length of a
    recording. The configuration of the converter that does so for an Ascend is written beside the graph.
    Returns the path of the graph.
    """
    kind = config.file_format.upper()
    path = graph_path(config, name)
    require_output(path, REMEDY)
    network.set_train(False)
    any_size = not config.runtime     # the older runtime resizes a graph of fixed sizes
    tensors = [_tensor(port, any_size) for port in inputs]
    configurations = [path.with_suffix(".ini")] if gears and config.runtime != "lite2.0-cpu" else []
    if gears:
        facts |= {"gears": gears, "length_input": inputs[-1].name}
    if configurations:
        facts["config"] = configurations[0].name
    facts = {"model": name, "file": path.name, "inputs": [port.describe() for port in inputs],
             "outputs": [port.describe() for port in outputs], "runtime": config.runtime, **facts}
    with whole_files(path, path.parent / DESCRIPTION, *configurations, plain=True) as (graph, description, *writing):
        if kind == "MINDIR":
            custom = _export_mindir(network, tensors, inputs, config.runtime, graph)
            if config.runtime == "lite2.0-cpu":
                facts["custom_operators"] = custom
        elif kind == "ONNX":
            write_onnx(network, tensors, [port.name for port in inputs], [port.name for port in outputs], graph)
        else:
            ms.export(network, *tensors, file_name=str(graph), file_format=kind)
        description.write_text(description_text(facts, path.parent / DESCRIPTION), encoding="utf-8")
        for configuration in writing:
            configuration.write_text(converter_config(inputs, gears), encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 2 ** 20:.2f} MiB, inputs.json beside it")
    return path


def graph_path(config: ModelSettings, name: str) -> Path:
    """Where the graph of config.file_format goes: config.file_name, or `name` in that folder or beside the checkpoint.

    The suffix of the format is appended where it is not there. SettingError for that of another format, which would
    else be put in place of a file that is not named; OutputError for what is neither a file nor a folder.
    """
    kind = config.file_format.upper()
    path = Path(config.file_name or Path(config.model_path).parent)
    if path.is_dir() or config.file_name.endswith(os.sep):
        path /= name
    elif config.file_name:
        require_output(path, REMEDY)
    others = {ending: other for other, ending in SUFFIX.items()}
    other = others.get(path.suffix.lower().removeprefix("."), "")
    if other not in ("", kind):
        raise SettingError(f"file_name: found {path.suffix} with file_format {kind}; add --file_format {other} or name "
                           "another")
    return path.with_name((path.stem if other else path.name) + f".{SUFFIX[kind]}")


def note_columns(config: ModelSettings, frames: int) -> None:
    """Says so where convolutions over `frames` are wider than CANN specifies for an Ascend."""
    if config.runtime in ASCEND and frames > COLUMNS:
        print(f"note: {frames} frames, but CANN specifies convolutions of at most {COLUMNS} columns; if it refuses the "
              "graph, export it for fewer frames and cut recordings into windows", flush=True)


def _tensor(port, any_size):
    if None in port.shape and any_size:
        return Tensor(shape=port.shape, dtype=getattr(ms, port.dtype))
    return Tensor(np.zeros(port.example_shape(), port.dtype))


def _export_mindir(network, tensors, inputs, runtime, path):
    """Writes the graph, and compares what is written with the network. Returns the names of its custom operators.

    For lite2.0-cpu it is compared before it is rewritten: its weights are then in an order that no other runtime reads.
    """
    examples = example_inputs(inputs)
    if runtime in ASCEND:
        as_float16(network)
    expected = run_network(network, examples)
    if runtime in ASCEND:
        for_ascend(network)
    if runtime == "lite2.0-cpu":
        fuse(network)       # the runner has these operators
    ms.export(network, *tensors, file_name=str(path), file_format="MINDIR")
    if runtime in ASCEND:
        downgrade(path, runtime, [port.shape for port in inputs])
    elif runtime == "lite2.0":
        downgrade(path, runtime)
    check_graph(path, network, examples, expected)
    return downgrade(path, runtime) if runtime == "lite2.0-cpu" else []
