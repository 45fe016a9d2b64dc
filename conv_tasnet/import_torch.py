"""Takes over weights trained in PyTorch: python import_torch.py --format asteroid|kaituoxu FILE --output RUN.

Or, with --export, writes a checkpoint of ours as a file of the original. --help says more.
"""
import sys

from conv_tasnet.src.config import Config
from utils.errors import run
from utils.torch_weights.command_line import parse

FORMATS = ("asteroid", "kaituoxu")


def main(argv: list[str]) -> None:
    """Makes the run folder, or writes the original's file."""
    args, given = parse(argv, Config, FORMATS)
    from conv_tasnet.src.torch_layout import ORIGINALS, shapes  # MindSpore, which --help does not wait for
    from utils.torch_weights.importer import work

    work(args, given, Config, ORIGINALS, shapes)


if __name__ == "__main__":
    run(main, sys.argv[1:])
