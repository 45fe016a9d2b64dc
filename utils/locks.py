"""One program at a time in a folder: the second is refused and told which process is there.

A lock is held by an open file (flock), so that the system frees it when its process ends, however that ends.
"""
import contextlib
import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from utils.errors import OutputError
from utils.files import StrPath

LOCK = ".lock"              # of a folder in use: names the process
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)     # of file systems that have none
LONGEST = 200               # characters of a command line in an error

_held: set[int] = set()     # open files of the locks of this process


@contextlib.contextmanager
def locked_folder(folder: StrPath, setting: str, remedy: str = "wait for it or name another folder",
                  name: str = LOCK) -> Iterator[Path]:
    """Keeps other processes out of `folder`, which is made where it is missing; in the end an empty one is gone again.

    `setting`: the flag that names the folder. `name`: of the file of the lock, where there are several kinds of work
    in a folder that do not disturb each other. OutputError, with the `remedy`, where another process has it, and where
    it cannot be made or written. A file system without locks gets a line on the screen instead.
    """
    path, made = Path(folder), []
    try:
        for place in reversed([path, *path.parents]):
            if not place.is_dir():
                place.mkdir(exist_ok=True)
                made.append(place)
        handle = _take(path / name, setting, remedy)
    except OSError as error:
        _remove_empty(made)
        raise OutputError(f"{setting}: {path}: cannot be written ({error.strerror}); choose another folder") from None
    try:
        yield path
    finally:
        if handle is not None:
            with contextlib.suppress(OSError):
                os.unlink(path / name)      # before it is free: nobody can have taken it meanwhile
            _held.discard(handle)
            os.close(handle)
        _remove_empty(made)


def _take(path, setting, remedy):
    """The open file `path` that holds the lock of its folder, None where the file system has no locks."""
    folder = path.parent
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):        # whoever held it has removed it before we had it
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    break
        except BlockingIOError:
            holder = os.read(handle, 2 * LONGEST).decode("utf-8", "replace") or "another process"
            os.close(handle)
            raise OutputError(f"{setting}: {folder}: in use by {holder}; {remedy}") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            os.close(handle)
            os.unlink(path)
            print(f"note: {folder}: the file system has no locks ({error.strerror}); start no second program in it",
                  flush=True)
            return None
        os.close(handle)
    command = " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]]).split()
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}: {' '.join(command)[:LONGEST]}".encode(
        "utf-8", "replace"))
    _held.add(handle)
    return handle


def _remove_empty(folders):
    """Removes those of the folders that are empty, each before the one that it is in."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _leave_to_parent():
    """A forked process inherits the open files: a lock would outlive the process that took it."""
    for handle in _held:
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
