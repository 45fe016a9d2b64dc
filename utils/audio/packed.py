"""Packed corpora: audio files as records of MindRecord shards, read by the path that the lists give them.

`prepare.py --pack true` writes the folder audio.mindrecord (utils/corpora/pack.py). Where a program takes the folder
that a list is relative to, it takes that one too: audio.mindrecord/id00012/a/1.wav is a path like any other to
utils/audio/audio_file.py.

A shard is two files: the records, and beside them (.db) SQLite's table of where each lies. Both are read here without
MindSpore: importing mindspore.mindrecord costs a data worker 1.7 s and 400 MB, and its readers only go from the first
record to the last, where a crop is wanted from the middle of one. The tests compare with MindSpore's own reader.
"""
import hashlib
import io
import json
import os
import posixpath
import re
import sqlite3
import struct
from contextlib import closing
from functools import lru_cache
from urllib.parse import quote

import numpy as np

from utils.errors import ContentError, NotFoundError
from utils.files import StrPath

SUFFIX = ".mindrecord"      # of the folder and of the shards in it, 00000-of-00265.mindrecord ...
LENGTH = 8                  # bytes before a record that hold its length
WHOLE = 2 ** 20             # bytes; a longer record is read in pieces, as far as it is needed
OPEN_SHARDS = 256           # at once in a process: systems allow 1024 open files
LARGEST_HEADER, LARGEST_PAGE = 2 ** 27, 2 ** 28     # bytes, MindRecord's own limits
REMEDY = "copy the folder again, or pack it again with prepare.py --pack true"


def is_packed(path: StrPath) -> bool:
    """Whether a path leads into a packed corpus."""
    return SUFFIX + "/" in f"{path}/"


def load_index(path: StrPath) -> None:
    """Reads the index of the corpus that `path` leads into; nothing for other paths.

    Called before data workers are forked, it is theirs as well. UserError where a shard is missing or damaged.
    """
    if is_packed(path):
        _index(_split(path)[0])


def exists(path: StrPath) -> bool:
    """Whether there is a file of this path, packed or not."""
    return find_record(path) is not None if is_packed(path) else os.path.isfile(path)


def find_record(path: StrPath) -> tuple[str, int, int] | None:
    """(shard, first byte, bytes) of a path into a packed corpus, None where that has no such record."""
    folder, key = _split(path)
    return _index(folder).find(key)


def open_record(path: StrPath) -> "io.BytesIO | Window":
    """A binary file of the record; FileNotFoundError where the corpus has none, NotFoundError for a lost shard."""
    place = find_record(path)
    if place is None:
        raise FileNotFoundError(path)
    shard, start, size = place
    try:
        window = Window(_open_shard(shard), start, size)
        return io.BytesIO(window.read()) if size <= WHOLE else window
    except OSError as error:
        raise NotFoundError(f"{shard}: {error.strerror}, expected a shard of packed audio; {REMEDY}") from None


class Window(io.RawIOBase):
    """`size` bytes of an open shard from `start` on, as a file of their own."""

    def __init__(self, file: io.FileIO, start: int, size: int):
        self.file, self.start, self.size, self.position = file, start, size, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence])
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:
        count = max(0, min(len(buffer), self.size - self.position))
        data = os.pread(self.file.fileno(), count, self.start + self.position)   # forked workers share a position
        buffer[:len(data)] = data
        self.position += len(data)
        return len(data)


@lru_cache(maxsize=OPEN_SHARDS)
def _open_shard(path: str) -> io.FileIO:
    return open(path, "rb", buffering=0)


def _split(path: StrPath) -> tuple[str, str]:
    """(folder of shards, key of the record in it)."""
    folder, _, key = f"{path}/".partition(SUFFIX + "/")
    return folder + SUFFIX, posixpath.normpath(key).lstrip("/")


@lru_cache(maxsize=8)
def _index(folder: str) -> "Index":
    return Index(folder)


class Index:
    """Where each of n records lies. 22 bytes per record in arrays, which forked workers share: hashes, not paths."""

    def __init__(self, folder: str):
        self.shards = find_shards(folder)
        parts = [(np.fromiter(map(_hash, keys), np.uint64, len(keys)), places)     # a million paths never at once
                 for keys, places in map(read_shard, self.shards)]
        hashes = np.concatenate([hashes for hashes, _ in parts])
        order = np.argsort(hashes, kind="stable")
        self.hashes = hashes[order]
        if (self.hashes[1:] == self.hashes[:-1]).any():
            raise ContentError(f"{folder}: holds a path twice, expected every file once; {REMEDY}")
        self.shard = np.repeat(np.arange(len(parts), dtype=np.uint16), [len(places) for _, places in parts])[order]
        places = np.concatenate([places for _, places in parts])[order]
        self.start, self.size = places[:, 0].copy(), places[:, 1].astype(np.uint32)

    def find(self, key: str) -> tuple[str, int, int] | None:
        """(shard, first byte, bytes) of a record, or None."""
        wanted = np.uint64(_hash(key))
        i = int(np.searchsorted(self.hashes, wanted))
        if i == len(self.hashes) or self.hashes[i] != wanted:
            return None
        return self.shards[self.shard[i]], int(self.start[i]), int(self.size[i])


def _hash(key):
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")


def find_shards(folder: str) -> list[str]:
    """Paths of all shards, in order; UserError where one that their names promise is missing."""
    try:
        names = sorted(name for name in os.listdir(folder) if re.fullmatch(rf"\d+-of-\d+{SUFFIX}", name))
    except OSError as error:
        raise NotFoundError(f"{folder}: {error.strerror}, expected a folder of packed audio; {REMEDY}") from None
    if not names:
        raise NotFoundError(f"{folder}: holds no shard such as 00000-of-00001{SUFFIX}; {REMEDY}")
    count = int(re.findall(r"\d+", names[0])[1])
    expected = [shard_name(number, count) for number in range(count)]
    for name in expected:
        if name not in names or not os.path.exists(f"{folder}/{name}.db"):
            missing = name if name not in names else f"{name}.db"
            raise NotFoundError(f"{folder}/{missing}: missing, expected {count} shards with a .db each; {REMEDY}")
    if names != expected:
        other = next(name for name in names if name not in expected)
        raise ContentError(f"{folder}: shards of two packings, {names[0]} and {other}; {REMEDY}")
    return [f"{folder}/{name}" for name in names]


def shard_name(number: int, count: int) -> str:
    """File name of a shard."""
    return f"{number:05d}-of-{count:05d}{SUFFIX}"


def read_shard(path: StrPath) -> tuple[list[str], np.ndarray]:
    """([key], first byte and bytes of each record (n, 2) int64) of a shard. ContentError where it is cut or damaged."""
    try:
        with open(path, "rb") as file:
            length, = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, LARGEST_HEADER)))
            total = os.fstat(file.fileno()).st_size
        # immutable: a shard is never written again, and network file systems lock badly
        address = f"file:{quote(os.fsencode(posixpath.abspath(path)))}.db?immutable=1"
        with closing(sqlite3.connect(address, uri=True)) as table:
            rows = table.execute("SELECT path_0, PAGE_ID_BLOB, PAGE_OFFSET_BLOB, PAGE_OFFSET_BLOB_END, PAGE_ID_RAW, "
                                 "PAGE_OFFSET_RAW_END FROM INDEXES ORDER BY ROW_ID").fetchall()
        numbers = np.array([row[1:] for row in rows], np.int64).reshape(-1, 5)
        if numbers.min() < 0 or numbers.max() > total or not 0 < header["page_size"] <= LARGEST_PAGE:
            raise ValueError("no such place in the file")
        page, start, stop, raw_page, raw_stop = numbers.T
        base, raw_base = (header["header_size"] + number * header["page_size"] for number in (page, raw_page))
        start, stop, needed = base + start, base + stop, max((base + stop).max(), (raw_base + raw_stop).max())
    except (OSError, sqlite3.Error, struct.error, ValueError, KeyError, TypeError) as error:
        raise ContentError(f"{path}: not readable as a shard of packed audio ({error}); {REMEDY}") from None
    if needed > total or (stop - start < LENGTH).any():
        raise ContentError(f"{path}: {total} bytes, expected {needed}: truncated or damaged; {REMEDY}")
    return [row[0] for row in rows], np.stack((start + LENGTH, stop - start - LENGTH), axis=1)
