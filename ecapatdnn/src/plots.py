"""DET plot: miss rate over false alarm rate on normal-deviate axes, where Gaussian scores give straight lines."""
from collections.abc import Mapping

import matplotlib.pyplot as plt
from scipy.stats import norm

from ecapatdnn.src.metric import Errors
from utils.files import StrPath
from utils.plots import save_figure

TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


def draw_det(rates: Mapping[str, Errors], eers: Mapping[str, float], path: StrPath) -> None:
    """One curve per kind of score from {kind: Errors}, its EER marked, as PNG."""
    figure, axis = plt.subplots(figsize=(4.6, 4.6))
    for kind, errors in rates.items():
        line, = axis.plot(norm.ppf(errors.false_alarm.clip(1e-6, 1 - 1e-6)), norm.ppf(errors.miss.clip(1e-6, 1 - 1e-6)),
                          linewidth=1.4, label=f"{kind}: EER {100 * eers[kind]:.2f} %")
        axis.plot(*[norm.ppf(max(eers[kind], 1e-6))] * 2, "o", color=line.get_color(), markersize=5)
    limits = norm.ppf([TICKS[0], TICKS[-1]])
    axis.plot(limits, limits, color="grey", linewidth=0.6, linestyle=":")
    for set_ticks, set_limits in ((axis.set_xticks, axis.set_xlim), (axis.set_yticks, axis.set_ylim)):
        set_ticks(norm.ppf(TICKS), [f"{100 * tick:g}" for tick in TICKS])
        set_limits(*limits)
    axis.set_xlabel("false alarms, %")
    axis.set_ylabel("misses, %")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left", fontsize=9)
    save_figure(figure, path)
