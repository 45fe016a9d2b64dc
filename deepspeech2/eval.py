"""Scores recognition: python eval.py --checkpoint_path RUN/best.ckpt [--test_manifest LIST --lm_path lm.arpa]."""
import sys

from deepspeech2.src.config import Config
from deepspeech2.src.decoder import save_log_probs
from deepspeech2.src.text import Alphabet
from utils.audio.survey import require_all
from utils.config import parse_use_config
from utils.errors import run


def main(config: Config) -> dict[str, float]:
    """Prints the error rates over test_manifest, writes texts.csv; returns the rates, in %.

    Log probabilities are kept where config.save_log_probs is set. AudioError, after all that, for files that could not
    be used.
    """
    from deepspeech2.src.evaluation import recognise, report  # MindSpore, which --help does not wait for

    results, folder = recognise(config)
    rates = {}
    if results.keys:
        print(f"{config.test_manifest}: {len(results.keys)} utterances, {results.seconds / 60:.1f} minutes")
        rates = report(results.keys, results.references, results.hypotheses, folder, Alphabet(config.labels))
        print(f"real-time factor {results.taken / results.seconds:.3f}, reading and compilation included", flush=True)
        if config.save_log_probs and folder:
            items = list(zip(results.keys, results.references, results.log_probs, strict=True))
            save_log_probs(folder / "log_probs.npz", items, config.labels)
    require_all(results.unfit, len(results.keys) + len(results.unfit))
    return rates


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
