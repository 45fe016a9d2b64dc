"""Lists of files as text: one per line, and `speaker path` to train on."""
from collections.abc import Iterator

import numpy as np

from utils.errors import ContentError, NotFoundError
from utils.files import StrPath

BLOCK = 2 ** 16     # lines


def read_train_list(path: StrPath) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A voxceleb_trainer list: (paths (n,) bytes, speaker (n,) int32 in order of name, names).

    Arrays, which forked workers share; of the million lines of VoxCeleb2 only BLOCK are Python objects at once.
    """
    numbers, speaker, blocks, block = {}, [], [], []
    for count, line in enumerate(open_lines(path), 1):
        columns = line.split(maxsplit=1)
        if len(columns) != 2:
            raise ContentError(f"{path}: line {count} is {line.decode(errors='replace')!r}, expected "
                               "`speaker path`")
        speaker.append(numbers.setdefault(columns[0], len(numbers)))
        block.append(columns[1].rstrip())
        if len(block) == BLOCK:
            blocks.append(np.array(block))
            block = []
    blocks += [np.array(block)] if block else []
    if len(numbers) < 2:
        raise ContentError(f"{path}: {len(numbers)} speaker, expected at least two to tell apart")
    names = np.array(list(numbers))
    order = np.argsort(names)
    return np.concatenate(blocks), np.argsort(order).astype(np.int32)[speaker], names[order]


def read_lines(path: StrPath) -> list[bytes]:
    """The lines of a list as bytes, without empty ones at the end."""
    return list(open_lines(path))


def open_lines(path: StrPath) -> Iterator[bytes]:
    """As `read_lines`, one at a time."""
    any_line, empty = False, 0
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.strip():
                    yield from [b""] * empty
                    yield line.rstrip(b"\n")
                    any_line, empty = True, 0
                else:
                    empty += 1
    except OSError as error:
        raise NotFoundError(f"{path or 'list'}: {error.strerror}; prepare.py writes the lists") from None
    if not any_line:
        raise ContentError(f"{path}: empty list; prepare.py writes the lists")
