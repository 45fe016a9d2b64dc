"""Files of safetensors: tensors by name, and texts by name, which hold the settings of the program as JSON.

    {"state_dict": {name: array}, setting: value, ...}, as torch_file.read gives it of what torch.save wrote
"""
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save

from utils.errors import ContentError, NotFoundError, UnsupportedError
from utils.files import StrPath, whole_file
from utils.torch_weights.plain_pickle import plain
from utils.torch_weights.torch_file import printable

SUFFIX = ".safetensors"
DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
          "U8": "u1", "BOOL": "?"}
STATE_DICT = "state_dict"


def is_safetensors(path: StrPath) -> bool:
    """Whether a file begins as one: eight bytes of a length, then JSON."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError:
        return False
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= Path(path).stat().st_size


def read(path: StrPath) -> dict[str, Any]:
    """{"state_dict": {name: array}, setting: value}; bfloat16 as float32. ContentError for a damaged file."""
    try:
        data = Path(path).read_bytes()
        tensors = {name: _array(name, tensor) for name, tensor in safetensors.deserialize(data)}
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}; expected a file of weights") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise ContentError(f"{path}: not loaded as safetensors ({printable(str(error))}); copy it again") from None
    header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
    return {name: _value(text) for name, text in header.get("__metadata__", {}).items()} | {STATE_DICT: tensors}


def _array(name, tensor):
    if tensor["dtype"] not in DTYPES:
        raise ValueError(f"{name} is {tensor['dtype']}, which numpy does not have; save it as F32")
    array = np.frombuffer(tensor["data"], DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return (array.astype(np.uint32) << 16).view(np.float32) if tensor["dtype"] == "BF16" else array


def _value(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def write(path: StrPath, content: dict[str, Any]) -> None:
    """Writes a state dict, or one and the settings beside it. The file is whole or not there."""
    state = content.get(STATE_DICT, content)
    settings = {name: plain(value) for name, value in content.items() if state is not content and name != STATE_DICT}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    try:
        data = save({name: np.asarray(array, order="C") for name, array in state.items()}, {"format": "pt"} | texts)
    except safetensors.SafetensorError as error:
        raise UnsupportedError(f"{path}: {error}") from None
    with whole_file(path) as temporary:
        temporary.write_bytes(data)
