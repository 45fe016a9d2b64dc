"""Lists of files as text: one per line, and `speaker path` to train on."""
import os
from collections.abc import Iterator

import numpy as np

from utils.audio.survey import require_files
from utils.errors import ContentError
from utils.files import StrPath
from utils.texts import open_lines, split_columns

BLOCK = 2 ** 16     # lines
EXPECTED = "a list; prepare.py writes the lists"
SCENE_PATH = "correct --scene_path, the folder that its paths are relative to"


def read_train_list(path: StrPath, noun: str = "speaker",
                    several: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A voxceleb_trainer list: (paths (n,) bytes, speaker (n,) int32 in order of name, names).

    noun: what the first column names; several: one of them alone is a ContentError, as is what is no such list.
    Arrays, which forked workers share; of the million lines of VoxCeleb2 only BLOCK are Python objects at once.
    """
    numbers, speaker, blocks, block = {}, [], [], []
    for number, line in open_list(path):
        columns = split_columns(line, 2, last_has_blanks=True)
        if len(columns) != 2:
            raise ContentError(f"{path}: line {number} is {line!r}, expected `{noun} path`")
        speaker.append(numbers.setdefault(columns[0], len(numbers)))
        block.append(columns[1])
        if len(block) == BLOCK:
            blocks.append(np.array(block))
            block = []
    blocks += [np.array(block)] if block else []
    if several and len(numbers) < 2:
        raise ContentError(f"{path}: {len(numbers)} {noun}, expected at least two to tell apart")
    names = np.array(list(numbers))
    order = np.argsort(names)
    return np.concatenate(blocks), np.argsort(order).astype(np.int32)[speaker], names[order]


def read_lines(path: StrPath) -> list[str]:
    """The lines of a list, without blank ones; names of files in them as `names` of utils/texts.py says."""
    return [line for _, line in open_list(path)]


def read_noises(path: StrPath, folder: str) -> list[str]:
    """The recordings of noise_list, paths in `folder`; [] where `path` is "". NotFoundError where one is missing."""
    noises = [os.path.join(folder, line) for line in (read_lines(path) if path else ())]
    require_files({noise: noise for noise in noises}, path, SCENE_PATH)
    return noises


def read_rooms(path: StrPath, folder: str) -> list[list[str]]:
    """The impulse responses of each room of room_list, lines `room path`, paths in `folder`; [] where `path` is "".

    NotFoundError where one is missing.
    """
    if not path:
        return []
    paths, room, names = read_train_list(path, "room", several=False)
    places = [os.path.join(folder, os.fsdecode(one)) for one in paths]
    require_files({place: place for place in places}, path, SCENE_PATH)
    return [[places[i] for i in np.flatnonzero(room == number)] for number in range(len(names))]


def open_list(path: StrPath) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of a list, but for blank lines, one at a time.

    ContentError for an empty list, otherwise as `open_lines` of utils/texts.py.
    """
    any_line = False
    for number, line in enumerate(open_lines(path, EXPECTED, names=True), 1):
        if line.strip():
            yield number, line
            any_line = True
    if not any_line:
        raise ContentError(f"{path}: empty, expected {EXPECTED}")
