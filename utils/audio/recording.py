"""Recordings from files, second by second: an hour needs no more memory than a minute.

Letters: n samples.
"""
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import soxr

from utils.audio import audio_file
from utils.audio.stream import open_audio
from utils.errors import RunError, skipping


@dataclass(frozen=True)
class Recording:
    """A file, or samples in memory, that was read once and found fit."""

    path: str                               # or a name for samples in memory
    samples: int
    rate: int                               # Hz
    channels: int
    array: np.ndarray | None = None         # (samples,) float32, where they are in memory

    def length(self, rate: int) -> int:
        """Its samples at `rate` Hz, rounded up."""
        return math.ceil(self.samples * rate / self.rate)

    def rounded_length(self, rate: int) -> int:
        """Its samples at `rate` Hz, rounded up to 1, 2, 4, ... seconds: for what is compiled for a length.

        So recordings of all lengths need few compilations.
        """
        return rate * 2 ** max(0, math.ceil(math.log2(self.samples / self.rate)))

    def blocks(self, rate: int) -> Iterator[np.ndarray]:
        """Its mean over the channels at `rate` Hz, a second at a time: (n,) float32."""
        seconds = _seconds(self.path) if self.array is None else _slices(self.array, self.rate)
        for block in resampled(seconds, self.rate, rate, 1):
            yield block[:, 0]


def inspect(path: str, window: int, window_rate: int) -> Recording:
    """The Recording at `path`. AudioError where it can't be read, is cut, empty, silent or not finite.

    So is one shorter than the network's window, which is `window` samples at `window_rate` Hz.
    """
    samples, peak = 0, 0.0
    with open_audio(path) as stream:
        for block in stream.blocks():
            block = block.mean(axis=1)
            samples, peak = samples + len(block), np.maximum(peak, np.abs(block).max())   # keeps NaN, unlike max
    if not samples:
        raise audio_file.AudioError(f"{path}: 0 samples; the file is empty, replace it")
    recording = Recording(path, samples, stream.rate, stream.channels)
    _require_fit(recording, peak, window, window_rate)
    return recording


def open_recording(source: audio_file.Source, rate: int, window: int, window_rate: int) -> Recording:
    """As `inspect`, of the file `source`, or of samples (n,) or (n, channels) in [-1, 1] at `rate` Hz."""
    if not isinstance(source, np.ndarray):
        return inspect(os.fspath(source), window, window_rate)
    samples = audio_file.from_array(source, rate, rate)
    recording = Recording("recording", len(samples), rate, source.size // len(samples), samples)
    _require_fit(recording, np.abs(samples).max(), window, window_rate)
    return recording


def _require_fit(recording, peak, window, window_rate):
    """AudioError for a recording that is too short, not finite or silent."""
    path, samples, rate = recording.path, recording.samples, recording.rate
    if samples * window_rate < window * rate:
        raise audio_file.AudioError(f"{path}: {samples} samples at {rate} Hz, shorter than the network's window of "
                                    f"{window} at {window_rate} Hz; leave the file out")
    if not np.isfinite(peak):
        raise audio_file.AudioError(f"{path}: samples that are NaN or infinite, expected numbers in [-1, 1]; decode "
                                    "the file again")
    if peak <= audio_file.SILENCE:
        raise audio_file.AudioError(f"{path}: silent, no sample above {audio_file.SILENCE:g}; leave the file out")


def work_through(paths: Sequence[str], window: int, rate: int,
                 prepare: Callable[[list[Recording]], Callable[[Recording], None]], done: str) -> None:
    """Calls `prepare(recordings)(recording)` for every file that is fit, see `inspect`.

    RunError at the end that counts and names those that were not `done`, a participle.
    """
    recordings, failed = [], []
    for path in paths:
        with skipping(path, paths, failed):
            recordings.append(inspect(path, window, rate))
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
    """Samples (n,) a second at a time: (n, 1)."""
    for start in range(0, len(samples), rate):
        yield samples[start:start + rate, None]


def _seconds(path):
    """The file a second at a time, mean of the channels: (n, 1) float32 at its own rate."""
    with open_audio(path) as stream:
        for block in stream.blocks():
            yield block.mean(axis=1, keepdims=True)
