"""Optimisers of the recipes."""
from mindspore import Parameter, nn

from utils.errors import SettingError


def make_optimizer(config, weights: list[Parameter], rate: float) -> nn.Optimizer:
    """Adam, or the SGD with momentum of the MindSpore zoo's Conv-TasNet."""
    if config.optimizer == "adam":
        return nn.Adam(weights, learning_rate=rate, weight_decay=config.l2)
    if config.optimizer == "sgd":
        return nn.SGD(weights, learning_rate=rate, momentum=config.momentum, weight_decay=config.l2)
    raise SettingError(f"optimizer: found {config.optimizer!r}, expected adam or sgd")
