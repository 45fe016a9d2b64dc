"""Text files that are whole or not there."""
import os
from pathlib import Path


def write_text(path, text):
    """Replaces the file `path` by `text`, under a temporary name first."""
    temporary = Path(f"{path}.part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
