"""What a recording must be to be of use, and which of its channels are used: one check for all models and programs.

Letters: n samples, M channels.
"""
import math

import numpy as np

SILENCE = 1e-5      # the largest sample of a part without sound: half a step of 16-bit PCM is 1.5e-5
FAINT = 1e-4        # how far a recording without sound varies to either side: three steps of 16-bit PCM hold noise
LOUDEST = 8.0       # what lossy decoders and hot recordings exceed 1 by is less; 16-bit numbers as floats are more
QUIET, LEVEL = 0.03, 0.3   # peaks: below -30 dB of full scale the front-ends' floors decide; where most recordings are
CANCELLED = 0.1     # of the power that the mean of unrelated channels has: less is left where one is inverted
EQUAL = 0.99        # of the power of the loudest channel: the first that has it is used


class Meter:
    """The levels of a recording, block by block."""

    def __init__(self) -> None:
        self.samples = 0
        self.low = self.high = self.sum = self.squares = np.zeros(0)        # of each channel, then of their mean

    def add(self, block: np.ndarray) -> None:
        """The next samples (n, M) float32."""
        if not len(block):
            return
        if block.shape[1] > 1:
            with np.errstate(invalid="ignore"):     # of infinities
                block = np.concatenate((block, block.mean(axis=1, keepdims=True)), axis=1)
        low, high = block.min(axis=0), block.max(axis=0)            # keep NaN
        total = block.sum(axis=0, dtype=np.float64)
        squares = np.einsum("nm,nm->m", block, block, dtype=np.float64)
        if self.samples:
            low, high = np.minimum(self.low, low), np.maximum(self.high, high)
            total, squares = self.sum + total, self.squares + squares
        self.low, self.high, self.sum, self.squares = low, high, total, squares
        self.samples += len(block)

    @property
    def channels(self) -> int:
        """M."""
        return max(1, len(self.low) - 1)

    @property
    def channel(self) -> int | None:
        """The loudest channel where they cancel each other, such as those of a balanced cable; None: their mean."""
        if self.channels == 1:
            return None
        power = self.squares / self.samples - np.square(self.sum / self.samples)
        cancel = power[-1] < CANCELLED * power[:-1].sum() / self.channels ** 2
        return int(np.argmax(power[:-1] >= EQUAL * power[:-1].max())) if cancel else None

    @property
    def gain(self) -> float:
        """What brings a quiet recording to LEVEL; 1 for others."""
        return LEVEL / self.peak if self.peak < QUIET else 1.0

    @property
    def peak(self) -> float:
        """The largest sample of what is used."""
        return float(max(-self.low[self._used], self.high[self._used]))

    @property
    def _used(self):
        return -1 if self.channel is None else self.channel

    def fault_of_numbers(self) -> str:
        """Why these samples cannot be used, and what to do; "" where they can."""
        return fault_of_range(self.low.min(), self.high.max())

    def fault(self) -> str:
        """As `fault_of_numbers`, of a whole recording: it has to hold a sound too."""
        if fault := self.fault_of_numbers():
            return fault
        low, high = self.low[self._used], self.high[self._used]
        if high - low > 2 * FAINT:
            return ""
        if self.peak > FAINT:
            return f"no sound, all samples are about {(low + high) / 2:.3g}; leave the file out"
        return f"silent, no sample above {SILENCE if self.peak <= SILENCE else FAINT:g}; leave the file out"


def fault_of_range(low: float, high: float) -> str:
    """As `Meter.fault_of_numbers`, of samples from `low` to `high`."""
    peak = float(max(-low, high))       # both are NaN where a sample is
    if not math.isfinite(peak):
        return "samples that are NaN or infinite, expected numbers in [-1, 1]; decode it again"
    if peak > LOUDEST:
        return f"samples up to {peak:g}, expected numbers in [-1, 1]; divide 16-bit numbers by 32768"
    return ""


def measured(samples: np.ndarray) -> Meter:
    """The Meter of samples (n,) or (n, M)."""
    meter = Meter()
    meter.add(samples.reshape(len(samples), -1))
    return meter


def is_silent(samples: np.ndarray) -> bool:
    """Whether a part of a recording, samples (n,), holds no sound: perhaps a pause."""
    return bool(np.abs(samples).max() <= SILENCE)


def to_mono(samples: np.ndarray, channel: int | None) -> np.ndarray:
    """(n, M) -> (n,): that channel, or the mean of all."""
    if samples.shape[1] == 1 or channel is not None:
        return samples[:, channel or 0]
    return samples.mean(axis=1)
