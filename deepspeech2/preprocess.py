"""Features for the C++ runner: python preprocess.py --checkpoint_path RUN/deepspeech2.mindir [--test_manifest LIST].

Writes preprocess_Result/00_data/<number>.bin, float32 (1, T, 161), and 01_data/<number>.bin, int32 (1,), the frames
that are no padding; or for a graph that takes a waveform the samples alone, (1, N). Where the graph has a fixed
length, features are padded to it, and longer utterances are an error.
"""
import sys

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.features import RATE, spectrogram
from deepspeech2.src.manifest import read_manifest
from utils import audio
from utils.config import parse_use_config, require
from utils.errors import UserError, run
from utils.progress import progress
from utils.runner import INPUTS, graph_input, start_inputs, write_inputs


def main(config):
    """Writes the inputs of every utterance of test_manifest; returns their folder."""
    require(config, "test_manifest")
    kind, length = graph_input(config)
    utterances = read_manifest(config.test_manifest, config.data_folder)
    start_inputs()
    for number, one in enumerate(progress(utterances, "written", unit="utterance")):
        samples = audio.read(one.audio, RATE, resample=config.resample)
        if kind == "waveform":
            write_inputs(f"{number:06d}", samples)
            continue
        features = spectrogram(samples)
        if length and len(features) > length:
            raise UserError(f"{one.audio}: {len(features)} frames, but the graph takes {length}; export it with "
                            f"--length {len(features)} or more, or 0")
        padding = max(0, length - len(features))
        write_inputs(f"{number:06d}", np.pad(features, ((0, padding), (0, 0))), np.array([len(features)], np.int32))
    print(f"{INPUTS}: {len(utterances)} utterances")
    return INPUTS


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
