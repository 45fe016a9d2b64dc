"""Trains a model: speech-train MODEL --config mini [--flag value]; speech-train MODEL --help lists its settings.

It is the train.py of that model, which is imported once the command line is right: so --help answers at once.
"""
import argparse
import importlib
import sys
from collections.abc import Sequence

from utils.command_line import Parser
from utils.config import parse_train_config
from utils.errors import SettingError, nearest, run

MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")


def main(argv: Sequence[str]) -> None:
    """Trains as the command line says."""
    parser = Parser(prog="speech-train", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help=", ".join(MODELS))
    model = parser.parse_args(argv[:1]).model
    if model not in MODELS:
        raise SettingError(f"{model}: no such model{nearest(model, MODELS)}; expected one of {', '.join(MODELS)}")
    settings = importlib.import_module(f"{model}.src.config").Config
    config = parse_train_config(settings, argv[1:], f"speech-train {model}")
    importlib.import_module(f"{model}.train").main(config)


def command() -> None:
    """The command speech-train."""
    run(main, sys.argv[1:])


if __name__ == "__main__":
    command()
