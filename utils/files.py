"""Text files that are whole or not there."""
import csv
import io
import os
from pathlib import Path

StrPath = str | os.PathLike[str]     # what open() takes

# what is compiled or downloaded once for all checkouts
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mindspore_speech_zoo")


def write_text(path, text):
    """Replaces the file `path` by `text`, under a temporary name first."""
    temporary = Path(f"{path}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def csv_text(rows, decimals=None):
    """CSV of rows {column: value}, under all their columns; what a row lacks is empty.

    Floats are rounded to `decimals` where it is given.
    """
    table = io.StringIO()
    writer = csv.DictWriter(table, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    if decimals is not None:
        rows = [{name: f"{value:.{decimals}f}" if isinstance(value, float) else value for name, value in row.items()}
                for row in rows]
    writer.writerows(rows)
    return table.getvalue()
