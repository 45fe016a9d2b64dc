"""Speakers to files, second by second: an hour needs no more memory than a minute.

Letters as in model.py.
"""
import os
from pathlib import Path

import numpy as np
import soundfile

from conv_tasnet.src.level import Level
from utils.audio.recording import resampled
from utils.errors import OutputError
from utils.files import whole_files


def output_paths(files, folder, speakers):
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


def write_speakers(paths, recording, pieces, rate):
    """Writes each speaker to its path, 16-bit wav at the recording's rate and as long; returns their peak.

    `pieces` are (mixture (n,), speakers (C, n)) at `rate` Hz. The speakers get the level that they have in the mixture;
    where that gives a peak above 1, all are divided by it. The files appear when all are complete. Beside them is
    room needed for 4 bytes a sample and speaker meanwhile. OutputError where they cannot be written.
    """
    remedy = "free some space, mend the permissions or give another --output_dir"
    with whole_files(*paths, remedy=remedy, failures=(soundfile.LibsndfileError,)) as wavs:
        raw = wavs[0].with_name("speakers.f32")
        gains, peak = _write_raw(raw, recording, pieces, rate, len(paths))
        _write_wavs(wavs, recording, raw, gains / max(1.0, peak))
    return peak


def _write_raw(path, recording, pieces, rate, speakers):
    """Writes the speakers as float32 (n, C) at the recording's rate; their gains (C,), and the peak they then have."""
    level, peaks, left = Level(speakers), np.zeros(speakers), recording.samples

    def sounds():
        for mixture, separated in pieces:
            level.add(mixture, separated)
            yield np.ascontiguousarray(separated.T)

    with open(path, "wb") as file:
        for block in resampled(sounds(), rate, recording.rate, speakers):
            block = block[:left]     # there and back again, a few samples more or less come out
            file.write(block.tobytes())
            peaks, left = np.maximum(peaks, np.abs(block).max(0, initial=0)), left - len(block)
        file.write(bytes(4 * speakers * left))
    gains = level.gains()
    return gains, float(np.max(np.abs(gains) * peaks))


def _write_wavs(paths, recording, raw, gains):
    """One wav a speaker from the float32 (n, C) of `raw`."""
    # a plain wav ends at 4 GB, 13 hours at 44.1 kHz; RF64 is the wav that does not
    kind = "WAV" if 2 * recording.samples < 2 ** 32 - 100 else "RF64"
    for number, path in enumerate(paths):
        with open(raw, "rb") as source, \
                soundfile.SoundFile(path, "w", recording.rate, 1, "PCM_16", format=kind) as target:
            while len(block := np.fromfile(source, np.float32, recording.rate * len(paths))):
                target.write(gains[number] * block.reshape(-1, len(paths))[:, number])
