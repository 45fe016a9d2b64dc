"""Writes the mixtures of a list as files, with levels, pauses, rooms and noise drawn for them, and a list of the files.

python remix.py --eval_dir LIST.csv --eval_path DIR --output_folder OUT [--noise_list F --noise_share 1 ...]

OUT/mixtures.csv, for eval.py --eval_dir OUT/mixtures.csv --eval_path OUT, has LibriMix's columns of generated mixtures.
What is drawn is as in training (gain_range, one_voice_share, partial_share, noise_*, snr_*, room_*), and depends on
--seed and the place in the list alone. Noise and rooms are those that training did not have, if the scores are to say
what happens with others.
"""
import itertools
import os
import sys
from collections.abc import Sequence

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.corpora import write_generated
from conv_tasnet.src.mixtures import Mixture, Mixtures, load_mixture, mixture_length, read_mixtures
from conv_tasnet.src.scenes import Scenes
from utils.audio.audio_file import write_wav
from utils.audio.survey import survey
from utils.config import parse_config, require
from utils.errors import OutputError, run
from utils.locks import locked_folder
from utils.paths import inside
from utils.progress import progress
from utils.results import require_writable

LIST = "mixtures.csv"
REMEDY = "give another --output_folder"


def main(config: Config) -> str:
    """Writes OUT/{mix,s1,s2,...}/<mixture_ID>.wav and, when all are there, the list; returns its path.

    Meanwhile OUT is this process's alone, and holds no list of an earlier run. OutputError where it cannot be written,
    and where something that is read would be overwritten.
    """
    require(config, "eval_dir", "output_folder")
    require_writable(config.output_folder, REMEDY)
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    scenes = Scenes(config)
    names = ["mix", *(f"s{i}" for i in range(1, config.C + 1))]
    path = os.path.join(config.output_folder, LIST)
    require_other(path, mixtures, scenes, names, config)
    survey(range(len(mixtures)), lambda number: mixture_length(mixtures[number], config))
    with locked_folder(config.output_folder, "output_folder") as folder:
        (folder / LIST).unlink(missing_ok=True)
        lengths = write_mixtures(mixtures, scenes, names, config)
        write_generated(path, [(item.key, paths_of(item, names)) for item in mixtures], lengths)
    print(f"{path}: {len(mixtures)} mixtures, {sum(lengths.values()) / config.sample_rate / 60:.1f} minutes, "
          + ", ".join([f"levels +-{config.gain_range:g} dB", *scenes.describe()]))
    return path


def paths_of(item: Mixture, names: Sequence[str]) -> list[str]:
    """Where a mixture and its sources go, in the output folder."""
    return [f"{name}/{inside(item.key)}.wav" for name in names]


def require_other(path: str, mixtures: Mixtures, scenes: Scenes, names: Sequence[str], config: Config) -> None:
    """OutputError where the list `path` or a file to be written is one that is read."""
    inputs = {config.eval_dir, config.noise_list, config.room_list, *scenes.noises, *itertools.chain(*scenes.rooms),
              *(file for item in mixtures for file in (item.mixture, *item.sources))} - {""}
    inputs = set(map(os.path.realpath, inputs))
    outputs = (os.path.join(config.output_folder, file) for item in mixtures for file in paths_of(item, names))
    for output in itertools.chain([path], outputs):
        if os.path.realpath(output) in inputs:
            raise OutputError(f"{output}: is an input and would be overwritten; {REMEDY}")


def write_mixtures(mixtures: Mixtures, scenes: Scenes, names: Sequence[str], config: Config) -> dict[str, int]:
    """Writes all of them with their sources into config.output_folder; {path of a mixture in it: samples}."""
    for name in names:
        os.makedirs(os.path.join(config.output_folder, name), exist_ok=True)
    lengths = {}
    for number, item in enumerate(progress(mixtures, "written", unit="mixture")):
        sources = load_mixture(item, config, silent_sources=True)[1]
        mixture, sources = scenes.remix(sources, np.random.default_rng((config.seed, number)))
        paths = paths_of(item, names)
        for path, samples in zip(paths, (mixture, *sources), strict=True):
            write_wav(os.path.join(config.output_folder, path), samples, config.sample_rate)
        lengths[paths[0]] = len(mixture)
    return lengths


if __name__ == "__main__":
    run(lambda: main(parse_config(Config, sys.argv[1:])))
