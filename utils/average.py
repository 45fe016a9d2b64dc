"""The mean of the last checkpoints of a run: python -m utils.average RUN --num 10, after wespeaker's average_model.

Of several runs that began with the same weights and differ by their seed, the mean over all: a "model soup" (Wortsman
et al., ICML 2022). A checkpoint and another that was trained further from it on other data, each with its --weights,
are often good at both (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). Every tensor is averaged,
BatchNorm's statistics too. The result is used like best.ckpt, but holds no threshold: eval.py finds a new one.
"""
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.command_line import Parser
from utils.errors import MismatchError, OutputError, run
from utils.ranges import Range, number
from utils.results import require_output


def parse(argv: Sequence[str]) -> Namespace:
    """The arguments, with `output` filled in and `chosen`, the checkpoints of each run."""
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="run", help="run folder, or a checkpoint")
    parser.add_argument("--num", type=number("--num", Range(1, 10 ** 6), int), default=10,
                        help="checkpoints of each run folder to average (%(default)s)")
    parser.add_argument("--weights", nargs="+", type=number("--weights", Range(0, above=True)), metavar="weight",
                        help="what each run counts, its checkpoints together; default: all checkpoints alike")
    parser.add_argument("--output", default="", help="default: average.ckpt in the first run folder")
    args = parser.parse_args(argv)
    if args.weights and len(args.weights) != len(args.runs):
        raise MismatchError(f"--weights: found {len(args.weights)}, expected {len(args.runs)}, one for each run")
    args.chosen = [last(place, args.num) for place in args.runs]
    args.output = args.output or str(run_of(args.chosen[0][0]) / "average.ckpt")
    return args


def main(argv: Sequence[str]) -> Path:
    """Writes the mean of the checkpoints of all arguments; returns its path."""
    args = parse(argv)
    from mindspore import Tensor  # which --help does not wait for

    from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint

    paths = [checkpoint for of_run in args.chosen for checkpoint in of_run]
    path = Path(args.output)
    require_output(path, "name another --output")
    if path.exists() and "averaged" not in load_checkpoint(path)[1]:
        raise OutputError(f"output: {path} exists already and is no earlier average; name another file")
    names = [f"{run_of(checkpoint.resolve()).name}/" * (len(args.runs) > 1) + checkpoint.stem for checkpoint in paths]
    weights, record = None, {"averaged": names}
    if args.weights:
        weights = [weight / len(of_run) for weight, of_run in zip(args.weights, args.chosen) for _ in of_run]
        record["weights"] = weights
    save_checkpoint(path, {name: Tensor(array) for name, array in mean(paths, weights).items()}, **record)
    print(f"{path}: the mean of {', '.join(names)}" + (f", weights {args.weights}" if args.weights else ""))
    return path


def last(folder: str | Path, num: int) -> list[Path]:
    """Paths of the last `num` checkpoints of a run folder, or the one given. MismatchError where there are fewer."""
    if Path(folder).suffix == ".ckpt":
        return [Path(folder)]
    paths = sorted(Path(folder, "checkpoints").glob("epoch_*.ckpt"))
    if not 0 < num <= len(paths):
        raise MismatchError(f"num: {num} checkpoints asked for, but {folder}/checkpoints holds {len(paths)}; give "
                            "fewer, or train with a larger --keep_checkpoint_max")
    return paths[-num:]


def run_of(path: Path) -> Path:
    """The run folder of a checkpoint."""
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def mean(paths: Sequence[Path], weights: Sequence[float] | None = None) -> dict[str, np.ndarray]:
    """{name: array} averaged over checkpoints, one of which is in memory at a time; weights: one each, of any sum.

    MismatchError where their tensors differ in name or shape.
    """
    from utils.checkpoints.checkpoint import load_checkpoint

    sums, types = {}, {}
    weights = weights or [1.0] * len(paths)
    for path, weight in zip(paths, weights, strict=True):
        arrays = {name: value.asnumpy() for name, value in load_checkpoint(path)[0].items()}
        shapes = {name: array.shape for name, array in arrays.items()}
        if sums and shapes != {name: array.shape for name, array in sums.items()}:
            raise MismatchError(f"{path}: holds other tensors than {paths[0]}; expected checkpoints of one network")
        for name, array in arrays.items():
            types[name] = np.result_type(types.get(name, array.dtype), array.dtype)
            sums[name] = sums.get(name, 0) + weight * array.astype(np.float64)
    return {name: (array / sum(weights)).astype(types[name]) for name, array in sums.items()}


if __name__ == "__main__":
    run(main, sys.argv[1:])
