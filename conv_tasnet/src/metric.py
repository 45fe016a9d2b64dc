"""Scores of a separation: SI-SNR, SDR, STOI, PESQ, and how much better than the mixture itself they are.

They are not defined for a source that is silent throughout, of which the level of its output is the score.

Letters as in model.py. Everything in float64.
"""
import math
import warnings

import fast_bss_eval
import numpy as np
import pystoi
from scipy.optimize import linear_sum_assignment

from conv_tasnet.src.level import levelled
from utils.audio.augment import TINY, power_db
from utils.audio.fitness import is_silent

try:
    import pesq  # pyright: ignore[reportMissingImports]  # needs a C compiler, so it is no requirement
except ImportError:
    pesq = None

PESQ_MODES = {8000: "nb", 16000: "wb"}
SDR_TAPS = 512
SAME = 60.0   # dB: a mixture this close to a source is that source, on which nothing improves


def si_snr(separated: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Scale-invariant signal-to-noise ratio in dB, without the means: (..., S), (..., S) -> (...)."""
    separated, source = (np.asarray(x, np.float64) for x in (separated, source))
    separated = separated - separated.mean(-1, keepdims=True)
    source = source - source.mean(-1, keepdims=True)
    scale = (separated * source).sum(-1, keepdims=True) / ((source ** 2).sum(-1, keepdims=True) + TINY)
    target = scale * source
    return 10 * np.log10(((target ** 2).sum(-1) + TINY) / (((separated - target) ** 2).sum(-1) + TINY))


def best_order(separated: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """The assignment with the highest mean SI-SNR: order (C,) such that separated[order[i]] belongs to sources[i].

    Silent sources get what the others leave.
    """
    pairs = np.where(sounding(sources), si_snr(separated[:, None], sources[None]), 0)         # (C, C)
    return linear_sum_assignment(-pairs.T)[1]


def sounding(sources: np.ndarray) -> np.ndarray:
    """Which of the sources (C, S) are not silent throughout: (C,) bool."""
    return np.array([not is_silent(source) for source in sources])


def sdr(separated: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """BSS-eval's signal-to-distortion ratio in dB, filters of 512 taps allowed: (C, S), (C, S) in order -> (C,)."""
    separated, source = np.broadcast_arrays(np.asarray(separated, np.float64), np.asarray(sources, np.float64))
    if source.shape[1] <= SDR_TAPS:
        return np.full(len(source), np.nan)     # a filter so long makes anything of anything
    with np.errstate(divide="ignore"):
        return -np.asarray(fast_bss_eval.sdr_loss(separated, source, filter_length=SDR_TAPS))


def stoi(separated: np.ndarray, source: np.ndarray, rate: int) -> float:
    """Intelligibility of (S,), from 0 to 1; NaN where less than 0.4 s of the source are sound."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(pystoi.stoi(source, separated, rate))
        except (RuntimeWarning, ValueError, IndexError):    # too short for some, or for one of its frames
            return math.nan


def pesq_score(separated: np.ndarray, source: np.ndarray, rate: int) -> float:
    """Quality of (S,), from 1 to 4.6; NaN where it is shorter than 0.25 s or no utterance is found in it."""
    if pesq is None:
        return math.nan
    try:
        return float(pesq.pesq(rate, source, separated, PESQ_MODES[rate]))
    except pesq.PesqError:     # too short, or without sound
        return math.nan


def scores(mixture: np.ndarray, separated: np.ndarray, sources: np.ndarray, rate: int) -> dict[str, float]:
    """{name: mean over the speakers that are not silent} of (C, S) in the order of its sources, at `rate` Hz.

    si_snri and sdri are improvements on the mixture (S,); pesq is there where the package is installed; silent_level,
    where sources are silent, is how loud their outputs are in dB of the mixture, at the levels that infer.py gives all
    outputs. A score that is not defined, for what is so short or so silent, is NaN.
    """
    heard = sounding(sources)
    silent = levelled(mixture, separated)[~heard]
    separated, sources = separated[heard], sources[heard]
    ratios = {"si_snr": si_snr(separated, sources), "sdr": sdr(separated, sources)}
    before = {"si_snr": si_snr(mixture, sources), "sdr": sdr(mixture, sources)}
    row = {name: ratio.mean() for name, ratio in ratios.items()}
    with np.errstate(invalid="ignore"):
        row |= {f"{name}i": (ratio - before[name]).mean() for name, ratio in ratios.items()}
    if before["si_snr"].max() > SAME:
        row |= {"si_snri": math.nan, "sdri": math.nan}
    pairs = list(zip(separated, sources, strict=True))
    row["stoi"] = np.mean([stoi(speaker, source, rate) for speaker, source in pairs])
    if pesq and rate in PESQ_MODES:
        row["pesq"] = np.mean([pesq_score(speaker, source, rate) for speaker, source in pairs])
    if len(silent):
        row["silent_level"] = np.mean([power_db(output) - power_db(mixture) for output in silent])
    return {name: float(value) if np.isfinite(value) else math.nan for name, value in row.items()}
