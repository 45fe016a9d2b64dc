"""A causal network block by block, as samples arrive.

From block to block go the past of every depthwise convolution, the running sums of every cgLN, and the stride by
which the encoder's and the decoder's filters overlap. Letters as in model.py.
"""
from collections.abc import Iterable, Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import whole_strides
from conv_tasnet.src.model import ConvTasNet
from utils.errors import MismatchError


class Stream:
    """Runs a causal network step by step, compiled once; blocks may have any size.

    What `push` and `flush` return is, end to end, what the network gives for the whole recording. No output depends on
    inputs more than L - 1 samples after it: so far a filter of the encoder and one of the decoder reach. As work is
    done in steps of `seconds`, rounded to strides of L / 2, `push` returns every sample at most `latency` samples
    after it arrived: the step and L / 2 - 1, so L - 1 for the smallest step. UserError for a network that is not
    causal.
    """

    def __init__(self, model: ConvTasNet, config: Config, seconds: float = 0.1):
        if not config.causal:
            raise MismatchError("stream: the network is not causal, it needs the samples that follow; train one with "
                                "--causal true --norm cgLN, or separate without --stream")
        self.stride, self.speakers = config.L // 2, config.C
        self.samples = max(1, round(seconds * config.sample_rate / self.stride)) * self.stride
        self.latency = self.samples + self.stride - 1
        self.step = _Step(model).set_train(False)
        self.begin = model.start()
        self.reset()

    def reset(self) -> None:
        """Forgets what was pushed: another recording begins."""
        self.state = self.begin
        self.received = self.returned = 0
        self.waiting = np.zeros(0, np.float32)                             # the samples from `returned` on
        self.rest = np.zeros((self.speakers, self.stride), np.float32)     # what steps so far add to the next output

    def push(self, samples: np.ndarray) -> np.ndarray:
        """The next samples (n,) of the recording -> as many of the speakers as are ready, (C, any number)."""
        self.waiting = np.concatenate((self.waiting, np.asarray(samples, np.float32)))
        self.received += len(samples)
        ready = [np.zeros((self.speakers, 0), np.float32)]
        while len(self.waiting) >= self.samples + self.stride:
            ready.append(self.advance(self.samples + self.stride))
        return np.concatenate(ready, 1)

    def flush(self) -> np.ndarray:
        """The speakers up to the end of the recording, (C, n); then begins another one."""
        left = self.received - self.returned
        length = whole_strides(self.received, self.stride) - self.returned
        last = np.zeros((self.speakers, 0), np.float32)
        if length > self.stride:
            self.waiting = np.pad(self.waiting, (0, self.samples + self.stride - left))
            last = self.advance(length)
        last = np.concatenate((last, self.rest), 1)[:, :left]
        self.reset()
        return last

    def advance(self, length: int) -> np.ndarray:
        """One step, of which only the first `length` samples are the recording's: (C, length - L / 2)."""
        mixture = Tensor(self.waiting[None, :self.samples + self.stride])
        sounds, self.state = self.step(mixture, Tensor([length], ms.int32), *self.state)
        sounds = sounds.asnumpy()[0, :, :length].copy()
        sounds[:, :self.stride] += self.rest
        done = length - self.stride
        self.rest, self.waiting = sounds[:, done:], self.waiting[done:]
        self.returned += done
        return sounds[:, :done]

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks (n,) of a recording -> (mixture (n,), speakers (C, n)) piece by piece, each sample once."""
        self.reset()
        mixture = np.zeros(0, np.float32)
        for block in blocks:
            speakers = self.push(block)
            mixture, ready = np.concatenate((mixture, block)), speakers.shape[1]
            yield mixture[:ready], speakers
            mixture = mixture[ready:]
        yield mixture, self.flush()


class _Step(nn.Cell):
    """The model's `stream`, to be compiled. The parameters keep their names."""

    def __init__(self, model: ConvTasNet):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, mixture, lengths, *state):
        return self.model.stream(mixture, lengths, state)
