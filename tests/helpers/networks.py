"""Networks that several tests share: compiling a graph is most of a test's time."""
import contextlib
from types import ModuleType

import pytest
from mindspore import nn, ops

from conv_tasnet.src.model import ConvTasNet
from ecapatdnn.src.model import EcapaTdnn


@contextlib.contextmanager
def shared_networks(module: ModuleType, name: str = "make_network"):
    """Within it `module.make_network` gives an earlier network of the same layers and sizes, with its compiled graphs.

    For programs that load a checkpoint into the network at once: that sets all its parameters.
    """
    make, networks = getattr(module, name), {}

    def shared(*arguments, **settings):
        network = make(*arguments, **settings)
        return networks.setdefault(f"{network} {[parameter.shape for parameter in network.get_parameters()]}", network)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, shared)
        yield


class Around(nn.Cell):
    """A layer of a network."""

    fast_cells = ConvTasNet.fast_cells | EcapaTdnn.fast_cells

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def construct(self, *inputs):
        return self.layer(*inputs)


class BothEnds(Around):
    """The two outputs of a layer, one above the other."""

    def construct(self, *inputs):
        return ops.cat(self.layer(*inputs), 1)


class Outputs(Around):
    """The first of what a recurrent layer gives, without its states."""

    def construct(self, *inputs):
        return self.layer(*inputs)[0]
