"""The commands that install: speech-prepare, speech-train, speech-eval and speech-export, each with a MODEL.

    speech-train MODEL --config mini [--flag value]
    speech-train MODEL --help

They are the prepare.py, train.py, eval.py and export.py of that model.
"""
import argparse
import importlib
import sys
from collections.abc import Sequence

from utils.config import parse_train_config, parse_use_config
from utils.errors import SettingError, nearest, run
from utils.version import add_version

MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")
PROGRAMS = {"prepare": "makes the lists of a corpus", "train": "trains on them", "eval": "scores a checkpoint",
            "export": "writes a graph for the C++ runner, or ONNX"}
PARSE = {"train": parse_train_config, "eval": parse_use_config, "export": parse_use_config}     # prepare.py parses


def main(program: str, argv: Sequence[str]) -> None:
    """Does what `program` of the model in argv[0] does with the other words."""
    name = f"speech-{program}"
    parser = argparse.ArgumentParser(prog=name, usage=f"{name} MODEL [--config FILE] [--SETTING VALUE] ...",
                                     description=f"{name} {PROGRAMS[program]}.", allow_abbrev=False,
                                     epilog=f"{name} MODEL --help lists what can be set.")
    add_version(parser)
    parser.add_argument("model", metavar="MODEL", help=", ".join(MODELS))
    model = parser.parse_args(argv[:1]).model
    if model not in MODELS:
        raise SettingError(f"{model}: no such model{nearest(model, MODELS)}; expected one of {', '.join(MODELS)}")
    sys.argv = [f"{name} {model}", *argv[1:]]       # what --help and logs of defects call it
    module = importlib.import_module(f"{model}.{program}")
    if program in PARSE:
        settings = importlib.import_module(f"{model}.src.config").Config
        module.main(PARSE[program](settings, argv[1:]))
    else:
        module.main(argv[1:])


def prepare() -> None:
    """The command speech-prepare."""
    run(main, "prepare", sys.argv[1:])


def train() -> None:
    """The command speech-train."""
    run(main, "train", sys.argv[1:])


def evaluate() -> None:
    """The command speech-eval."""
    run(main, "eval", sys.argv[1:])


def export() -> None:
    """The command speech-export."""
    run(main, "export", sys.argv[1:])
