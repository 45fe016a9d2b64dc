"""Learning rates as functions of the update number, from 0.

With D devices an epoch has a D-th of the updates, so everything counted in updates is divided by D: every schedule
then takes the same course over the epochs, whatever the number of devices.
"""
import math
from collections.abc import Callable

import numpy as np

Schedule = Callable[[int], float]   # number of an update -> learning rate


def constant(rate: float, warmup: float = 0.0) -> Schedule:
    """`rate`, after `warmup` updates."""
    return lambda update: ramp(update, warmup) * rate


def exponential(first: float, decay: float, updates: int, warmup: float = 0.0) -> Schedule:
    """`first`, times `decay` after every so many `updates`."""
    return lambda update: ramp(update, warmup) * first * decay ** (update // updates)


def cosine(first: float, last: float, updates: int, warmup: float = 0.0) -> Schedule:
    """Half a cosine from `first` to `last` over `updates` (Loshchilov, Hutter, arXiv:1608.03983)."""
    def rate(update: int) -> float:
        share = min(1.0, update / max(1, updates))
        return ramp(update, warmup) * (last + (first - last) * (1 + math.cos(math.pi * share)) / 2)

    return rate


def cyclic(lowest: float, highest: float, updates: int) -> Schedule:
    """Triangular (Smith, arXiv:1506.01186): `lowest` to `highest` in `updates`, back in as many, and again."""
    half = max(1, updates)
    return lambda update: lowest + (highest - lowest) * (1 - abs(update % (2 * half) / half - 1))


def linear(first: float, last: float, epochs: int, updates: int) -> Schedule:
    """`first` in the first epoch of so many `updates`, `last` in the last (SpeechBrain's LinearScheduler)."""
    rates = np.linspace(first, last, epochs)
    return lambda update: float(rates[min(update // updates, epochs - 1)])


def ramp(update: int, warmup: float) -> float:
    """The factor of a warm-up: linear, and 1 from its last update on. `warmup`: its updates; 0: none."""
    return min(1.0, (update + 1) / max(1, round(warmup))) if warmup else 1.0
