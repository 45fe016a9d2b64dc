"""Optimiser and learning rate of the recipes."""
from mindspore import Parameter, nn

from ecapatdnn.src.config import Config
from utils.training.schedules import Schedule, constant, cosine, cyclic, exponential


def make_optimizer(config: Config, weights: list[Parameter], rate: float) -> nn.Optimizer:
    """Adam."""
    return nn.Adam(weights, learning_rate=rate, weight_decay=config.weight_decay)


def make_schedule(config: Config, updates: int, devices: int = 1) -> Schedule:
    """The one that config.schedule names. `updates`: of an epoch on each of `devices`."""
    top, base, warmup = config.max_lrate, config.base_lrate, config.warmup_epochs * updates
    return {
        "constant": constant(top, warmup),
        "cosine": cosine(top, base, config.num_epochs * updates, warmup),
        "exponential": exponential(top, config.decay, updates, warmup),
        "step": exponential(top, config.decay, config.test_step * updates, warmup),
        "cyclic": cyclic(base, top, config.cycle_steps // (devices * config.accumulate))}[config.schedule]
