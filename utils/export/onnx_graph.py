"""Graphs as ONNX: what MindSpore 2.10 writes, mended.

It orders the pads of Conv as its own, loses the last node's name, and cannot write some operators that ONNX has. Those
are written as stand-ins, operators of the same shape, and exchanged: an LSTM for a GRU, and what no network here has
for a sum over time. A cell whose construct has such an operator changes itself by a method `for_onnx`.
"""
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from utils.errors import UnsupportedError
from utils.layers.ascend import weights_of


class CumSum(nn.Cell):
    """The sum of this and all earlier entries along axis 2: (M, D, T) -> same."""

    STAND_IN = "Softsign"

    def __init__(self):
        super().__init__()
        self.stand_in = None

    def for_onnx(self) -> None:
        """Writes the stand-in from now on."""
        self.stand_in = ops.Softsign()

    def construct(self, x):
        return ops.cumsum(x, 2) if self.stand_in is None else self.stand_in(x)


def write_onnx(network: nn.Cell, tensors: Sequence[Tensor], inputs: Sequence[str], outputs: Sequence[str],
               path: Path) -> None:
    """Writes `network` to `path`, for inputs as `tensors` are, under the names of its inputs and outputs.

    The network is good for nothing else then. UnsupportedError for another operator that MindSpore cannot write.
    """
    import onnx  # only this format needs it

    grus = _exchange_cells(network)
    try:
        ms.onnx.export(network, *tensors, file_name=str(path), input_names=list(inputs))
    except RuntimeError as error:
        if operator := re.search(r"Can not find key (\w+) in convert map", str(error)):
            raise UnsupportedError(f"{operator[1]}: an operator of the network that MindSpore does not write as ONNX; "
                                   "take MINDIR") from None
        raise
    model = onnx.load_from_string(path.read_bytes())
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Conv" and attribute.name == "pads" and len(attribute.ints) == 4:
                top, bottom, left, right = attribute.ints
                attribute.ints[:] = [top, left, bottom, right]
        if node.op_type == CumSum.STAND_IN:
            node.op_type = "CumSum"
            node.input.append("axis_of_time")
    if grus:
        _exchange_grus(model.graph, grus)
    if any(node.op_type == "CumSum" for node in model.graph.node):
        model.graph.initializer.append(onnx.helper.make_tensor("axis_of_time", onnx.TensorProto.INT64, (), [2]))
    for value, name in zip(model.graph.output, outputs, strict=True):
        for node in model.graph.node:
            for names in (node.output, node.input):
                names[:] = [name if given == value.name else given for given in names]
        value.name = name
    onnx.checker.check_model(model)
    path.unlink()           # MindSpore writes what nobody may change
    path.write_bytes(model.SerializeToString())


def _exchange_cells(network: nn.Cell) -> dict[str, nn.GRU]:
    """Puts stand-ins into the network; returns {path of an LSTM: the GRU that it stands for}."""
    grus = {}
    for path, cell in list(network.cells_and_names()):
        if change := getattr(cell, "for_onnx", None):
            change()
        for name, layer in cell.name_cells().items():
            if isinstance(layer, nn.GRU):
                place = ".".join(filter(None, (path, name)))
                grus[place] = layer
                stand_in = nn.LSTM(weights_of(layer)[0].shape[1], layer.hidden_size)
                setattr(cell, name, stand_in)
                for parameter in stand_in.get_parameters():
                    parameter.name = f"{place}.{parameter.name.split('.')[-1]}"
    return grus


def _exchange_grus(graph: Any, grus: dict[str, nn.GRU]) -> None:
    """Makes of each LSTM of an ONNX graph the GRU that it stands for, and drops what computed the LSTM's weights."""
    import onnx

    for number, node in enumerate(graph.node):
        if node.op_type != "LSTM":
            continue
        # 41-Default/layers-CellList/0-Recurrent/rnn-LSTM/...: the path, with the class of each cell
        scope = [part.split("-")[0] for part in node.output[0].split("/")[1:]]
        gru = next(grus[path] for path in (".".join(scope[:count]) for count in range(len(scope), 0, -1))
                   if path in grus)
        inner, outer, biases = (_update_first(values) for values in weights_of(gru))
        names = []
        for name, values in (("inner", inner), ("outer", outer), ("bias", np.concatenate(biases))):
            names.append(f"gru_{number}_{name}")
            graph.initializer.append(onnx.numpy_helper.from_array(values[None].astype(np.float32), names[-1]))
        # its outputs are those of the LSTM without the last, the cell's state
        node.CopyFrom(onnx.helper.make_node("GRU", [node.input[0], *names], list(node.output)[:2], node.name,
                                            hidden_size=gru.hidden_size, linear_before_reset=1))
    needed, kept = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    parts = ((graph.node, kept[::-1]), (graph.initializer, [part for part in graph.initializer if part.name in needed]))
    for held, part in parts:
        del held[:]
        held.extend(part)


def _update_first(values: Any) -> Any:
    """Weights of the reset gate, the update gate and the new state, as ONNX orders them: the first two exchanged."""
    if isinstance(values, list):
        return [_update_first(value) for value in values]
    reset, update, new = np.split(values, 3)
    return np.concatenate((update, reset, new))
