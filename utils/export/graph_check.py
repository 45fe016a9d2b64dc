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

TOLERANCE = 1e-5   # of the largest value of an output, between a network and its graph
NOTHING = np.zeros(1, np.float32)      # a state before the first frame
TINY = 1e-30       # in place of that of an output of zeros
DTYPES = {pb.TensorProto.FLOAT: np.float32, pb.TensorProto.FLOAT16: np.float16}


def example_inputs(ports: list) -> list[Tensor]:
    """Random tensors for the ports of a graph; whole numbers are the length of the first. States are not negative."""
    generator = np.random.default_rng(0)
    shapes, tensors = [port.example_shape() for port in ports], []
    for port, shape in zip(ports, shapes, strict=True):
        values = np.full(shape, shapes[0][1]) if port.dtype.startswith("int") else generator.standard_normal(shape)
        tensors.append(Tensor((np.abs(values) if port.state else values).astype(port.dtype)))
    return tensors


def run_network(network: nn.Cell, inputs: list[Tensor]) -> list[np.ndarray]:
    """Its outputs, operator by operator: to compile the network takes longer, and minutes where it has a GRU."""
    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        return _arrays(network(*inputs))
    finally:
        ms.set_context(mode=mode)


def check_graph(path: Path, network: nn.Cell, inputs: list[Tensor], expected: list[np.ndarray]) -> None:
    """Compares the graph at `path` with the network: its weights bit for bit, its outputs with those `expected`.

    RuntimeError where they differ: a defect of ours, or of MindSpore.
    """
    model = pb.ModelProto()
    model.ParseFromString(path.read_bytes())
    weights = {parameter.name: parameter for parameter in network.get_parameters()}
    for parameter in model.graph.parameter:
        name = parameter.name.rpartition(":")[2]
        if name in weights and parameter.raw_data != weights.pop(name).asnumpy().tobytes():
            raise RuntimeError(f"{path}: {name} is not what the network has")
    difference = max(np.abs(value - result).max() / max(np.abs(value).max(), TINY)
                     for value, result in zip(expected, run_graph(model, inputs), strict=True))
    print(f"reloaded: largest difference {difference:.1e} of the largest output")
    if not difference < TOLERANCE:
        raise RuntimeError(f"{path} does not compute what the network does")


def run_graph(model: pb.ModelProto, inputs: list[Tensor]) -> list[np.ndarray]:
    """The outputs of a graph. The recurrent operators of an Ascend, which a CPU lacks, are computed in numpy.

    For that the graph is opened at each of them: what it is computed of becomes outputs, its results inputs. In
    float32, since what rounding to float16 changes is no defect of the graph.
    """
    recurrent = _open(model)
    for node in model.graph.node:
        _number_type(node)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.mindir")
        path.write_bytes(model.SerializeToString())
        graph = nn.GraphCell(ms.load(str(path)))
    results = [Tensor(np.zeros(result.shape, np.float32)) for result in recurrent]
    opened = sum(result.taken for result in recurrent)
    for layer in sorted({result.layer for result in recurrent}):    # whose inputs are right once those before are
        outputs = iter(_arrays(graph(*inputs, *results))[-opened:])
        for number, result in enumerate(recurrent):
            x, *states = [next(outputs) for _ in range(result.taken)]
            if result.layer == layer:
                results[number] = Tensor(result.function(x, *result.weights, *states)[result.index])
    outputs = _arrays(graph(*inputs, *results))
    return outputs[:len(outputs) - opened]


def dynamic_rnn(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, h: np.ndarray = NOTHING,
                c: np.ndarray = NOTHING) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What CANN's DynamicRNN does: (T, B, I), (I + H, 4 H), (4 H,), states (1, B, H) -> outputs, h, c (T, B, H)."""
    inner, outer = np.split(weight, [x.shape[2]])
    sums, outputs, cells = x @ inner + bias, [], []
    h, c = (np.broadcast_to(state, (1, x.shape[1], outer.shape[0]))[0] for state in (h, c))
    for now in sums:
        enter, new, forget, leave = np.split(now + h @ outer, 4, axis=1)
        c = _sigmoid(forget) * c + _sigmoid(enter) * np.tanh(new)
        h = _sigmoid(leave) * np.tanh(c)
        outputs.append(h)
        cells.append(c)
    return np.stack(outputs), np.stack(outputs), np.stack(cells)


def dynamic_gru(x: np.ndarray, inner: np.ndarray, outer: np.ndarray, bias: np.ndarray, outer_bias: np.ndarray,
                h: np.ndarray = NOTHING) -> tuple[np.ndarray]:
    """What CANN's DynamicGRUV2 does: (T, B, I), (I, 3 H), (H, 3 H), 2 x (3 H,), state (B, H) -> outputs (T, B, H)."""
    sums, outputs = x @ inner + bias, []
    h = np.broadcast_to(h, (x.shape[1], outer.shape[0]))
    for now in sums:
        (reset, update, new), (r, u, n) = (np.split(part, 3, axis=1) for part in (now, h @ outer + outer_bias))
        keep = _sigmoid(update + u)
        h = (1 - keep) * np.tanh(new + _sigmoid(reset + r) * n) + keep * h
        outputs.append(h)
    return (np.stack(outputs),)


OPERATORS = {"DynamicRNN": dynamic_rnn, "DynamicGRUV2": dynamic_gru}


def _sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _arrays(outputs: Tensor | tuple[Tensor, ...]) -> list[np.ndarray]:
    return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


class _Result(NamedTuple):
    """A result of an operator that was taken out of a graph."""

    function: Callable
    weights: list
    taken: int      # outputs that the graph has for it: what the operator is computed of
    index: int      # among the operator's results
    shape: tuple
    layer: int      # 1 for those that depend on no other


def _open(model: pb.ModelProto) -> list[_Result]:
    """[_Result], whose operators the graph no longer has: their inputs are new outputs, their results new inputs.

    What they are computed of, but for weights and constants, is taken before its cast to float16.
    """
    graph, names = model.graph, {primitive.name: primitive.op_type for primitive in model.primitives}
    weights = {parameter.name: np.frombuffer(parameter.raw_data, DTYPES[parameter.data_type]).reshape(parameter.dims)
               for parameter in graph.parameter}
    kinds = {node.output[0]: names.get(node.op_type.removeprefix("REF::"), "") for node in graph.node}
    sources = {node.output[0]: node for node in graph.node}
    shapes = {port.name: list(port.tensor[0].dims) for port in graph.input}
    shapes |= {node.output[0]: list(_types(node).tensors[0].dims) for node in graph.node
               if node.op_type != "Constant" and _types(node).tensors}
    last, results, layers, kept = sources[graph.output[0].name], [], {}, []
    for node in graph.node:
        kind = kinds[node.output[0]]
        layers[node.output[0]] = max((layers.get(name, 0) for name in node.input), default=0) + (kind in OPERATORS)
        if node.input and kinds.get(node.input[0], "") in OPERATORS:
            operator, shape = sources[node.input[0]], tuple(_types(node).tensors[0].dims)
            index = sources[node.input[1]].attribute[0]
            taken = [sources[name] for name in operator.input
                     if name in sources and sources[name].op_type != "Constant"]
            taken = [node.input[0] if kinds[node.output[0]] == "Cast" else node.output[0] for node in taken]
            held = [weights[name].astype(np.float32) for name in operator.input if name in weights]
            results.append(_Result(OPERATORS[kinds[node.input[0]]], held, len(taken),
                                   index.ints[0] if index.ints else index.i, shape, layers[node.input[0]]))
            graph.input.add(name=node.output[0]).tensor.add(dims=shape, data_type=pb.TensorProto.FLOAT)
            for name in taken:
                last.input.append(name)
                _types(last).values.append(_float32(shapes[name]))
        elif kind not in OPERATORS:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return results


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
