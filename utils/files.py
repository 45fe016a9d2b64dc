"""Files and folders that are whole or not there, whatever happens while they are written.

    with whole_file("runs/x/scores.csv") as temporary:      # another Path of the same name, in a folder of its own
        write(temporary)
    # here the file is complete, on the disk, and has its name

The temporary folder lies beside the target, so that a rename moves what is in it. Until that rename the file of that
name stays what it was; after an exception, Ctrl-C, SIGTERM or SIGHUP the temporary folder is gone. What is killed
leaves it, and `remove_unfinished` removes it. Where the target is a link, the file that the link names is replaced.
"""
import contextlib
import csv
import fcntl
import io
import os
import re
import secrets
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.errors import OutputError

if TYPE_CHECKING:       # some programs have to say in a line that nothing is installed
    from numpy import ndarray

# what is compiled or downloaded once for all checkouts
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "mindspore_speech_zoo")
UNFINISHED = ".saving-"     # how the names of temporary folders start
REMEDY = "free some space, mend the permissions or name another place"
ENDING = (signal.SIGTERM, signal.SIGHUP)    # signals that end a process which does not handle them
# what MindSpore takes as the path of a graph (check_file_name_by_regular), but for : and \, which other programs refuse
PLAIN = re.compile(r"[0-9A-Za-z@_\-./]+")
StrPath = str | os.PathLike[str]     # what open() takes


@contextlib.contextmanager
def whole_file(path: StrPath, *, suffix: str = "", flush: bool = True, remedy: str = REMEDY,
               failures: Sequence[type[Exception]] = ()) -> Iterator[Path]:
    """A path to write the file `path` to: when the block ends, the file is complete and has its name.

    Missing folders are made. The file gets the permissions of a new one, as umask sets them.

    suffix:    how the path to write to has to end, for libraries that append it to other names
    flush:     whether it is on the disk by then, even if the power fails. Costs some 10 ms, which the million files
               of a corpus need not take: those can be made again
    remedy:    what the error advises the user to do
    failures:  what a library raises in place of OSError where a file cannot be written

    OutputError where it cannot be written; the old file is untouched then. Any other exception goes on.
    """
    with whole_files(path, suffix=suffix, flush=flush, remedy=remedy, failures=failures) as (temporary,):
        yield temporary


@contextlib.contextmanager
def whole_files(*paths: StrPath, suffix: str = "", flush: bool = True, remedy: str = REMEDY,
                failures: Sequence[type[Exception]] = (), plain: bool = False) -> Iterator[list[Path]]:
    """As `whole_file`, of several files of one folder: none gets its name before all are complete.

    plain: the paths to write to are PLAIN, as MindSpore wants those of graphs and shards. Where the folder's is not,
    the files are written among the system's temporary ones and moved; a name that is not plain is replaced by a number.
    OutputError also where one is a link to another folder than that of the others: they could not appear together.
    """
    targets = [_target(path) for path in paths]
    parent, *others = {target.parent for target in targets}
    if others:
        link, target = next((path, target) for path, target in zip(paths, targets, strict=True) if os.path.islink(path))
        raise OutputError(f"{link}: is a link to a file in {target.parent}, expected one in the folder of the files "
                          "that are written with it; remove the link or name another folder")
    with _beside(paths[0], parent, remedy, failures) as place, contextlib.ExitStack() as stack:
        mode = stat.S_IMODE(place.stat().st_mode) & 0o666      # some libraries restrict their files to the user
        made = [place / (target.name.removesuffix(suffix) + suffix) for target in targets]
        if plain and not all(PLAIN.fullmatch(str(file)) for file in made):
            elsewhere = stack.enter_context(_plain_folder())
            written = [elsewhere / (file.name if PLAIN.fullmatch(file.name) else f"{number}{file.suffix}")
                       for number, file in enumerate(made)]
            yield written
            for file, moved in zip(written, made, strict=True):
                shutil.move(file, moved)
        else:
            yield made
        for file in made:
            os.chmod(file, mode)
            if flush:
                _flush(file)
        for file, target in zip(made, targets, strict=True):
            os.replace(file, target)
        if flush:
            _flush_names(parent)


@contextlib.contextmanager
def whole_folder(path: StrPath, *, remedy: str = REMEDY) -> Iterator[Path]:
    """An empty folder to fill: when the block ends, it has the name `path`, which nothing else may have.

    OutputError where that cannot be, or where another process was first.
    """
    target = Path(os.path.realpath(path))
    with _beside(path, target.parent, remedy, ()) as place:
        made = place / target.name
        made.mkdir()
        yield made
        for folder, _, names in os.walk(made):
            for file in (Path(folder, name) for name in names):
                if file.is_file():
                    _flush(file)
            _flush_names(Path(folder))
        os.rename(made, target)
        _flush_names(target.parent)


def put(source: StrPath, target: StrPath, *, flush: bool = True, remedy: str = REMEDY) -> None:
    """Gives a file or folder that is complete the name `target` in the same file system, in place of what has it.

    For work that may be interrupted and goes on later, so that `source` has a name of its own until it is complete.
    """
    target = Path(target)
    with _beside(target, target.parent, remedy, (), also=(source, target)) as place:
        if flush and os.path.isfile(source):
            _flush(Path(source))
        if target.is_dir() and not target.is_symlink():     # only an empty folder can be replaced by a rename
            os.rename(target, place / "old")
        os.replace(source, target)
        if flush:
            _flush_names(target.parent)


def remove_unfinished(folder: StrPath) -> None:
    """Removes what killed processes have left anywhere below `folder`, not what others are just writing."""
    for unfinished in Path(folder).rglob(UNFINISHED + "*"):
        if not _is_in_use(unfinished):
            shutil.rmtree(unfinished, ignore_errors=True)


def is_outdated(made: StrPath, *sources: StrPath) -> bool:
    """Whether a file is missing, or one of those it was made of has changed since.

    Also where another file was moved or copied there with the time of its own, which the system notes beside it. A
    source that is gone has not changed: what was made of it can still be used.
    """
    try:
        time = os.stat(made).st_mtime_ns
    except OSError:
        return True
    for source in sources:
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(source)
            if max(found.st_mtime_ns, found.st_ctime_ns) > time:
                return True
    return False


def write_text(path: StrPath, text: str, *, flush: bool = True) -> None:
    """Replaces the file `path` by `text`, as `whole_file` does. UTF-8; names of files in it may be any bytes."""
    with whole_file(path, flush=flush) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_arrays(path: StrPath, **arrays: "ndarray") -> None:
    """Replaces the .npz `path` by `arrays`, as `whole_file` does."""
    import numpy as np

    content = io.BytesIO()      # on a full disk zipfile would print a traceback when it is deleted
    np.savez(content, **arrays)     # pyright: ignore[reportArgumentType]: its stub takes the names for allow_pickle
    with whole_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def csv_text(rows: Sequence[dict], decimals: int | None = None) -> str:
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


def _target(path):
    """The file that `path` names, at the end of links. OutputError for what is there and no file, such as a device."""
    target = Path(os.path.realpath(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise OutputError(f"{path}: is a {'folder' if target.is_dir() else 'device'}, expected a file; name another")
    return target


@contextlib.contextmanager
def _beside(path, parent, remedy, failures, also=()):
    """A temporary folder in `parent`; in the end it is gone.

    OutputError for `path` where it cannot be made, or something in it, or one of `also`, cannot be written.
    """
    place = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        place = _make_temporary(parent)
        with _removing(place), _in_use(place):
            yield place
    except OutputError as error:        # of a file in the temporary folder: it is to be in this one
        raise OutputError(str(error).replace(f"{place}{os.sep}", f"{parent}{os.sep}")) from None
    except (OSError, *failures) as error:
        if place and isinstance(error, OSError) and not _concerns(error, place, *also):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200].rstrip(".")
        raise OutputError(f"{path}: cannot be written ({reason}); {remedy}") from None


@contextlib.contextmanager
def _plain_folder():
    """A temporary folder whose path is PLAIN; in the end it is gone."""
    roots = [root for root in (tempfile.gettempdir(), "/tmp", "/var/tmp", str(CACHE)) if PLAIN.fullmatch(root)]
    for root in roots:
        with contextlib.suppress(OSError):
            Path(root).mkdir(parents=True, exist_ok=True)
            place = _make_temporary(Path(root), private=True)
            break
    else:
        raise OutputError(f"{tempfile.gettempdir()}: no folder for temporary files; set TMPDIR to one whose path has "
                          "no other characters than letters, digits and @_-./")
    with _removing(place):
        yield place


def _concerns(error, *places):
    """Whether an OSError is about one of `places` or a file in it, or names none, as on a full disk."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return not names or any(name.startswith(str(place)) for name in names for place in places)


@contextlib.contextmanager
def _removing(folder):
    """In the end `folder` is gone, also where a signal ends this process that it does not handle itself."""
    process, handled = os.getpid(), []

    def end(number, _frame):
        if os.getpid() == process:      # not in a child that has inherited this function
            _remove(folder)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    try:
        if threading.current_thread() is threading.main_thread():   # others cannot handle signals
            handled = [number for number in ENDING if signal.getsignal(number) == signal.SIG_DFL]
        for number in handled:
            signal.signal(number, end)
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        _remove(folder)


def _make_temporary(parent, private=False):
    """A new folder in `parent`, with the permissions that umask leaves, or for this user alone."""
    while True:
        place = parent / f"{UNFINISHED}{secrets.token_hex(6)}"
        with contextlib.suppress(FileExistsError):
            place.mkdir(0o700 if private else 0o777)
            return place


@contextlib.contextmanager
def _in_use(folder):
    """Shows `remove_unfinished` of other processes that a temporary folder is no leftover."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):      # of a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _is_in_use(folder):
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    finally:
        os.close(handle)
    return False


def _remove(folder):
    try:
        os.rmdir(folder)        # mostly all of it has been moved
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


def _flush(path):
    """Waits until the content of a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_names(folder):
    """Likewise of a folder. Some network file systems cannot; the file has its name all the same."""
    with contextlib.suppress(OSError):
        _flush(folder)
