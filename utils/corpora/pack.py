"""Packs the audio of a corpus into MindRecord shards, for systems on which a million small files are a burden.

A record is an audio file of its own under its path in the lists: FLAC where the file holds 16-bit samples and becomes
smaller by it, and any other file as it is, so that every sample stays what it was. FLAC, because it takes about half of
what PCM takes and its checksums expose a damaged record; a crop of 2 s costs 0.8 ms instead of 0.2.
"""
import io
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from utils.audio.decoders import LibsndfileDecoder
from utils.audio.packed import LARGEST_PAGE, SUFFIX, read_shard, shard_name
from utils.audio.stream import open_audio
from utils.corpora.corpus import parallel, to_int16
from utils.corpora.settings import CorpusSettings
from utils.errors import ContentError, UserError
from utils.files import StrPath, is_outdated, put, whole_files

SHARD_BYTES = 2 ** 30       # of the files in a shard, before they are packed
WRITE_BYTES = 2 ** 24       # handed to MindSpore at once
HEADER_BYTES, PAGE_BYTES = 2 ** 20, 2 ** 22     # less than MindRecord's defaults: what is left of them stays empty
LARGEST = LARGEST_PAGE - 2 ** 10    # bytes of a record


class Shard(NamedTuple):
    """One shard to make: the files `paths` of `folder` go into `target`."""

    folder: str
    paths: list[str]
    target: str


def pack(folder: str, paths: Collection[str], config: CorpusSettings, name: str = "audio") -> str:
    """Packs the files `paths` of `folder`; returns the folder of shards, name.mindrecord in the output folder.

    That one is whole or not there: shards are made in name.mindrecord.part, where an interrupted run goes on. Shards
    that are there and no older than their files are kept.
    """
    target = os.path.join(config.output_folder, name + SUFFIX)
    paths = sorted(paths)
    sizes = [os.path.getsize(os.path.join(folder, path)) for path in paths]
    if max(sizes) > LARGEST:
        raise ContentError(f"{os.path.join(folder, paths[int(np.argmax(sizes))])}: {max(sizes)} bytes, but a record of "
                           f"a shard holds {LARGEST}; cut the file, or leave --pack out")
    parts = divide(paths, sizes)
    if os.path.isdir(target) and len(os.listdir(target)) == 2 * len(parts) \
            and all(is_current(shard) for shard in plan(folder, parts, target)):
        print(f"{target}: is there, {len(paths)} files")
        return target
    staging = f"{target}.part"
    os.makedirs(staging, exist_ok=True)
    for _ in parallel(write_shard, plan(folder, parts, staging), config.workers, "pack"):
        pass
    keep = {name for number in range(len(parts)) for name in names_of(shard_name(number, len(parts)))}
    for extra in set(os.listdir(staging)) - keep:       # of an interrupted run over another list
        remove = shutil.rmtree if os.path.isdir(os.path.join(staging, extra)) else os.unlink
        remove(os.path.join(staging, extra))
    put(staging, target)
    total = sum(os.path.getsize(os.path.join(target, name)) for name in os.listdir(target))
    print(f"{target}: {len(paths)} files of {sum(sizes) / 1e6:.1f} MB in {len(parts)} shards of {total / 1e6:.1f} MB")
    return target


def divide(paths: list[str], sizes: list[int]) -> list[list[str]]:
    """`paths` in pieces of up to SHARD_BYTES, in order."""
    shard = np.cumsum(sizes) // SHARD_BYTES
    starts = [0, *(np.flatnonzero(np.diff(shard)) + 1), len(paths)]
    return [paths[start:stop] for start, stop in zip(starts[:-1], starts[1:], strict=True)]


def plan(folder: str, parts: list[list[str]], target: str) -> list[Shard]:
    """The shards that hold the `parts`, in the folder `target`."""
    return [Shard(folder, part, os.path.join(target, shard_name(number, len(parts))))
            for number, part in enumerate(parts)]


def names_of(path: str) -> tuple[str, str]:
    """A shard's two files."""
    return path, f"{path}.db"


def is_current(shard: Shard) -> bool:
    """Whether the shard is there, whole, of these files, and no older than they are."""
    folder, paths, target = shard
    try:
        sources = [os.path.join(folder, path) for path in paths]
        older = min(names_of(target), key=os.path.getmtime)
        return not is_outdated(older, *sources) and read_shard(target)[0] == paths
    except (OSError, UserError):
        return False


def write_shard(shard: Shard) -> None:
    """Makes one shard, unless it is there: under a temporary folder, then moved."""
    if is_current(shard):
        return
    from mindspore.mindrecord import FileWriter  # seconds; data workers never come here
    from mindspore.mindrecord.common.exceptions import MindRecordException

    folder, paths, target = shard
    remedy = "make room, and run again: finished shards are kept"
    with whole_files(*names_of(target), remedy=remedy, failures=(MindRecordException, RuntimeError),
                     plain=True) as (made, _):
        writer = FileWriter(str(made))      # MindRecord writes the name into the file
        largest = max(os.path.getsize(os.path.join(folder, path)) for path in paths) + 2 ** 10
        writer.set_header_size(HEADER_BYTES)
        writer.set_page_size(max(PAGE_BYTES, 2 ** (largest - 1).bit_length()))
        writer.add_schema({"path": {"type": "string"}, "audio": {"type": "bytes"}}, "audio files by path")
        writer.add_index(["path"])
        for records in batches(folder, paths):
            writer.write_raw_data(records)
        writer.commit()
        if read_shard(made)[0] != paths:
            raise OSError("MindRecord left records out")


def batches(folder: str, paths: list[str]) -> Iterator[list[dict[str, str | bytes]]]:
    """Yields lists of records, together of about WRITE_BYTES."""
    records, size = [], 0
    for path in paths:
        records.append({"path": path, "audio": encode(os.path.join(folder, path))})
        size += len(records[-1]["audio"])
        if size >= WRITE_BYTES:
            yield records
            records, size = [], 0
    if records:
        yield records


def encode(path: StrPath) -> bytes:
    """Bytes of an audio file with the very samples of `path`: FLAC if that is smaller, else the file's own."""
    data = Path(path).read_bytes()
    with open_audio(path) as source:
        decoder = source.decoder
        if not isinstance(decoder, LibsndfileDecoder) or decoder.file.format == "FLAC" \
                or decoder.file.subtype != "PCM_16":
            return data
        samples, rate = to_int16(source.read_all()), source.rate
    stream = io.BytesIO()
    try:
        soundfile.write(stream, samples, rate, format="FLAC", subtype="PCM_16")
    except soundfile.LibsndfileError:       # more channels than FLAC has
        return data
    same = np.array_equal(soundfile.read(io.BytesIO(stream.getvalue()), dtype="int16", always_2d=True)[0], samples)
    return stream.getvalue() if same and stream.tell() < len(data) else data
