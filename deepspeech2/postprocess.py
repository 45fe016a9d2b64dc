"""Scores what the C++ runner wrote: python postprocess.py --checkpoint_path RUN/deepspeech2.mindir
[--test_manifest LIST].

Reads result_Files/<number>_0.bin, float32 (T', 1, labels), and <number>_1.bin, int32 (1,), the frames that count, for
every utterance that preprocess.py was given.
"""
import sys

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.decoder import make_decoder
from deepspeech2.src.manifest import read_manifest
from deepspeech2.src.text import Alphabet, references
from deepspeech2.src.windows import text_of
from utils.config import parse_use_config, require
from utils.errors import MismatchError, run
from utils.export.runner import RESULTS, read_output


def main(config: Config) -> dict[str, float]:
    """Prints what eval.py prints and returns the rates."""
    from deepspeech2.src.evaluation import report  # MindSpore, which --help does not wait for

    require(config, "test_manifest")
    alphabet, utterances = Alphabet(config.labels), read_manifest(config.test_manifest, config.data_folder)
    scored = references([utterance.text for utterance in utterances], alphabet, config.test_manifest)
    decode = make_decoder(config, alphabet)
    hypotheses = []
    for number in range(len(utterances)):
        log_probs = read_output(f"{number:06d}", 0, np.float32, len(alphabet)).reshape(-1, len(alphabet))
        frames = read_output(f"{number:06d}", 1, np.int32)
        if frames.size != 1 or frames[0] > len(log_probs):
            raise MismatchError(f"{RESULTS}/{number:06d}_1.bin: found {frames[:3].tolist()}, expected one number of "
                                f"frames, at most {len(log_probs)}; run preprocess.py and the runner again")
        hypotheses.append(text_of(log_probs[:frames[0]], decode, alphabet.space))
    return report([utterance.audio for utterance in utterances], scored, hypotheses, RESULTS, alphabet)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
