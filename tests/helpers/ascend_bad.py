"""Graphs that no Ascend should get, for tests/test_ascend_check.py: what is wrong with each is its name."""
import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from mindspore.ops.operations.math_ops import Lgamma
from mindspore.ops.operations.nn_ops import LSTM as CpuLSTM

from utils.ascend_check.graphs import Graph

for_each = ops.HyperMap()


class ReturnsNothing(nn.Cell):
    """A branch of calls for their effect alone: what it returns is Python's None."""

    def __init__(self):
        super().__init__()
        self.kept, self.current = (ms.ParameterTuple([Parameter(Tensor([0.0]), name)]) for name in ("kept", "current"))

    def construct(self, x):
        self.keep(ops.isfinite(x).all())
        return x

    def keep(self, finite):
        if finite:
            for_each(ops.assign, self.kept, self.current)
        else:
            for_each(ops.assign, self.current, self.kept)


class OnHost(nn.Cell):
    """The LSTM of a CPU, which an Ascend leaves to the host."""

    def __init__(self):
        super().__init__()
        self.lstm = CpuLSTM(3, 4, 1, True, False, 0.0)
        self.weight = Parameter(Tensor(np.zeros((4 * 4 * (3 + 4 + 2), 1, 1), np.float32)))

    def construct(self, x):
        state = ops.zeros((1, 2, 4))
        return self.lstm(x, state, state, self.weight)[0]


class Elsewhere(nn.Cell):
    """An operator that MindSpore has on other devices."""

    def __init__(self):
        super().__init__()
        self.lgamma = Lgamma()

    def construct(self, x):
        return self.lgamma(x)


class LeastSquares(nn.Cell):
    """An operator that MindSpore would have on an Ascend, finds no kernel for, and leaves to the host."""

    def construct(self, x):
        return ops.lstsq(x, x)


class Good(nn.Cell):
    """Nothing is wrong with it."""

    def construct(self, x):
        return ops.relu(x) + 1


def calls(cell, shape):
    return [lambda: cell(Tensor(np.zeros(shape, np.float32)))]


def graph_engine(config, device):
    ms.set_context(jit_config={"jit_level": "O2"})
    return calls(Good(), (2, 3))


def small(cell, *shape):
    return Graph(lambda config, device: calls(cell(), shape), None)


GRAPHS = {
    "good": small(Good, 2, 3),
    "calls Python": small(ReturnsNothing, 1),
    "the CPU's LSTM": small(OnHost, 5, 2, 3),
    "least squares": small(LeastSquares, 3, 3),
    "for no Ascend": small(Elsewhere, 3),
    "nothing": Graph(lambda config, device: [lambda: None], None),
    "absent": Graph(lambda config, device: [], None),
    "wrong shapes": small(OnHost, 5, 2, 4),
    "good after that": small(Good, 2, 3),
    "graph engine": Graph(graph_engine, None),
}
