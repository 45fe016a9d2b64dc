"""A trained network: mixtures and recordings in, one signal per speaker out.

`load` is what eval.py, infer.py and other programs begin with. Nothing here prints; mistakes are exceptions,
kinds of utils.errors.UserError. Letters as in model.py.
"""
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, overload

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import pad_mixture, whole_strides
from conv_tasnet.src.level import Level, levelled
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.outputs import at_rate_of
from conv_tasnet.src.streaming import Stream
from conv_tasnet.src.torch_layout import ORIGINALS, shapes
from conv_tasnet.src.windows import WINDOW, Windows, window_sizes
from utils.audio.audio_file import Source
from utils.audio.recording import arriving, by_length, listed, open_recording, resampled, whole_rate, whole_up_to
from utils.cpu_ops import BF16, fast
from utils.files import StrPath
from utils.trained import Kind, find

LONGEST = 60    # seconds separated as a whole
BATCH = 8       # recordings separated together, at most
KIND = Kind(Config, Path(__file__).parents[1], ORIGINALS, shapes)


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

    def run_together(self, mixtures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As `run`, of several mixtures of up to `samples`, each as it is alone. So many, 1, 2, 4, ..., are a shape."""
        rows = 2 ** (len(mixtures) - 1).bit_length()
        padded, lengths = np.zeros((rows, self.samples), np.float32), np.full(rows, self.stride, np.int32)
        for i, mixture in enumerate(mixtures):
            padded[i], lengths[i] = pad_mixture(mixture, self.stride, self.samples), whole_strides(len(mixture),
                                                                                                   self.stride)
        speakers = self.network(Tensor(padded), Tensor(lengths)).asnumpy()
        return [row[:, :len(mixture)] for row, mixture in zip(speakers, mixtures, strict=False)]


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
        self.rate, self.fewest = config.sample_rate, config.L       # Hz, samples of the shortest recording
        self.compiled: dict[int, MixtureNetwork] = {}       # by the samples that they are compiled for
        self._stream = cache(lambda seconds: Stream(network, config, seconds))

    def run(self, mixture: np.ndarray) -> np.ndarray:
        """What the network gives for a mixture at config.sample_rate: (S,) float32 -> (C, S).

        At any level and polarity. One of more than LONGEST seconds is run by windows, for the memory.
        """
        if len(mixture) <= LONGEST * self.config.sample_rate:
            return self._compiled_for(0).run(mixture)
        pieces = self.windows(len(mixture)).separate([mixture])
        return np.concatenate([speakers for _, speakers in pieces], axis=1)

    @overload
    def separate(self, recording: Source, rate: int | None = None) -> np.ndarray: ...
    @overload
    def separate(self, recording: Sequence[Source], rate: int | None = None) -> list[np.ndarray]: ...

    def separate(self, recording: Source | Sequence[Source], rate: int | None = None) -> np.ndarray | list[np.ndarray]:
        """The speakers of a recording, at its rate and as long as it: (C, n) float32, each at its level in the mixture.

        `recording`: a file, or samples (n,) or (n, channels) in [-1, 1] at `rate` Hz (by default config.sample_rate).
        Of a list of recordings a list: computed together, each as it is alone. Where speakers cancel each other, one
        alone may be louder than 1. AudioError for a recording that is unfit.
        """
        if (several := listed(recording)) is not None:
            return self._separate_together([self._open(item, rate) for item in several])
        opened = self._open(recording, rate)
        windows = self.windows(opened.rounded_length(self.rate))
        return self._levelled(opened, windows.separate(opened.blocks(self.rate)))

    def separate_stream(self, blocks: Iterable[np.ndarray], rate: int | None = None,
                        seconds: float = 0.1) -> Iterator[np.ndarray]:
        """The speakers of a recording while it arrives: blocks (n,) -> (C, any number) float32, in all as long.

        `rate`: of blocks and speakers, Hz (by default config.sample_rate). `seconds`: of a step, by which a speaker
        comes later. Each speaker has the level that fits the mixture so far. MismatchError for a network that looks
        ahead, AudioError for what is no block.
        """
        return self._pieces(blocks, self._rate(rate), self.stream(seconds))

    def _pieces(self, blocks, rate, stream):
        level, left = Level(self.config.C), 0

        def counted():
            nonlocal left
            for block in blocks:
                left += len(block)
                yield block

        def sounds():
            for mixture, speakers in stream.separate(arriving(counted(), rate, self.rate)):
                level.add(mixture, speakers)
                yield (level.gains()[:, None] * speakers).astype(np.float32).T.copy()

        for piece in resampled(sounds(), self.rate, rate, self.config.C):
            piece = piece[:left]     # there and back again, a few samples more or less come out
            left -= len(piece)
            yield piece.T
        if left:
            yield np.zeros((self.config.C, left), np.float32)

    def _open(self, source, rate):
        return open_recording(source, self._rate(rate), self.fewest, self.rate)

    def _rate(self, rate):
        """Hz; SettingError for what is no rate, such as 0."""
        return self.rate if rate is None else whole_rate(rate)

    def _levelled(self, recording, pieces):
        """Pieces (mixture (n,), speakers (C, n)) at the network's rate -> (C, n) at that of `recording`."""
        level = Level(self.config.C)
        speakers = np.concatenate(list(at_rate_of(recording, pieces, self.rate, level)))
        return (level.gains() / recording.gain * speakers).astype(np.float32).T

    def _separate_together(self, recordings):
        """[recording] -> [(C, n)]: from the shortest to the longest; those longer than a window are run by windows."""
        results: dict[int, np.ndarray] = {}
        for here, longest in by_length(recordings, self.rate, BATCH):
            size = window_sizes(WINDOW, longest, self.config)[0]
            mixtures = whole_up_to(size, recordings, here, self.rate)
            if mixtures:
                separated = self._compiled_for(size).run_together(list(mixtures.values()))
                for (i, mixture), speakers in zip(mixtures.items(), separated, strict=True):
                    results[i] = self._levelled(recordings[i], [(mixture, levelled(mixture, speakers))])
            for i in here:
                if i not in results:
                    results[i] = self._levelled(recordings[i], self.windows(size).separate(
                        recordings[i].blocks(self.rate)))
        return [results[i] for i in range(len(recordings))]

    def windows(self, longest: int, seconds: float = WINDOW) -> Windows:
        """What separates recordings of up to `longest` samples, of any length, by windows of `seconds` that overlap."""
        size, overlap = window_sizes(seconds, longest, self.config)
        return Windows(self._compiled_for(size).run, size, overlap, self.config.L // 2)

    def stream(self, seconds: float = 0.1) -> Stream:
        """What separates samples as they arrive, in steps of `seconds`; several may run at the same time.

        Steps of a length are compiled once. MismatchError for a network that looks ahead.
        """
        return self._stream(seconds).another()

    def _compiled_for(self, samples):
        if samples not in self.compiled:
            self.compiled[samples] = MixtureNetwork(_Graph(self.network), self.config, samples)
        return self.compiled[samples]


def load(checkpoint: Config | StrPath | None = None, device_target: str = "", **settings: Any) -> Separator:
    """A Separator, ready to work.

    `checkpoint`: None for the one that ships, a run folder, a .ckpt of one, a file of asteroid's or kaituoxu's, or a
    Config whose model_path is a checkpoint. `device_target`: Ascend, GPU, CPU; "" for what there is. `settings`: of
    src/config.py, in place of those saved with the checkpoint, such as `amp_level="bf16"`.

    UserError where checkpoint and settings do not fit each other, or the device is not there.

        separator = conv_tasnet.load()
        first, second = separator.separate("mixture.wav")
    """
    trained = find(KIND, checkpoint, device_target, settings)
    network = fast(ConvTasNet(trained.config), trained.config.amp_level == BF16)
    trained.fill(network)
    return Separator(network, trained.config)
