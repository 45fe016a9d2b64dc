"""Scores what the C++ runner wrote: python postprocess.py --checkpoint_path RUN/best.ckpt [--test_manifest LIST].

Reads result_Files/<number>_0.bin, float32 (T', 1, labels), and <number>_1.bin, int32 (1,), the frames that count, for
every utterance that preprocess.py was given.
"""
import sys
from pathlib import Path

import numpy as np

from deepspeech2.eval import report
from deepspeech2.src.config import Config
from deepspeech2.src.decoder import make_decoder
from deepspeech2.src.manifest import read_manifest
from deepspeech2.src.text import Alphabet
from utils.config import parse_use_config, require
from utils.errors import UserError, run

FOLDER = Path("result_Files")


def main(config):
    """Prints what eval.py prints and returns the rates."""
    require(config, "test_manifest")
    alphabet, utterances = Alphabet(config.labels), read_manifest(config.test_manifest, config.data_folder)
    decode = make_decoder(config, alphabet)
    hypotheses = [decode(read_result(f"{number:06d}", len(alphabet))) for number in range(len(utterances))]
    return report([one.audio for one in utterances], [alphabet.normalise(one.text) for one in utterances], hypotheses,
                  FOLDER)


def read_result(name, labels):
    """Log probabilities (T', labels); UserError where the files are missing or do not fit the labels."""
    try:
        log_probs = np.fromfile(FOLDER / f"{name}_0.bin", np.float32)
        frames = np.fromfile(FOLDER / f"{name}_1.bin", np.int32)
    except OSError as error:
        raise UserError(f"{FOLDER / name}: {error.strerror}; run preprocess.py and the runner first") from None
    if log_probs.size % labels or frames.size != 1 or frames[0] > log_probs.size // labels:
        raise UserError(f"{FOLDER / name}_0.bin: {log_probs.size} numbers, expected frames of {labels} labels; graph "
                        "and checkpoint do not fit each other")
    return log_probs.reshape(-1, labels)[:frames[0]]


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
