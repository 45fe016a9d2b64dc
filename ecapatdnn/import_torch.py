"""Takes over weights trained in PyTorch: python import_torch.py --format speechbrain|taoruijie FILE --output RUN.

Or, with --export, writes a checkpoint of ours as a file of the original. --help says more.
"""
import sys

from ecapatdnn.src.config import Config
from utils.errors import run
from utils.torch_weights.command_line import parse

FORMATS = ("speechbrain", "taoruijie", "wespeaker", "3dspeaker")


def main(argv: list[str]) -> None:
    """Makes the run folder, or writes the original's file."""
    args, given = parse(argv, Config, FORMATS)
    from ecapatdnn.src.torch_layout import ORIGINALS, shapes  # MindSpore, which --help does not wait for
    from utils.torch_weights.importer import work

    work(args, given, Config, ORIGINALS, shapes)


if __name__ == "__main__":
    run(main, sys.argv[1:])
