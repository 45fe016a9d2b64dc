"""The corpora of speech separation on disk: the lists of LibriMix and WSJ0-mix, and mixtures of speakers made here."""
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from conv_tasnet.src.mixtures import read_csv
from utils.audio import audio_file, augment
from utils.corpora.corpus import write_list
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import find
from utils.errors import NotFoundError
from utils.ranges import Hertz, Range

LEVELS = (-33.0, -25.0)   # dB of full scale: LibriMix draws a loudness in LUFS from it, here it is the RMS level
PEAK = 0.9                # of mixtures made here, at most; LibriMix's too
Mixtures = Annotated[int, Range(1, 10 ** 7)]
Speakers = Annotated[int, Range(2, 20)]      # of a mixture
Rows = dict[str, list[tuple[str, list[str]]]]       # of a part: (key, [path of the mixture, of each source])


@dataclass(frozen=True)
class MixtureSettings(CorpusSettings):
    """What the mixtures of a corpus depend on; the flags' help is in prepare.py."""

    task: str = "mix_clean"
    sample_rate: Hertz = 8000
    C: Speakers = 2
    mixtures: Mixtures = 100


def librimix_lists(config: MixtureSettings) -> Rows:
    """{split: [(key, [path of the mixture, of each source])]} of a generated tree, relative to it as it stands now."""
    folder = os.path.join(config.data_folder, "metadata")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    lists = {match[1]: name for name in names if (match := re.fullmatch(rf"mixture_(.+)_{config.task}\.csv", name))}
    if not lists:
        contents = ", ".join(names or sorted(os.listdir(config.data_folder)))[:200] or "nothing"
        raise NotFoundError(f"{config.data_folder}: no metadata/mixture_*_{config.task}.csv, found {contents}; name a "
                            "generated folder such as Libri2Mix/wav8k/min as --data_folder")
    parts = {}
    for split, name in lists.items():
        columns, rows = read_csv(os.path.join(folder, name))
        # the CSV has absolute paths of the machine that made it: .../train-360/mix_clean/key.wav
        parts[split] = [(row[0], ["/".join(re.split(r"[\\/]", path)[-3:]) for path in row[1:len(columns) // 2 + 1]])
                        for row in rows]
    return parts


def wsj0_lists(config: MixtureSettings) -> tuple[Rows, list[str]]:
    """({part: [(key, [path of the mixture, of each source])]}, [reason]) of a tree {tr,cv,tt}/{mix,s1,s2}/*.wav."""
    parts, reasons = {}, []
    for part in ("tr", "cv", "tt"):
        folder = os.path.join(config.data_folder, part)
        names = sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else ())
                       if re.fullmatch(r"mix|s\d+", name))
        if "mix" not in names or len(names) < 3:
            continue
        files = {name: {os.path.splitext(path)[0]: f"{part}/{name}/{path}"
                        for path in audio_file.find_audio(os.path.join(folder, name), (".wav",))} for name in names}
        keys = sorted(set().union(*files.values()))
        whole = [key for key in keys if all(key in paths for paths in files.values())]
        parts[part] = [(key, [paths[key] for paths in files.values()]) for key in whole]
        reasons += [f"{folder}: {key}.wav is not in all of {', '.join(names)}; complete it or delete it"
                    for key in keys if key not in set(whole)]
    if not any(parts.values()):
        raise NotFoundError(f"{config.data_folder}: no wavs in {{tr,cv,tt}}/{{mix,s1,s2}}; name the folder that holds "
                            "them, such as 2speakers/wav8k/min, as --data_folder")
    return parts, reasons


def whole_mixtures(parts: Rows, good: Mapping[str, int]) -> tuple[Rows, list[str]]:
    """({part: mixtures whose files are all in `good`, {path: samples}, and equally long}, [reason] of unequal ones).

    A part without any is left out.
    """
    whole, reasons = {}, []
    for part, rows in parts.items():
        whole[part] = []
        for key, paths in rows:
            lengths = [good.get(path) for path in paths]
            if len(set(lengths)) == 1 and lengths[0]:
                whole[part].append((key, paths))
            elif all(lengths):      # a file that is not good has a reason of its own
                reasons.append(f"{paths[0]}: {lengths[0]} samples, but its sources have "
                               f"{', '.join(map(str, lengths[1:]))}; generate the mixture again")
    return {part: rows for part, rows in whole.items() if rows}, reasons


def find_metadata(path: str) -> dict[str, str]:
    """{part: file} of LibriMix's metadata: a CSV, or all of a folder. libri2mix_dev-clean.csv is part dev."""
    if not os.path.exists(path):
        raise NotFoundError(f"metadata: {path or 'not set'}: no such file or folder, expected LibriMix's metadata, "
                            "such as metadata/Libri2Mix")
    files = [path]
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))
                 if re.search(r"\.csv(\.gz)?$", name) and "info" not in name]   # *_info.csv: speakers, no mixtures
    if not files:
        raise NotFoundError(f"{path}: no .csv in it, expected LibriMix's metadata; correct --metadata")
    return {re.sub(r"^libri\d+mix_|-clean|\.csv(\.gz)?$", "", os.path.basename(file)): file for file in files}


def metadata_mixtures(lists: Mapping[str, str],
                      config: MixtureSettings) -> dict[str, list[tuple[str, list[str], list]]]:
    """{part: [(key, source paths in the data folder, gains)]}: rows of {part: file} whose sources are there.

    Utterances are found by name: in any folder, in any format (the metadata says .flac). A part without is left out.
    """
    places = {_stem(path): path for path in find(config)}
    parts = {}
    for part, file in lists.items():
        columns, rows = read_csv(file)
        count, mixtures = len(columns) // 2 - 1, []
        for key, _, *rest in rows:
            paths = [places.get(_stem(path)) for path in rest[:count]]
            if all(paths):
                mixtures.append((key, paths, rest[count:]))
        print(f"{file}: {len(mixtures)} of {len(rows)} mixtures have all their sources in {config.data_folder}")
        if mixtures:
            parts[part] = mixtures
    if not parts:
        raise NotFoundError(f"{config.data_folder}: holds no mixture's sources; name the LibriSpeech that the metadata "
                            "was made of as --data_folder")
    return parts


def draw_mixtures(items: Iterable[tuple[str, str]], folder: str,
                  config: MixtureSettings) -> list[tuple[str, list[str], list[float]]]:
    """[(key, source paths, gains)]: config.mixtures of config.C speakers each, all equally often, or as many as differ.

    `items` are (speaker, path in `folder`). Drawn from config.seed alone; levels as in LibriMix.
    """
    generator, by_speaker, mixtures = np.random.default_rng(config.seed), {}, {}
    for speaker, path in sorted(items):
        by_speaker.setdefault(speaker, []).append(path)
    speakers, groups = sorted(by_speaker), len(by_speaker) // config.C
    for _ in range(10 * config.mixtures):
        for group in generator.permutation(len(speakers))[:groups * config.C].reshape(groups, config.C):
            names = [speakers[i] for i in sorted(group)]
            paths = [by_speaker[name][generator.integers(len(by_speaker[name]))] for name in names]
            key = "_".join(map(_utterance, names, paths))
            if len(mixtures) < config.mixtures and key not in mixtures:
                mixtures[key] = (key, paths, draw_gains(paths, folder, config, generator))
        if len(mixtures) == config.mixtures:
            break
    return list(mixtures.values())


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _utterance(speaker, path):
    stem = _stem(path)
    return stem if stem.startswith(speaker) else f"{speaker}-{stem}"


def draw_gains(paths: list[str], folder: str, config: MixtureSettings, generator: np.random.Generator) -> list[float]:
    """A gain a source, such that its level is drawn from LEVELS and nothing exceeds PEAK."""
    sources = [audio_file.read(os.path.join(folder, path), config.sample_rate) for path in paths]
    gains = [10 ** ((generator.uniform(*LEVELS) - augment.power_db(source)) / 20) for source in sources]
    shortest = min(map(len, sources))
    played = [gain * source[:shortest] for gain, source in zip(gains, sources, strict=True)]
    peak = max(np.abs(samples).max() for samples in (sum(played), *played))
    return [gain * min(1.0, PEAK / peak) for gain in gains]


def write_generated(path: str, rows: list[tuple[str, list[str]]], good: Mapping[str, int]) -> None:
    """A list of generated mixtures, in the columns of LibriMix."""
    columns = ["mixture_ID", "mixture_path", *_columns("path", len(rows[0][1]) - 1), "length"]
    _write_csv(path, columns, [[key, *paths, good[paths[0]]] for key, paths in rows])


def write_metadata(path: str, mixtures: list[tuple[str, list[str], list]]) -> None:
    """A list of mixtures to be made from utterances and gains, in the columns of LibriMix's metadata."""
    pairs = zip(*(_columns(kind, len(mixtures[0][1])) for kind in ("path", "gain")), strict=True)
    _write_csv(path, ["mixture_ID", *(name for pair in pairs for name in pair)],
               [[key, *(value for pair in zip(paths, gains, strict=True) for value in pair)]
                for key, paths, gains in mixtures])


def _columns(kind, count):
    return [f"source_{i}_{kind}" for i in range(1, count + 1)]


def _write_csv(path, columns, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    write_list(path, text.getvalue().splitlines())


def write_json(folder: str, rows: list[tuple[str, list[str]]], good: Mapping[str, int], root: str) -> None:
    """mix.json, s1.json ... of kaituoxu's preprocess: [absolute path, samples]."""
    os.makedirs(folder, exist_ok=True)
    for i, name in enumerate(["mix", *(f"s{i}" for i in range(1, len(rows[0][1])))]):
        files = [[os.path.abspath(os.path.join(root, paths[i])), good[paths[i]]] for _, paths in rows]
        write_list(os.path.join(folder, f"{name}.json"), [json.dumps(files, indent=4)])
