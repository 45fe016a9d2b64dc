"""Graphs for inference: MINDIR, ONNX or AIR, with inputs.json beside them that tells a runner all it must know."""
import json
from dataclasses import dataclass
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from utils.errors import UserError
from utils.files import write_text
from utils.gears import converter_config
from utils.mindir_compat import downgrade

RUNTIMES = ("", "lite2.0", "lite2.0-cpu")
SUFFIX = {"MINDIR": "mindir", "ONNX": "onnx", "AIR": "air"}
TOLERANCE = 1e-5   # of the largest output, between a network and its graph loaded again


@dataclass(frozen=True)
class Port:
    """A tensor that goes in or out; None in its shape is any size, `example` one to try.

    `length` (a, s) of an output: its None is (n + a) // s where that of the first input is n.
    """

    name: str
    dtype: str
    shape: tuple
    example: int = 300
    length: tuple = ()

    def describe(self):
        """What inputs.json says."""
        description = {"name": self.name, "dtype": self.dtype, "shape": self.shape}
        return description | {"length": self.length} if self.length and None in self.shape else description

    def example_shape(self):
        """The shape where any size is the example's."""
        return [size or self.example for size in self.shape]


def export_model(network, config, inputs, outputs, name, gears=(), **facts):
    """Writes `network` as config.file_format to config.file_name, or <name>.<suffix> beside the checkpoint.

    `facts` go into inputs.json as they are: sample_rate, step_seconds (of the second dimension of the first input),
    wav_multiple (of samples, where it is a waveform), branches (of the graph that can run side by side), shortest
    (length of the first input that it takes), labels, ...
    With `gears` the graph is compiled for so many lengths of the first input, and the last input is the length of a
    recording. The configuration of the converter that does so for an Ascend is written beside the graph.
    Returns the path of the graph.
    """
    kind = config.file_format.upper()
    if kind not in SUFFIX:
        raise UserError(f"file_format: found {config.file_format}, expected one of {', '.join(SUFFIX)}")
    if config.runtime not in RUNTIMES or (config.runtime and kind != "MINDIR"):
        raise UserError(f"runtime: found {config.runtime!r} with file_format {kind}, expected nothing, or lite2.0 or "
                        "lite2.0-cpu with MINDIR")
    if kind == "AIR" and ms.get_context("device_target") != "Ascend":
        raise UserError("file_format AIR: needs an Ascend to be written; MINDIR can be exported anywhere")
    if kind == "ONNX" and any(None in port.shape for port in inputs):
        raise UserError("file_format ONNX: MindSpore writes it with fixed shapes only; give --length, or take MINDIR")
    if gears and kind != "MINDIR":
        raise UserError(f"gears: found {config.gears} with file_format {kind}, expected MINDIR")
    path = Path(config.file_name or Path(config.model_path).parent / name).with_suffix(f".{SUFFIX[kind]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    network.set_train(False)
    any_size = not config.runtime     # the older runtime resizes a graph of fixed sizes
    tensors = [_tensor(port, any_size) for port in inputs]
    if kind == "ONNX":
        _export_onnx(network, tensors, inputs, outputs, path)
    else:
        ms.export(network, *tensors, file_name=str(path.with_suffix("")), file_format=kind)
        if kind == "MINDIR":
            _check_reloaded(network, inputs, path)
        if config.runtime:
            downgrade(path, cpu=config.runtime == "lite2.0-cpu")
    if gears:
        facts |= {"gears": gears, "length_input": inputs[-1].name}
    if gears and config.runtime != "lite2.0-cpu":
        facts["config"] = path.with_suffix(".ini").name
        write_text(path.with_suffix(".ini"), converter_config(inputs, gears))
    description = {"model": name, "file": path.name, "inputs": [port.describe() for port in inputs],
                   "outputs": [port.describe() for port in outputs], "runtime": config.runtime, **facts}
    write_text(path.parent / "inputs.json", json.dumps(description, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 2 ** 20:.2f} MiB, inputs.json beside it")
    return path


def _tensor(port, any_size):
    if None in port.shape and any_size:
        return Tensor(shape=port.shape, dtype=getattr(ms, port.dtype))
    return Tensor(np.zeros(port.example_shape(), port.dtype))


def _check_reloaded(network, inputs, path):
    """Loads the graph again and compares it with the network on random input; integers are its length."""
    generator = np.random.default_rng(0)
    shapes = [port.example_shape() for port in inputs]
    arrays = [Tensor(np.full(shape, shapes[0][1], port.dtype) if port.dtype.startswith("int")
                     else generator.standard_normal(shape).astype(port.dtype))
              for port, shape in zip(inputs, shapes, strict=True)]
    expected, found = _first(network(*arrays)), _first(nn.GraphCell(ms.load(str(path)))(*arrays))
    difference = np.abs(expected - found).max() / np.abs(expected).max()
    print(f"reloaded: largest difference {difference:.1e} of the largest output")
    if not difference < TOLERANCE:
        raise RuntimeError(f"{path} does not compute what the network does")


def _first(outputs):
    return (outputs[0] if isinstance(outputs, tuple) else outputs).asnumpy()


def _export_onnx(network, tensors, inputs, outputs, path):
    """MindSpore 2.10 orders the pads of Conv as its own, and its output_names lose the last node."""
    import onnx  # only this format needs it

    ms.onnx.export(network, *tensors, file_name=str(path), input_names=[port.name for port in inputs])
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Conv" and attribute.name == "pads" and len(attribute.ints) == 4:
                top, bottom, left, right = attribute.ints
                attribute.ints[:] = [top, left, bottom, right]
    for value, port in zip(model.graph.output, outputs, strict=True):
        for node in model.graph.node:
            for names in (node.output, node.input):
                names[:] = [port.name if name == value.name else name for name in names]
        value.name = port.name
    onnx.checker.check_model(model)
    onnx.save(model, path)
