"""Versions of the files that one program writes for later ones: config.yaml, last/state.ckpt, inputs.json.

Each holds `format: n`. A kind of file has a history, a tuple of steps: step i makes format i + 1 of format i, so that
the number of steps is today's format. Format 0 is that of files without the number: commit 775f61c and before.

Whoever renames or removes something that such a file holds appends a step to its history, and old files stay readable:

    MIGRATIONS = (numbered, renamed(old_name="new_name", no_longer_known=None))
"""
from collections.abc import Callable, Sequence
from os import PathLike

from utils.errors import ContentError, UnsupportedError
from utils.version import VERSION

KEY = "format"
Step = Callable[[dict], dict]


class NewerFormatError(UnsupportedError):
    """A file of a format that only a later version of these programs knows."""


def numbered(values: dict) -> dict:
    """From format 0 to 1: files hold the number of their format; nothing else has changed."""
    return values


def renamed(**names: str | None) -> Step:
    """A step after which each of `names` {old: new} has its new name; what has None is dropped."""
    def step(values: dict) -> dict:
        return {names.get(name, name): value for name, value in values.items() if names.get(name, name) is not None}

    return step


def with_format(values: dict, migrations: Sequence[Step]) -> dict:
    """`values` as they are to be written: with the number of today's format."""
    return {KEY: len(migrations), **values}


def migrate(values: dict, migrations: Sequence[Step], path: str | PathLike) -> dict:
    """What the file `path` holds, in today's format and without the number.

    Raises NewerFormatError for a format of a later version, ContentError for what is no number of a format.
    """
    values = dict(values)
    version, known = values.pop(KEY, 0), len(migrations)
    if isinstance(version, bool) or not isinstance(version, int) or version < 0:
        raise ContentError(f"{path}: {KEY}: found {version!r}, expected a whole number from 0 to {known}")
    if version > known:
        raise NewerFormatError(f"{path}: {KEY} {version}, but mindspore-speech-zoo {VERSION} reads up to {known}; "
                               f"a version later than {VERSION} is needed, update the programs")
    for step in migrations[version:]:
        values = step(values)
    return values
