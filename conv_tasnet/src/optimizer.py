"""Optimiser and learning rate of the recipes."""
from mindspore import Parameter, nn

from conv_tasnet.src.config import Config
from utils.training.schedules import Schedule, constant, cosine


def make_optimizer(config: Config, weights: list[Parameter], rate: float) -> nn.Optimizer:
    """Adam, or the SGD with momentum of the MindSpore zoo's Conv-TasNet."""
    if config.optimizer == "adam":
        return nn.Adam(weights, learning_rate=rate, weight_decay=config.l2)
    return nn.SGD(weights, learning_rate=rate, momentum=config.momentum, weight_decay=config.l2)


def make_schedule(config: Config, updates: int) -> Schedule:
    """The one that config.schedule names. `updates`: of an epoch."""
    warmup = config.warmup_epochs * updates
    return {
        "constant": constant(config.lr, warmup),
        "cosine": cosine(config.lr, config.base_lrate, config.num_epochs * updates, warmup)}[config.schedule]
