"""Lists of files as text: one a line, and `speaker path` to train on."""
import re
from pathlib import Path

import numpy as np

from utils.errors import UserError


def read_train_list(path):
    """A voxceleb_trainer list: (paths (n,) bytes, speaker (n,) int32 in order of name, names). One pass, low memory."""
    lines = read_lines(path)
    columns = [line.split(maxsplit=1) for line in lines]
    for number, column in enumerate(columns, 1):
        if len(column) != 2:
            line = lines[number - 1].decode(errors="replace")
            raise UserError(f"{path}: line {number} is {line!r}, expected `speaker path`")
    names, speaker = np.unique(np.array([column[0] for column in columns]), return_inverse=True)
    if len(names) < 2:
        raise UserError(f"{path}: {len(names)} speaker, expected at least two to tell apart")
    return np.array([column[1].strip() for column in columns]), speaker.astype(np.int32), names


def read_lines(path):
    """The lines of a list as bytes, without empty ones at the end."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path or 'list'}: {error.strerror}; prepare.py writes the lists") from None
    lines = re.sub(rb"\s+\Z", b"", data).split(b"\n")
    if lines == [b""]:
        raise UserError(f"{path}: empty list; prepare.py writes the lists")
    return lines
