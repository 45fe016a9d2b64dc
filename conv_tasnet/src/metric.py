"""Scores of a separation: SI-SNR, SDR, STOI, PESQ, and how much better than the mixture itself they are.

Letters as in model.py. Everything in float64.
"""
import fast_bss_eval
import numpy as np
import pystoi
from scipy.optimize import linear_sum_assignment

try:
    import pesq  # pyright: ignore[reportMissingImports]  # needs a C compiler, so it is no requirement
except ImportError:
    pesq = None

PESQ_MODES = {8000: "nb", 16000: "wb"}
EPS = 1e-12   # under a power, so that silence has a level


def si_snr(separated: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Scale-invariant signal-to-noise ratio in dB, without the means: (..., S), (..., S) -> (...)."""
    separated, source = (np.asarray(x, np.float64) for x in (separated, source))
    separated = separated - separated.mean(-1, keepdims=True)
    source = source - source.mean(-1, keepdims=True)
    scale = (separated * source).sum(-1, keepdims=True) / ((source ** 2).sum(-1, keepdims=True) + EPS)
    target = scale * source
    return 10 * np.log10(((target ** 2).sum(-1) + EPS) / (((separated - target) ** 2).sum(-1) + EPS))


def best_order(separated: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """The assignment with the highest mean SI-SNR: order (C,) such that separated[order[i]] belongs to sources[i]."""
    pairs = si_snr(separated[:, None], sources[None])         # (C, C)
    return linear_sum_assignment(-pairs.T)[1]


def sdr(separated: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """BSS-eval's signal-to-distortion ratio in dB, filters of 512 taps allowed: (C, S), (C, S) in order -> (C,)."""
    separated, source = np.broadcast_arrays(np.asarray(separated, np.float64), np.asarray(sources, np.float64))
    return -np.asarray(fast_bss_eval.sdr_loss(separated, source))


def scores(mixture: np.ndarray, separated: np.ndarray, sources: np.ndarray, rate: int) -> dict[str, float]:
    """{name: mean over the speakers} of a separation (C, S) in the order of its sources, at `rate` Hz.

    si_snri and sdri are improvements on the mixture (S,); pesq is there where the package is installed.
    """
    ratios = {"si_snr": si_snr(separated, sources), "sdr": sdr(separated, sources)}
    before = {"si_snr": si_snr(mixture, sources), "sdr": sdr(mixture, sources)}
    row = {name: ratio.mean() for name, ratio in ratios.items()}
    row |= {f"{name}i": (ratio - before[name]).mean() for name, ratio in ratios.items()}
    pairs = list(zip(sources, separated, strict=True))
    row["stoi"] = np.mean([pystoi.stoi(source, speaker, rate) for source, speaker in pairs])
    if pesq and rate in PESQ_MODES:
        row["pesq"] = np.mean([pesq.pesq(rate, source, speaker, PESQ_MODES[rate]) for source, speaker in pairs])
    return {name: float(value) for name, value in row.items()}
