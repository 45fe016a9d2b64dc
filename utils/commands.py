"""The commands that install: speech-prepare, speech-train, speech-eval and speech-export, each with a MODEL.

    speech-train MODEL --config mini [--flag value]
    speech-train MODEL --help

They are the prepare.py, train.py, eval.py and export.py of that model.
"""
import argparse
import importlib
import sys
from collections.abc import Sequence

from utils.command_line import Parser
from utils.config import parse_train_config, parse_use_config
from utils.errors import SettingError, nearest, run

MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")
PROGRAMS = {"prepare": "makes the lists of a corpus", "train": "trains on them", "eval": "scores a checkpoint",
            "export": "writes a graph for the C++ runner, or ONNX"}
PARSE = {"train": parse_train_config, "eval": parse_use_config, "export": parse_use_config}     # prepare.py parses


def main(argv: Sequence[str]) -> None:
    """Does what the program argv[0] of the model argv[1] does with the other words."""
    parser = Parser(prog="python -m utils.commands", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    programs = parser.add_subparsers(dest="program", metavar="PROGRAM", required=True)
    for program, text in PROGRAMS.items():
        name = f"speech-{program}"
        command = programs.add_parser(program, prog=name, description=f"{name} {text}.", help=text,
                                      usage=f"{name} MODEL [--config FILE] [--SETTING VALUE] ...",
                                      epilog=f"{name} MODEL --help lists what can be set.")
        command.add_argument("model", metavar="MODEL", help=", ".join(MODELS))
    args = parser.parse_args(argv[:2])
    program, model = args.program, args.model
    if model not in MODELS:
        raise SettingError(f"{model}: no such model{nearest(model, MODELS)}; expected one of {', '.join(MODELS)}")
    sys.argv = [f"speech-{program} {model}", *argv[2:]]       # what --help and logs of defects call it
    module = importlib.import_module(f"{model}.{program}")
    if program in PARSE:
        settings = importlib.import_module(f"{model}.src.config").Config
        module.main(PARSE[program](settings, argv[2:]))
    else:
        module.main(argv[2:])


def prepare() -> None:
    """The command speech-prepare."""
    run(main, ["prepare", *sys.argv[1:]])


def train() -> None:
    """The command speech-train."""
    run(main, ["train", *sys.argv[1:]])


def evaluate() -> None:
    """The command speech-eval."""
    run(main, ["eval", *sys.argv[1:]])


def export() -> None:
    """The command speech-export."""
    run(main, ["export", *sys.argv[1:]])


if __name__ == "__main__":
    run(main, sys.argv[1:])
