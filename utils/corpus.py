"""Reading every file of a corpus once before it is listed, and converting those of another format or rate.

Work is shared by processes, shown by a bar, and remembered: an interrupted run goes on where it stopped.
"""
import itertools
import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import soundfile

from utils import audio
from utils.errors import UserError
from utils.progress import progress

RATE = 16000


class Job(NamedTuple):
    """One file to verify: `target` is read; when it is missing it is made from `source` first."""

    path: str           # as in the lists
    source: str
    target: str
    min_seconds: float


def wav_folder(config):
    """Where converted files go."""
    return config.wav_folder or os.path.join(config.output_folder, "wav")


def decode(path):
    """Mono int16 samples (n,) at 16 kHz of any file FFmpeg reads; AudioError for a broken or shortened one."""
    import av

    resampler, chunks = av.AudioResampler(format="s16", layout="mono", rate=RATE), []
    try:
        with av.open(path) as container:
            promised = (container.duration or 0) / av.time_base
            for frame in itertools.chain(container.decode(container.streams.audio[0]), [None]):
                chunks += [resampled.to_ndarray()[0] for resampled in resampler.resample(frame)]
    except (av.error.FFmpegError, IndexError) as error:
        raise audio.AudioError(f"{path}: not readable as audio ({error}); replace the file") from None
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.int16)
    if len(samples) / RATE < promised - 0.1:
        raise audio.AudioError(f"{path}: truncated, {len(samples) / RATE:.2f} s found of {promised:.2f} s; "
                               "copy the file anew")
    return samples


def to_int16(samples):
    """The 16-bit samples (n,) that were read as float32 (n,)."""
    # libsndfile would write with a scale of 32767 what it has read with 1 / 32768
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)


def convert(source, target):
    """Writes `target`, a 16 kHz mono 16-bit wav; UserError when that fails, as it would for all files to come."""
    encoded = source.lower().endswith(".m4a")
    samples = decode(source) if encoded else to_int16(audio.read(source, RATE, resample=True))
    try:
        audio.write_wav(target, samples, RATE)
    except (OSError, soundfile.LibsndfileError) as error:
        raise UserError(f"{target}: not written ({error}); make room or name another --wav_folder, and run again: "
                        "finished files are kept") from None


def inspect(job):
    """(samples, bytes, "") of a file that is fit for use, (0, 0, reason) of another."""
    try:
        if len(job.path.split()) != 1:
            raise audio.AudioError(f"{job.source}: white space in the path, which separates columns; rename the file")
        if job.source != job.target and not os.path.exists(job.target):
            convert(job.source, job.target)
        return audio.check(job.target, RATE, job.min_seconds), os.path.getsize(job.target), ""
    except audio.AudioError as error:
        return 0, 0, str(error)


def parallel(function, jobs, config, title):
    """Yields function(job) of every job, in order."""
    workers = min(config.workers or os.cpu_count(), len(jobs))
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


def verify(jobs, config, folder):
    """Reads, or converts and reads, every file that was not read before: {path: samples} of the good, [reason]."""
    log = os.path.join(config.output_folder, "verified.txt")
    known = read_verified(log, folder)
    good, todo, reasons = {}, [], []
    for job in jobs:
        samples, size = known.get(job.path, (0, None))
        if samples >= max(1, job.min_seconds * RATE) and os.path.exists(job.target) \
                and os.path.getsize(job.target) == size:
            good[job.path] = samples
        else:
            todo.append(job)
    write_list(log, [os.path.abspath(folder), *(f"{path} {n} {size}" for path, (n, size) in known.items())])
    with open(log, "a", encoding="utf-8", buffering=1) as stream:
        for job, (samples, size, reason) in zip(todo, parallel(inspect, todo, config, "verify"), strict=True):
            if reason:
                reasons.append(reason)
            else:
                good[job.path] = samples
                stream.write(f"{job.path} {samples} {size}\n")
    return good, reasons


def read_verified(log, folder):
    """{path: (samples, bytes)} that an earlier run found good in the same folder."""
    if not os.path.exists(log):
        return {}
    with open(log, encoding="utf-8") as stream:
        first, *lines = stream.read().split("\n")
    rows = [line.split() for line in lines]
    if first != os.path.abspath(folder):
        return {}
    return {row[0]: (int(row[1]), int(row[2])) for row in rows if len(row) == 3 and (row[1] + row[2]).isdigit()}


def plan(parts, config):
    """The folder that the lists are relative to, {part: [(speaker, path in it)]} and the jobs to get there."""
    sources = [path for items in parts.values() for _, path in items]
    if encoded := any(path.lower().endswith(".m4a") for path in sources):
        try:
            import av  # noqa: F401
        except ImportError:
            raise UserError("m4a files are decoded with PyAV, which is not installed: pip install av") from None
    other_rate = config.resample and any(_other_rate(os.path.join(config.data_folder, path)) for path in sources)
    moved = encoded or other_rate
    folder = wav_folder(config) if moved else config.data_folder
    if other_rate and os.path.abspath(folder) == os.path.abspath(config.data_folder):
        raise UserError(f"wav_folder: {folder} is the data folder, resampling would overwrite the corpus; name another")
    planned, jobs = {}, {}
    for name, items in parts.items():
        limit = config.min_seconds if name == "train" else 0.0
        planned[name] = {}
        for speaker, source in items:
            path = os.path.splitext(source)[0] + ".wav" if moved else source
            planned[name].setdefault(path, speaker)
            source = os.path.join(config.data_folder, source)
            jobs.setdefault(path, Job(path, source, os.path.join(folder, path), limit))
    planned = {name: [(speaker, path) for path, speaker in items.items()] for name, items in planned.items()}
    return folder, planned, list(jobs.values())


def _other_rate(path):
    try:
        return soundfile.info(path).samplerate != RATE
    except soundfile.LibsndfileError:   # m4a, and broken files: verification names those
        return False




def write_list(path, lines):
    """One line each, under a temporary name and then renamed; returns the number of lines."""
    with open(path + ".part", "w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)
    os.replace(path + ".part", path)
    return len(lines)
