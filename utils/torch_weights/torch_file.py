"""PyTorch's files without PyTorch: the zip format that torch.save has written since 1.6, read and written.

A file may come from anyone, so nothing in it is imported or called (utils/torch_weights/plain_pickle.py). Known are
tensors and parameters, OrderedDict, torch.Size and TorchVersion, plain containers, numbers and text. Any other name is
refused, wherever it stands, unless the caller lists it as inert: then instances of it become inert values that hold
what the pickle says of them. Entries are taken uncompressed, as torch.save writes them, so that nothing grows when it
is read.
"""
import fnmatch
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import ContentError, NotFoundError
from utils.files import StrPath, whole_file
from utils.torch_weights.plain_pickle import Name, Refused, dumps, loads, opcodes

DTYPES = {"Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "u2", "Long": "i8", "Int": "i4", "Short": "i2",
          "Char": "i1", "Byte": "u1", "Bool": "?"}
STORAGES = {f"torch.{name}Storage": name for name in DTYPES}
TENSOR, PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
CALLS = {TENSOR: lambda *arguments: _tensor(*arguments[:4]), PARAMETER: lambda tensor, *rest: tensor,
         "collections.OrderedDict": lambda pairs=(): dict(pairs), "torch.Size": tuple,
         "torch.torch_version.TorchVersion": str}
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."     # how files of the format before 1.6 begin
ALIGNMENT = 64      # of the tensors in the file, so that it can be mapped into memory


def read(path: StrPath, inert: Sequence[str] = ()) -> Any:
    """What torch.save put into the file: tensors as arrays (bfloat16 as float32), OrderedDict as dict.

    inert: patterns of names, such as "omegaconf.*", that are tolerated and become plain_pickle.Instance or Name.
    UserError for a file that is missing, no such file, damaged, or that holds code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _load(archive, path, inert)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}; expected a file that torch.save wrote") from None
    except zipfile.BadZipFile as error:
        raise ContentError(f"{path}: {_why_no_zip(path, error)}") from None
    except (Refused, NotImplementedError, RuntimeError) as error:
        raise ContentError(f"{path}: not loaded, {error}") from None


def _why_no_zip(path, error):
    with open(path, "rb") as file:
        start = file.read(len(MAGIC))
    if start == MAGIC:
        return ("in the format before PyTorch 1.6; save it again where PyTorch is: python -c \"import torch; "
                "torch.save(torch.load('OLD', map_location='cpu'), 'NEW')\"")
    if start.startswith(b"PK"):
        return f"damaged ({error}); copy it again"
    return "not a PyTorch checkpoint; expected a file that torch.save wrote"


def _load(archive, path, inert):
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("it is a zip file but not a PyTorch checkpoint: expected one data.pkl in one folder")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in entries:
        raise Refused("it is a TorchScript program; expected the state dict that it was made from")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()) or sum(
            entry.file_size for entry in entries.values()) > os.path.getsize(path):
        raise Refused("its entries are compressed, which torch.save does not do; save it again")
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
    if order not in (b"little", b"big"):
        raise Refused(f"its byte order is {order[:20]!r}, expected little or big")
    storages = {}

    def known(name, arguments):
        if name.path in CALLS:
            return None if arguments is None else CALLS[name.path](*arguments)
        if name.path not in STORAGES and not any(fnmatch.fnmatchcase(name.path, pattern) for pattern in inert):
            raise Refused(f"it names {name.path}, which a checkpoint of weights does not need; it may be of another "
                          "program, or meant to do harm. Nothing of it was run")
        return None

    def persistent(value):
        kind, storage, key, _, size = value
        if kind != "storage" or not isinstance(storage, Name) or not isinstance(key, str):
            raise TypeError
        if (key, storage.path) not in storages:
            entry = f"{folder}data/{key}"
            if entry not in entries or storage.path not in STORAGES:
                raise Refused(f"it lacks data/{key}, or holds it as {storage.path}")
            storages[key, storage.path] = _Storage(archive.read(entry), STORAGES[storage.path], order, size)
        return storages[key, storage.path]

    return loads(archive.read(pickles[0]), known, persistent)


class _Storage:
    """The numbers that tensors are views of."""

    def __init__(self, data: bytes, name: str, order: bytes, size: Any):
        dtype = np.dtype(DTYPES[name])
        if type(size) is not int or len(data) != size * dtype.itemsize:
            raise Refused(f"a {name}Storage of {size} numbers has {len(data)} bytes")
        if name == "Bool" and data.translate(None, b"\0\1"):
            raise Refused("a BoolStorage holds other bytes than 0 and 1")
        numbers = np.frombuffer(data, dtype.newbyteorder("<" if order == b"little" else ">"))
        if name == "BFloat16":      # the upper half of a float32
            numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
        self.numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)


def _tensor(storage, offset, shape, strides):
    """The view of a storage that starts at `offset` and steps by `strides`, all in numbers."""
    if not isinstance(storage, _Storage):
        raise TypeError
    available = len(storage.numbers)
    whole = [offset, *shape, *strides]
    if any(type(number) is not int or number < 0 for number in whole) or len(shape) != len(strides) or len(shape) > 32:
        raise Refused(f"a tensor has shape {shape}, strides {strides}, offset {offset}")
    size = math.prod(shape)
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True)) if size else offset
    if size > available or last >= available + (not size):
        raise Refused(f"a tensor of shape {shape}, strides {strides}, offset {offset} reaches beyond the {available} "
                      "numbers of its storage")
    if not size:
        return np.zeros(shape, storage.numbers.dtype)
    strides = [step * storage.numbers.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(storage.numbers[offset:], shape, strides, writeable=False)


def write(path: StrPath, value: Any) -> None:
    """Writes `value` of plain containers, numbers, text and arrays as torch.save would; dicts become OrderedDict's kin.

    The arrays are float32, float64, float16 or whole numbers. The file is whole or not there.
    """
    arrays = []

    def tensor(array):
        name = next((name for name, dtype in DTYPES.items()
                     if name != "BFloat16" and np.dtype(dtype) == array.dtype.newbyteorder("=")), None)
        if name is None:
            raise TypeError(f"{array.dtype}: no such tensor")
        arrays.append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
        strides, step = [], 1
        for length in reversed(array.shape):
            strides, step = [step, *strides], step * max(1, length)
        storage = [plain("storage"), _global(f"torch.{name}Storage"), *map(plain, (str(len(arrays) - 1), "cpu"))]
        storage = b"(" + b"".join(storage) + plain(array.size) + b"tQ"
        rest = b"".join(map(plain, (0, array.shape, tuple(strides), False)))
        return _global(TENSOR) + b"(" + storage + rest + _global("collections.OrderedDict") + b")Rt" + b"R"

    def plain(part):
        return opcodes(part, tensor)

    pickle, folder = dumps(value, tensor), Path(path).stem
    entries = {"data.pkl": pickle, "byteorder": b"little"}
    entries |= {f"data/{i}": array.tobytes() for i, array in enumerate(arrays)} | {"version": b"3\n"}
    _write_zip(Path(path), {f"{folder}/{name}": data for name, data in entries.items()})


def _global(path):
    module, _, name = path.rpartition(".")
    return b"c" + f"{module}\n{name}\n".encode()


def _write_zip(path: Path, entries: dict[str, bytes]) -> None:
    with whole_file(path) as temporary, open(temporary, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            gap = -(file.tell() + 30 + len(name.encode()) + 4) % ALIGNMENT    # 30 bytes, name, extra
            entry.extra = b"FB" + gap.to_bytes(2, "little") + bytes(gap)
            archive.writestr(entry, data)
