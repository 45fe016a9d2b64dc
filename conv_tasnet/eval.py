"""Scores separation: python eval.py --checkpoint_path RUN/best.ckpt [--eval_dir LIST --eval_path DIR]."""
import sys

from conv_tasnet.src.config import Config
from conv_tasnet.src.evaluation import report, score_mixtures
from utils.config import parse_use_config
from utils.errors import run


def main(config: Config) -> dict[str, float]:
    """Prints mean scores over eval_dir, writes scores.csv and examples beside the checkpoint; returns the means."""
    return report(*score_mixtures(config))


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
