"""The progress bar of long work: lively on a terminal, a line every half minute in a log."""
import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(iterable: Iterable | None = None, title: str = "", unit: str = "file", total: int | None = None,
             initial: int = 0, disable: bool = False) -> tqdm:
    """A tqdm bar on stderr that vanishes when done."""
    return tqdm(iterable, desc=title, unit=unit, total=total, initial=initial, disable=disable, leave=False,
                mininterval=0.2 if sys.stderr.isatty() else 30)
