"""Pictures of a run, as PNG."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend must be chosen first: machines without a screen)
from matplotlib.figure import Figure  # noqa: E402

from utils.files import StrPath, whole_file  # noqa: E402


def draw_curves(rows: Sequence[Mapping[str, Any]], path: str | Path, criterion: str) -> None:
    """One panel per metric over the epochs; the epoch with the smallest `criterion`, one of them, is marked.

    rows: those of metrics.csv, {column: number or its text, "" where it is missing}
    """
    names = [name for name in rows[-1] if name not in ("epoch", "minutes")]
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3), squeeze=False)
    curves = {name: [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name) not in (None, "")]
              for name in names}
    validated = curves.get(criterion)
    best = min(validated, key=lambda point: point[1])[0] if validated else None
    for axis, (name, points) in zip(axes[0], curves.items(), strict=True):
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 60 else None, linewidth=1.2)
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if best is not None and best in dict(points):
            value = dict(points)[best]
            axis.annotate(f"{value:.4g}", (best, value), textcoords="offset points", xytext=(0, 6), fontsize=8,
                          ha="center")
    save_figure(figure, path)


def save_figure(figure: Figure, path: StrPath) -> None:
    """Writes `figure` to `path`, as PNG, and closes it."""
    figure.tight_layout()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
