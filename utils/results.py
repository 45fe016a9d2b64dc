"""Where programs keep what comes of their work, and whether they can: looked at before the work, not after it."""
import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from utils.errors import OutputError
from utils.files import UNFINISHED, StrPath

TRIED = 2 ** 16     # bytes that must find room


def result_folder(chosen: str, checkpoint: StrPath, name: str) -> Path | None:
    """The folder for results: the `chosen` one, else `name` beside the checkpoint. It is made by what writes into it.

    OutputError where nothing can be written into the chosen one. Where nothing can be written beside the checkpoint,
    None and a line that says so: the results still reach the screen.
    """
    if chosen:
        require_writable(chosen, "name another --output_folder")
        return Path(chosen)
    folder = Path(checkpoint).parent / name
    if reason := why_not_writable(folder):
        print(f"note: {folder}: cannot be written ({reason}), nothing is kept; --output_folder names another place",
              file=sys.stderr, flush=True)
        return None
    return folder


@contextlib.contextmanager
def noting_failure(what: str) -> Iterator[None]:
    """Turns an OutputError about `what`, which the work can do without, into a line on the screen."""
    try:
        yield
    except OutputError as error:
        print(f"note: {what} are not kept: {error}", file=sys.stderr, flush=True)


def require_writable(folder: StrPath, remedy: str) -> None:
    """OutputError, with the `remedy`, where no file can be written into `folder`, which need not be there yet.

    "" is none: it is what an unset variable of a shell leaves, and not the current folder.
    """
    if not os.fspath(folder):
        raise OutputError(f"found '', which names no folder; {remedy}")
    if reason := why_not_writable(folder):
        raise OutputError(f"{folder}: cannot be written ({reason}); {remedy}")


def require_output(path: StrPath, remedy: str) -> None:
    """OutputError, with the `remedy`, where the file `path` cannot be written; "" names none."""
    if not os.fspath(path):
        raise OutputError(f"found '', which names no file; {remedy}")
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path}: is no file, expected the name of one to write; {remedy}")
    require_writable(Path(os.path.realpath(path)).parent, remedy)


def why_not_writable(folder: StrPath) -> str:
    """Why no file can be written into `folder`, which need not be there yet; "" where one can."""
    place = Path(os.path.realpath(folder))
    while not os.path.lexists(place):
        place = place.parent
    file = place / f"{UNFINISHED}{secrets.token_hex(6)}"
    try:
        try:
            with open(file, "xb") as stream:
                stream.write(bytes(TRIED))
        finally:
            file.unlink(missing_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    return ""
