"""Features for the C++ runner: python preprocess.py --checkpoint_path RUN/deepspeech2.mindir [--test_manifest LIST].

Writes preprocess_Result/00_data/<number>.bin, float32 (1, T, 161), and 01_data/<number>.bin, int32 (1,), the frames
that are no padding, which a graph with gears needs no file for; or for a graph that takes a waveform the samples alone,
(1, N). Where the graph has a fixed length, features are padded to it. Longer utterances are an error, as are those
longer than the last gear.
"""
import sys
from pathlib import Path

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.features import RATE, WINDOW, spectrogram
from deepspeech2.src.manifest import inspect_utterance, read_manifest
from utils.audio.recording import inspect
from utils.audio.survey import survey
from utils.config import parse_use_config, require
from utils.errors import run
from utils.export.runner import INPUTS, graph_input, new_inputs, write_inputs
from utils.progress import progress


def main(config: Config) -> Path:
    """Writes the inputs of every utterance of test_manifest; returns their folder."""
    require(config, "test_manifest")
    graph = graph_input(config)
    utterances = read_manifest(config.test_manifest, config.data_folder)
    survey(utterances, lambda utterance: inspect_utterance(utterance, config.resample))
    with new_inputs():
        for number, utterance in enumerate(progress(utterances, "written", unit="utterance")):
            samples = inspect(utterance.audio, WINDOW, RATE, config.resample).as_it_is().whole(RATE)
            if graph.name == "waveform":
                graph.check(utterance.audio, len(samples))
                write_inputs(f"{number:06d}", samples)
                continue
            features = spectrogram(samples)
            graph.check(utterance.audio, len(features))
            padding = max(0, graph.length - len(features))
            inputs = [np.pad(features, ((0, padding), (0, 0))), np.array([len(features)], np.int32)]
            write_inputs(f"{number:06d}", *inputs[:1 if graph.gears else 2])
    print(f"{INPUTS}: {len(utterances)} utterances")
    return INPUTS


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
