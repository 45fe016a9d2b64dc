"""Scores what the C++ runner wrote: python postprocess.py --checkpoint_path RUN/ecapatdnn.mindir [--eval_list LIST].

Reads result_Files/<file without suffix>_0.bin, float32 (1, E), for every file of the trials.
"""
import os
import sys

import numpy as np

from ecapatdnn.src.config import Config
from ecapatdnn.src.metric import read_trials
from ecapatdnn.src.scoring import cosine_scores
from utils.config import parse_use_config, require
from utils.errors import run
from utils.export.runner import RESULTS, read_output


def main(config: Config) -> dict[str, float]:
    """Prints what eval.py prints, and a line that grep eer finds; returns {kind: EER}."""
    from ecapatdnn.src.evaluation import report  # MindSpore, which --help does not wait for

    require(config, "eval_list")
    trials = read_trials(config.eval_list)
    names = [os.path.splitext(os.fsdecode(file))[0] for file in trials.files]
    embeddings = np.stack([read_output(name, 0, np.float32, config.emb_size) for name in names])
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    eers = report({"cosine": cosine_scores(embeddings[:, None], trials)}, trials, RESULTS)
    print(f"eer: EER = {100 * eers['cosine']:.2f}%")     # MindSpore's document looks for it by grep eer
    return eers


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
