"""Mixtures for the C++ runner: python preprocess.py --checkpoint_path RUN/conv_tasnet.mindir [--eval_dir LIST].

Writes preprocess_Result/00_data/<mixture_ID>.bin, float32 (1, S) each. Where the graph has a fixed length, mixtures are
cut or padded to it; else S is their own, in whole strides, and those longer than the last gear are an error.
"""
import sys
from pathlib import Path

from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import pad_mixture
from conv_tasnet.src.mixtures import load_mixture, mixture_length, read_mixtures
from utils.audio.survey import survey
from utils.config import parse_use_config, require
from utils.errors import SettingError, run
from utils.export.runner import INPUTS, graph_input, new_inputs, write_inputs
from utils.progress import progress

PREPARING = {"--in-dir", "--out-dir", "--sample-rate", "--train_name", "--test_name"}     # a document's flags


def main(config: Config) -> Path:
    """Writes one file per mixture of eval_dir; returns their folder."""
    require(config, "eval_dir")
    graph = graph_input(config)
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    survey(range(len(mixtures)), lambda number: mixture_length(mixtures[number], config))
    with new_inputs():
        for item in progress(mixtures, "written", unit="mixture"):
            mixture, _ = load_mixture(item, config, length=graph.length or None, silent_sources=True)
            mixture = pad_mixture(mixture, config.L // 2, graph.length)
            graph.check(item.key, len(mixture))
            write_inputs(item.key, mixture)
    print(f"{INPUTS}: {len(mixtures)} mixtures")
    return INPUTS


def parse(argv: list[str]) -> Config:
    """The command line; SettingError naming prepare.py where MindSpore's document calls this to prepare a corpus."""
    if not argv or {word.split("=")[0] for word in argv} & PREPARING:
        raise SettingError("preprocess.py writes the inputs of the C++ runner, here and with --checkpoint_path; a "
                           "corpus is prepared by prepare.py --corpus librimix --in-dir Libri2Mix/wav8k/min --out-dir "
                           "lists/libri2mix")
    return parse_use_config(Config, argv)


if __name__ == "__main__":
    run(lambda: main(parse(sys.argv[1:])))
