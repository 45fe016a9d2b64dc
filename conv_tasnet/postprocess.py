"""Scores what the C++ runner wrote: python postprocess.py --checkpoint_path RUN/best.ckpt [--eval_dir LIST --length S].

Reads result_Files/<mixture_ID>_0.bin, float32 (C, S), for every mixture that preprocess.py was given.
"""
import sys
from pathlib import Path

import numpy as np

from conv_tasnet.eval import report, score
from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from utils.config import parse_use_config, require
from utils.errors import UserError, run

FOLDER = Path("result_Files")


def main(config):
    """Prints what eval.py prints and returns the means."""
    require(config, "eval_dir")
    rows = []
    for item in read_mixtures(config.eval_dir, config.eval_path, config):
        mixture, sources = load_mixture(item, config, length=config.length or None)
        separated = read_result(FOLDER / f"{item.key}_0.bin", *sources.shape)
        rows.append(score(item, mixture, separated, sources, config.sample_rate)[1])
    return report(rows, config.eval_dir, FOLDER)


def read_result(path, speakers, samples):
    """(speakers, samples) of a file of at least as many; UserError where it is missing or too short."""
    try:
        result = np.fromfile(path, np.float32)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; run preprocess.py and the runner first") from None
    if result.size % speakers or result.size < speakers * samples:
        raise UserError(f"{path}: {result.size} numbers, expected {speakers} x {samples} at least; graph and --length "
                        "do not fit each other")
    return result.reshape(speakers, -1)[:, :samples]


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
