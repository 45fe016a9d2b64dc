"""Verification metrics: equal error rate, minimum detection cost, and the trial lists they are computed on."""
import os
import sys
from dataclasses import dataclass

import numpy as np

from utils.corpora.lists import open_list
from utils.errors import ContentError, RunError
from utils.texts import split_columns


@dataclass(frozen=True)
class Trials:
    """A trial list: `target` (n,) bool, `left` and `right` (n,) indices into `files` (m,) bytes."""

    target: np.ndarray
    left: np.ndarray
    right: np.ndarray
    files: np.ndarray


@dataclass(frozen=True)
class Errors:
    """Error rates at every threshold: a trial is accepted when its score is at least `threshold`."""

    threshold: np.ndarray
    miss: np.ndarray          # targets rejected, share
    false_alarm: np.ndarray   # non-targets accepted, share


def read_trials(path: str | os.PathLike) -> Trials:
    """A list of `1|0 path path` lines (VoxCeleb1-O, -E, -H and kin). NotFoundError or ContentError for another file."""
    columns = []
    for number, line in open_list(path):
        columns.append(split_columns(line, 3))
        if len(columns[-1]) != 3 or columns[-1][0] not in (b"0", b"1"):
            raise ContentError(f"{path}: line {number} is {line!r}, expected `1 path path` or `0 path path`")
    labels, left, right = zip(*columns, strict=True)
    target = np.array(labels) == b"1"
    if target.all() or not target.any():
        raise ContentError(f"{path}: {int(target.sum())} of {len(target)} trials are targets; both kinds are needed")
    files, index = np.unique(np.array(left + right), return_inverse=True)
    trials = Trials(target, index[:len(target)], index[len(target):], files)
    _note_repetitions(trials, path)
    return trials


def _note_repetitions(trials, path):
    """Says how many trials compare a file with itself, or two files again."""
    low, high = np.minimum(trials.left, trials.right), np.maximum(trials.left, trials.right)
    _, first, pair = np.unique(low.astype(np.int64) * len(trials.files) + high, return_index=True, return_inverse=True)
    opposite = trials.target != trials.target[first][pair]
    counts = {"compare a file with itself": int((low == high).sum()),
              "repeat another": len(trials.target) - len(first) - int(opposite.sum()),
              "compare the files of another and say the opposite": int(opposite.sum())}
    for what, count in counts.items():
        if count:
            print(f"note: {path}: {count} of {len(trials.target)} trials {what}; each counts", file=sys.stderr)


def error_rates(target: np.ndarray, scores: np.ndarray) -> Errors:
    """Errors at every distinct score, from accepting all to rejecting all. One sort."""
    if not np.isfinite(scores).all():
        raise RunError(f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite; the network has "
                       "diverged, evaluate an earlier checkpoint")
    order = np.argsort(scores, kind="stable")
    scores, target = np.asarray(scores, np.float64)[order], np.asarray(target)[order]
    first = np.flatnonzero(np.concatenate(([True], np.diff(scores) > 0)))   # of each distinct score
    miss = np.concatenate(([0], np.cumsum(target)))[np.append(first, len(scores))] / target.sum()
    kept = 1 - np.concatenate(([0], np.cumsum(~target)))[np.append(first, len(scores))] / (~target).sum()
    return Errors(np.append(scores[first], np.inf), miss, kept)


def equal_error_rate(errors: Errors) -> tuple[float, float]:
    """(EER, threshold): where misses are as many as false alarms, on the straight line between two thresholds."""
    after = int(np.argmax(errors.miss >= errors.false_alarm))
    before = max(after - 1, 0)
    gap_before = errors.false_alarm[before] - errors.miss[before]
    gap_after = errors.miss[after] - errors.false_alarm[after]
    share = gap_before / (gap_before + gap_after) if gap_before + gap_after > 0 else 0.0
    eer = errors.miss[before] + share * (errors.miss[after] - errors.miss[before])
    threshold = errors.threshold[after] if np.isfinite(errors.threshold[after]) else errors.threshold[before]
    return float(eer), float(threshold)


def minimum_detection_cost(errors: Errors, target_prior: float, miss_cost: float = 1.0,
                           false_alarm_cost: float = 1.0) -> float:
    """minDCF of NIST, normalised: 1 is what accepting all or rejecting all costs, whichever is less."""
    cost = (miss_cost * errors.miss * target_prior
            + false_alarm_cost * errors.false_alarm * (1 - target_prior))
    return float(cost.min() / min(miss_cost * target_prior, false_alarm_cost * (1 - target_prior)))
