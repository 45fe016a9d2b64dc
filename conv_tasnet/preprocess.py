"""Mixtures for the C++ runner: python preprocess.py --checkpoint_path RUN/best.ckpt [--eval_dir LIST --length S].

Writes preprocess_Result/00_data/<mixture_ID>.bin, float32 (1, S) each: S is --length, the exported graph's, to which
mixtures are cut or padded, or with --length 0 their own in whole strides.
"""
import sys
from pathlib import Path

from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from conv_tasnet.src.separation import pad_mixture
from utils.config import parse_use_config, require
from utils.errors import run
from utils.progress import progress

FOLDER = Path("preprocess_Result", "00_data")


def main(config):
    """Writes one file a mixture of eval_dir; returns their folder."""
    require(config, "eval_dir")
    FOLDER.mkdir(parents=True, exist_ok=True)
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    for item in progress(mixtures, "written", unit="mixture"):
        mixture, _ = load_mixture(item, config, length=config.length or None)
        pad_mixture(mixture, config.L // 2, config.length).tofile(FOLDER / f"{item.key}.bin")
    print(f"{FOLDER}: {len(mixtures)} mixtures")
    return FOLDER


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
