"""Features for the C++ runner: python preprocess.py --checkpoint_path RUN/ecapatdnn.mindir [--eval_list LIST].

Writes preprocess_Result/00_data/<file without suffix>.bin for every file of the trials: float32 features (1, T, F), or
samples (1, N) for a graph that takes a waveform. Where the graph has a fixed length, files are repeated or cut to it;
those longer than its last gear are an error.
"""
import os
import sys
from pathlib import Path

import numpy as np

from ecapatdnn.src.config import Config
from ecapatdnn.src.features import MIN_FRAMES, RATE, filter_bank, sample_count
from ecapatdnn.src.metric import read_trials
from utils.audio.recording import inspect, inspect_header
from utils.audio.survey import survey
from utils.config import parse_use_config, require
from utils.errors import run
from utils.export.runner import INPUTS, graph_input, new_inputs, write_inputs
from utils.progress import progress


def main(config: Config) -> Path:
    """Writes one file for each of the trials' files; returns their folder."""
    require(config, "eval_list", "eval_path")
    graph = graph_input(config)
    length = sample_count(graph.length, config.front_end) if graph.name == "features" and graph.length else graph.length
    files, fewest = read_trials(config.eval_list).files, sample_count(MIN_FRAMES, config.front_end)
    survey([os.path.join(config.eval_path, os.fsdecode(file)) for file in files],
           lambda path: inspect_header(path, fewest, RATE, config.resample))
    with new_inputs():
        for file in progress([os.fsdecode(file) for file in files], "written"):
            recording = inspect(os.path.join(config.eval_path, file), fewest, RATE, config.resample)
            samples = recording.as_it_is().whole(RATE)
            if length:
                samples = np.resize(samples, length)
            if graph.name == "features":
                samples = filter_bank(samples, config.front_end, config.in_channels)
            graph.check(file, len(samples))
            write_inputs(os.path.splitext(file)[0], samples)
    print(f"{INPUTS}: {len(files)} files")
    return INPUTS


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
