"""EER over levels: recordings that are so much quieter, taken as they are and raised as infer.py raises them.

    python benchmarks/levels.py --checkpoint_path ecapatdnn/pretrained/best.ckpt --score_crops 0 \\
        --eval_list lists/an4/test_trials.txt --eval_path an4

Quieter copies are rounded to 24 bits, as a recorder would. The threshold is the one saved with the checkpoint.
"""
import os
import sys

import numpy as np

from ecapatdnn.src.config import Config
from ecapatdnn.src.inference import Verifier, load
from ecapatdnn.src.metric import Trials, equal_error_rate, error_rates, read_trials
from ecapatdnn.src.scoring import cosine_scores
from utils.audio.recording import open_recording
from utils.config import parse_use_config, require
from utils.errors import run

STEP = 2.0 ** -23


def main(config: Config) -> None:
    """Prints a line per level and way."""
    require(config, "eval_list", "eval_path")
    trials, verifier = read_trials(config.eval_list), load(config)
    sounds = [verifier.open(os.path.join(config.eval_path, os.fsdecode(file))).as_it_is().whole(16000)
              for file in trials.files]
    for level in (0, -20, -40, -50):
        quiet = [np.round(sound * 10 ** (level / 20) / STEP) * STEP for sound in sounds]
        show(f"{level} dB, as they are", [verifier.run(sound) for sound in quiet], trials, verifier)
        show(f"{level} dB, raised", [verifier.run_samples(open_recording(sound, 16000, 1, 16000).whole(16000))
                                     for sound in quiet], trials, verifier)


def show(name: str, embeddings: list[np.ndarray], trials: Trials, verifier: Verifier) -> None:
    """Prints the error rates of embeddings (1 + crops, E) of the trials' files."""
    scores = cosine_scores(np.stack(embeddings), trials)
    eer, _ = equal_error_rate(error_rates(trials.target, scores))
    accepted = scores >= verifier.threshold
    print(f"{name:20} EER {100 * eer:5.2f} %, at the saved threshold {100 * (~accepted[trials.target]).mean():5.2f} % "
          f"of the targets rejected, {100 * accepted[~trials.target].mean():5.2f} % of the others accepted", flush=True)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
