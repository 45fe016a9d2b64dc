"""Fixed mixtures: the lists that name them, and one mixture with its sources as arrays.

Generated ones are files, the mixture and its sources equally long: LibriMix as its scripts write it, WSJ0-mix. Those
from metadata are made when they are read, exactly as LibriMix's scripts make them (Cosentino et al., arXiv:2005.11262):
utterance times gain, scipy's resample_poly, cut to the shortest ("min"), summed, without WHAM's noise ("mix_clean").
"""
import collections.abc
import math
import os
import re
from typing import Any, NamedTuple

import numpy as np
import scipy  # which imports its parts at first use

from conv_tasnet.src.config import Config
from utils.audio import audio_file
from utils.audio.fitness import is_silent
from utils.audio.survey import require_files
from utils.errors import ContentError, MismatchError, NotFoundError
from utils.files import StrPath
from utils.texts import read_json, read_rows


class Silent(audio_file.AudioError):
    """A mixture or a source without sound: its SI-SNR is not defined."""


class Mixture(NamedTuple):
    """One mixture of a list."""

    key: str
    mixture: str        # its file; "": made of the sources
    sources: tuple      # their files
    gains: tuple        # one per source


class Mixtures(collections.abc.Sequence):
    """The Mixtures of a list. Rows stay packed: 50,800 of them are 20 MB, and workers share them."""

    def __init__(self, rows: list[list[str]], sources: int, folder: str):
        self.rows: np.ndarray = np.array([os.fsencode("\t".join(row)) for row in rows])
        self.sources, self.folder = sources, folder

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Mixture:
        key, mixture, *rest = os.fsdecode(self.rows[index]).split("\t")
        paths, gains = rest[:self.sources], rest[self.sources:]
        return Mixture(key, mixture and os.path.join(self.folder, mixture),
                       tuple(os.path.join(self.folder, path) for path in paths), tuple(float(gain) for gain in gains))


def read_mixtures(path: str, folder: str, config: Config, check_files: bool = True) -> Mixtures:
    """The Mixtures of a CSV of LibriMix (generated or metadata, .gz too) or of a folder of mix.json s1.json ...

    Their paths are relative to `folder`. UserError for another number of sources than config.C, and for a row that is
    not whole or, with `check_files`, has no file.
    """
    rows = read_csv(path, config.C)[1] if is_csv(path) else _read_json(path, config.C)
    if not rows:
        raise ContentError(f"{path}: no mixtures in it; prepare.py writes the lists")
    mixtures = Mixtures(rows, config.C, folder)
    if check_files:
        require_files({file: f"mixture {item.key}: {file}" for item in mixtures
                       for file in (item.mixture, *item.sources) if file}, path,
                      "correct the folder that the list is relative to, or run prepare.py again")
    return mixtures


def is_csv(path: StrPath) -> bool:
    """Whether `path` is named as a CSV, packed or not."""
    return str(path).lower().endswith((".csv", ".csv.gz"))


def read_csv(path: StrPath, count: int | None = None) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of a LibriMix CSV of mixtures of `count` sources, None: of as many as it has.

    Columns and rows are (mixture_ID, mixture_path or "", source paths, source gains); gains are "1" of generated files.
    ContentError for a mixture_ID that is there twice: files and scores are named after it, and LibriMix repeats none.
    """
    rows = read_rows(path, "a CSV of mixtures; prepare.py writes the lists")
    _, header = next(rows, (0, []))
    columns = _columns(path, header, count)
    places = [header.index(column) if column in header else -1 for column in columns]
    found: dict[str, tuple[int, list[str]]] = {}
    for line, fields in rows:
        row = _row(path, line, fields, columns, places)
        if (first := found.setdefault(row[0], (line, row))[0]) != line:
            raise ContentError(f"{path}: line {line}: mixture_ID {row[0]} is that of line {first} already; give it "
                               "another or leave the row out")
    return columns, [row for _, row in found.values()]


def _columns(path, header, count):
    sources = sum(bool(re.fullmatch(r"source_\d+_path", name)) for name in header)
    generated = "mixture_path" in header
    if count and sources and sources != count:
        raise MismatchError(f"{path}: {sources} sources per mixture, but C is {count}; set C to {sources} or name "
                            "another list")
    numbers = range(1, (sources or count or 2) + 1)
    columns = ["mixture_ID", "mixture_path", *(f"source_{i}_path" for i in numbers),
               *(f"source_{i}_gain" for i in numbers)]
    needed = [name for name in columns if not name.endswith("gain" if generated else "mixture_path")]
    if missing := [name for name in needed if name not in header]:
        raise ContentError(f"{path}: no column {missing[0]}, found {','.join(header)[:200] or 'nothing'}; expected "
                           f"{','.join(needed)}, as LibriMix writes it")
    return columns


def _row(path, line, fields, columns, places):
    row = []
    for column, place in zip(columns, places, strict=True):
        value = fields[place] if 0 <= place < len(fields) else ""
        if place >= 0 and not value:
            raise ContentError(f"{path}: line {line}: nothing in column {column}; mend the row or leave it out")
        if place >= 0 and column.endswith("_gain") and not _is_gain(value):
            raise ContentError(f"{path}: line {line}: {column} is {value!r}, expected a positive number")
        row.append(value or ("1" if column.endswith("_gain") else ""))
    return row


def _is_gain(text):
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _read_json(folder, count):
    """Rows of kaituoxu's lists, paired by the name of the file."""
    if not os.path.isdir(folder):
        raise NotFoundError(f"{folder or 'mixtures'}: no such list, expected a .csv or a folder of mix.json, s1.json "
                            "...; prepare.py writes the lists")
    if os.path.exists(os.path.join(folder, f"s{count + 1}.json")):
        raise MismatchError(f"{folder}: has s{count + 1}.json, but C is {count}; set C to its number of sources")
    lists = {name: _json_list(os.path.join(folder, f"{name}.json"))
             for name in ("mix", *(f"s{i}" for i in range(1, count + 1)))}
    for name, files in lists.items():
        if missing := sorted(lists["mix"].keys() ^ files.keys()):
            has, lacks = ("mix", name) if missing[0] in lists["mix"] else (name, "mix")
            raise MismatchError(f"{folder}: {missing[0]} is in {has}.json and not in {lacks}.json, expected every "
                                "mixture in all of them; make them again with prepare.py")
    return [[key, *(files[key] for files in lists.values()), *["1"] * count] for key in lists["mix"]]


def _json_list(path):
    """{name of the file without its ending: path} of a list of [path, samples]."""
    files = read_json(path, "mix.json and one list per source, s1.json ...; prepare.py writes them", names=True)
    try:
        paths = {os.path.splitext(os.path.basename(file))[0]: file for file, _ in files}
    except (ValueError, TypeError) as error:
        raise ContentError(f"{path}: not a JSON list of [path, samples] ({error}); make it again with "
                           "prepare.py") from None
    if len(paths) < len(files):
        raise ContentError(f"{path}: two of its {len(files)} files have the same name, by which mixtures and sources "
                           "are paired; rename them")
    return paths


def mixture_length(item: Mixture, config: Config) -> int:
    """Samples at config.sample_rate, from the headers. AudioError where generated files are not equally long."""
    files = [file for file in (item.mixture, *item.sources) if file]
    lengths = [-(-frames * config.sample_rate // rate) for frames, rate in map(audio_file.header, files)]
    for file, length in zip(files, lengths, strict=True):
        if item.mixture and length != lengths[0]:
            raise audio_file.AudioError(f"{file}: {length} samples, but its mixture {item.mixture} has {lengths[0]}; "
                                        "generate the mixture again or leave it out")
    return min(lengths)


def load_mixture(item: Mixture, config: Config, start: int = 0, length: int | None = None,
                 silent_sources: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(mixture (S,), sources (C, S)) float32 at config.sample_rate: `length` samples from `start`, or up to the end.

    A part is what the whole would have there, read by seeking. AudioError for files that do not fit each other, Silent
    where the mixture or a source is silent in that part; of `silent_sources` where all are.
    """
    stop = mixture_length(item, config)
    stop = stop if length is None else min(stop, start + length)
    if start >= stop:
        raise audio_file.AudioError(f"{item.key}: no samples from {start} on; leave the mixture out")
    gains = map(np.float32, item.gains)
    sources = np.stack([_read(file, gain, config, start, stop)
                        for file, gain in zip(item.sources, gains, strict=True)])
    mixture = _read(item.mixture, np.float32(1), config, start, stop) if item.mixture else sources.sum(axis=0)
    silent = [file for file, source in zip(item.sources, sources, strict=True) if is_silent(source)]
    if is_silent(mixture):
        raise Silent(f"{item.key}: mixture is silent in samples {start} to {stop}; leave the mixture out")
    if silent and not (silent_sources and len(silent) < len(sources)):
        raise Silent(f"{item.key}: {silent[0]} is silent in samples {start} to {stop}; leave the mixture out")
    return mixture, sources


def _read(file, gain, config, start, stop):
    """Samples `start` to `stop` at config.sample_rate of a file times `gain`: (stop - start,)."""
    frames, native = audio_file.header(file)
    if native == config.sample_rate or not config.resample:
        return gain * audio_file.read(file, config.sample_rate, start, stop - start)
    divisor = math.gcd(native, config.sample_rate)
    up, down = config.sample_rate // divisor, native // divisor
    # `down` samples become `up`; whole such periods keep the phase of resample_poly's filter, which reaches
    # 10 * max(up, down) / up samples to either side
    reach = 10 * max(up, down) // (up * down) + 1
    first, last = max(0, start // up - reach) * down, min((stop // up + 1 + reach) * down, frames)
    samples = scipy.signal.resample_poly(gain * audio_file.read(file, native, first, last - first), up, down)
    return samples[start - first // down * up:][:stop - start]
