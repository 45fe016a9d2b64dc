"""Separation scored: what eval.py and postprocess.py compute and report. Letters as in model.py."""
import contextlib
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.inference import load
from conv_tasnet.src.level import levelled
from conv_tasnet.src.metric import best_order, scores
from conv_tasnet.src.mixtures import Mixture, load_mixture, mixture_length, read_mixtures
from conv_tasnet.src.plots import draw_separation
from utils.audio.audio_file import AudioError, write_wav
from utils.audio.survey import survey
from utils.config import require
from utils.files import csv_text, write_text
from utils.paths import inside, list_name
from utils.progress import progress
from utils.results import noting_failure, result_folder

SCORES = "scores.csv"
PARTIAL = "scores_partial.csv"      # of an evaluation that was interrupted

SHOWN = 3       # of the mixtures that a note is about

Scores = dict[str, Any]     # a row of scores.csv


def score_mixtures(config: Config) -> tuple[list[Scores], list[str], Path | None]:
    """(scores of each mixture of config.eval_dir, why others have none, the folder for them or None for nowhere).

    config.save_examples of the mixtures are kept there as audio and image; those of an earlier evaluation are removed.
    After Ctrl-C what is done is there, too.
    """
    require(config, "eval_dir")
    mixtures = read_mixtures(config.eval_dir, config.eval_path, config)
    folder = result_folder(config.output_folder, config.model_path, f"eval_{list_name(config.eval_dir)}")
    survey(range(len(mixtures)), lambda number: mixture_length(mixtures[number], config))
    separator = load(config)
    examples = set(np.linspace(0, len(mixtures) - 1, min(config.save_examples, len(mixtures))).astype(int))
    rows, reasons, kept = [], [], set()
    try:
        for number, item in enumerate(progress(mixtures, "separated", unit="mixture")):
            try:
                mixture, sources = load_mixture(item, config, silent_sources=True)
                separated, row = score(item, mixture, separator.run(mixture), sources, config.sample_rate)
            except AudioError as error:
                reasons.append(str(error))
                continue
            rows.append(row)
            if folder and number in examples:
                with noting_failure("examples"):
                    save_example(mixture, separated, sources, config.sample_rate, folder, item.key)
                    kept.add(item.key)
    except KeyboardInterrupt:
        if folder and rows:
            write_text(folder / PARTIAL, csv_text(rows, decimals=4))
            print(f"{folder / PARTIAL}: {len(rows)} of {len(mixtures)} mixtures")
        raise
    if folder:
        remove_examples(folder, (item.key for item in mixtures if item.key not in kept), config.C)
        if kept:
            print(f"{len(kept)} example{'' if len(kept) == 1 else 's'}: {folder}")
    return rows, reasons, folder


def score(item: Mixture, mixture: np.ndarray, separated: np.ndarray, sources: np.ndarray,
          rate: int) -> tuple[np.ndarray, Scores]:
    """The separation (C, S) in the order of its sources, and its row of scores.csv; all are at `rate` Hz."""
    separated = separated[best_order(separated, sources)]
    row = {"mixture_ID": item.key, "seconds": len(mixture) / rate}
    return separated, row | scores(mixture, separated, sources, rate)


def save_example(mixture: np.ndarray, separated: np.ndarray, sources: np.ndarray, rate: int, folder: Path,
                 key: str) -> None:
    """key_mixture.wav, key_separated_1.wav, key_true_1.wav, ..., and key.png of them all, in `folder` for any key.

    Outputs are at their level in the mixture, as infer.py writes them: one that leaks into a silent source is heard.
    """
    name = folder / inside(key)
    separated = levelled(mixture, separated)
    peak = max(1.0, np.abs(separated).max(), np.abs(mixture).max())
    write_wav(f"{name}_mixture.wav", mixture / peak, rate)
    for i, (speaker, source) in enumerate(zip(separated, sources, strict=True), 1):
        write_wav(f"{name}_separated_{i}.wav", speaker / peak, rate)
        write_wav(f"{name}_true_{i}.wav", source / peak, rate)
    draw_separation(mixture, separated, sources, rate, f"{name}.png")


def remove_examples(folder: Path, keys: Iterable[str], speakers: int) -> None:
    """Removes what `save_example` writes for `keys`, where an evaluation has left its scores in `folder`."""
    if not (folder / SCORES).exists():
        return
    ends = ["_mixture.wav", ".png", *(f"_{kind}_{i}.wav" for kind in ("separated", "true")
                                      for i in range(1, speakers + 1))]
    for key in keys:
        for end in ends:
            with contextlib.suppress(OSError):      # most were never there
                os.unlink(f"{folder / inside(key)}{end}")


def defined_mean(values: list[float]) -> float:
    """The mean of those that are numbers; NaN where none is."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan


def note_undefined(rows: list[Scores], names: list[str]) -> None:
    """Says which scores of which mixtures are left out of the means."""
    undefined = {}      # {mixtures: scores}
    for name in names:
        if keys := tuple(row["mixture_ID"] for row in rows if math.isnan(row.get(name, 0))):
            undefined.setdefault(keys, []).append(name)
    for keys, names in undefined.items():
        print(f"note: {', '.join(names)} not defined, and left out of the mean, for {len(keys)} of {len(rows)} "
              f"mixtures that are too short or too silent: {', '.join(keys[:SHOWN])}"
              + (", ..." if len(keys) > SHOWN else ""), file=sys.stderr)


def report(rows: list[Scores], name: str, folder: Path | None) -> dict[str, float]:
    """Prints the means over the mixtures of the list `name`, writes scores.csv into `folder`; returns the means."""
    names = list(dict.fromkeys(name for row in rows for name in list(row)[2:]))
    means = {name: defined_mean([row[name] for row in rows if name in row]) for name in names}
    note_undefined(rows, names)
    print(f"{name}: {len(rows)} mixtures, {sum(row['seconds'] for row in rows) / 60:.1f} minutes")
    print(f"Average SISNR improvement: {means['si_snri']:.2f}")
    print(f"Average SDR improvement: {means['sdri']:.2f}")
    print(", ".join(f"{key} {value:.3f}" for key, value in means.items() if key not in ("si_snri", "sdri")), flush=True)
    if folder:
        write_text(folder / SCORES, csv_text(rows, decimals=4))
        (folder / PARTIAL).unlink(missing_ok=True)
        print(f"{SCORES}: {folder}")
    return means
