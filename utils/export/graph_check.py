"""Whether an exported graph computes what its network does, seen on a CPU, whichever device the graph is for."""
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from mindspore.train import mind_ir_pb2 as pb

from utils.export.lite2 import CAST_TYPES

TOLERANCE = 1e-5   # of the largest output, between a network and its graph
DTYPES = {pb.TensorProto.FLOAT: np.float32, pb.TensorProto.FLOAT16: np.float16}


def example_inputs(ports: list) -> list[Tensor]:
    """Random tensors for the ports of a graph; whole numbers are the length of the first."""
    generator = np.random.default_rng(0)
    shapes = [port.example_shape() for port in ports]
    return [Tensor(np.full(shape, shapes[0][1], port.dtype) if port.dtype.startswith("int")
                   else generator.standard_normal(shape).astype(port.dtype))
            for port, shape in zip(ports, shapes, strict=True)]


def run_network(network: nn.Cell, inputs: list[Tensor]) -> np.ndarray:
    """Its first output, operator by operator: to compile the network takes longer, and minutes where it has a GRU."""
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        return _first(network(*inputs))
    finally:
        ms.set_context(mode=mode)


def check_graph(path: Path, network: nn.Cell, inputs: list[Tensor], expected: np.ndarray) -> None:
    """Compares the graph at `path` with the network: its weights bit for bit, its first output with `expected`.

    RuntimeError where they differ: a defect of ours, or of MindSpore.
    """
    model = pb.ModelProto()
    model.ParseFromString(path.read_bytes())
    weights = {parameter.name: parameter for parameter in network.get_parameters()}
    for parameter in model.graph.parameter:
        name = parameter.name.rpartition(":")[2]
        if name in weights and parameter.raw_data != weights.pop(name).asnumpy().tobytes():
            raise RuntimeError(f"{path}: {name} is not what the network has")
    results = run_graph(model, inputs)
    difference = np.abs(expected - results).max() / np.abs(expected).max()
    print(f"reloaded: largest difference {difference:.1e} of the largest output")
    if not difference < TOLERANCE:
        raise RuntimeError(f"{path} does not compute what the network does")


def run_graph(model: pb.ModelProto, inputs: list[Tensor]) -> np.ndarray:
    """The first output of a graph. The recurrent operators of an Ascend, which a CPU lacks, are computed in numpy.

    For that the graph is opened at each of them: what it is computed of becomes an output, its result an input. In
    float32, since what rounding to float16 changes is no defect of the graph.
    """
    recurrent = _open(model)
    for node in model.graph.node:
        _number_type(node)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.mindir")
        path.write_bytes(model.SerializeToString())
        graph = nn.GraphCell(ms.load(str(path)))
    results = [Tensor(np.zeros(operator.shape, np.float32)) for operator in recurrent]
    for layer in sorted({operator.layer for operator in recurrent}):    # whose inputs are right once those before are
        outputs = graph(*inputs, *results)[-len(recurrent):]
        for number, operator in enumerate(recurrent):
            if operator.layer == layer:
                results[number] = Tensor(operator.function(outputs[number].asnumpy(), *operator.weights))
    return _first(graph(*inputs, *results))


def dynamic_rnn(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What CANN's DynamicRNN does from a state of zeros: (T, B, I), (I + H, 4 H), (4 H,) -> (T, B, H)."""
    inner, outer = np.split(weight, [x.shape[2]])
    sums, outputs = x @ inner + bias, []
    h = c = np.zeros((x.shape[1], outer.shape[0]), np.float32)
    for now in sums:
        enter, new, forget, leave = np.split(now + h @ outer, 4, axis=1)
        c = _sigmoid(forget) * c + _sigmoid(enter) * np.tanh(new)
        h = _sigmoid(leave) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


def dynamic_gru(x: np.ndarray, inner: np.ndarray, outer: np.ndarray, bias: np.ndarray,
                outer_bias: np.ndarray) -> np.ndarray:
    """What CANN's DynamicGRUV2 does from a state of zeros: (T, B, I), (I, 3 H), (H, 3 H), 2 x (3 H,) -> (T, B, H)."""
    sums, outputs = x @ inner + bias, []
    h = np.zeros((x.shape[1], outer.shape[0]), np.float32)
    for now in sums:
        (reset, update, new), (r, u, n) = (np.split(part, 3, axis=1) for part in (now, h @ outer + outer_bias))
        keep = _sigmoid(update + u)
        h = (1 - keep) * np.tanh(new + _sigmoid(reset + r) * n) + keep * h
        outputs.append(h)
    return np.stack(outputs)


OPERATORS = {"DynamicRNN": dynamic_rnn, "DynamicGRUV2": dynamic_gru}


def _sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _first(outputs: Tensor | tuple[Tensor, ...]) -> np.ndarray:
    return (outputs[0] if isinstance(outputs, tuple) else outputs).asnumpy()


class _Recurrent(NamedTuple):
    """An operator that was taken out of a graph."""

    function: Callable
    weights: list
    shape: tuple    # of its result
    layer: int      # 1 for those that depend on no other


def _open(model: pb.ModelProto) -> list[_Recurrent]:
    """[_Recurrent], whose operators the graph no longer has: their inputs are new outputs, their results new inputs.

    Those in our graphs start from zeros, have a cast to float16 before them, and only their first result is used.
    """
    graph, names = model.graph, {primitive.name: primitive.op_type for primitive in model.primitives}
    weights = {parameter.name: np.frombuffer(parameter.raw_data, DTYPES[parameter.data_type]).reshape(parameter.dims)
               for parameter in graph.parameter}
    kinds = {node.output[0]: names.get(node.op_type.removeprefix("REF::"), "") for node in graph.node}
    sources = {node.output[0]: node for node in graph.node}
    last, recurrent, layers, kept = sources[graph.output[0].name], [], {}, []
    for node in graph.node:
        kind = kinds[node.output[0]]
        layers[node.output[0]] = max((layers.get(name, 0) for name in node.input), default=0) + (kind in OPERATORS)
        if node.input and kinds.get(node.input[0], "") in OPERATORS:
            operator, shape = sources[node.input[0]], tuple(_types(node).tensors[0].dims)
            cast = sources[operator.input[0]]
            held = [weights[name].astype(np.float32) for name in operator.input if name in weights]
            recurrent.append(_Recurrent(OPERATORS[kinds[node.input[0]]], held, shape, layers[node.input[0]]))
            graph.input.add(name=node.output[0]).tensor.add(dims=shape, data_type=pb.TensorProto.FLOAT)
            last.input.append(cast.input[0])
            _types(last).values.append(_float32(_types(cast).tensors[0].dims))
        elif kind not in OPERATORS:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return recurrent


def _number_type(node: pb.NodeProto) -> None:
    """Makes of a constant that is a type, as it is in version 1, its number, which MindSpore's Cast wants today."""
    if node.op_type == "Constant" and node.attribute[0].tensors and not node.attribute[0].tensors[0].raw_data:
        data_type = node.attribute[0].tensors[0].data_type
        number = next(number for number, known in CAST_TYPES.items() if known == data_type)
        node.attribute[0].CopyFrom(pb.AttributeProto(name="value", type=pb.AttributeProto.INT64, i=number))


def _types(node: pb.NodeProto) -> pb.AttributeProto:
    return next(attribute for attribute in node.attribute if attribute.name == "shape")


def _float32(shape: list[int]) -> pb.AttributeProto:
    """The type of a float32 tensor, as attributes give it."""
    attribute = pb.AttributeProto(type=pb.AttributeProto.TENSORS)
    attribute.tensors.add(dims=shape, data_type=pb.TensorProto.FLOAT)
    return attribute
