"""Mixtures for the C++ runner: python preprocess.py --checkpoint_path RUN/conv_tasnet.mindir [--eval_dir LIST].

Writes preprocess_Result/00_data/<mixture_ID>.bin, float32 (1, S) each. Where the graph has a fixed length, mixtures are
cut or padded to it; else S is their own, in whole strides.
"""
import sys

from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import load_mixture, pad_mixture, read_mixtures
from utils.config import parse_use_config, require
from utils.errors import run
from utils.progress import progress
from utils.runner import INPUTS, graph_input, start_inputs, write_inputs


def main(config):
    """Writes one file a mixture of eval_dir; returns their folder."""
    require(config, "eval_dir")
    _, length = graph_input(config)
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    start_inputs()
    for item in progress(mixtures, "written", unit="mixture"):
        mixture, _ = load_mixture(item, config, length=length or None)
        write_inputs(item.key, pad_mixture(mixture, config.L // 2, length))
    print(f"{INPUTS}: {len(mixtures)} mixtures")
    return INPUTS


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
