"""Trains Conv-TasNet: python train.py --config configs/mini.yaml [--flag value]; --resume RUN continues a run."""
import sys
from typing import TYPE_CHECKING

from conv_tasnet.src.config import Config
from utils.config import parse_train_config
from utils.errors import run

if TYPE_CHECKING:
    from utils.training.state import Progress


def main(config: Config) -> "Progress":
    """Trains as `config` says."""
    from conv_tasnet.src.training import train  # MindSpore, which --help does not wait for

    return train(config)


if __name__ == "__main__":
    run(lambda: main(parse_train_config(Config, sys.argv[1:])))
