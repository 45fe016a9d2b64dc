"""Recordings from files, second by second: an hour needs no more memory than a minute.

Letters: n samples, M channels.
"""
import contextlib
import io
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soxr

from utils.audio import audio_file
from utils.audio.fitness import LEVEL, Meter, measured, to_mono
from utils.audio.stream import HIGHEST_RATE, LOWEST_RATE, AudioError, open_audio
from utils.errors import RunError, SettingError, skipping
from utils.files import StrPath


@dataclass(frozen=True)
class Recording:
    """A file, or samples in memory, that was read once and found fit."""

    path: str                               # or a name for samples in memory
    samples: int
    rate: int                               # Hz
    channels: int
    channel: int | None = None              # the only one that is used; None: their mean
    gain: float = 1.0                       # by which it is multiplied
    array: np.ndarray | None = None         # (samples, channels) float32, where they are in memory

    def length(self, rate: int) -> int:
        """Its samples at `rate` Hz, rounded up."""
        return math.ceil(self.samples * rate / self.rate)

    def rounded_length(self, rate: int) -> int:
        """Its samples at `rate` Hz, rounded up to 1, 2, 4, ... seconds: for what is compiled for a length.

        So recordings of all lengths need few compilations.
        """
        return rate * 2 ** max(0, math.ceil(math.log2(self.samples / self.rate)))

    def as_it_is(self) -> "Recording":
        """The recording at its own level: published protocols of evaluation know no other, nor does live sound."""
        return replace(self, gain=1.0)

    def blocks(self, rate: int) -> Iterator[np.ndarray]:
        """The sound that is used at `rate` Hz, a second at a time: (n,) float32."""
        seconds = _seconds(self.path) if self.array is None else _slices(self.array, self.rate)
        mono = (np.float32(self.gain) * to_mono(block, self.channel)[:, None] for block in seconds)
        for block in resampled(mono, self.rate, rate, 1):
            yield block[:, 0]

    def whole(self, rate: int) -> np.ndarray:
        """All of it at `rate` Hz: (n,) float32."""
        return np.concatenate(list(self.blocks(rate)))

    @property
    def notes(self) -> list[str]:
        """What a user should know of it."""
        notes = []
        if self.channel is not None:
            notes.append(f"{self.channels} channels that cancel each other, only channel {self.channel + 1} is used")
        elif self.channels > 1:
            notes.append(f"{self.channels} channels, their mean is used")
        if self.gain != 1:
            peak = LEVEL / self.gain
            notes.append(f"quiet, its loudest sample is at {20 * math.log10(peak):.1f} dB of full scale; raised by "
                         f"{20 * math.log10(self.gain):.1f} dB")
        return notes

    def print_notes(self) -> None:
        """Tells the user what is to be known of it."""
        for note in self.notes:
            print(f"note: {self.path}: {note}", file=sys.stderr)


def inspect(path: StrPath, window: int, window_rate: int, resample: bool = True) -> Recording:
    """The Recording at `path`. AudioError where it can't be read, is cut, empty or unfit (utils/audio/fitness.py).

    So is one shorter than the network's window, which is `window` samples at `window_rate` Hz, and one of another rate
    unless `resample`.
    """
    meter = Meter()
    with open_audio(path, whole=True) as stream:
        if not resample:
            audio_file.require_rate(path, stream.rate, window_rate)
        for block in stream.blocks():
            meter.add(block)
    if not meter.samples:
        raise AudioError(f"{path}: 0 samples; the file is empty, replace it")
    return _fit(os.fspath(path), meter, stream.rate, window, window_rate)


def inspect_header(path: StrPath, window: int, window_rate: int, resample: bool = True) -> float:
    """Its seconds by a file's header; AudioError where that shows that `inspect` would refuse it.

    The file is not read where the header tells its length.
    """
    samples, rate = audio_file.header(path)
    if not resample:
        audio_file.require_rate(path, rate, window_rate)
    _require_length(path, samples, rate, window, window_rate)
    return samples / rate


def listed(source: object) -> list[Any] | None:
    """The recordings of a list, or of whatever else can be walked through; None where it is a recording itself."""
    if not isinstance(source, Iterable) or isinstance(source, (str, bytes, os.PathLike, io.IOBase)) \
            or hasattr(source, "__array__"):
        return None
    return list(source)


def open_recording(source: object, rate: int, window: int, window_rate: int,
                   resample: bool = True) -> Recording:
    """As `inspect`, of the file `source`, or of samples at `rate` Hz, see `in_memory`. AudioError for anything else."""
    if isinstance(source, (str, os.PathLike)):
        return inspect(os.path.expanduser(source), window, window_rate, resample)
    samples, rate = in_memory(source), whole_rate(rate)
    if not samples.size:
        raise AudioError(f"recording: found shape {samples.shape}, no samples; leave it out")
    if samples.ndim == 2 and len(samples) < samples.shape[1]:
        raise AudioError(f"recording: found shape {samples.shape}, more channels than samples; expected (N, channels): "
                         "transpose it")
    samples = samples.reshape(len(samples), -1)
    return _fit("recording", measured(samples), rate, window, window_rate, samples)


def in_memory(source: Any, dimensions: tuple[int, ...] = (1, 2), name: str = "recording") -> np.ndarray:
    """Samples (n,) or (n, channels), floating point in [-1, 1] or int16, as float32 in [-1, 1]. AudioError for others.

    `source`: an array, or what NumPy makes one of, such as a tensor of MindSpore or PyTorch.
    """
    samples = None
    if hasattr(source, "__array__"):
        with contextlib.suppress(RuntimeError, TypeError, ValueError):      # as of a tensor on another device
            samples = np.asarray(source)
    if samples is None:
        raise AudioError(f"{name}: found {type(source).__name__}, expected a path or a NumPy array of samples")
    if samples.dtype != np.int16 and samples.dtype.kind != "f" or samples.ndim not in dimensions:
        shapes = " or ".join(("(N,)", "(N, channels)")[count - 1] for count in dimensions)
        raise AudioError(f"{name}: found {samples.dtype} of shape {samples.shape}, expected floating point in [-1, 1] "
                         f"or int16, of shape {shapes}")
    if samples.dtype == np.int16:
        return samples / np.float32(2 ** 15)
    return samples.astype(np.float32)


def whole_rate(rate: Any) -> int:
    """A rate in Hz. SettingError for what is none."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        if not isinstance(rate, str) and int(rate) == rate and LOWEST_RATE <= rate <= HIGHEST_RATE:
            return int(rate)
    raise SettingError(f"rate: found {rate!r}, expected Hz, {LOWEST_RATE} to {HIGHEST_RATE}")


def arriving(blocks: Iterable[np.ndarray], rate: int, target: int) -> Iterator[np.ndarray]:
    """Blocks (n,) at `rate` Hz, such as a microphone's, see `in_memory` -> (n,) float32 at `target` Hz, as they come.

    AudioError for what is no such block.
    """
    columns = (in_memory(block, (1,), "recording: a block")[:, None] for block in blocks)
    for block in resampled(columns, whole_rate(rate), target, 1):
        yield block[:, 0]


def by_length(recordings: Sequence[Recording], rate: int, count: int) -> Iterator[tuple[list[int], int]]:
    """(indices of up to `count` recordings, the rounded length of the longest at `rate` Hz), from the shortest on."""
    order = sorted(range(len(recordings)), key=lambda i: recordings[i].samples / recordings[i].rate)
    for first in range(0, len(order), count):
        here = order[first:first + count]
        yield here, max(recordings[i].rounded_length(rate) for i in here)


def whole_up_to(size: int, recordings: Sequence[Recording], here: Iterable[int], rate: int) -> dict[int, np.ndarray]:
    """{index: samples at `rate` Hz} of those of the recordings `here` that have no more than `size`."""
    samples = {i: recordings[i].whole(rate) for i in here if recordings[i].length(rate) <= size}
    return {i: sound for i, sound in samples.items() if len(sound) <= size}     # resampled, one may be longer


def _require_length(path, samples, rate, window, window_rate):
    if samples * window_rate < window * rate:
        places = 2 if window >= 0.1 * window_rate else 4
        raise AudioError(f"{path}: {samples / rate:.{places}f} s ({samples} samples at {rate} Hz), expected at least "
                         f"{window / window_rate:.{places}f} s ({window} at {window_rate} Hz); leave the file out")


def _fit(path, meter, rate, window, window_rate, array=None):
    """The Recording that was `measured`. AudioError for one that is too short or unfit."""
    _require_length(path, meter.samples, rate, window, window_rate)
    if fault := meter.fault():
        raise AudioError(f"{path}: {fault}")
    return Recording(path, meter.samples, rate, meter.channels, meter.channel, meter.gain, array)


def work_through(paths: Sequence[str], window: int, rate: int,
                 prepare: Callable[[list[Recording]], Callable[[Recording], None]], done: str,
                 as_it_is: bool = False) -> None:
    """Calls `prepare(recordings)(recording)` for every file that is fit, see `inspect`; prints what is to be known.

    as_it_is: quiet recordings keep their level

    RunError at the end that counts and names those that were not `done`, a participle.
    """
    recordings, failed = [], []
    for path in paths:
        with skipping(path, paths, failed):
            recording = inspect(path, window, rate)
            recordings.append(recording.as_it_is() if as_it_is else recording)
            recordings[-1].print_notes()
    if recordings:
        work = prepare(recordings)
        for recording in recordings:
            with skipping(recording.path, paths, failed):
                work(recording)
    if failed:
        raise RunError(f"{len(failed)} of {len(paths)} files not {done}, for the reasons above: {', '.join(failed)}")


def resampled(blocks: Iterable[np.ndarray], source: int, target: int, channels: int) -> Iterator[np.ndarray]:
    """Blocks (n, channels) float32 at `source` Hz -> at `target` Hz, as if they were resampled in one piece."""
    if source == target:
        yield from blocks
        return
    resampler = soxr.ResampleStream(source, target, channels)
    for block in blocks:
        yield resampler.resample_chunk(block)
    yield resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _slices(samples, rate):
    """Samples (n, M) a second at a time."""
    for start in range(0, len(samples), rate):
        yield samples[start:start + rate]


def _seconds(path):
    """The file a second at a time: (n, M) float32 at its own rate."""
    with open_audio(path) as stream:
        yield from stream.blocks()
