"""MindIR of version 1 computed in numpy, from what CANN documents of its operators: an oracle without MindSpore.

`Evaluator(path)(*inputs)` gives the outputs. In float32, where a cast to float16 changes nothing, it is the graph's
mathematics. With half=True the recurrent operators compute as CANN's kernels do, which is in float16.
"""
import numpy as np
from mindspore.train import mind_ir_pb2 as pb

TYPES = pb.AttributeProto
DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}   # of TensorProto
CASTS = {30: np.bool_, 34: np.int32, 35: np.int64, 42: np.float16, 43: np.float32}               # of MindSpore's TypeId


class Evaluator:
    """A graph; `operators` holds the names of those it is made of."""

    def __init__(self, path, half=False):
        model = pb.ModelProto()
        model.ParseFromString(path.read_bytes())
        assert model.mind_ir_version == 1 and not model.functions
        self.graph, self.half = model.graph, half
        self.primitives = {primitive.name: primitive for primitive in model.primitives}
        self.weights = {weight.name: self._float(_tensor(weight)) for weight in self.graph.parameter}
        self.operators = {self._operator(node)[0] for node in self.graph.node} - {"Constant"}

    def __call__(self, *inputs):
        values = dict(self.weights)
        for port, array in zip(self.graph.input, inputs, strict=True):
            assert [size for size in port.tensor[0].dims if size > 0] == [
                have for size, have in zip(port.tensor[0].dims, array.shape, strict=True) if size > 0], port.name
            values[port.name] = array
        for node in self.graph.node:
            operator, settings = self._operator(node)
            if operator == "Constant":
                values[node.output[0]] = self._float(_value(node.attribute[0]))
            else:
                values[node.output[0]] = self.apply(operator, [values[name] for name in node.input], settings)
        outputs = values[self.graph.output[0].name]
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def apply(self, operator, inputs, settings):
        """What an operator gives."""
        return (getattr(self, operator, None) or OPERATORS[operator])(*inputs, **settings)

    def _operator(self, node):
        """Its name and its attributes."""
        primitive = self.primitives.get(node.op_type.removeprefix("REF::"))
        if primitive is None:
            return node.op_type, {}
        return primitive.op_type, {attribute.name: _value(attribute) for attribute in primitive.attribute}

    def _float(self, value):
        is_half = isinstance(value, np.ndarray) and value.dtype == np.float16
        return value.astype(np.float32) if is_half and not self.half else value

    # operators that depend on the precision

    def Cast(self, x, dtype, **_):
        dtype = CASTS.get(dtype, dtype)
        return x.astype(np.float32 if dtype == np.float16 and not self.half else dtype)

    def DynamicRNN(self, x, weight, bias, seq_length, h, c, **settings):
        """CANN's LSTM: gates input, new, forget, output.

        In float16: products of float16 summed in float32; sigmoid and tanh of float32, whose exponentials a 310 has in
        float16; the cell and the outputs kept in float16.
        """
        assert seq_length is None and settings["direction"] == "UNIDIRECTIONAL" and settings["time_major"]
        assert settings["forget_bias"] == 0 and settings["cell_clip"] < 0 and settings["keep_prob"] == 1
        keep, outputs, cells, (h, c) = bias.dtype, [], [], (h[0], c[0])
        for now in x:
            sums = _product(np.concatenate((now, h), 1), weight) + bias.astype(np.float32)
            enter, new, forget, leave = np.split(sums, 4, axis=1)
            c = c.astype(np.float32) * self._sigmoid(forget) + self._sigmoid(enter) * self._tanh(new)
            c = c.astype(keep)
            h = (self._sigmoid(leave) * self._tanh(c.astype(np.float32))).astype(x.dtype)
            outputs.append(h.astype(keep))
            cells.append(c)
        return np.stack(outputs), np.stack(outputs), np.stack(cells)

    def DynamicGRUV2(self, x, inner, outer, bias, outer_bias, seq_length, h, **settings):
        """CANN's GRU, reset after the product: gates reset, update, new; the state is kept in the biases' dtype."""
        assert seq_length is None and settings["direction"] == "UNIDIRECTIONAL" and settings["time_major"]
        assert settings["gate_order"] == "rzh" and settings["reset_after"] and settings["cell_clip"] < 0
        outputs = []
        for now in x:
            reset, update, new = np.split(_product(now, inner) + bias, 3, axis=1)
            r, z, n = np.split(_product(h.astype(x.dtype), outer) + outer_bias, 3, axis=1)
            keep = self._sigmoid(update + z)
            h = ((1 - keep) * self._tanh(new + self._sigmoid(reset + r) * n) + keep * h).astype(bias.dtype)
            outputs.append(h)
        return (np.stack(outputs),)

    def _exp(self, x):
        return np.exp(x.astype(np.float16)).astype(np.float32) if self.half else np.exp(x)

    def _sigmoid(self, x):
        with np.errstate(over="ignore"):
            return (1 / (1 + self._exp(-x))).astype(np.float32)

    def _tanh(self, x):
        small = self._exp(-2 * np.abs(x))
        return np.sign(x) * (1 - small) / (1 + small)


def _product(x, weight):
    """Factors as they are, sums in float32 or more."""
    return (x.astype(np.float64) @ weight.astype(np.float64)).astype(np.float32)


def _conv(x, weight, stride, pad_list, dilation, group, **_):
    """(B, I, H, W), (O, I / group, h, w) -> (B, O, H', W')."""
    top, bottom, left, right = pad_list
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    size = [(count - 1) * step + 1 for count, step in zip(weight.shape[2:], dilation[-2:], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))
    windows = windows[:, :, ::stride[-2], ::stride[-1], ::dilation[-2], ::dilation[-1]]
    parts = [np.einsum("bihwyx,oiyx->bohw", part, kernel, optimize=True) for part, kernel in
             zip(np.split(windows, group, axis=1), np.split(weight, group), strict=True)]
    return np.concatenate(parts, 1)


def _slice(x, begin, end, strides, begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask, **_):
    assert not ellipsis_mask and not new_axis_mask
    where = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if shrink_axis_mask >> axis & 1:
            where.append(first)
        else:
            where.append(slice(None if begin_mask >> axis & 1 else first, None if end_mask >> axis & 1 else last, step))
    return x[tuple(where)]


def _reverse_sequence(x, lengths, seq_dim, batch_dim, **_):
    x, result = np.moveaxis(x, (batch_dim, seq_dim), (0, 1)), []
    for item, length in zip(x, lengths, strict=True):
        result.append(np.concatenate((item[:length][::-1], item[length:])))
    return np.moveaxis(np.stack(result), (0, 1), (batch_dim, seq_dim))


def _batch_norm(x, gamma, beta, mean, variance, epsilon, is_training, **_):
    assert not is_training
    gamma, beta, mean, variance = (value.reshape(1, -1, *[1] * (x.ndim - 2)) for value in (gamma, beta, mean, variance))
    return ((x - mean) / np.sqrt(variance + np.float32(epsilon)) * gamma + beta,)


def _log_softmax(x, axis, **_):
    x = x - x.max(axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def _softmax(x, axis, **_):
    x = np.exp(x - x.max(axis, keepdims=True))
    return x / x.sum(axis, keepdims=True)


def _matmul(x, y, transpose_a, transpose_b, **_):
    return (x.swapaxes(-1, -2) if transpose_a else x) @ (y.swapaxes(-1, -2) if transpose_b else y)


def _reduction(function):
    return lambda x, axis, keep_dims, **_: function(x, axis=axis or None, keepdims=keep_dims).astype(x.dtype)


def _channels(x, values):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def _plain(function):
    return lambda *inputs, **_: function(*inputs)


OPERATORS = {
    **{name: _plain(function) for name, function in {
        "Abs": np.abs, "Add": np.add, "Div": np.divide, "FloorDiv": np.floor_divide, "GreaterEqual": np.greater_equal,
        "LessEqual": np.less_equal, "Log": np.log, "MakeTuple": lambda *inputs: inputs, "Maximum": np.maximum,
        "Minimum": np.minimum, "Mul": np.multiply, "RealDiv": np.divide, "ReLU": lambda x: np.maximum(x, 0),
        "Reshape": np.reshape, "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Sqrt": np.sqrt, "Square": np.square,
        "Sub": np.subtract, "Tanh": np.tanh, "Transpose": np.transpose, "TupleGetItem": lambda x, index: x[int(index)],
        "ExpandDims": lambda x, axis: np.expand_dims(x, int(axis)),
        "PReLU": lambda x, slope: np.where(x > 0, x, x * _channels(x, slope)),
        "BiasAdd": lambda x, bias: x + _channels(x, bias)}.items()},
    "BatchMatMul": _matmul, "BatchNorm": _batch_norm, "Conv2D": _conv, "LogSoftmax": _log_softmax, "MatMul": _matmul,
    "ReduceMax": _reduction(np.max), "ReduceMean": _reduction(np.mean), "ReduceSum": _reduction(np.sum),
    "ReverseSequence": _reverse_sequence, "Softmax": _softmax, "StridedSlice": _slice,
    "Concat": lambda parts, axis, **_: np.concatenate(parts, axis),
    "CumSum": lambda x, axis, **_: np.cumsum(x, int(axis)).astype(x.dtype),
    "ReverseV2": lambda x, axis, **_: np.flip(x, axis),
    "Split": lambda x, axis, output_num, **_: tuple(np.split(x, output_num, axis)),
    "Squeeze": lambda x, axis, **_: np.squeeze(x, axis),
    "Stack": lambda parts, axis, **_: np.stack(parts, axis),
}


def _tensor(tensor):
    return np.frombuffer(tensor.raw_data, DTYPES[tensor.data_type]).reshape(tensor.dims)


def _value(attribute):
    """A number, text, tuple, array, dtype or None."""
    kind = attribute.type
    if kind in (TYPES.TUPLE, TYPES.LIST):
        return tuple(_value(value) for value in attribute.values)
    if kind == TYPES.NONE:
        return None
    if kind == TYPES.TENSORS:
        tensor = attribute.tensors[0]
        return _tensor(tensor) if tensor.raw_data else np.dtype(DTYPES[tensor.data_type])
    if kind == TYPES.STRING:
        return (attribute.strings[0] if attribute.strings else attribute.s).decode()
    if kind in (TYPES.FLOAT, TYPES.DOUBLE):
        return float(attribute.floats[0] if attribute.floats else attribute.f)
    number = attribute.ints[0] if attribute.ints else attribute.i
    return bool(number) if kind == TYPES.BOOL else int(number)
