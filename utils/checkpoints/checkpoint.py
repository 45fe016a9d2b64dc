"""Checkpoints in MindSpore's own format, written so that an interruption leaves the previous one valid."""
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn

from utils.checkpoints.checkpoint_format import check_format, read_values
from utils.errors import ContentError, MismatchError, NotFoundError
from utils.files import StrPath, whole_file
from utils.paths import best_of

REMEDY = "free some space or mend the permissions, the checkpoint before it is still valid"
RECORD = "record"   # name under which a checkpoint carries a JSON record of what it is


def save_checkpoint(path: StrPath, parameters: Mapping[str, Tensor], **record: Any) -> None:
    """Writes `parameters` {name: Parameter or Tensor} and a JSON `record` to `path`, whole or not at all.

    OutputError where it cannot be written, such as on a full disk; a checkpoint already there is then untouched.
    """
    content = [{"name": name, "data": Tensor(value.asnumpy())} for name, value in parameters.items()]
    with whole_file(path, suffix=".ckpt", remedy=REMEDY, failures=(RuntimeError, ValueError)) as temporary, quiet():
        ms.save_checkpoint(content, str(temporary), append_dict={RECORD: json.dumps(record)}, crc_check=True)


def load_checkpoint(path: StrPath) -> tuple[dict[str, Parameter], dict[str, Any]]:
    """({name: Parameter}, record) of a checkpoint. UserError where the file is missing, damaged or foreign."""
    if not os.path.isfile(path):
        raise NotFoundError(f"{path}: no such checkpoint; train.py writes best.ckpt into its run folder")
    try:
        check_format(path)
        with quiet():
            parameters = ms.load_checkpoint(str(path), crc_check=True)
        record = json.loads(parameters.pop(RECORD, "{}"))
    except (ValueError, TypeError, RuntimeError, OSError):
        raise ContentError(f"{path}: not a MindSpore checkpoint, or damaged (its checksum does not fit); copy it "
                           "again or use an earlier one") from None
    return parameters, record


def digest(path: StrPath) -> bytes:
    """The SHA-256 of the parameters of a checkpoint, whatever its record says; of any other file, of its bytes."""
    found = hashlib.sha256()
    try:
        for value in read_values(path):
            if value.tag != RECORD:
                found.update(value.SerializeToString(deterministic=True))
    except ValueError:
        found.update(Path(path).read_bytes())
    return found.digest()


def load_into(path: StrPath, parameters: Mapping[str, Parameter], skip: Sequence[str] = ()) -> dict[str, Any]:
    """Loads the checkpoint's values into `parameters` {name: Parameter} as `assign` does; returns its record.

    path: a checkpoint, or a run folder, whose best.ckpt is taken.
    """
    path = best_of(path)
    saved, record = load_checkpoint(path)
    assign(saved, parameters, path, skip)
    return record


def assign(saved: Mapping[str, Tensor], parameters: Mapping[str, Parameter], path: StrPath,
           skip: Sequence[str] = ()) -> None:
    """Gives `parameters` {name: Parameter} the values `saved` {name: Tensor} of the checkpoint `path`, strictly.

    A parameter that is missing, left over or of another shape is a MismatchError, unless its name starts with one of
    `skip`: then it keeps its value where the two do not fit.
    """
    for name, parameter in parameters.items():
        value = saved.get(name)
        if value is not None and value.shape == parameter.shape:
            parameter.set_data(Tensor(value.asnumpy(), dtype=parameter.dtype))
        elif not name.startswith(tuple(skip)):
            shape = "nothing" if value is None else f"shape {value.shape}"
            raise MismatchError(f"{path}: {name}: found {shape}, expected shape {parameter.shape}; the network is of "
                                "another size or kind than the checkpoint's, use the config.yaml saved beside it")
    extra = [name for name in saved if name not in parameters and not name.startswith(tuple(skip))]
    if extra:
        raise MismatchError(f"{path}: {extra[0]} and {len(extra) - 1} more have no place in this network; use the "
                            "config.yaml saved beside the checkpoint")


def load_model(path: StrPath, model: nn.Cell) -> dict[str, Any]:
    """Loads the weights of `model` alone from a checkpoint of a training run; returns its record."""
    return load_into(path, {parameter.name: parameter for parameter in model.get_parameters()}, skip=("loss.",))


@contextmanager
def quiet() -> Iterator[None]:
    """MindSpore logs what it raises, in several lines; one is enough."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
