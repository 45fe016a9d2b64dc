"""The mean of the last checkpoints of a run: python -m utils.average RUN --num 10, after wespeaker's average_model.

Every tensor is averaged, BatchNorm's statistics too. RUN/average.ckpt is used like best.ckpt, but holds no threshold:
eval.py finds it anew.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
from mindspore import Tensor

from utils.checkpoint import load_checkpoint, save_checkpoint
from utils.errors import UserError, run


def main(argv):
    """Writes the mean of RUN/checkpoints/epoch_*.ckpt, the last `num` of them; returns its path."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("run", help="run folder")
    parser.add_argument("--num", type=int, default=10, help="checkpoints to average (%(default)s)")
    parser.add_argument("--output", default="", help="default: average.ckpt in the run folder")
    args = parser.parse_args(argv)
    found = sorted(Path(args.run, "checkpoints").glob("epoch_*.ckpt"))
    if not 0 < args.num <= len(found):
        raise UserError(f"num: {args.num} checkpoints asked for, but {args.run}/checkpoints holds {len(found)}; give "
                        "fewer, or train with a larger --keep_checkpoint_max")
    path = Path(args.output or Path(args.run, "average.ckpt"))
    chosen = found[-args.num:]
    save_checkpoint(path, {name: Tensor(array) for name, array in mean(chosen).items()},
                    averaged=[one.stem for one in chosen])
    print(f"{path}: the mean of {', '.join(one.stem for one in chosen)}")
    return path


def mean(paths):
    """{name: array} averaged over checkpoints, one of which is in memory at a time."""
    sums, kinds = {}, {}
    for path in paths:
        arrays = {name: value.asnumpy() for name, value in load_checkpoint(path)[0].items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if sums and shapes != {name: array.shape for name, array in sums.items()}:
            raise UserError(f"{path}: holds other tensors than {paths[0]}; expected checkpoints of one run")
        for name, array in arrays.items():
            kinds[name], sums[name] = array.dtype, sums.get(name, 0) + array.astype(np.float64)
    return {name: (array / len(paths)).astype(kinds[name]) for name, array in sums.items()}


if __name__ == "__main__":
    run(main, sys.argv[1:])
