"""Optimiser and learning rate of deepspeech.pytorch's recipes."""
from mindspore import Parameter, Tensor, nn, ops

from deepspeech2.src.config import Config
from utils.cpu_ops import for_each
from utils.training.schedules import Schedule, exponential


def shrink(factor: Tensor, weight: Parameter) -> Tensor:
    return ops.assign(weight, weight * factor)


class AdamW(nn.Adam):
    """Adam with decoupled weight decay (Loshchilov, Hutter, arXiv:1711.05101).

    MindSpore's nn.AdamWeightDecay is another thing: it leaves out the correction of Adam's moments, so that the first
    steps are three times as large.
    """

    def __init__(self, weights: list[Parameter], learning_rate: float, decay: float):
        super().__init__(weights, learning_rate=learning_rate)
        self.decoupled_decay = decay

    def construct(self, gradients):
        for_each(ops.partial(shrink, 1 - self.learning_rate * self.decoupled_decay), self.parameters)
        return super().construct(gradients)


def make_optimizer(config: Config, weights: list[Parameter], rate: float) -> nn.Optimizer:
    """The one that config.optimizer names."""
    if config.optimizer == "adamw":
        return AdamW(weights, rate, config.weight_decay)
    return nn.SGD(weights, learning_rate=rate, momentum=config.momentum, weight_decay=config.weight_decay,
                  nesterov=True)


def make_schedule(config: Config, updates: int) -> Schedule:
    """The same factor after every epoch of so many `updates`."""
    return exponential(config.learning_rate, config.learning_anneal, updates, config.warmup_epochs * updates)
