"""Scores what the C++ runner wrote: python postprocess.py --checkpoint_path RUN/conv_tasnet.mindir [--eval_dir LIST].

Reads result_Files/<mixture_ID>_0.bin, float32 (C, S), for every mixture that preprocess.py was given.
"""
import sys

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from utils.config import parse_use_config, require
from utils.errors import MismatchError, run
from utils.export.runner import RESULTS, graph_input, read_output
from utils.paths import inside


def main(config: Config) -> dict[str, float]:
    """Prints what eval.py prints and returns the means."""
    from conv_tasnet.src.evaluation import report, score  # MindSpore, which --help does not wait for

    require(config, "eval_dir")
    length = graph_input(config).length
    rows = []
    for item in read_mixtures(config.eval_dir, config.eval_path, config):
        mixture, sources = load_mixture(item, config, length=length or None, silent_sources=True)
        separated = read_output(item.key, 0, np.float32, config.C).reshape(config.C, -1)
        if separated.shape[1] < len(mixture):
            raise MismatchError(f"{RESULTS / inside(item.key)}_0.bin: {separated.shape[1]} samples per speaker, the "
                                f"mixture has {len(mixture)}; run preprocess.py and the runner again")
        rows.append(score(item, mixture, separated[:, :len(mixture)], sources, config.sample_rate)[1])
    return report(rows, config.eval_dir, RESULTS)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
