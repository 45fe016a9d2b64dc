"""Networks that several tests share: compiling a graph is most of a test's time."""
import contextlib
from types import ModuleType

import pytest


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
