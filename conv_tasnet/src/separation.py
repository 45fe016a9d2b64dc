"""A trained network over whole recordings.

Letters as in model.py.
"""
import mindspore as ms
from mindspore import Tensor

from conv_tasnet.src.frames import pad_mixture, whole_strides
from conv_tasnet.src.model import ConvTasNet
from utils.checkpoints.checkpoint import load_model
from utils.cpu_ops import fast


class Separator:
    """Runs a network over mixtures, compiled once: of any length, or up to `samples`, which is twice as fast."""

    def __init__(self, model, config, samples=0):
        self.model, self.stride = model, config.L // 2
        self.samples = samples and whole_strides(samples, self.stride)
        model.set_train(False)
        if not samples:
            model.set_inputs(Tensor(shape=(None, None), dtype=ms.float32))

    def __call__(self, mixture):
        """Mixture (S,) float32 -> speakers (C, S), every sample of the mixture seen."""
        padded = pad_mixture(mixture, self.stride, self.samples)
        lengths = (Tensor([whole_strides(len(mixture), self.stride)], ms.int32),) if self.samples else ()
        return self.model(Tensor(padded[None]), *lengths).asnumpy()[0, :, :len(mixture)]


def load_separator(config):
    """The network of config.model_path, ready to separate."""
    model = fast(ConvTasNet(config))
    load_model(config.model_path, model)
    return Separator(model, config)
