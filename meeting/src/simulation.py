"""Meetings made of utterances of known speakers: who speaks when is known to the sample.

Utterances follow each other, never two of one speaker, at most two at once. Where there is to be overlap, each begins
so long before the end of the one before that the share of the speech in which two speak stays at the one wanted;
otherwise after a pause of PAUSE seconds. Letters: n samples.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from meeting.src.turns import Turn
from utils.audio.activity import RATE, SAMPLES

FLOOR = 35              # dB under its loudest frame from which on a frame of a clean utterance is speech
BRIDGED = 0.5           # seconds: shorter pauses belong to the utterance
PAUSE = (0.3, 1.0)      # seconds between utterances
LEVEL, SPREAD = -26, 2.5    # dB: of a speaker's speech, and how far speakers are from that
LEAST = 0.3             # seconds: overlap shorter than this is a pause instead


class Utterance(NamedTuple):
    """Speech of one speaker, without the silence around it."""

    speaker: str
    text: str
    samples: np.ndarray     # (n,) float32


class Simulated(NamedTuple):
    """A meeting and what is true of it."""

    samples: np.ndarray         # (n,) float32
    sources: dict[str, np.ndarray]      # of each speaker alone, (n,)
    activity: list[Turn]        # who speaks when, pauses of BRIDGED seconds left out
    spoken: list[Turn]          # the utterances, with their texts


def simulate(utterances: Mapping[str, Sequence[Utterance]], overlap: float, seconds: float,
             generator: np.random.Generator, noise: np.ndarray | None = None, snr: float = 15.0) -> Simulated:
    """A meeting of about `seconds` of the speakers of `utterances`.

    overlap: the share of the speech in which two speak, 0 to 0.4. noise (n,): repeated over all of it, `snr` dB under
    the mean of the speech.
    """
    levels = {speaker: LEVEL + generator.uniform(-SPREAD, SPREAD) for speaker in utterances}
    waiting = {speaker: list(generator.permutation(len(items))) for speaker, items in utterances.items()}
    placed: list[tuple[int, Utterance]] = []
    ends = [0, 0]               # of the last utterance, of those before it, in samples
    union = both = 0
    position = int(0.5 * RATE)
    while position < seconds * RATE:
        ready = [name for name in waiting if waiting[name] and (not placed or placed[-1][1].speaker != name)]
        if not ready:
            break
        # those who have spoken least come first, so that all speak
        said = {speaker: sum(len(item.samples) for _, item in placed if item.speaker == speaker) for speaker in ready}
        speaker = min(ready, key=lambda name: said[name] * generator.uniform(0.5, 1.5))
        item = utterances[speaker][waiting[speaker].pop()]
        length = len(item.samples)
        most = min(length, ends[0] - max(ends[1], placed[-1][0])) if placed else 0
        wanted = int(min(most, (overlap * (union + length) - both) / (1 + overlap)))
        if wanted >= LEAST * RATE:
            start = ends[0] - wanted
        else:
            wanted, start = 0, max(ends) + int(generator.uniform(*PAUSE) * RATE) if placed else position
        placed.append((start, item))
        union, both = union + length - wanted, both + wanted
        stop = start + length
        ends = [max(stop, ends[0]), min(stop, ends[0])]
        position = ends[0]
    total = ends[0] + int(0.5 * RATE)
    sources = {speaker: np.zeros(total, np.float32) for speaker in utterances}
    activity, spoken = [], []
    for start, item in placed:
        gain = 10 ** (levels[item.speaker] / 20) / np.sqrt(np.mean(item.samples ** 2))
        sources[item.speaker][start:start + len(item.samples)] += np.float32(gain) * item.samples
        parts = [(start + first, start + last) for first, last in speech_of(item.samples)]
        activity += [Turn(first / RATE, last / RATE, item.speaker) for first, last in parts]
        stop = (start + len(item.samples)) / RATE
        spoken.append(Turn(start / RATE, stop, item.speaker, item.text))
    samples = np.sum(list(sources.values()), axis=0)
    if noise is not None:
        level = np.sqrt(np.sum(samples ** 2) / max(1, union))
        repeated = np.resize(noise, total)
        samples = samples + np.float32(10 ** (-snr / 20) * level / np.sqrt(np.mean(repeated ** 2))) * repeated
    peak = max(1.0, float(np.abs(samples).max()) / 0.95)
    return Simulated((samples / peak).astype(np.float32), {name: x / peak for name, x in sources.items()}, activity,
                     spoken)


def trimmed(samples: np.ndarray) -> np.ndarray:
    """A clean utterance (n,) without the silence around its speech."""
    parts = speech_of(samples)
    return samples[parts[0][0]:parts[-1][1]]


def speech_of(samples: np.ndarray) -> list[tuple[int, int]]:
    """(first sample, sample behind the last) of the speech in a clean utterance (n,), pauses under BRIDGED filled."""
    count = max(1, len(samples) // SAMPLES)
    power = np.square(np.resize(samples, count * SAMPLES).reshape(count, SAMPLES)).mean(axis=1)
    power = np.convolve(power, np.ones(3) / 3, "same")      # so that one click is no speech
    active = np.flatnonzero(power > power.max() * 10 ** (-FLOOR / 10))
    gaps = np.flatnonzero(np.diff(active) > BRIDGED * RATE / SAMPLES)
    firsts, lasts = active[np.r_[0, gaps + 1]], active[np.r_[gaps, len(active) - 1]]
    return [(int(first) * SAMPLES, min(len(samples), (int(last) + 1) * SAMPLES))
            for first, last in zip(firsts, lasts, strict=True)]
