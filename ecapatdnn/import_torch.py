"""Takes over weights trained in PyTorch: python import_torch.py --format speechbrain|taoruijie FILE --output RUN.

RUN is a run folder as train.py leaves it, which eval.py, infer.py and export.py take. The other way, for a checkpoint
of ours: python import_torch.py --export --format speechbrain|taoruijie RUN/best.ckpt --output FILE. Needs no PyTorch.
"""
import sys

from ecapatdnn.src.config import Config
from ecapatdnn.src.torch_layout import ORIGINALS, shapes
from utils.errors import run
from utils.torch_weights.importer import work


def main(argv):
    """Makes the run folder, or writes the original's file."""
    work(argv, Config, ORIGINALS, shapes, __doc__)


if __name__ == "__main__":
    run(main, sys.argv[1:])
