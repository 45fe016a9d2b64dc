"""Takes over weights trained in PyTorch: python import_torch.py --format asteroid|kaituoxu FILE --output RUN.

RUN is a run folder as train.py leaves it, which eval.py, infer.py and export.py take. The other way, for a checkpoint
of ours: python import_torch.py --export --format asteroid|kaituoxu RUN/best.ckpt --output FILE. Needs no PyTorch.
"""
import sys

from conv_tasnet.src.config import Config
from conv_tasnet.src.import_torch import ORIGINALS, shapes
from utils.device import setup_device
from utils.errors import run
from utils.torch_import import export_file, import_file, parse


def main(argv):
    """Makes the run folder, or writes the original's file."""
    args, given = parse(argv, Config, ORIGINALS, __doc__)
    setup_device("CPU")
    if args.export:
        export_file(args, given, Config, ORIGINALS)
    else:
        import_file(args, given, Config, ORIGINALS, shapes)


if __name__ == "__main__":
    run(main, sys.argv[1:])
