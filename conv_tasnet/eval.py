"""Scores separation: python eval.py --checkpoint_path RUN/best.ckpt [--eval_dir LIST --eval_path DIR]."""
import sys
from pathlib import Path

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.metric import best_order, scores
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from conv_tasnet.src.plots import draw_separation
from conv_tasnet.src.separation import load_separator
from utils.audio.audio_file import write_wav
from utils.config import parse_use_config, require
from utils.device import setup_device
from utils.errors import run
from utils.files import csv_text, write_text
from utils.progress import progress


def main(config):
    """Prints mean scores over eval_dir, writes scores.csv and examples beside the checkpoint; returns the means."""
    require(config, "eval_dir")
    setup_device(config.device_target, device_id=config.device_id)
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    separator = load_separator(config)
    folder = Path(config.model_path).parent / f"eval_{Path(config.eval_dir).name.split('.')[0]}"
    folder.mkdir(exist_ok=True)
    examples = set(np.linspace(0, len(mixtures) - 1, min(config.save_examples, len(mixtures))).astype(int))
    rows = []
    for number, item in enumerate(progress(mixtures, "separated", unit="mixture")):
        mixture, sources = load_mixture(item, config)
        separated, row = score(item, mixture, separator(mixture), sources, config.sample_rate)
        rows.append(row)
        if number in examples:
            save_example(mixture, separated, sources, config.sample_rate, folder / item.key)
    return report(rows, config.eval_dir, folder)


def score(item, mixture, separated, sources, rate):
    """The separation (C, S) in the order of its sources, and its row of scores.csv."""
    separated = separated[best_order(separated, sources)]
    row = {"mixture_ID": item.key, "seconds": len(mixture) / rate}
    return separated, row | scores(mixture, separated, sources, rate)


def save_example(mixture, separated, sources, rate, name):
    """name_mixture.wav, name_separated_1.wav, name_true_1.wav, ..., and name.png of them all."""
    # SI-SNR leaves the level open: here it is the one that fits the source best
    scale = (separated * sources).sum(1, keepdims=True) / np.square(separated).sum(1, keepdims=True)
    separated = scale * separated
    peak = max(1.0, np.abs(separated).max(), np.abs(mixture).max())
    write_wav(f"{name}_mixture.wav", mixture / peak, rate)
    for i, (one, source) in enumerate(zip(separated, sources, strict=True), 1):
        write_wav(f"{name}_separated_{i}.wav", one / peak, rate)
        write_wav(f"{name}_true_{i}.wav", source / peak, rate)
    draw_separation(mixture, separated, sources, rate, f"{name}.png")


def report(rows, name, folder):
    """Writes scores.csv, prints the means and returns them."""
    write_text(folder / "scores.csv", csv_text(rows, decimals=4))
    means = {key: float(np.mean([row[key] for row in rows])) for key in list(rows[0])[2:]}
    print(f"{name}: {len(rows)} mixtures, {sum(row['seconds'] for row in rows) / 60:.1f} minutes")
    print(f"Average SISNR improvement: {means['si_snri']:.2f}")
    print(f"Average SDR improvement: {means['sdri']:.2f}")
    print(", ".join(f"{key} {value:.3f}" for key, value in means.items() if key not in ("si_snri", "sdri")))
    print(f"scores.csv and examples: {folder}")
    return means


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
