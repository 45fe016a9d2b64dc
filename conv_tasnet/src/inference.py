"""A trained network: mixtures and recordings in, one signal per speaker out.

`load(config)` is what eval.py, infer.py and other programs begin with. Nothing here prints; mistakes are exceptions,
kinds of utils.errors.UserError. Letters as in model.py.
"""
import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import pad_mixture, whole_strides
from conv_tasnet.src.level import Level
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.outputs import at_rate_of
from conv_tasnet.src.streaming import Stream
from conv_tasnet.src.windows import WINDOW, Windows, window_sizes
from utils.audio.audio_file import Source
from utils.audio.recording import open_recording
from utils.checkpoints.checkpoint import load_model
from utils.cpu_ops import BF16, fast
from utils.device import setup_device

LONGEST = 60    # seconds separated as a whole


class MixtureNetwork:
    """Runs a network over mixtures, compiled once: of any length, or up to `samples`, which is twice as fast."""

    def __init__(self, network: nn.Cell, config: Config, samples: int = 0):
        self.network, self.stride = network.set_train(False), config.L // 2
        self.samples = samples and whole_strides(samples, self.stride)
        if not samples:
            network.set_inputs(Tensor(shape=(None, None), dtype=ms.float32))

    def run(self, mixture: np.ndarray) -> np.ndarray:
        """Mixture (S,) float32 -> speakers (C, S), every sample of the mixture seen; at any level and polarity."""
        padded = pad_mixture(mixture, self.stride, self.samples)
        lengths = (Tensor([whole_strides(len(mixture), self.stride)], ms.int32),) if self.samples else ()
        return self.network(Tensor(padded[None]), *lengths).asnumpy()[0, :, :len(mixture)]


class _Graph(nn.Cell):
    """A network to be compiled separately from its other uses. Parameters keep their names."""

    def __init__(self, network: ConvTasNet):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, mixture, lengths=None):
        return self.network(mixture, lengths)


class Separator:
    """Speech separation: mixtures at config.sample_rate, and recordings of any rate and length."""

    def __init__(self, network: ConvTasNet, config: Config):
        self.network, self.config = network, config
        self.compiled: dict[int, MixtureNetwork] = {}       # by the samples that they are compiled for

    def run(self, mixture: np.ndarray) -> np.ndarray:
        """What the network gives for a mixture at config.sample_rate: (S,) float32 -> (C, S).

        At any level and polarity. One of more than LONGEST seconds is run by windows, for the memory.
        """
        if len(mixture) <= LONGEST * self.config.sample_rate:
            return self._compiled_for(0).run(mixture)
        pieces = self.windows(len(mixture)).separate([mixture])
        return np.concatenate([speakers for _, speakers in pieces], axis=1)

    def separate(self, recording: Source, rate: int | None = None) -> np.ndarray:
        """The speakers of a recording, at its rate and as long as it: (C, n) float32, each at its level in the mixture.

        `recording`: a file, or samples (n,) or (n, channels) in [-1, 1] at `rate` Hz (by default config.sample_rate).
        Where speakers cancel each other, one alone may be louder than 1. AudioError for a recording that is unfit.
        """
        network_rate = self.config.sample_rate
        opened = open_recording(recording, rate or network_rate, self.config.L, network_rate)
        level, windows = Level(self.config.C), self.windows(opened.rounded_length(network_rate))
        pieces = windows.separate(opened.blocks(network_rate))
        speakers = np.concatenate(list(at_rate_of(opened, pieces, network_rate, level)))
        return (level.gains() / opened.gain * speakers).astype(np.float32).T

    def windows(self, longest: int, seconds: float = WINDOW) -> Windows:
        """What separates recordings of up to `longest` samples, of any length, by windows of `seconds` that overlap."""
        size, overlap = window_sizes(seconds, longest, self.config)
        return Windows(self._compiled_for(size).run, size, overlap, self.config.L // 2)

    def stream(self, seconds: float = 0.1) -> Stream:
        """What separates samples as they arrive, in steps of `seconds`. MismatchError for one that looks ahead."""
        return Stream(self.network, self.config, seconds)

    def _compiled_for(self, samples):
        if samples not in self.compiled:
            self.compiled[samples] = MixtureNetwork(_Graph(self.network), self.config, samples)
        return self.compiled[samples]


def load(config: Config) -> Separator:
    """The Separator of the checkpoint config.model_path, on the device that `config` names.

    `config` is the one saved with the checkpoint, perhaps with other settings of evaluation. UserError where checkpoint
    and config do not fit each other, or the device is not there.
    """
    setup_device(config.device_target, device_id=config.device_id)
    network = fast(ConvTasNet(config), config.amp_level == BF16)
    load_model(config.model_path, network)
    return Separator(network, config)
