"""A causal network step by step, as samples arrive.

From step to step go the past of every depthwise convolution, the running means of every cgLN, and the stride by which
the decoder's filters overlap. Letters as in model.py.
"""
from collections.abc import Iterable, Iterator

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import sample_count
from conv_tasnet.src.model import ConvTasNet
from utils.errors import MismatchError
from utils.layers.steps import Stepper, Steps, StepStream


class Step(nn.Cell):
    """One step: samples (1, S + L / 2), how many of them are the recording's (1,), states -> (1, C, S), states after.

    The parameters of the network keep their names.
    """

    def __init__(self, model: ConvTasNet, steps: Steps):
        super().__init__(auto_prefix=False)
        self.model = model
        begin = np.arange(1, steps.samples // model.stride + 1) * model.stride      # of the second stride of each frame
        self.needed = Tensor(begin[None] + 1, ms.int32)

    def construct(self, mixture, samples, *state):
        mask = (self.needed <= samples.reshape(1, 1)).astype(ms.float32).expand_dims(1)     # (1, 1, T)
        sources, after = self.model.stream(mixture, mask, state)
        return sources, *after


def require_causal(config: Config) -> None:
    """MismatchError for a network that needs the samples that follow."""
    if not config.causal:
        raise MismatchError("stream: the network is not causal, it needs the samples that follow; train one with "
                            "--causal true --norm cgLN, or separate without --stream")


def steps_of(config: Config, seconds: float) -> Steps:
    """Steps of `seconds`, rounded to strides of L / 2."""
    stride = config.L // 2
    samples = max(1, round(seconds * config.sample_rate / stride)) * stride
    return Steps(samples, window=samples + stride, rows=samples, length=(0, 1), shortest=sample_count(1, stride))


class Stream(StepStream):
    """Runs a causal network over recordings in blocks of any size.

    What it gives is, end to end, what the network gives for the whole recording. No output depends on inputs more than
    L - 1 samples after it: so far a filter of the encoder and one of the decoder reach. As work is done in steps of
    `seconds`, every sample comes back at most `latency` samples after it arrived: the step and L / 2 - 1, so L - 1 for
    the smallest step. MismatchError for a network that is not causal.
    """

    def __init__(self, model: ConvTasNet, config: Config, seconds: float = 0.1):
        require_causal(config)
        steps = steps_of(config, seconds)
        super().__init__(Stepper(Step(model, steps), steps, 2, model.start()))
        self.latency = steps.latency

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Blocks (n,) of a recording -> (mixture (n,), speakers (C, n)) step by step, each sample once."""
        waiting = np.zeros(0, np.float32)       # what has come of the mixture, and not of the speakers

        def noted():
            nonlocal waiting
            for block in blocks:
                waiting = np.concatenate((waiting, block))
                yield block

        for sources in self.stepper.run(noted()):
            length = sources.shape[2]
            yield waiting[:length], sources[0]
            waiting = waiting[length:]
