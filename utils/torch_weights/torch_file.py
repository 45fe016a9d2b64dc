"""PyTorch's files without PyTorch: what torch.save writes, in today's zip format and in that before 1.6.

A file may come from anyone, so nothing in it is imported or called (utils/torch_weights/plain_pickle.py). Tensors and
parameters, OrderedDict, numbers of numpy, torch.Size and TorchVersion become values. Any other class or function is an
inert Name, and what would be made of it an inert Instance: a program's settings stand beside its weights so. Refused is
what a pickle names only to run something. Entries are taken uncompressed, as torch.save writes them, so that nothing
grows when it is read.
"""
import fnmatch
import io
import math
import os
import shlex
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import ContentError, NotFoundError
from utils.files import StrPath, whole_file
from utils.torch_weights.plain_pickle import Instance, Name, Refused, dumps, loads, opcodes

DTYPES = {"Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "u2", "Long": "i8", "Int": "i4", "Short": "i2",
          "Char": "i1", "Byte": "u1", "Bool": "?"}
STORAGES = {f"torch.{name}Storage": name for name in DTYPES}
TENSOR, PARAMETER = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"
CALLS: dict[str, Callable[..., Any]] = {
    TENSOR: lambda *arguments: _tensor(*arguments[:4]), "torch._utils._rebuild_tensor": lambda *rest: _tensor(*rest),
    PARAMETER: lambda tensor, *rest: tensor, f"{PARAMETER}_with_state": lambda tensor, *rest: tensor,
    "torch._tensor._rebuild_from_type_v2": lambda kind, _type, arguments, _state: CALLS[kind.path](*arguments),
    "collections.OrderedDict": lambda pairs=(): dict(pairs), "torch.Size": tuple,
    "torch.torch_version.TorchVersion": str,
    "_codecs.encode": lambda text, encoding: text.encode(encoding if encoding in ("latin1", "utf-8") else "latin1"),
    **{f"{module}._reconstructor": lambda kind, *_: Instance(kind, ()) for module in ("copyreg", "copy_reg")},
    **{f"numpy.{core}.multiarray.scalar": lambda kind, data: _numpy_scalar(kind, data) for core in ("core", "_core")}}
# what settings are made of; of the rest of the standard library data has no use, but an attack has
PLAIN_NAMES = (
    "collections.*", "datetime.*", "pathlib.*", "argparse.Namespace", "enum.*", "typing.*", "types.SimpleNamespace",
    "types.GenericAlias", "functools.partial", "operator.getitem", "_operator.getitem", "copyreg._reconstructor",
    "copy_reg._reconstructor", "copyreg.__newobj__", "_codecs.encode", "decimal.Decimal", "fractions.Fraction",
    "uuid.*", "random.Random", "re._compile", "array.array", "time.struct_time", "zoneinfo.*",
    "logging.getLogger", "logging.Logger",
    "dataclasses.*", "abc.*", "itertools.*", "ipaddress.*", "numbers.*",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in (
        "int", "long", "float", "bool", "complex", "str", "unicode", "bytes", "bytearray", "dict", "list", "tuple",
        "set", "frozenset", "slice", "range", "xrange", "type", "object", "property", "Ellipsis", "NotImplemented",
        "getattr")))
RUNNERS = ("torch.hub.*", "torch.load", "torch.package.*", "torch.utils.cpp_extension.*", "numpy.load",
           "numpy.testing.*", "numpy.distutils.*", "numpy.f2py.*", "pandas.read_pickle", "joblib.load", "pip.*",
           "setuptools.*", "pkg_resources.*", "commands.*", "exceptions.*")
STANDARD = {*sys.stdlib_module_names, "__builtin__", "copy_reg", "cPickle", "urllib2", "nt", "posix"}
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."     # how files of the format before 1.6 begin
ALIGNMENT = 64      # of the tensors in the file, so that it can be mapped into memory
SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".model", ".safetensors", ".th", ".pkl")    # of such files


def read(path: StrPath) -> Any:
    """What torch.save put into the file: tensors as arrays (bfloat16 as float32), OrderedDict as dict.

    UserError for a file that is missing, no such file, damaged, or that holds what only an attack has.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                file.seek(0)
                return _load_legacy(io.BytesIO(file.read()))
        with zipfile.ZipFile(path) as archive:
            return _load(archive, path)
    except IsADirectoryError:
        raise ContentError(f"{path}: is a folder; give the file in it{_candidates(os.listdir(path))}") from None
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}; expected a file that torch.save wrote") from None
    except zipfile.BadZipFile as error:
        raise ContentError(f"{path}: {_why_no_zip(path, error)}") from None
    except (Refused, NotImplementedError, RuntimeError) as error:
        raise ContentError(f"{path}: not loaded, {printable(str(error))}") from None


def printable(text: str) -> str:
    """Text of a file that may come from anyone, without what a screen would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def save_again(path: StrPath, expression: str = "{}") -> str:
    """The command that loads `path` where its program and PyTorch are, and saves what `expression` makes of it."""
    loaded = expression.format("torch.load(sys.argv[1], map_location='cpu', weights_only=False)")
    return (f'python -c "import sys, torch; torch.save({loaded}, sys.argv[2])" {shlex.quote(str(path))} new.pt '
            "(this runs what the file names: only with one that you trust)")


def _candidates(names):
    """Of the files of a folder or an archive, those that may be what is meant."""
    found = sorted(name for name in names if name.endswith(SUFFIXES))
    return f", such as {' or '.join(found[:3])}" if found else ""


def _why_no_zip(path, error):
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return "is empty (0 bytes); copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not a checkpoint; the download gave a page in its place, get the file itself"
    if start[257:262] == b"ustar":
        with tarfile.open(path) as tar:
            names = tar.getnames()
        if {"pickle", "storages", "tensors"} <= set(names):
            return f"in the format before PyTorch 0.2; save it again where PyTorch is: {save_again(path)}"
        return f"is a tar archive; unpack it and give the file in it{_candidates(names)}"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return "is a compressed archive; unpack it and give the file in it"
    if start.startswith(b"PK"):
        return f"damaged ({error}); copy it again"
    if start.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return ("is a pickle that torch.save did not write; expected a file that torch.save wrote. Where its program "
                'is: python -c "import sys, pickle, torch; torch.save(pickle.load(open(sys.argv[1], \'rb\')), '
                f'sys.argv[2])" {shlex.quote(str(path))} new.pt (only with a file that you trust)')
    return "not a PyTorch checkpoint; expected a file that torch.save wrote"


def _load(archive, path):
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise Refused("it is a zip file but not a PyTorch checkpoint: expected one data.pkl in one folder"
                      + (f"; unpack it and give the file in it{found}" if (found := _candidates(entries)) else ""))
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in entries:
        raise Refused("it is a TorchScript program; expected the state dict that it was made from. Where PyTorch is: "
                      + save_again(path).replace("torch.load(sys.argv[1], map_location='cpu', weights_only=False)",
                                                 "torch.jit.load(sys.argv[1], map_location='cpu').state_dict()"))
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()) or sum(
            entry.file_size for entry in entries.values()) > os.path.getsize(path):
        raise Refused("its entries are compressed, which torch.save does not do; save it again")
    order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in entries else b"little"
    if order not in (b"little", b"big"):
        raise Refused(f"its byte order is {order[:20]!r}, expected little or big")
    storages = {}

    def persistent(value):
        kind, storage, key, _, size = value
        if kind != "storage" or not isinstance(storage, Name) or not isinstance(key, str):
            raise TypeError
        if (key, storage.path) not in storages:
            entry = f"{folder}data/{key}"
            if entry not in entries:
                raise Refused(f"it lacks data/{key}, which is to be a {storage.path}")
            storages[key, storage.path] = _storage(archive.read(entry), storage, order, size)
        return storages[key, storage.path]

    return loads(archive.read(pickles[0]), _known, persistent)


def _load_legacy(file):
    """The format before PyTorch 1.6: pickles one after another, then the numbers of each storage."""
    for _ in range(2):      # the magic number, the version of the format
        loads(file, _known, _no_persistent)
    system = loads(file, _known, _no_persistent)
    order = b"little" if not isinstance(system, dict) or system.get("little_endian", True) else b"big"
    start, kinds = file.tell(), {}

    def names(name, arguments):
        _known(name, None)

    def collect(value):
        if value[0] == "storage":
            kinds[value[2]] = value[1]

    loads(file, names, collect)         # tensors come before their numbers: a first look for the types alone
    keys, storages = loads(file, _known, _no_persistent), {}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused("damaged: it has no list of its storages")
    for key in keys:
        size = int.from_bytes(file.read(8), "little" if order == b"little" else "big")
        kind = kinds.get(key)
        if not isinstance(kind, Name) or kind.path not in STORAGES:
            raise Refused(f"the storage {key} is {kind.path if isinstance(kind, Name) else 'of no type'}, expected one "
                          "of PyTorch's types of numbers")
        data = file.read(min(size * np.dtype(DTYPES[STORAGES[kind.path]]).itemsize, len(file.getbuffer())))
        storages[key] = _storage(data, kind, order, size)

    def persistent(value):
        if value[0] == "module":        # a class of layers, with its source
            return value[1]
        view = value[5] if len(value) > 5 else None
        storage = storages[value[2]]
        return storage if view is None else storage.part(view[1], view[2])

    file.seek(start)
    return loads(file, _known, persistent)


def _no_persistent(value):
    raise TypeError


def _known(name, arguments):
    """What a call gives, None for an Instance. Refused for a name that only runs something."""
    if arguments is not None:
        return CALLS[name.path](*arguments) if name.path in CALLS else None
    if not _matches(name, PLAIN_NAMES) and (name.path.split(".")[0] in STANDARD or _matches(name, RUNNERS)):
        raise Refused(f"it names {name.path}, which a checkpoint of weights does not need; it may be meant to do harm. "
                      "Nothing of it was run")
    return None


def _matches(name, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.path, pattern) for pattern in patterns)


def _storage(data, kind, order, size):
    """The numbers of a storage; an Instance for types that numpy does not have, such as quantised ones."""
    return _Storage(data, STORAGES[kind.path], order, size) if kind.path in STORAGES else Instance(kind, ())


def as_array(value: Any) -> Any:
    """A pickled array of numpy as one, also where PyTorch has saved a tensor so; other values as they are."""
    if isinstance(value, Instance) and value.kind.path == "torch._utils._rebuild_device_tensor_from_numpy":
        return as_array(value.arguments[0])
    if isinstance(value, Instance) and value.kind.path.endswith(".multiarray._reconstruct") and isinstance(
            value.state, tuple) and len(value.state) == 5:
        _, shape, kind, by_columns, data = tuple(value.state)
        array = _from_numpy(data, kind, shape[::-1] if by_columns else shape)
        return value if array is None else array.T if by_columns else array
    return value


def _numpy_scalar(kind, data):
    """A number of numpy as one of Python's; None for what is no number, which stays an Instance."""
    array = _from_numpy(data, kind, ())
    return None if array is None else array.item()


def _from_numpy(data, kind, shape):
    """The array of `shape` that numpy has pickled as bytes and a dtype, which is an Instance; None for no numbers."""
    try:
        name, order = kind.arguments[0], kind.state[1] if kind.state else "="
        if kind.kind.path not in ("numpy.dtype", "numpy.core.multiarray.dtype") or name[0] not in "fiub":
            return None
        data = data.encode("latin1") if isinstance(data, str) else data
        numbers = np.frombuffer(data, np.dtype(name).newbyteorder(order if order in "<>" else "="))
        return numbers.astype(np.dtype(name)).reshape(shape)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


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

    def part(self, offset: Any, size: Any) -> "_Storage":
        """A view of `size` numbers from `offset`."""
        if any(type(number) is not int for number in (offset, size)) or not 0 <= offset <= offset + size <= len(
                self.numbers):
            raise Refused(f"a view of {size} numbers from {offset} reaches beyond its storage")
        view = object.__new__(_Storage)
        view.numbers = self.numbers[offset:offset + size]
        return view


def _tensor(storage, offset, shape, strides):
    """The view of a storage that starts at `offset` and steps by `strides`, all in numbers."""
    if isinstance(storage, Instance):       # of a type that numpy does not have
        return storage
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
    """Writes `value` of plain containers, numbers, text and arrays as torch.save would; of Name and Instance too.

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
        storage = [plain("storage"), plain(Name("torch", f"{name}Storage")), *map(plain, (str(len(arrays) - 1), "cpu"))]
        storage = b"(" + b"".join(storage) + plain(array.size) + b"tQ"
        rest = b"".join(map(plain, (0, array.shape, tuple(strides), False)))
        return plain(Name(*TENSOR.rsplit(".", 1))) + b"(" + storage + rest + plain(
            Name("collections", "OrderedDict")) + b")Rt" + b"R"

    def plain(part):
        return opcodes(part, tensor)

    pickle, folder = dumps(value, tensor), Path(path).stem.encode(errors="replace").decode()
    entries = {"data.pkl": pickle, "byteorder": b"little"}
    entries |= {f"data/{i}": array.tobytes() for i, array in enumerate(arrays)} | {"version": b"3\n"}
    _write_zip(Path(path), {f"{folder}/{name}": data for name, data in entries.items()})


def _write_zip(path: Path, entries: dict[str, bytes]) -> None:
    with whole_file(path) as temporary, open(temporary, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            gap = -(file.tell() + 30 + len(name.encode()) + 4) % ALIGNMENT    # 30 bytes, name, extra
            entry.extra = b"FB" + gap.to_bytes(2, "little") + bytes(gap)
            archive.writestr(entry, data)
