"""Features for the C++ runner: python preprocess.py --checkpoint_path RUN/best.ckpt [--test_manifest LIST --length T].

Writes preprocess_Result/00_data/<number>.bin, float32 (1, T, 161), and 01_data/<number>.bin, int32 (1,), the frames
that are no padding. T is --length, the exported graph's, to which utterances are padded; longer ones are an error.
"""
import sys
from pathlib import Path

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.features import RATE, spectrogram
from deepspeech2.src.manifest import read_manifest
from utils import audio
from utils.config import parse_use_config, require
from utils.errors import UserError, run
from utils.progress import progress

FOLDER = Path("preprocess_Result")


def main(config):
    """Writes two files an utterance of test_manifest; returns their folder."""
    require(config, "test_manifest")
    utterances = read_manifest(config.test_manifest, config.data_folder)
    for port in ("00_data", "01_data"):
        (FOLDER / port).mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(progress(utterances, "written", unit="utterance")):
        features = spectrogram(audio.read(one.audio, RATE, resample=config.resample))
        length = config.length or len(features)
        if len(features) > length:
            raise UserError(f"{one.audio}: {len(features)} frames, but the graph takes {length}; export it with "
                            f"--length {len(features)} or more, or 0")
        np.pad(features, ((0, length - len(features)), (0, 0))).tofile(FOLDER / "00_data" / f"{number:06d}.bin")
        np.array([len(features)], np.int32).tofile(FOLDER / "01_data" / f"{number:06d}.bin")
    print(f"{FOLDER}: {len(utterances)} utterances")
    return FOLDER


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
