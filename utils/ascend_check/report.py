"""Verdicts on graphs, and their table."""
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from mindspore.ops import auto_generate, operations

from utils.ascend_check.log import ACLNN, ACLOP, GE, PYTHON, Record
from utils.ascend_check.runs import ROOT
from utils.ascend_check.stubs import TESTED

HEADER = ("model", "graph", "chip", "aclnn", "aclop", "other", "on the host", "backend", "verdict")
CHIP = HEADER.index("chip")
GOOD, ABSENT = "good", "no such graph"
RED, PLAIN = "\033[31m", "\033[0m"


def verdict(record: Record) -> str:
    """GOOD, ABSENT where a network has no such graph, or all that is wrong with it."""
    if record.absent:
        return ABSENT
    reasons = []
    if GE in record.backends:
        reasons.append("takes the GE backend, which is deprecated and knows no dynamic shapes")
    if python := {name: record.host[name] for name in PYTHON if name in record.host}:
        reasons.append(f"calls Python: {names(python)}")
    if record.tensors:
        reasons.append(f"computes tensors on the host: {names(record.tensors)}")
    if elsewhere := [name for name in sorted(record.kernels.get(ACLOP, ())) if not is_for_ascend(name)]:
        reasons.append(f"has operators that MindSpore documents for no Ascend: {', '.join(elsewhere)}")
    if record.error:
        reasons.append(f"does not compile: {complaint(record.error)}")
    if not reasons and not record.kernels:
        reasons.append("compiles nothing")
    return "; ".join(reasons) or GOOD


@functools.cache
def is_for_ascend(operator: str) -> bool:
    """Whether MindSpore's documentation of an operator names Ascend among its platforms, or names none.

    An aclop kernel needs this second opinion: it is chosen for whatever CANN has a name for.
    """
    for module in (operations, auto_generate):
        documentation = getattr(getattr(module, operator, None), "__doc__", None) or ""
        if match := re.search(r"Supported Platforms:\s*(.*)", documentation):
            return "Ascend" in match[1] or not re.search("CPU|GPU", match[1])
    return True


def names(counts: Mapping[str, int]) -> str:
    """Operators, each with its number where that is not 1."""
    return ", ".join(name if number == 1 else f"{name} {number}" for name, number in sorted(counts.items()))


def complaint(error: str) -> str:
    """What a traceback says in the end, and the last line of this repository in it: one line."""
    errors = re.findall(r"^(\w[\w.]*(?:Error|Exception|Exit|Interrupt)\b.*)$", error, re.M)
    message = errors[-1] if errors else next((line for line in reversed(error.splitlines()) if line.strip()), "")
    places = re.findall(rf'{re.escape(str(ROOT))}/(\S+?\.py)(?:", line |:)(\d+)', error)
    places = [place for place in places if not place[0].startswith((".venv/", "utils/ascend_check/"))]
    where = f" ({places[-1][0]}:{places[-1][1]})" if places else ""
    return " ".join(message.split())[:400] + where


def row(model: str, name: str, chip: str, record: Record) -> list[str]:
    """The cells of a graph in the table."""
    other = sum(kind.total() for kind in record.kernels.values()) - record.count(ACLNN, ACLOP)
    backend = "GE" if GE in record.backends else "kernel by kernel" if record.kernels else "none"
    return [model, name, chip.upper(), str(record.count(ACLNN)), str(record.count(ACLOP)), str(other),
            names(record.host), backend, verdict(record)]


def line(cells: Sequence[str], widths: Iterable[int], is_red: bool = False) -> str:
    """A line of the table on the screen: cells that are too long are cut, but for the last."""
    shown = [cell.ljust(width) if len(cell) <= width else f"{cell[:width - 1]}…" for cell, width in zip(cells, widths)]
    return "  ".join([*shown, f"{RED}{cells[-1]}{PLAIN}" if is_red else cells[-1]])


def markdown(rows: list[list[str]], command: str) -> str:
    """The table for a document, made by `command`; chips of which the same is to be said share a row."""
    joined = {}
    for cells in rows:
        joined.setdefault((*cells[:CHIP], *cells[CHIP + 1:]), []).append(cells[CHIP])
    rows = [[*cells[:CHIP], ", ".join(chips), *cells[CHIP:]] for cells, chips in joined.items()]

    def escaped(cells):
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    made = f"Made by `{command}` with MindSpore {TESTED}. What it means: [ascend_check.md](ascend_check.md)."
    return "\n".join([made, "", escaped(HEADER), "|" + "---|" * len(HEADER), *map(escaped, rows), ""])
