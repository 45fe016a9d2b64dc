"""Reading every file of a corpus once before it is listed, and converting those of another format or rate.

Work is shared by processes, shown by a bar, and remembered: an interrupted run goes on where it stopped.
"""
import contextlib
import importlib.util
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from utils.audio import audio_file, recording
from utils.audio.stream import open_audio
from utils.audio.survey import stamp
from utils.config import require
from utils.corpora import mini
from utils.corpora.settings import CorpusSettings
from utils.defects import explained
from utils.errors import (
    ContentError,
    NotFoundError,
    OutputError,
    SettingError,
    UnsupportedError,
    UserError,
    nearest,
)
from utils.files import StrPath, is_outdated, write_text
from utils.locks import locked_folder
from utils.paths import inside
from utils.progress import progress
from utils.texts import open_lines

VERIFIED = 6        # columns of the list of what was read, the last of which is the path
RECORD = "prepared.txt"         # of an output folder: the lists that the last run wrote
LISTS = (".txt", ".csv", ".json", ".arpa")      # endings of their names

Parts = dict[str, list[tuple[str, str]]]     # of a corpus: (speaker, path relative to the data folder)
T = TypeVar("T")
J = TypeVar("J")


class Job(NamedTuple):
    """One file to verify: `target` is read; when it is missing it is made from `source` first."""

    path: str           # as in the lists
    source: str
    target: str
    rate: int           # of the target, Hz
    min_seconds: float
    resample: bool = False      # a target of another rate will be resampled when read
    blanks: bool = False        # the lists take white space in `path`


def choose_corpus(config: CorpusSettings, corpora: Mapping[str, T]) -> T:
    """The entry of `corpora` that config.corpus names; UserError for another, or without the folder it needs."""
    require(config, "corpus", "data_folder", "output_folder")
    if config.corpus not in corpora:
        raise SettingError(f"corpus: found {config.corpus!r}, expected one of {', '.join(corpora)}"
                           f"{nearest(config.corpus, corpora)}")
    if config.corpus != "mini" and not os.path.isdir(config.data_folder):
        raise NotFoundError(f"{config.data_folder}: no such folder, expected the corpus; correct --data_folder")
    return corpora[config.corpus]


@contextlib.contextmanager
def prepared_folder(config: CorpusSettings, setting: str = "output_folder") -> Iterator[Path]:
    """Keeps other processes out of config.output_folder while its lists are written, as `locked_folder` does.

    After success the lists of the run before are deleted that this one has not written, such as those of a part that
    the corpus has no longer. Other files stay, and so does a list that was changed after that run. `setting`: the flag
    that names the folder.
    """
    with locked_folder(config.output_folder, setting) as folder:
        before = _lists(folder, config)
        yield folder
        after, record = _lists(folder, config), folder / RECORD
        written = [name for name in after if after[name] != before.get(name)]
        earlier, time = [], 0
        if record.exists():
            earlier, time = [*open_lines(record, "names of lists; delete it", names=True)], record.stat().st_mtime_ns
        old = [name for name in earlier if name in after and name not in written and after[name][1] <= time]
        for name in old:
            (folder / name).unlink()
        if old:
            print(f"note: {folder}: lists of an earlier run that this one does not write are deleted: {', '.join(old)}")
        write_list(record, written)


def _lists(folder, config):
    """{name: what changes with the file} of the lists in a folder, but for those of a mini corpus in the same one."""
    others = mini.CONTENTS if os.path.realpath(folder) == os.path.realpath(config.data_folder) else ()
    paths = sorted(path for path in folder.iterdir() if path.suffix in LISTS and path.is_file())
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths
            if path.name not in (RECORD, *others)}


def wav_folder(config: CorpusSettings) -> str:
    """Where converted files go."""
    return config.wav_folder or os.path.join(config.output_folder, "wav")


def to_int16(samples: np.ndarray) -> np.ndarray:
    """The 16-bit samples (n,) that were read as float32 (n,)."""
    # libsndfile would write with a scale of 32767 what it has read with 1 / 32768
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)


def convert(source: str, target: str, rate: int) -> None:
    """Writes `target`, a mono 16-bit wav; OutputError when that fails, as it would for all files to come."""
    samples = to_int16(audio_file.read(source, rate, resample=True))
    audio_file.write_wav(target, samples, rate, remedy="make room or name another --wav_folder, and run again: "
                         "finished files are kept")


class Verdict(NamedTuple):
    """What came of a Job."""

    samples: int        # of the target; 0 where the file is not fit for use
    reason: str = ""    # why it is not
    stereo: bool = False        # whether the source has several channels


def inspect(job: Job) -> Verdict:
    """The Verdict on a file, which is converted first where it has to be."""
    try:
        if not job.blanks and len(job.path.split()) != 1:
            raise audio_file.AudioError(f"{job.source}: white space in the path, which separates columns; "
                                        "rename the file")
        if job.source != job.target and (is_outdated(job.target, job.source) or _other_rate(job.target, job.rate)):
            convert(job.source, job.target, job.rate)
        shortest = math.ceil(job.min_seconds * job.rate)
        found = recording.inspect(job.target, shortest, job.rate, job.resample)
        return Verdict(found.length(job.rate), stereo=found.channels > 1 or _is_stereo(job))
    except audio_file.AudioError as error:
        return Verdict(0, str(error))
    except UserError:
        raise
    except Exception as error:
        line, is_defect = explained(error)
        if not is_defect:       # of the machine, as for all files to come
            raise
        return Verdict(0, f"{job.source}: {line}")


def _is_stereo(job):
    """Whether the target was made of several channels."""
    if job.source == job.target or not os.path.exists(job.source):
        return False
    with open_audio(job.source) as stream:
        return stream.channels > 1


def parallel(function: Callable[[J], T], jobs: Sequence[J], workers: int, title: str) -> Iterator[T]:
    """Yields function(job) of every job, in order, by so many processes; 0: one per core."""
    workers = min(workers or os.cpu_count() or 1, len(jobs))
    if workers <= 1:
        yield from progress(map(function, jobs), title, total=len(jobs))
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal,
                               (signal.SIGINT, signal.SIG_IGN))
    try:
        chunk = max(1, min(16, len(jobs) // (4 * workers)))
        yield from progress(pool.map(function, jobs, chunksize=chunk), title, total=len(jobs))
    finally:    # without this Ctrl-C would wait for all files
        pool.shutdown(cancel_futures=True)


def verify(jobs: list[Job], config: CorpusSettings, folder: str,
           log: str = "verified.txt") -> tuple[dict[str, int], list[str]]:
    """Reads, or converts and reads, every file that was not read before: {path: samples} of the good, [reason].

    What was read is kept in `log`, as long as the paths of the jobs are relative to the same `folder`.
    """
    log = os.path.join(config.output_folder, log)
    where = f"{os.path.abspath(folder)} at {jobs[0].rate} Hz"
    known = read_verified(log, where)
    good, todo, reasons, stereo = {}, [], [], []
    for job in jobs:
        samples, *stamps = known.get(job.path, (0,))
        if config.pack and os.fsencode(job.path).decode(errors="replace") != job.path:
            reasons.append(f"{job.source}: a name that is not UTF-8, which shards cannot hold; rename the file, or "
                           "leave --pack out")
        elif samples >= max(1, job.min_seconds * job.rate) and stamps == _stamps(job):
            good[job.path] = samples
        else:
            todo.append(job)
    write_list(log, [where, *(" ".join(map(str, (*row, path))) for path, row in known.items())])
    with open(log, "a", encoding="utf-8", errors="surrogateescape", buffering=1) as stream:
        for job, found in zip(todo, parallel(inspect, todo, config.workers, "verify"), strict=True):
            if found.reason:
                reasons.append(found.reason)
                continue
            good[job.path] = found.samples
            stream.write(" ".join(map(str, (found.samples, *_stamps(job), job.path))) + "\n")
            stereo += [job.source] * found.stereo
    if stereo:
        print(f"note: {len(stereo)} of {len(todo)} files have several channels, such as {stereo[0]}: their mean is "
              "used, or the loudest channel where they cancel each other")
    return good, reasons


def _stamps(job):
    """What changes with the target and the source of a job: [bytes, ns, bytes, ns], less where one is missing."""
    return [number for path in (job.target, job.source) if os.path.exists(path) for number in stamp(path)]


def read_verified(log: str, where: str) -> dict[str, tuple[int, ...]]:
    """{path: (samples, size and time of the file, those of what it was made of)} that an earlier run found good there.

    A note where that was another corpus, whose lists are replaced.
    """
    if not os.path.exists(log):
        return {}
    first, *lines = [*open_lines(log, "the files that prepare.py has read; delete the list", names=True)] or [""]
    if first != where:
        print(f"note: {os.path.dirname(log)} was prepared from {first} before; its lists are replaced")
        return {}
    rows = [line.split(" ", VERIFIED - 1) for line in lines]
    return {row[-1]: tuple(map(int, row[:-1])) for row in rows if len(row) == VERIFIED and "".join(row[:-1]).isdigit()}


def plan(parts: Parts, config: CorpusSettings, rate: int) -> tuple[str, Parts, list[Job]]:
    """The folder that the lists are relative to, {part: [(speaker, path in it)]} and the jobs to get there.

    A corpus with a file that is read by decoding all before it, such as m4a, moves to wavs; with config.resample, one
    with a file of another rate than `rate` as well. Of files that differ by their ending alone one becomes a wav.
    """
    sources = [path for items in parts.values() for _, path in items]
    encoded = next((path for path in sources if path.lower().endswith(audio_file.ENCODED)), "")
    if encoded and importlib.util.find_spec("av") is None:
        raise UnsupportedError(f"{encoded}: is decoded with PyAV, which is not installed: pip install av")
    other_rate = config.resample and any(_other_rate(os.path.join(config.data_folder, path), rate) for path in sources)
    moved = bool(encoded) or other_rate
    folder = wav_folder(config) if moved else config.data_folder
    in_place = os.path.realpath(folder) == os.path.realpath(config.data_folder)     # also through a link
    if in_place and other_rate:
        raise OutputError(f"wav_folder: {folder} is the data folder, resampling would overwrite the corpus; name "
                          "another")
    folder = config.data_folder if in_place else folder     # by one name a file is no target of itself
    planned, jobs, doubles = {}, {}, []
    for name, items in parts.items():
        limit = config.min_seconds if name == "train" else 0.0
        planned[name] = {}
        for speaker, source in items:
            path = inside(os.path.splitext(source)[0]) + ".wav" if moved else source
            planned[name].setdefault(path, speaker)
            job = Job(path, os.path.join(config.data_folder, source), os.path.join(folder, path), rate, limit)
            if jobs.setdefault(path, job).source != job.source:
                doubles.append(source)
    if doubles:
        print(f"note: {len(doubles)} files have the name of another but for its ending, such as {doubles[0]}; of those "
              "the first is listed")
    planned = {name: [(speaker, path) for path, speaker in items.items()] for name, items in planned.items()}
    return folder, planned, list(jobs.values())


def _other_rate(path, rate):
    try:
        with open_audio(path) as stream:
            return stream.rate != rate
    except audio_file.AudioError:       # verification names it
        return False


def write_list(path: StrPath, lines: Collection[str]) -> int:
    """Writes a text file of `lines`; returns their number."""
    write_text(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def write_rejected(reasons: list[str], total: int, config: CorpusSettings, name: str = "rejected.txt") -> None:
    """rejected.txt, and lines on the screen that say how many."""
    path = os.path.join(config.output_folder, name)
    write_list(path, reasons)
    print(f"rejected: {len(reasons)} of {total} files" + (f", see {path}" if reasons else ""))
    if reasons and len(reasons) == total:
        raise ContentError(f"{config.data_folder}: all {total} files were rejected; the first: {reasons[0]}")
    if len(reasons) > total / 100:
        print(f"warning: {100 * len(reasons) / total:.1f} % of the files were rejected; the lists are without them")
