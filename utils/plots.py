"""Pictures of a run, as PNG: figures without pyplot, which would keep each until it is closed."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from utils.files import StrPath, whole_file

CARD = (6.0, 4.5)       # inches of `card`, and its letters: still read where it is shown a third as wide
LETTERS: dict[Any, Any] = {
    "font.size": 16, "axes.titlesize": 16, "axes.labelsize": 16, "xtick.labelsize": 15, "ytick.labelsize": 15,
    "legend.fontsize": 15, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#52606d",
    "xtick.color": "#52606d", "ytick.color": "#52606d", "axes.labelcolor": "#1f2933", "text.color": "#1f2933"}
BLUE, ORANGE, GREY = "#1f77b4", "#e8590c", "#9aa5b1"


def draw_curves(rows: Sequence[Mapping[str, Any]], path: str | Path, criterion: str) -> None:
    """One panel per metric over the epochs; the epoch with the smallest `criterion`, one of them, is marked.

    rows: those of metrics.csv, {column: number or its text, "" where it is missing}
    """
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("epoch", "minutes")]
    figure = Figure(figsize=(3.6 * len(names), 3))
    axes = figure.subplots(1, len(names), squeeze=False)
    curves = {name: [(int(row["epoch"]), float(row[name])) for row in rows if row.get(name) not in (None, "")]
              for name in names}
    validated = curves.get(criterion)
    best = min(validated, key=lambda point: point[1])[0] if validated else None
    for axis, (name, points) in zip(axes[0], curves.items(), strict=True):
        axis.plot(*zip(*points, strict=True), marker="." if len(points) < 60 else None, linewidth=1.2)
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.set_xlabel("epoch", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if best is not None and best in dict(points):
            value = dict(points)[best]
            side = {points[0][0]: "left", points[-1][0]: "right"}.get(best, "center")   # within the panel
            axis.annotate(f"{value:.4g}", (best, value), textcoords="offset points", xytext=(0, 6), fontsize=8,
                          ha=side)
    save_figure(figure, path)


@contextmanager
def card(path: StrPath, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure to draw on and its axes (rows, columns), written to `path` at the end: all cards are of one size.

    Its ground is white, so that it is read on a dark page, too. `options`: of `Figure.subplots`.
    """
    with matplotlib.rc_context(LETTERS):
        figure = Figure(figsize=CARD)
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)
        save_figure(figure, path, 150)


def save_figure(figure: Figure, path: StrPath, dots_per_inch: int = 110) -> None:
    """Writes `figure` to `path`, as PNG."""
    figure.tight_layout(pad=0.5)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dots_per_inch)
