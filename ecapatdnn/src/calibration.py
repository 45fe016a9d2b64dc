"""Scores as log-likelihood ratios (LLR), and how good they are.

An LLR says how much likelier what was heard is from one speaker than from two: 0 favours neither, 3 is 20 (e^3) times.
So one threshold, the log of the odds against a target, is right for every list. Brümmer and du Preez,
"Application-independent evaluation of speaker detection", Computer Speech and Language 2006.

Short recordings sound less alike, whether of one speaker or of two, so how long they are counts as well (a quality
measure; Thienpondt et al., "The IDLab VoxSRC-20 submission", ICASSP 2021).

Letters: n trials.
"""
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression, minimize

from ecapatdnn.src.config import Config

RIDGE = 1e-4    # on the scale, for scores with a deviation of 1: keeps it finite where no two scores overlap
WHOLE = {"score_crops": 0, "subtract_mean": False}   # how verdicts score, and so what a calibration is fitted to
SPREAD = 1e-3   # of log seconds: of recordings that are all as long, nothing is learned of lengths
TYPICAL = 2.5   # joint seconds of two recordings of five seconds


class Calibration(NamedTuple):
    """LLR = scale * score + offset + duration * log(joint seconds)."""

    scale: float
    offset: float
    duration: float = 0.0

    def llr(self, scores: np.ndarray, seconds: np.ndarray | float = TYPICAL) -> np.ndarray:
        """Scores (any shape) of recordings of so many joint seconds -> LLR."""
        return self.scale * scores + self.offset + self.duration * np.log(seconds)

    def threshold(self, seconds: float = TYPICAL) -> float:
        """The score whose LLR is 0."""
        return float(-(self.offset + self.duration * np.log(seconds)) / self.scale)


def joint_seconds(first: np.ndarray | float, second: np.ndarray | float) -> Any:
    """How long two recordings are together, mostly as the shorter one: 1 / (1 / first + 1 / second)."""
    return 1 / (1 / np.maximum(first, 1e-3) + 1 / np.maximum(second, 1e-3))


def of_record(record: Mapping[str, Any], config: Config) -> Calibration | None:
    """The calibration that a checkpoint's `record` holds; None where there is none for scores as `config` has them."""
    saved = record.get("calibration", {})
    fits = saved and scores_whole(config) and all(saved.get(name) == value for name, value in WHOLE.items())
    return Calibration(saved["scale"], saved["offset"], saved.get("duration", 0.0)) if fits else None


def to_record(calibration: Calibration, config: Config) -> dict[str, Any]:
    """What `of_record` reads."""
    pauses = {"voice_activity": config.voice_activity}      # what it was fitted to; it is used for both
    return {"calibration": calibration._asdict() | WHOLE | pauses}


def scores_whole(config: Config) -> bool:
    """Whether recordings are scored as verdicts score them."""
    return all(getattr(config, name) == value for name, value in WHOLE.items())


def fit(target: np.ndarray, scores: np.ndarray, seconds: np.ndarray) -> Calibration:
    """Logistic regression of `target` (n,) bool on `scores` (n,) and joint `seconds` (n,).

    Both kinds of trials weigh the same. Where all are as long, `duration` is 0.
    """
    x = np.stack((scores, np.log(seconds)), axis=1).astype(np.float64)  # BFGS takes differences that float32 hides
    mean, deviation = x.mean(axis=0), np.maximum(x.std(axis=0), (1e-9, SPREAD))
    x = (x - mean) / deviation * (1, np.ptp(x[:, 1]) > SPREAD)

    def cost(parameters):
        return _cost(target, x @ parameters[:2] + parameters[2]) + RIDGE * np.square(parameters[:2]).sum()

    *weights, offset = minimize(cost, (1.0, 0.0, 0.0), method="BFGS").x
    scale, duration = weights / deviation
    return Calibration(float(scale), float(offset - (scale, duration) @ mean), float(duration))


def log_likelihood_cost(target: np.ndarray, llr: np.ndarray) -> float:
    """Cllr in bits: 0 is perfect, 1 what an LLR of 0 for every trial costs. `target` (n,) bool, `llr` (n,)."""
    return float(_cost(target, llr) / np.log(2))


def minimum_log_likelihood_cost(target: np.ndarray, scores: np.ndarray) -> float:
    """The Cllr of the best LLR that rise with `scores` (n,): what calibration cannot take away."""
    place = np.unique(scores, return_inverse=True)[1]
    trials = np.bincount(place)
    posterior = isotonic_regression(np.bincount(place, target) / trials, weights=trials).x[place]
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log1p(-posterior) - np.log(target.sum() / (~target).sum())
    return log_likelihood_cost(target, llr)


def detection_cost(target: np.ndarray, llr: np.ndarray, target_prior: float) -> float:
    """actDCF: as minDCF (metric.py), of the decisions that the LLR (n,) make at the prior's own threshold."""
    accepted = llr >= np.log((1 - target_prior) / target_prior)
    miss, false_alarm = np.mean(~accepted[target]), np.mean(accepted[~target])
    return float((target_prior * miss + (1 - target_prior) * false_alarm) / min(target_prior, 1 - target_prior))


def _cost(target, llr):
    """Mean over the two kinds of the mean -log probability of the truth, at even odds."""
    return (np.logaddexp(0, -llr[target]).mean() + np.logaddexp(0, llr[~target]).mean()) / 2
