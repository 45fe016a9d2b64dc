"""Takes over weights trained in PyTorch: python import_torch.py --format deepspeech_pytorch FILE --output RUN.

Or, with --export, writes a checkpoint of ours as a file of the original. --help says more.
"""
import sys

from deepspeech2.src.config import Config
from utils.errors import run
from utils.torch_weights.command_line import parse

FORMATS = ("deepspeech_pytorch",)


def main(argv: list[str]) -> None:
    """Makes the run folder, or writes the original's file."""
    args, given = parse(argv, Config, FORMATS)
    from deepspeech2.src.torch_layout import ORIGINALS, shapes  # MindSpore, which --help does not wait for
    from utils.torch_weights.importer import work

    work(args, given, Config, ORIGINALS, shapes)


if __name__ == "__main__":
    run(main, sys.argv[1:])
