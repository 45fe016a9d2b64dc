"""The level of separated speakers.

SI-SNR, with which the network is trained, leaves the level and even the polarity of each output open: one output may
be half as loud as its speaker, another inverted. But a mixture is the sum of its speakers.

Letters as in model.py.
"""
import numpy as np

AUDIBLE = -20   # dB of the mixture: an output below holds nobody, but what is left of the others
RIDGE = 1e-3   # of their mean energy: an output this far (30 dB) below the others is not blown up to explain noise


class Level:
    """The gain of each speaker with which their sum comes closest to the mixture, in least squares; part by part."""

    def __init__(self, speakers: int):
        self.speakers = speakers
        self.products, self.targets, self.power = np.zeros((speakers, speakers)), np.zeros(speakers), 0.0

    def add(self, mixture: np.ndarray, speakers: np.ndarray) -> None:
        """A part of the recording: (n,), (C, n)."""
        speakers = speakers.astype(np.float64)
        self.products += speakers @ speakers.T
        self.targets += speakers @ mixture
        self.power += float(np.square(mixture, dtype=np.float64).sum())

    def gains(self) -> np.ndarray:
        """(C,); 0 for speakers that are silent throughout."""
        ridge = RIDGE * np.trace(self.products) / len(self.products) + np.finfo(np.float64).tiny
        return np.linalg.solve(self.products + ridge * np.eye(len(self.products)), self.targets)

    def decibels(self) -> np.ndarray:
        """(C,): how loud each speaker is against the mixture; -100 where it is silent."""
        return _decibels(np.square(self.gains()) * np.diag(self.products), self.power)


def decibels(mixture: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """(C,): how loud speakers (C, n), each at its level, are against their mixture (n,); -100 for silence."""
    return _decibels(*(np.square(samples, dtype=np.float64).sum(-1) for samples in (speakers, mixture)))


def _decibels(powers, whole):
    return 10 * np.log10(np.maximum(powers / max(whole, np.finfo(np.float64).tiny), 1e-10))


def levelled(mixture: np.ndarray, speakers: np.ndarray) -> np.ndarray:
    """Speakers (C, n) at the level they have in the mixture (n,)."""
    level = Level(len(speakers))
    level.add(mixture, speakers)
    return (level.gains()[:, None] * speakers).astype(np.float32)
