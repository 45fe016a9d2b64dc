"""Writes the mixtures of a list as files, with levels, pauses, rooms and noise drawn for them, and a list of the files.

python remix.py --eval_dir LIST.csv --eval_path DIR --output_folder OUT [--noise_list F --noise_share 1 ...]

OUT/mixtures.csv, for eval.py --eval_dir OUT/mixtures.csv --eval_path OUT, has LibriMix's columns of generated mixtures.
What is drawn is as in training (gain_range, one_voice_share, partial_share, noise_*, snr_*, room_*), and depends on
--seed and the place in the list alone. Noise and rooms are those that training did not have, if the scores are to say
what happens with others.
"""
import os
import sys

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.corpora import write_generated
from conv_tasnet.src.mixtures import load_mixture, mixture_length, read_mixtures
from conv_tasnet.src.scenes import Scenes
from utils.audio.audio_file import write_wav
from utils.audio.survey import survey
from utils.config import parse_config, require
from utils.errors import run
from utils.paths import inside
from utils.progress import progress

LIST = "mixtures.csv"


def main(config: Config) -> str:
    """Writes OUT/{mix,s1,s2,...}/<mixture_ID>.wav and, when all are there, the list; returns its path."""
    require(config, "eval_dir", "output_folder")
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    survey(range(len(mixtures)), lambda number: mixture_length(mixtures[number], config))
    scenes = Scenes(config)
    names = ["mix", *(f"s{i}" for i in range(1, config.C + 1))]
    for name in names:
        os.makedirs(os.path.join(config.output_folder, name), exist_ok=True)
    rows, lengths = [], {}
    for number, item in enumerate(progress(mixtures, "written", unit="mixture")):
        sources = load_mixture(item, config, silent_sources=True)[1]
        mixture, sources = scenes.remix(sources, np.random.default_rng((config.seed, number)))
        paths = [f"{name}/{inside(item.key)}.wav" for name in names]
        for path, samples in zip(paths, (mixture, *sources), strict=True):
            write_wav(os.path.join(config.output_folder, path), samples, config.sample_rate)
        rows.append((item.key, paths))
        lengths[paths[0]] = len(mixture)
    path = os.path.join(config.output_folder, LIST)
    write_generated(path, rows, lengths)
    print(f"{path}: {len(rows)} mixtures, {sum(lengths.values()) / config.sample_rate / 60:.1f} minutes, "
          + ", ".join([f"levels +-{config.gain_range:g} dB", *scenes.describe()]))
    return path


if __name__ == "__main__":
    run(lambda: main(parse_config(Config, sys.argv[1:])))
