"""For MindSpore Lite 2.0, the runtime that ascend310_infer/build.sh fetches; may go once that fetches a newer one.

Rewrites graphs of today in the dialect of MindSpore 2.0 and MindSpore Lite 2.0: version 1 of MindIR. With it go
--runtime lite2.0, lite2.0-cpu and lite2.0-ascend; --runtime ascend needs a check first that the converter of the oldest
Lite it promises (2.3) takes a graph that is not rewritten.

Since version 3 the settings of an operator (an axis, a mask) are constant inputs behind its real ones; in version 1
they are attributes of its primitive. Some operators are new, and some of MindSpore Lite 2.0.0 compute something else
on a CPU: those are rewritten. What is not known to mean the same in both versions is refused.

Newer runtimes read version 1 too: MindSpore 2.10 computes the same from it. But for them a Cast is to the number of a
type, and for the converter of MindSpore Lite 2.0 to an Ascend to the type itself; a CPU takes both.
"""
import copy
import functools
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mindspore.train import mind_ir_pb2 as pb

from utils.errors import UnsupportedError

VERSION = 1
ASCEND = ("ascend", "lite2.0-ascend")       # runtimes whose graphs only an Ascend has all kernels for
TYPES = pb.AttributeProto
Value = bool | int | float | str | tuple[int, ...]      # of an attribute
FLOAT32 = pb.TensorProto.FLOAT
SCALARS = {pb.TensorProto.FLOAT: "<f", pb.TensorProto.DOUBLE: "<d", pb.TensorProto.INT32: "<i",
           pb.TensorProto.INT64: "<q", pb.TensorProto.BOOL: "<?"}

# operators whose inputs and attributes are the same in both versions
SAME = {"Abs", "Add", "Cast", "Conv2D", "Div", "ExpandDims", "FloorDiv", "GreaterEqual", "LessEqual", "Log",
        "MakeTuple", "Maximum", "Minimum", "Mul", "PReLU", "ReLU", "RealDiv", "Reshape", "ReverseSequence", "Sigmoid",
        "Sqrt", "Square", "Stack", "Sub", "Tanh", "Transpose", "TupleGetItem"}
# and those that have a kernel on a CPU only, or on an Ascend only
CPU_ONLY, ASCEND_ONLY = {"LSTM"}, {"DynamicRNN", "DynamicGRUV2"}
FORMATS = {0: "NCHW"}
# a type's number in MindSpore: that in MindIR
CAST_TYPES = {30: pb.TensorProto.BOOL, 34: pb.TensorProto.INT32, 35: pb.TensorProto.INT64, 42: pb.TensorProto.FLOAT16,
              43: FLOAT32}
# operator: number of its real inputs, then the attributes that the constant inputs behind them were
SETTINGS = {
    "BatchMatMul": (2, ("transpose_a", "transpose_b")),
    "BatchNorm": (5, ("is_training", "epsilon", "momentum", "format")),
    "BiasAdd": (2, ("format",)),
    "Concat": (1, ("axis",)),
    "CumSum": (2, ("exclusive", "reverse")),
    "LogSoftmax": (1, ("axis",)),
    "MatMul": (2, ("transpose_a", "transpose_b")),
    "ReduceMax": (2, ("keep_dims",)),
    "ReduceMean": (2, ("keep_dims",)),
    "ReverseV2": (1, ("axis",)),
    "Softmax": (1, ("axis",)),
    "Split": (1, ("axis", "output_num")),
    "Squeeze": (1, ("axis",)),
    "StridedSlice": (4, ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")),
}
TUPLES = {"ReverseV2", "Softmax", "Squeeze"}      # whose axis is one even where it is a single number
FORWARDED = {"Load", "Depend"}                    # to their first input: an inference graph has no side effects
DROPPED = {"UpdateState"}
SEVERAL = {"Split", "BatchNorm"} | CPU_ONLY | ASCEND_ONLY     # operators with several outputs


def downgrade(path: Path, runtime: str, shapes: Iterable[tuple] = ()) -> list[str]:
    """Rewrites the graph at `path` in place. UserError where an operator has no known meaning in version 1.

    For the `runtime` lite2.0 the graph is right on the CPU of any that reads version 1; for lite2.0-cpu it is right,
    and faster, in MindSpore Lite 2.0.0 only; for ascend and lite2.0-ascend it holds no operator that an Ascend has no
    kernel for. `shapes`, where given, are those that the graph's inputs are said to have, None for any size: a graph
    that was written for one size, but whose constants hold none, runs for any without operators of shapes.

    Returns the names of the custom operators that are in the graph then.
    """
    model = pb.ModelProto()
    model.ParseFromString(path.read_bytes())
    rewriter = _Rewriter(model, runtime)
    rewriter.run()
    for value, shape in zip(model.graph.input, shapes, strict=False):
        value.tensor[0].dims[:] = [size or -1 for size in shape]
    path.unlink()           # MindSpore writes what nobody may change
    path.write_bytes(model.SerializeToString())
    return sorted(rewriter.custom)


class _Rewriter:
    """Goes through the nodes in their order; a node's result keeps its name, whatever computes it."""

    def __init__(self, model: pb.ModelProto, runtime: str):
        self.model, self.graph, self.cpu = model, model.graph, runtime == "lite2.0-cpu"
        self.same = SAME | (ASCEND_ONLY if runtime in ASCEND else CPU_ONLY)
        self.rewrites = REWRITES | {"ascend": {}, "lite2.0-ascend": {"Cast": _cast}}.get(runtime, CPU_REWRITES)
        self.primitives = {primitive.name: primitive for primitive in model.primitives}
        self.constants = {node.output[0]: node.attribute[0] for node in self.graph.node if node.op_type == "Constant"}
        self.parameters = {parameter.name: parameter for parameter in self.graph.parameter}
        self.sources = {node.output[0]: node for node in self.graph.node}
        self.shapes = {parameter.name: tuple(parameter.dims) for parameter in self.graph.parameter}
        self.shapes |= {port.name: tuple(port.tensor[0].dims) for port in self.graph.input}
        self.alias, self.nodes, self.used, self.twice, self.wide = {}, [], {}, {}, {}
        self.custom: set[str] = set()       # names of operators

    def run(self) -> None:
        if self.model.functions:
            raise UnsupportedError(f"{self.model.functions[0].name}: a graph within the graph, which version 1 is not "
                                   "rewritten with; export without --runtime")
        for node in self.graph.node:
            self._node(node)
        for output in self.graph.output:
            output.name = self._source(output.name)
        self._check_outputs()
        self._sweep()
        self.model.mind_ir_version = VERSION

    def _node(self, node: pb.NodeProto) -> None:
        if node.op_type == "Constant":
            self.nodes.append(node)
            return
        operator = self.operator(node)
        inputs = [self._source(name) for name in node.input]
        if operator in FORWARDED:
            self.alias[node.output[0]] = inputs[0]
        elif operator not in DROPPED:
            self.shapes[node.output[0]] = _shape(node)
            while inputs and self._is_monad(inputs[-1]):
                inputs.pop()
            rewrite = self.rewrites.get(operator)
            if rewrite is None or not rewrite(self, node, inputs):
                self.keep(node, operator, inputs)

    def keep(self, node: pb.NodeProto, operator: str, inputs: list[str]) -> None:
        """The node with its settings as attributes."""
        settings: dict[str, Any] = {}
        if operator in SETTINGS:
            count, names = SETTINGS[operator]
            for name, constant in zip(names, inputs[count:], strict=True):
                value = _value(self.constants[constant])
                if name == "format":
                    settings["data_format"] = value = FORMATS[value]
                elif name == "axis" and operator in TUPLES and not isinstance(value, tuple):
                    value = (value,)
                settings[name] = value
            inputs = inputs[:count]
        elif operator not in self.same:
            raise UnsupportedError(f"{operator}: an operator whose meaning in MindIR version 1 is not known, or that "
                                   "has no kernel there; export without --runtime")
        new = copy.deepcopy(node)
        new.input[:] = [self._as_float(name, node) for name in inputs]
        new.op_type = self._primitive(operator, settings, self.primitives.get(_reference(node)))
        self.nodes.append(new)

    def _as_float(self, name: str, node: pb.NodeProto) -> str:
        """A whole number among the inputs of a float operator as a float: version 1 does not convert by itself."""
        constant = self.constants.get(name)
        if (constant is None or len(constant.tensors) != 1 or constant.tensors[0].dims
                or constant.tensors[0].data_type not in (pb.TensorProto.INT32, pb.TensorProto.INT64)
                or _data_type(node) != FLOAT32):
            return name
        return self.constant(float(_value(constant)))

    # what rewrites are made of

    def constant(self, value: Value) -> str:
        """The name of a new constant: a float32 scalar, a whole number or a tuple of them."""
        name = f"version1_{len(self.nodes)}"
        if isinstance(value, (tuple, int)):
            attribute = _attribute("value", value)
        else:
            attribute = TYPES(name="value", type=TYPES.TENSORS)
            attribute.tensors.add(name=name, data_type=FLOAT32, raw_data=struct.pack("<f", value))
        self.constants[name] = attribute
        self.nodes.append(pb.NodeProto(name=name, op_type="Constant", output=[name], attribute=[attribute]))
        return name

    def type(self, data_type: int) -> str:
        """The name of a new constant that is a type: a tensor's, without the tensor."""
        name = f"version1_{len(self.nodes)}"
        attribute = TYPES(name="value", type=TYPES.TENSORS)
        attribute.tensors.add(name="value0", data_type=data_type)
        self.nodes.append(pb.NodeProto(name=name, op_type="Constant", output=[name], attribute=[attribute]))
        return name

    def parameter(self, values: np.ndarray) -> str:
        """The name of a new parameter."""
        name = f"version1_{len(self.nodes)}_{len(self.graph.parameter)}"
        self.graph.parameter.add(name=name, data_type=FLOAT32, dims=values.shape,
                                 raw_data=values.astype("<f4").tobytes())
        self.shapes[name] = values.shape
        return name

    def fold(self, name: str) -> np.ndarray:
        """The values of what is made of parameters by joining and adding, in one dimension."""
        if name in self.parameters:
            return np.frombuffer(self.parameters[name].raw_data, "<f4").copy()
        node = self.sources[name]
        operator, inputs = self.operator(node), [self._source(source) for source in node.input]
        if operator == "Reshape":
            return self.fold(inputs[0])
        if operator not in ("MakeTuple", "Concat", "Add"):
            raise UnsupportedError(f"{operator}: among the weights of an LSTM, which --runtime lite2.0-cpu does not "
                                   "know; export with --runtime lite2.0")
        parts = [self.fold(source) for source in inputs if source not in self.constants]
        return functools.reduce(np.add, parts) if operator == "Add" else np.concatenate(parts)

    def add(self, operator: str, inputs: list[str], shape: tuple[int, ...], name: str = "", **settings: Value) -> str:
        """The name of the result, of `shape`, of a new node; `name` where it replaces a node of the graph."""
        name = name or f"version1_{len(self.nodes)}"
        abstract = TYPES(name="shape", type=TYPES.TENSORS)
        if operator == "MakeTuple":
            abstract.type = TYPES.TUPLE
            abstract.seq_info.is_dyn_len = False
            abstract.values.extend(_abstract(self.shapes[source]) for source in inputs)
        else:
            abstract.tensors.add(data_type=FLOAT32, dims=shape)
        self.nodes.append(pb.NodeProto(name=name, op_type=self._primitive(operator, settings), input=inputs,
                                       output=[name], attribute=[abstract], domain=f"Default/{operator}-{name}"))
        self.shapes[name] = shape
        return name

    def setting(self, inputs: list[str], index: int) -> Any:
        """The value of a constant input, None where there is none."""
        return _value(self.constants[inputs[index]]) if index < len(inputs) else None

    # bookkeeping

    def _source(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def operator(self, node: pb.NodeProto) -> str:
        primitive = self.primitives.get(_reference(node))
        return primitive.op_type if primitive is not None else node.op_type

    def _is_monad(self, name: str) -> bool:
        return name in self.constants and self.constants[name].type in (TYPES.UMONAD, TYPES.IOMONAD)

    def _primitive(self, operator: str, settings: dict[str, Value], base: pb.PrimitiveProto | None = None) -> str:
        """The reference to a new primitive, one for every node: `base` with some attributes set."""
        primitive = copy.deepcopy(base) if base is not None else pb.PrimitiveProto()
        primitive.name, primitive.op_type, primitive.instance_name = f"{operator}:{len(self.used)}", operator, operator
        primitive.prim_type = pb.PrimitiveProto.PRIMITIVE
        kept = [attribute for attribute in primitive.attribute if attribute.name not in settings]
        del primitive.attribute[:]
        primitive.attribute.extend([*kept, *(_attribute(name, value) for name, value in settings.items())])
        self.used[primitive.name] = primitive
        return f"REF::{primitive.name}"

    def _check_outputs(self):
        made = {node.output[0]: node for node in self.nodes}
        for output in self.graph.output:
            node = made[output.name]
            operator = self.used[_reference(node)].op_type
            if operator in SEVERAL or (operator == "MakeTuple" and len(set(node.input)) < len(node.input)):
                raise UnsupportedError(f"{operator}: the graph returns all its outputs, or one of them twice, which "
                                       "version 1 cannot name; return each once")

    def _sweep(self):
        """Keeps what the outputs depend on."""
        needed, kept = {output.name for output in self.graph.output}, []
        for node in reversed(self.nodes):
            if node.output[0] in needed:
                needed.update(node.input)
                kept.append(node)
        parameters = [parameter for parameter in self.graph.parameter if parameter.name in needed]
        del self.graph.node[:], self.graph.parameter[:], self.model.primitives[:]
        self.graph.node.extend(reversed(kept))
        self.graph.parameter.extend(parameters)
        self.model.primitives.extend(self.used[name] for name in map(_reference, kept) if name in self.used)


# one operator in terms of others: function(rewriter, node, inputs) -> whether it was rewritten
Rewrite = Callable[[_Rewriter, pb.NodeProto, list[str]], bool]


def _scalar(operator: str) -> Rewrite:
    def rewrite(graph, node, inputs):
        value = graph.constant(float(graph.setting(inputs, 1)))
        graph.add(operator, [inputs[0], value], _shape(node), node.output[0])
        return True
    return rewrite


def _reduction(operator: str, **settings: Value) -> Rewrite:
    def rewrite(graph, node, inputs):
        axis = graph.setting(inputs, 1)
        axis = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
        graph.add(operator, [inputs[0], graph.constant(axis)], _shape(node), node.output[0],
                  keep_dims=bool(graph.setting(inputs, 2)), **settings)
        return True
    return rewrite


def _cast(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    graph.keep(node, "Cast", [inputs[0], graph.type(CAST_TYPES[graph.setting(inputs, 1)])])
    return True


def _clamp(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    low, high = graph.setting(inputs, 1), graph.setting(inputs, 2)
    if low is None or high is None:
        return False
    x = graph.add("Maximum", [inputs[0], graph.constant(float(low))], _shape(node))
    graph.add("Minimum", [x, graph.constant(float(high))], _shape(node), node.output[0])
    return True


def _custom(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """An operator of utils/cpu_ops by its name, which the runner registers; its settings as its last input."""
    if not graph.cpu:
        return False
    old = {attribute.name: attribute for attribute in graph.primitives[_reference(node)].attribute}
    if "settings" in old:
        inputs = [*inputs, graph.constant(_value(old["settings"]))]
    new = copy.deepcopy(node)
    new.input[:] = inputs
    name = old["reg_op_name"].s.decode()
    new.op_type = graph._primitive("Custom", {"type": name, "func_type": "aot"})
    graph.custom.add(name)
    graph.nodes.append(new)
    return True


def _lstm(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """Batch 1 as batch 2, because Lite 2.0.0 computes batch 1 wrongly on a CPU.

    There it takes the recurrent weights' gates in the order input, output, forget, cell without bringing them into it
    (LstmMindirFp32CPUKernel::InitStateWeightBias). Where the graph is for a CPU alone, they are stored in it.
    """
    if graph.shapes[inputs[0]][1] != 1:
        return False
    (_, _, size), (_, _, units) = graph.shapes[inputs[0]], graph.shapes[inputs[1]]
    if graph.cpu and units % 8 == 0:       # of others it reads beyond the weights
        weights = graph.fold(inputs[3])
        recurrent = weights[4 * units * size:4 * units * (size + units)].reshape(4, -1)
        recurrent[:] = recurrent[[0, 3, 1, 2]]         # from input, forget, cell, output
        graph.keep(node, "LSTM", [*inputs[:3], graph.parameter(weights.reshape(-1, 1, 1))])
        return True
    doubled = []
    for name in inputs[:3]:
        length, _, size = graph.shapes[name]
        pair = graph.add("MakeTuple", [name, name], ())
        doubled.append(graph.add("Concat", [pair], (length, 2, size), axis=1))
    new = copy.deepcopy(node)
    new.input[:] = [*doubled, *inputs[3:]]
    new.name = new.output[0] = f"{node.output[0]}_twice"
    for attribute in new.attribute:
        if attribute.name == "shape":
            for value in attribute.values[:3]:
                value.tensors[0].dims[1] = 2
    new.op_type = graph._primitive("LSTM", {}, graph.primitives[_reference(node)])
    graph.nodes.append(new)
    graph.twice[node.output[0]] = new.output[0]
    return True


def _item(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """Row 0 of an LSTM's output whose batch was doubled."""
    if inputs[0] not in graph.twice:
        return False
    length, _, size = _shape(node)
    both = graph.add("TupleGetItem", [graph.twice[inputs[0]], inputs[1]], (length, 2, size))
    whole = 0b101       # the first and last axis: bits of the masks by which begin and end count as the axis's own
    graph.add("StridedSlice", [both, *map(graph.constant, ((0, 0, 0), (length, 1, size), (1, 1, 1)))], _shape(node),
              node.output[0], begin_mask=whole, end_mask=whole, ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0)
    return True


def _squeeze(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """Remembers what a layer over time has computed with an axis of 1 for the height."""
    if len(graph.shapes[inputs[0]]) == 4 and graph.setting(inputs, 1) in (2, (2,)):
        graph.wide[node.output[0]] = inputs[0]
    return False


def _expand_dims(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """Takes that axis back from before it was squeezed out."""
    if graph.setting(inputs, 1) != 2 or inputs[0] not in graph.wide:
        return False
    graph.alias[node.output[0]] = graph.wide[inputs[0]]
    return True


def _pointwise(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """Between layers over time, with their axis of 1: the runtime then keeps to the order that its convolutions want.

    Without it, it transposes before and after each of them.
    """
    shape = _shape(node)
    if len(shape) != 3 or not all(name in graph.wide for name in inputs):
        return False
    _add_wide(graph, node, [graph.wide[name] for name in inputs])
    return True


def _prelu(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> bool:
    """Over four dimensions, of which Lite 2.0.0 can only know the channels."""
    shape = _shape(node)
    if len(shape) != 3:
        return False
    x = graph.wide.get(inputs[0]) or graph.add("ExpandDims", [inputs[0], graph.constant(2)], (*shape[:2], 1, shape[2]))
    _add_wide(graph, node, [x, inputs[1]])
    return True


def _add_wide(graph: _Rewriter, node: pb.NodeProto, inputs: list[str]) -> None:
    """The node over (B, C, 1, T), and without its axis of 1 for those who need that."""
    shape = _shape(node)
    graph.wide[node.output[0]] = graph.add(graph.operator(node), inputs, (*shape[:2], 1, shape[2]))
    graph.add("Squeeze", [graph.wide[node.output[0]]], shape, node.output[0], axis=(2,))


# what is new since version 1
REWRITES = {"ClampScalar": _clamp, "Divs": _scalar("RealDiv"), "MeanExt": _reduction("ReduceMean"),
            "Muls": _scalar("Mul"), "SumExt": _reduction("ReduceSum", skip_mode=False)}
# what MindSpore Lite 2.0.0 computes wrongly or slowly on a CPU
CPU_REWRITES = {"Add": _pointwise, "Mul": _pointwise, "PReLU": _prelu, "ReLU": _pointwise, "Sigmoid": _pointwise,
                "Square": _pointwise, "Sub": _pointwise, "Squeeze": _squeeze, "ExpandDims": _expand_dims,
                "LSTM": _lstm, "Custom": _custom, "TupleGetItem": _item}


# values of attributes

def _reference(node: pb.NodeProto) -> str:
    """The name of a node's primitive."""
    return node.op_type.removeprefix("REF::")


def _tensor(node: pb.NodeProto) -> pb.TensorProto | None:
    """The TensorProto that holds the type and shape of a node's result; None where it has several."""
    return next((attribute.tensors[0] for attribute in node.attribute
                 if attribute.name == "shape" and len(attribute.tensors)), None)


def _shape(node: pb.NodeProto) -> tuple[int, ...]:
    """Of a node's result; () where it has several."""
    tensor = _tensor(node)
    return () if tensor is None else tuple(tensor.dims)


def _data_type(node: pb.NodeProto) -> int | None:
    tensor = _tensor(node)
    return None if tensor is None else tensor.data_type


def _abstract(shape: tuple[int, ...]) -> pb.AttributeProto:
    attribute = TYPES(type=TYPES.TENSORS)
    attribute.tensors.add(data_type=FLOAT32, dims=shape)
    return attribute


def _attribute(name: str, value: Value) -> pb.AttributeProto:
    """AttributeProto of a bool, whole number, float, text, or tuple of whole numbers."""
    if isinstance(value, tuple):
        attribute = TYPES(name=name, type=TYPES.TUPLE)
        for number in value:    # whole numbers in all operators there are
            attribute.values.append(TYPES(type=TYPES.INT64, ints=[number]))
        return attribute
    if isinstance(value, bool):
        return TYPES(name=name, type=TYPES.BOOL, i=int(value))
    if isinstance(value, int):
        return TYPES(name=name, type=TYPES.INT64, i=value)
    if isinstance(value, float):
        return TYPES(name=name, type=TYPES.FLOAT, f=value)
    return TYPES(name=name, type=TYPES.STRING, s=value.encode())


def _value(attribute: pb.AttributeProto) -> Any:
    """The inverse of `_attribute`; numbers also from tensors without dimensions."""
    kind = attribute.type
    if kind in (TYPES.TUPLE, TYPES.LIST):
        return tuple(_value(value) for value in attribute.values)
    if kind == TYPES.NONE:
        return None
    if kind == TYPES.TENSORS and len(attribute.tensors) == 1 and not attribute.tensors[0].dims:
        tensor = attribute.tensors[0]
        return struct.unpack(SCALARS[tensor.data_type], tensor.raw_data)[0]
    if kind == TYPES.STRING:
        return (attribute.strings[0] if attribute.strings else attribute.s).decode()
    if kind in (TYPES.FLOAT, TYPES.DOUBLE):
        return float(attribute.floats[0] if attribute.floats else attribute.f)
    number = attribute.ints[0] if attribute.ints else attribute.i
    return bool(number) if kind == TYPES.BOOL else int(number)
