"""Pictures of scores: over many trials a DET plot, over a few each score beside the threshold.

A DET plot has miss rate over false alarm rate on normal-deviate axes, where Gaussian scores give straight lines.
"""
from collections.abc import Mapping

import numpy as np
from scipy.stats import norm

from ecapatdnn.src.metric import Errors
from utils.files import StrPath
from utils.plots import BLUE, GREY, ORANGE, card

TICKS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4)


def draw_det(rates: Mapping[str, Errors], eers: Mapping[str, float], path: StrPath) -> None:
    """One curve per kind of score from {kind: Errors}, its EER marked, as PNG."""
    with card(path) as (_, axes):
        axis = axes[0, 0]
        limits = norm.ppf([TICKS[0], TICKS[-1]])
        axis.plot(limits, limits, color=GREY, linewidth=1, linestyle=":")
        for (kind, errors), color in zip(rates.items(), (BLUE, ORANGE, "#2f9e44", "#9c36b5"), strict=False):
            axis.plot(norm.ppf(errors.false_alarm.clip(1e-6, 1 - 1e-6)), norm.ppf(errors.miss.clip(1e-6, 1 - 1e-6)),
                      color=color, linewidth=2.5, label=f"{kind}: EER {100 * eers[kind]:.2f} %")
            axis.plot(*[norm.ppf(max(eers[kind], 1e-6))] * 2, "o", color=color, markersize=8)
        for set_ticks, set_limits in ((axis.set_xticks, axis.set_xlim), (axis.set_yticks, axis.set_ylim)):
            set_ticks(norm.ppf(TICKS), [f"{100 * tick:g}" for tick in TICKS])
            set_limits(*limits)
        axis.set_xlabel("false alarms, %")
        axis.set_ylabel("misses, %")
        axis.grid(alpha=0.3)
        axis.legend(loc="lower left")


def draw_verdicts(verdicts: Mapping[str, tuple[float, float]], path: StrPath) -> None:
    """{pair of recordings: (score, threshold)}: each score on the side of the threshold that decides it, as PNG."""
    with card(path) as (_, axes):
        axis = axes[0, 0]
        low, high = min(-0.1, *(score for score, _ in verdicts.values())), 1.0
        for row, (pair, (score, threshold)) in enumerate(verdicts.items()):
            same = score >= threshold
            color = BLUE if same else ORANGE
            axis.plot([low, score], [row, row], color=color, linewidth=2.5)
            axis.plot(score, row, "o", color=color, markersize=13)
            axis.text(score + 0.045, row, f"{score:.2f} {'same' if same else 'different'}", va="center", color=color,
                      fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "pad": 2})
            axis.text(low + 0.01, row - 0.18, pair, fontsize=14)
            axis.plot([threshold, threshold], [row - 0.5, row + 0.5], color="#1f2933", linewidth=1.5, linestyle="--")
        axis.text(threshold, -0.75, "threshold", ha="center", va="bottom")
        axis.set(xlim=(low, high + 0.15), ylim=(len(verdicts) - 0.5, -0.75), yticks=[],
                 xlabel="score: cosine of two embeddings")
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axis.spines["left"].set_visible(False)


def draw_calibration(target: np.ndarray, llr: np.ndarray, path: StrPath) -> None:
    """How log-likelihood ratios (n,) spread, of targets (n,) bool and of others, as PNG.

    Where they are right, the curves cross at 0, and at x the targets' is e^x times as high: the dots, from the counts.
    """
    low, high = np.quantile(llr, (0.001, 0.999)).clip(-25, 25)
    edges = np.linspace(low, high, 31)
    middle = (edges[1:] + edges[:-1]) / 2
    shares = [np.histogram(llr[kind], edges)[0] / kind.sum() for kind in (target, ~target)]
    enough = np.minimum(*[np.histogram(llr[kind], edges)[0] for kind in (target, ~target)]) >= 5
    with card(path, rows=2, sharex=True) as (_, axes):
        for share, color, name in zip(shares, (BLUE, ORANGE), ("one speaker", "two speakers"), strict=True):
            axes[0, 0].stairs(share, edges, color=color, fill=True, alpha=0.5, label=name)
        axes[0, 0].set(ylabel="share of trials")
        axes[0, 0].legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
        axes[1, 0].plot(middle, middle, color=GREY, linestyle=":")
        axes[1, 0].plot(middle[enough], np.log(shares[0][enough] / shares[1][enough]), "o", color=BLUE)
        axes[1, 0].set(xlabel="log-likelihood ratio that is stated", ylabel="counted")
        for axis in axes[:, 0]:
            axis.axvline(0, color="#1f2933", linewidth=1.5, linestyle="--")
