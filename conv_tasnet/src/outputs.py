"""Speakers to files, second by second: an hour needs no more memory than a minute.

Letters as in model.py.
"""
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from conv_tasnet.src.level import Level
from utils.audio.recording import Recording, resampled
from utils.errors import OutputError
from utils.files import whole_files
from utils.paths import encoded

Pieces = Iterable[tuple[np.ndarray, np.ndarray]]     # mixture (n,), speakers (C, n)


class Written(NamedTuple):
    """How loud the speakers of a recording are."""

    peak: float             # of all, before they were turned down
    decibels: np.ndarray    # (C,), against the mixture


def output_paths(files: Sequence[str], folder: str, speakers: int) -> dict[str, list[str]]:
    """{file: where its speakers go}. OutputError where two files would share a path, or one would be overwritten."""
    inputs, outputs, taken = {os.path.realpath(file) for file in files}, {}, {}
    for file in files:
        outputs[file] = [os.path.join(folder, f"{Path(file).stem}_{i}.wav") for i in range(1, speakers + 1)]
        for path in map(os.path.realpath, outputs[file]):
            if path in inputs:
                raise OutputError(f"{path}: is an input and would be overwritten; give another --output_dir")
            if path in taken:
                raise OutputError(f"{file}: would be written to the same {path} as {taken[path]}; separate one of them "
                                  "into another --output_dir")
            taken[path] = file
    return outputs


def write_speakers(paths: list[str], recording: Recording, pieces: Pieces, rate: int) -> Written:
    """Writes each speaker to its path, 16-bit wav at the recording's rate and as long.

    `pieces` are (mixture (n,), speakers (C, n)) at `rate` Hz. The speakers get the level that they have in the mixture;
    where that gives a peak above 1, all are divided by it. The files appear when all are complete. While they
    are written, their folder needs room for 4 more bytes per sample and speaker. OutputError where they cannot be.
    """
    remedy = "free some space, mend the permissions or give another --output_dir"
    with whole_files(*paths, remedy=remedy, failures=(soundfile.LibsndfileError,)) as wavs:
        raw = wavs[0].with_name("speakers.f32")
        gains, written = _write_raw(raw, recording, pieces, rate, len(paths))
        _write_wavs(wavs, recording, raw, gains / max(1.0, written.peak))
    return written


def at_rate_of(recording: Recording, pieces: Pieces, rate: int, level: Level) -> Iterator[np.ndarray]:
    """Speakers (n, C) float32 at the rate of `recording`, in all as long as it; adds the pieces to `level`.

    `pieces` are (mixture (n,), speakers (C, n)) at `rate` Hz.
    """
    def sounds():
        for mixture, speakers in pieces:
            level.add(mixture, speakers)
            yield np.ascontiguousarray(speakers.T)

    left = recording.samples
    for block in resampled(sounds(), rate, recording.rate, level.speakers):
        block = block[:left]     # there and back again, a few samples more or less come out
        yield block
        left -= len(block)
    yield np.zeros((left, level.speakers), np.float32)


def _write_raw(path, recording, pieces, rate, speakers):
    """Writes the speakers as float32 (n, C) at the recording's rate; their gains (C,), and what they then are."""
    level, peaks = Level(speakers), np.zeros(speakers)
    with open(path, "wb") as file:
        for block in at_rate_of(recording, pieces, rate, level):
            file.write(block.tobytes())
            peaks = np.maximum(peaks, np.abs(block).max(0, initial=0))
    gains = level.gains() / recording.gain
    return gains, Written(float(np.max(np.abs(gains) * peaks)), level.decibels())


def _write_wavs(paths, recording, raw, gains):
    """One wav per speaker from the float32 (n, C) of `raw`."""
    # a plain wav ends at 4 GB, 13 hours at 44.1 kHz; RF64 is the wav that does not
    kind = "WAV" if 2 * recording.samples < 2 ** 32 - 100 else "RF64"
    for number, path in enumerate(paths):
        with open(raw, "rb") as source, \
                soundfile.SoundFile(encoded(path), "w", recording.rate, 1, "PCM_16", format=kind) as target:
            while len(block := np.fromfile(source, np.float32, recording.rate * len(paths))):
                target.write(gains[number] * block.reshape(-1, len(paths))[:, number])
