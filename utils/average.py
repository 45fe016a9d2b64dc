"""The mean of the last checkpoints of a run: python -m utils.average RUN --num 10, after wespeaker's average_model.

Of several runs that began with the same weights and differ by their seed, the mean over all: a "model soup" (Wortsman
et al., ICML 2022). Every tensor is averaged, BatchNorm's statistics too. The result is used like best.ckpt, but holds
no threshold: eval.py finds a new one.
"""
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.command_line import Parser
from utils.errors import MismatchError, OutputError, run
from utils.ranges import Range, number
from utils.results import require_output


def main(argv: Sequence[str]) -> Path:
    """Writes the mean of the last `num` of each run's checkpoints/epoch_*.ckpt; returns its path."""
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="run", help="run folder")
    parser.add_argument("--num", type=number("--num", Range(1, 10 ** 6), int), default=10,
                        help="checkpoints of each run to average (%(default)s)")
    parser.add_argument("--output", default="", help="default: average.ckpt in the first run folder")
    args = parser.parse_args(argv)
    from mindspore import Tensor  # which --help does not wait for

    from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint

    chosen = [path for folder in args.runs for path in last(folder, args.num)]
    names = [path.stem if len(args.runs) == 1 else f"{path.resolve().parts[-3]}/{path.stem}" for path in chosen]
    path = Path(args.output or Path(args.runs[0], "average.ckpt"))
    require_output(path, "name another --output")
    if path.exists() and "averaged" not in load_checkpoint(path)[1]:
        raise OutputError(f"output: {path} exists already and is no earlier average; name another file")
    save_checkpoint(path, {name: Tensor(array) for name, array in mean(chosen).items()}, averaged=names)
    print(f"{path}: the mean of {', '.join(names)}")
    return path


def last(folder: str | Path, num: int) -> list[Path]:
    """Paths of the last `num` checkpoints of a run folder. MismatchError where it holds fewer."""
    paths = sorted(Path(folder, "checkpoints").glob("epoch_*.ckpt"))
    if not 0 < num <= len(paths):
        raise MismatchError(f"num: {num} checkpoints asked for, but {folder}/checkpoints holds {len(paths)}; give "
                            "fewer, or train with a larger --keep_checkpoint_max")
    return paths[-num:]


def mean(paths: Sequence[Path]) -> dict[str, np.ndarray]:
    """{name: array} averaged over checkpoints, one of which is in memory at a time.

    MismatchError where their tensors differ in name or shape.
    """
    from utils.checkpoints.checkpoint import load_checkpoint

    sums, types = {}, {}
    for path in paths:
        arrays = {name: value.asnumpy() for name, value in load_checkpoint(path)[0].items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if sums and shapes != {name: array.shape for name, array in sums.items()}:
            raise MismatchError(f"{path}: holds other tensors than {paths[0]}; expected checkpoints of one network")
        for name, array in arrays.items():
            types[name], sums[name] = array.dtype, sums.get(name, 0) + array.astype(np.float64)
    return {name: (array / len(paths)).astype(types[name]) for name, array in sums.items()}


if __name__ == "__main__":
    run(main, sys.argv[1:])
