"""Scores separation: python eval.py --checkpoint_path RUN/best.ckpt [--eval_dir LIST --eval_path DIR]."""
import sys

from conv_tasnet.src.config import Config
from utils.audio.survey import require_all
from utils.config import parse_use_config
from utils.errors import run


def main(config: Config) -> dict[str, float]:
    """Prints mean scores over eval_dir, writes scores.csv and examples; returns the means.

    AudioError, after all that, where mixtures could not be scored.
    """
    from conv_tasnet.src.evaluation import report, score_mixtures  # MindSpore, which --help does not wait for

    rows, reasons, folder = score_mixtures(config)
    means = report(rows, config.eval_dir, folder) if rows else {}
    require_all(reasons, len(rows) + len(reasons))
    return means


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
