"""Whether a file is a MindSpore checkpoint whose parts fit each other.

Asked before MindSpore 2.10 reads it: its reader copies as many bytes as a parameter has into as much memory as the
stated shape needs. A file with a shape too small writes behind that memory: it crashes Python, or worse.
"""
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from mindspore.train.checkpoint_pb2 import Checkpoint

from utils.files import StrPath

SIZES = {"BFloat16": 2} | {kind: np.dtype(kind.lower()).itemsize for kind in (
    "Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64", "Float16", "Float32", "Float64", "Bool")}
CHECKSUM, MARK = 17, b"crc_num"     # bytes at the end of a file with a checksum, and what they start with


def read_values(path: StrPath) -> Sequence[Any]:
    """What a checkpoint holds, each with its `tag`; large ones in several parts. ValueError for no checkpoint."""
    with open(path, "rb") as file:
        data = file.read()
    if data[-CHECKSUM:].startswith(MARK):
        data = data[:-CHECKSUM]
    try:
        return Checkpoint.FromString(data).value
    except DecodeError as error:
        raise ValueError(f"no checkpoint: {error}") from None


def check_format(path: StrPath) -> None:
    """ValueError for a file that is no checkpoint, or one with a parameter of another size than its shape and type."""
    for tag, parts in itertools.groupby(read_values(path), key=lambda value: value.tag):
        parts = [part.tensor for part in parts if part.HasField("tensor")]
        if not parts or len({part.tensor_type for part in parts}) > 1:
            raise ValueError(f"{tag}: no parameter")
        size, kind = sum(len(part.tensor_content) for part in parts), parts[-1].tensor_type
        if kind == "str":
            expected = max(4, size // 4 * 4)
        elif kind in SIZES and all(dim >= 0 for dim in parts[-1].dims):
            shape = [] if list(parts[-1].dims) == [0] else parts[-1].dims       # MindSpore's way to write a scalar
            expected = math.prod(shape) * SIZES[kind]
        else:
            raise ValueError(f"{tag}: type {kind}, shape {list(parts[-1].dims)}")
        if size != expected:
            raise ValueError(f"{tag}: {size} bytes, expected {expected}")
