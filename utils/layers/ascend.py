"""nn.LSTM and nn.GRU as CANN has them: the operators DynamicRNN and DynamicGRUV2, in graphs that a CPU writes.

A MindSpore that computes on a CPU exports an LSTM as the operator LSTM and a GRU step by step; no Ascend has a kernel
for the one, and the other is a graph of one length. CANN's operators take inputs and weights in float16, which is what
MindSpore casts them to as well where it computes on an Ascend (mindspore/nn/layer/rnns.py).
"""
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

# Hidden sizes are multiples of this. The operators take each gate's weights in blocks of 16 x 16: nn.GRU refuses other
# sizes on an Ascend, and of DynamicRNN MindSpore's documentation up to 1.3 says the same; later ones say nothing, for
# newer CANN fills up the blocks, but a size that all of them take is right for all.
UNITS = 16


class AscendLSTM(nn.Cell):
    """An nn.LSTM: (T, B, I), perhaps states (1, B, H) -> outputs (T, B, H), the states after, in the input's dtype.

    weight (I + H, 4 H), bias (4 H,) float16: of the input gate, the cell, the forget gate, the output gate. nn.LSTM
    has the forget gate before the cell, and two biases that are only ever summed.
    """

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        inner, outer, biases = weights_of(lstm)
        self.hidden_size = lstm.hidden_size
        joined = np.concatenate((inner, outer), 1).reshape(4, lstm.hidden_size, -1)[[0, 2, 1, 3]]
        bias = (biases[0] + biases[1]).reshape(4, lstm.hidden_size)[[0, 2, 1, 3]]
        self.weight = Parameter(Tensor(joined.reshape(4 * lstm.hidden_size, -1).T.astype(np.float16)))
        self.bias = Parameter(Tensor(bias.ravel().astype(np.float16)))
        self.operator = ops.DynamicRNN()

    def construct(self, x, states=None):
        if states is None:
            h = c = ops.zeros((1, x.shape[1], self.hidden_size), ms.float16)
        else:
            h, c = states[0].astype(ms.float16), states[1].astype(ms.float16)
        results = self.operator(x.astype(ms.float16), self.weight, self.bias, None, h, c)
        y, cells = results[0].astype(x.dtype), results[2].astype(x.dtype)
        return y, (y[-1:], cells[-1:])


class AscendGRU(nn.Cell):
    """An nn.GRU: (T, B, I), perhaps a state (1, B, H) -> outputs (T, B, H), the state after, in the input's dtype.

    weight_input (I, 3 H), weight_hidden (H, 3 H) float16, bias_input and bias_hidden (3 H,) float32: of the reset
    gate, the update gate, the new state.
    """

    def __init__(self, gru: nn.GRU):
        super().__init__()
        inner, outer, biases = weights_of(gru)
        self.hidden_size = gru.hidden_size
        self.weight_input = Parameter(Tensor(inner.T.astype(np.float16)))
        self.weight_hidden = Parameter(Tensor(outer.T.astype(np.float16)))
        self.bias_input, self.bias_hidden = (Parameter(Tensor(bias)) for bias in biases)
        self.operator = ops.DynamicGRUV2(gate_order="rzh")

    def construct(self, x, state=None):
        h = ops.zeros((x.shape[1], self.hidden_size), ms.float32) if state is None else state.squeeze(0)
        y = self.operator(x.astype(ms.float16), self.weight_input, self.weight_hidden, self.bias_input,
                          self.bias_hidden, None, h)[0].astype(x.dtype)
        return y, y[-1:]


def weights_of(layer: nn.LSTM | nn.GRU) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Its weights of the input (k H, I) and of the state (k H, H), and its two biases (k H,)."""
    if layer.num_layers > 1 or layer.bidirectional or layer.batch_first or not layer.has_bias:
        raise ValueError("only recurrent layers of one level and direction, time first, with biases are known")
    inner, outer, *biases = (values[0].asnumpy() for values in (layer.w_ih_list, layer.w_hh_list, layer.b_ih_list,
                                                                layer.b_hh_list))
    return inner, outer, biases


def for_ascend(network: nn.Cell) -> nn.Cell:
    """`network` with every nn.LSTM and nn.GRU in it replaced, in place, by what an Ascend has a kernel for.

    Cells with a method of this name change themselves.
    """
    for path, cell in list(network.cells_and_names()):
        change = getattr(cell, "for_ascend", None)
        if change is not None:
            change()
        for name, layer in cell.name_cells().items():
            if isinstance(layer, (nn.LSTM, nn.GRU)):
                new = AscendLSTM(layer) if isinstance(layer, nn.LSTM) else AscendGRU(layer)
                setattr(cell, name, new)
                for parameter in new.get_parameters():
                    parameter.name = ".".join(filter(None, (path, name, parameter.name.split(".")[-1])))
    return network


def as_float16(network: nn.Cell) -> nn.Cell:
    """`network` with the weights of its recurrent layers rounded, in place, to those that `for_ascend` takes."""
    for _, layer in network.cells_and_names():
        if isinstance(layer, (nn.LSTM, nn.GRU)):
            inner, outer, biases = weights_of(layer)
            if isinstance(layer, nn.LSTM):
                biases = [(biases[0] + biases[1]).astype(np.float16), np.zeros_like(biases[1])]
            parameters = (layer.w_ih_list, layer.w_hh_list, layer.b_ih_list, layer.b_hh_list)
            for held, values in zip(parameters, (inner.astype(np.float16), outer.astype(np.float16), *biases),
                                    strict=True):
                held[0].set_data(Tensor(values.astype(np.float32)))
    return network
