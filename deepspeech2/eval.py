"""Scores recognition: python eval.py --checkpoint_path RUN/best.ckpt [--test_manifest LIST --lm_path lm.arpa]."""
import sys

from deepspeech2.src.config import Config
from deepspeech2.src.evaluation import recognise, report
from utils.config import parse_use_config
from utils.errors import run


def main(config: Config) -> dict[str, float]:
    """Prints the error rates over test_manifest, writes texts.csv beside the checkpoint; returns the rates, in %."""
    results, folder = recognise(config)
    print(f"{config.test_manifest}: {len(results.keys)} utterances, {results.seconds / 60:.1f} minutes")
    rates = report(results.keys, results.references, results.hypotheses, folder)
    print(f"real-time factor {results.taken / results.seconds:.3f}, reading and compilation included")
    return rates


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
