"""The command line of the importers, apart from what they do: --help does not wait for MindSpore."""
import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

from utils.command_line import Parser
from utils.config import parse_config

DESCRIPTION = """Takes over weights trained in PyTorch: FILE becomes a run folder as train.py leaves it, which eval.py,
infer.py and export.py take. The other way, with --export: a checkpoint of ours becomes a file of the original. Needs no
PyTorch. Files that end in .safetensors are read and written too."""


def parse(argv: list[str], cls: type, formats: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """(arguments, the settings {name: value} given by flags) of an import_torch.py for configs of type `cls`."""
    parser = Parser(description=DESCRIPTION,
                    epilog="--SETTING VALUE states what the file does not state; see src/config.py")
    parser.add_argument("file", help="the original's file; with --export a checkpoint of ours")
    parser.add_argument("--format", choices=formats, required=True, help="toolkit that the file is of, or is for")
    parser.add_argument("--output", required=True, help="run folder to make; with --export the file to write")
    parser.add_argument("--hyper_parameters", default="", help="YAML or JSON of the original's hyper-parameters")
    parser.add_argument("--export", action="store_true", help="write a checkpoint of ours as the original's file")
    names = [field.name for field in dataclasses.fields(cls) if field.name != "variant"]    # which --format is
    for name in names:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    config = parse_config(cls, [word for name, value in given.items() for word in (f"--{name}", value)])
    return args, {name: getattr(config, name) for name in given}
