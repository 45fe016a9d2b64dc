"""Scores trials: python eval.py --checkpoint_path RUN/best.ckpt --eval_list LIST --eval_path DIR [--as_norm true]."""
import sys

from ecapatdnn.src.config import Config
from utils.config import parse_use_config
from utils.errors import run


def main(config: Config) -> dict[str, float]:
    """Prints EER and minDCF, writes scores and det.png beside the checkpoint; returns {kind of score: EER}."""
    from ecapatdnn.src.evaluation import report, score_trials  # MindSpore, which --help does not wait for

    return report(*score_trials(config))


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
