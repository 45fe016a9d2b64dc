"""Their tensors under our names and back: tables applied strictly.

A table is rows (our layer, their layer, {our parameter: (theirs, layout)}), or (our parameter, theirs, layout). A
layout such as "OI1K->OIK" names the dimensions of ours, then of theirs; 1 is a dimension of length 1.
"""
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from utils.errors import ContentError, MismatchError
from utils.files import StrPath

CONV = {"weight": ("weight", "OI1K->OIK"), "bias": ("bias", "O->O")}         # one-dimensional
CONV2D = {"weight": ("weight", "OIJK->OIJK"), "bias": ("bias", "O->O")}
NORM = {"gamma": ("weight", "C->C"), "beta": ("bias", "C->C"), "moving_mean": ("running_mean", "C->C"),
        "moving_variance": ("running_var", "C->C")}
COUNT = "num_batches_tracked"       # PyTorch's count of a BatchNorm's batches, which nothing depends on

Tensors = dict[str, np.ndarray]     # by name
Row = tuple[str, str, str | dict[str, tuple[str, str]]]


def fill_rows(rows: Sequence[tuple[Any, ...]], column: int, layouts: dict[str, Any],
              *repeats: Sequence[dict[str, Any]], **values: Any) -> Iterator[Row]:
    """The table of one of the originals that `rows` name side by side: (ours, theirs, theirs, ..., kind of layer).

    `column`: which of theirs, from 0; where it is None the original has no such layer. `layouts`: {kind: layout}.
    Names are templates. Each of the `repeats`, outer ones first, is the values {placeholder: value} of one layer after
    another; it holds for the rows whose name of ours has the first of its placeholders. `values`: other placeholders.
    """
    if not repeats:
        for ours, *names, kind in rows:
            if names[column] is not None:
                yield ours.format(**values), names[column].format(**values), layouts[kind]
        return
    outer, *inner = repeats
    placeholder = f"{{{next(iter(outer[0]))}}}"
    for repeated, group in itertools.groupby(rows, lambda row: placeholder in row[0]):
        group = list(group)
        for numbers in outer if repeated else ({},):
            yield from fill_rows(group, column, layouts, *inner, **values, **numbers)


def to_ours(table: Iterable[Row], state: Tensors, shapes: Mapping[str, tuple[int, ...]], source: StrPath) -> Tensors:
    """{our name: float32 array} of `state` {their name: array}, strictly; `shapes` of all of ours."""
    left, weights = dict(state), {}
    for ours, theirs, layout in _expand(table, shapes):
        before, after = layout.split("->")
        sizes = dict(zip(before, shapes[ours], strict=True)) | {"1": 1}
        weights[ours] = _arrange(_take(left, theirs, tuple(sizes[letter] for letter in after), source), after, before)
    extra = [name for name in left if not name.endswith(COUNT)]
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise MismatchError(f"{source}: {extra[0]}{more}: no such tensor in this network; is the file of the format "
                            "given?")
    return weights


def _take(left, name, shape, source):
    """The tensor `name`, removed from `left`; UserError unless it is there, of this shape and finite."""
    if name not in left:
        raise MismatchError(f"{source}: {name}: missing, expected shape {shape}; is the file of the format given?")
    array = left.pop(name)
    if array.shape != shape:
        raise MismatchError(f"{source}: {name}: found shape {array.shape}, expected {shape}")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ContentError(f"{source}: {name}: found {array.dtype if array.dtype.kind != 'f' else 'NaN or infinity'}, "
                           "expected finite numbers with a point")
    return array.astype(np.float32)


def to_theirs(table: Iterable[Row], parameters: Tensors) -> Tensors:
    """`parameters` {our name: array} under their names and in their layouts; all of them must have a row."""
    state = {}
    for ours, theirs, layout in _expand(table, parameters):
        state[theirs] = _arrange(parameters[ours], *layout.split("->"))
        if theirs.endswith("running_var"):
            state[theirs.replace("running_var", COUNT)] = np.zeros((), np.int64)
    return state


def _expand(table, parameters):
    """Rows (our parameter, theirs, layout) for all of `parameters`."""
    rows = []
    for ours, theirs, layers in table:
        if isinstance(layers, str):
            rows.append((ours, theirs, layers))
        else:
            rows += [(f"{ours}.{name}", f"{theirs}.{other}", layout) for name, (other, layout) in layers.items()]
    rows = [row for row in rows if row[0] in parameters]
    if sorted(row[0] for row in rows) != sorted(parameters):
        raise RuntimeError(f"the table lacks {sorted(set(parameters) - {row[0] for row in rows})}")
    return rows


def _arrange(array, before, after):
    """`array` with the dimensions `before` as one with those `after`, such as "OI1K", "OIK"."""
    letters = [letter for letter in before if letter != "1"]
    array = array.reshape([size for size, letter in zip(array.shape, before, strict=True) if letter != "1"])
    array = array.transpose([letters.index(letter) for letter in after if letter != "1"])
    sizes = iter(array.shape)
    return np.ascontiguousarray(array.reshape([1 if letter == "1" else next(sizes) for letter in after]))


def sizes(state: Tensors, name: str, source: StrPath, count: int) -> tuple[int, ...]:
    """The shape of a tensor from which hyper-parameters are inferred, with `count` dimensions."""
    if name not in state:
        raise MismatchError(f"{source}: {name}: missing; is the file of the format given? It begins with "
                            f"{next(iter(state))}")
    if state[name].ndim != count or not state[name].size:
        raise MismatchError(f"{source}: {name}: found shape {state[name].shape}, expected {count} dimensions")
    return state[name].shape


def expect(values: Mapping[str, Any], expected: Mapping[str, tuple[Any, ...]], source: StrPath) -> None:
    """MismatchError for a hyper-parameter {name: value} that differs from the `expected` {name: (allowed, ...)}."""
    if not isinstance(values, Mapping):
        raise ContentError(f"{source}: found {values!r}, expected {', '.join(expected)} by their names")
    for name, allowed in expected.items():
        if name in values and values[name] not in allowed:
            raise MismatchError(f"{source}: {name}: found {values[name]!r}, expected "
                                f"{' or '.join(map(repr, allowed))}; this zoo's network has no other")
