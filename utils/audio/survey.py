"""Files looked at before long work with them: what can be known early is not found out hours later."""
import os
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from utils.audio import audio_file
from utils.audio.packed import exists, find_record, is_packed, load_index
from utils.errors import NotFoundError
from utils.files import StrPath

THREADS = 16        # a network file system answers many at once
SHOWN = 3           # of the files that cannot be used

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Stamp(NamedTuple):
    """What changes with a file's content."""

    size: int           # bytes
    time: int           # when it was last written, ns


def stamp(path: StrPath) -> Stamp:
    """The Stamp of an audio file; of one in a packed corpus its size and the time of its shard. AudioError without."""
    try:
        if not is_packed(path):
            found = os.stat(path)
            return Stamp(found.st_size, found.st_mtime_ns)
        if record := find_record(path):
            shard, _, size = record
            return Stamp(size, os.stat(shard).st_mtime_ns)
    except OSError:
        pass
    raise audio_file.AudioError(f"{path}: no such audio file; check the list and the folder it is relative to")


def survey(items: Sequence[K], look: Callable[[K], V]) -> dict[K, V]:
    """{item: look(item)} of all, by many threads. AudioError that counts those for which `look` raises one.

    After Ctrl-C no further item is looked at.
    """
    found: dict[K, V] = {}
    reasons: dict[K, str] = {}
    ended = threading.Event()

    def look_at(some: Sequence[K]) -> None:
        for item in some:
            if ended.is_set():
                return
            try:
                found[item] = look(item)
            except audio_file.AudioError as error:
                reasons[item] = str(error)

    with ThreadPoolExecutor(THREADS) as threads:
        try:
            for _ in threads.map(look_at, [items[start::THREADS] for start in range(THREADS)]):
                pass
        finally:
            ended.set()
    require_all([reasons[item] for item in items if item in reasons], len(items))
    return found


def require_all(reasons: Sequence[str], count: int) -> None:
    """AudioError where there are `reasons`, one for each file, why some of `count` files cannot be used."""
    if len(reasons) == 1:
        raise audio_file.AudioError(reasons[0])
    if reasons:
        raise audio_file.AudioError(f"{len(reasons)} of {count} files cannot be used: {some_of(reasons)}")


def require_files(names: Mapping[str, str], source: StrPath, remedy: str) -> None:
    """NotFoundError, with the `remedy`, that counts the files of the list `source` which are not there.

    names: {path: how the error names it}
    """
    paths = list(names)
    if paths:
        load_index(paths[0])        # once, not by every thread
    there = survey(paths, exists)
    missing = [names[path] for path in paths if not there[path]]
    if missing:
        raise NotFoundError(f"{source}: {len(missing)} of {len(paths)} files are missing: {some_of(missing)}; {remedy}")


def some_of(texts: Sequence[str]) -> str:
    """The first few, with commas."""
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")
