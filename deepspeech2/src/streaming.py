"""A unidirectional network step by step, as samples arrive: its labels follow half a second after a step.

From step to step go the states of the recurrent layers, the frames that the lookahead waits for, and the mean and
variance of the features so far. Letters: N samples, T frames of 10 ms of a step and around it, n frames of 20 ms of a
step, F frequency bins, K labels.
"""
from collections.abc import Iterable, Iterator
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, HOP, RATE, WINDOW
from deepspeech2.src.model import AFTER, BEFORE, DeepSpeech2
from deepspeech2.src.waveform import log_magnitude, spectrum_kernel
from utils.errors import MismatchError
from utils.layers.shapes import unbiased
from utils.layers.spectrum import Squares
from utils.layers.steps import Stepper, Steps, StepStream


class Step(nn.Cell):
    """One step: samples (1, window), how many are the recording's (1,), states -> log probabilities (n, 1, K), states.

    The features are normalised by the mean and deviation of all frames up to the end of the window. So these depend on
    what the step has seen, and not on how the samples came. The network's parameters keep their names.
    """

    def __init__(self, model: DeepSpeech2, steps: Steps):
        super().__init__(auto_prefix=False)
        self.model, self.step = model, 2 * steps.rows
        self.squares = Squares(spectrum_kernel(), HOP, 0, mirrored=False, whole_blocks=True)
        number = np.arange(BEFORE + self.step + AFTER)[:, None]
        self.needed = Tensor((number + 1) * HOP, ms.int32)      # samples of the window where a frame is the recording's
        self.fresh = Tensor(number >= BEFORE + AFTER, ms.float32)       # 0: the step before has seen it
        self.later = Tensor(np.ones((self.step + AFTER, 1)), ms.float32)
        self.moments = MomentsSoFar()

    def construct(self, waveform, samples, past, count, mean, variance, *state):
        squares, gain = self.squares(waveform)
        x = log_magnitude(squares, gain)                                                    # (T, F)
        inside = (self.needed <= samples.reshape(1, 1)).astype(ms.float32)                  # (T, 1)
        inside = inside * ops.cat((past, self.later), 0)
        fresh = inside * ops.maximum(self.fresh, 1 - past[BEFORE - 1:])                     # all at the first step
        x, moments = self.moments(x, fresh, count, mean, variance)
        around, middle = BEFORE - 10, BEFORE        # frames of 20 ms: with 5 on either side, and the step's
        log_probs, after = self.model.stream(
            (x * inside).expand_dims(0), inside[around:around + self.step + 20:2].reshape(1, -1),
            inside[middle:middle + self.step:2].reshape(-1), *state)
        return log_probs, inside[self.step:self.step + BEFORE], *moments, *after


class MomentsSoFar(nn.Cell):
    """Features (T, F), 1 where they are new (T, 1), moments before -> normalised by the moments after, and these."""

    keeps_float32 = True

    def construct(self, x, fresh, count, mean, variance):
        more = fresh.sum(0, keepdims=True)                                                  # (1, 1)
        part = fresh / ops.maximum(more, 1.0)
        new_mean = (x.mean(1, keep_dims=True) * part).sum(0, keepdims=True)
        new_variance = ((x - new_mean).square().mean(1, keep_dims=True) * part).sum(0, keepdims=True)
        count, mean, variance = merged((count, mean, variance), (more, new_mean, new_variance))
        deviation = ops.sqrt(variance * unbiased(count, BINS))
        return (x - mean) / ops.maximum(deviation, 1e-5), (count, mean, variance)


def merged(first: tuple[Any, Any, Any], second: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
    """Of two sets of numbers (count, mean, variance) that of both together.

    Chan, Golub, LeVeque: "Algorithms for Computing the Sample Variance", 1983, with variances for sums of squares: no
    number grows but the count, and every step moves the others by less the more there are. Any type that adds.
    """
    share = second[0] / (first[0] + second[0])
    difference = second[1] - first[1]
    variance = first[2] + (second[2] - first[2] + difference * difference * (1 - share)) * share
    return first[0] + second[0], first[1] + difference * share, variance


def require_unidirectional(config: Config) -> None:
    """MismatchError for a network that needs the whole recording."""
    if config.bidirectional:
        raise MismatchError("stream: the network is bidirectional, it needs the whole recording; train one with "
                            "--bidirectional false, or transcribe without --stream")


def steps_of(config: Config, seconds: float) -> Steps:
    """Steps of `seconds`, rounded to frames of 20 ms."""
    rows = max(1, round(seconds * RATE / (2 * HOP)))
    samples = 2 * HOP * rows
    return Steps(samples, window=(BEFORE + AFTER + 1) * HOP + samples, rows=rows, length=(2 * HOP, 2 * HOP),
                 before=(BEFORE + 1) * HOP, delay=config.lookahead_context - 1, mirrored=WINDOW // 2)


def begin(model: DeepSpeech2) -> tuple[Tensor, ...]:
    """The states of `Step` before a recording: of the frames, of their moments, of the network."""
    return (Tensor(np.zeros((BEFORE, 1), np.float32)), *(Tensor([[0]], ms.float32) for _ in range(3)), *model.start())


class Stream(StepStream):
    """Runs a unidirectional network over recordings in blocks of any size.

    What it gives is what the network gives for the whole, but that features are normalised by the mean and deviation
    of what the steps have seen so far. MismatchError for a bidirectional network.
    """

    def __init__(self, model: DeepSpeech2, config: Config, seconds: float = 1.0):
        require_unidirectional(config)
        steps = steps_of(config, seconds)
        super().__init__(Stepper(Step(model, steps), steps, 0, begin(model)))

    def run(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks (n,) of a recording -> log probabilities (up to n, K), step by step."""
        for log_probs in self.stepper.run(blocks):
            yield log_probs[:, 0]
