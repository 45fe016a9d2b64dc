"""What a setting may be: declared with its type, checked wherever a config is made, shown by --help.

    num_epochs: Positive = 100      # in a dataclass over Ranged; a subclass that says `num_epochs: int = 80` keeps it

So a number that is out of range ends in one line, before anything is made of it, whether it comes from the command
line, a YAML file, the config.yaml of a run or a program. The highest numbers are far above what is of use: they stand
for "surely a slip", and keep memory from being asked for that no machine has.
"""
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_type_hints

from utils.errors import SettingError, nearest


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`; with `above`, `least` itself is none of them. NaN and infinity never are.

    or_zero: 0 is one too, where `least` is more.
    """

    least: float
    most: float = math.inf
    above: bool = False
    or_zero: bool = False

    def __contains__(self, value: Any) -> bool:
        if value == 0 and self.or_zero:
            return True
        return math.isfinite(value) and self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        least = f"more than {self.least:g}" if self.above else f"{'0, or ' if self.or_zero else ''}{self.least}"
        if self.most == math.inf:
            return least if self.above else f"{least} or more"
        return f"{least}, at most {self.most}" if self.above else f"{least} to {self.most}"


@dataclass(frozen=True)
class OneOf:
    """The words that a setting may be; "" among them stands for none."""

    words: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        return value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(filter(None, self.words))}" + (", or nothing" if "" in self.words else "")


Limit = Range | OneOf
MANY = 10 ** 9

Count = Annotated[int, Range(0, MANY)]
Drawn = Annotated[int, Range(0, 10 ** 8)]            # crops and mixtures of an epoch
Positive = Annotated[int, Range(1, MANY)]
Size = Annotated[int, Range(1, 2 ** 16)]            # of a batch, of what a layer has
Depth = Annotated[int, Range(1, 100)]               # layers, blocks
Length = Annotated[int, Range(0, 2 ** 24)]          # of a graph's input: 17 minutes of samples
Workers = Annotated[int, Range(0, 512)]             # processes
Seed = Annotated[int, Range(0, 2 ** 32 - 1)]
Device = Annotated[int, Range(0, 63)]
Amount = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Factor = Annotated[float, Range(0, 1, above=True)]
Rate = Annotated[float, Range(0, 100)]              # of learning, of decay
Decibels = Annotated[float, Range(0, 100)]
Seconds = Annotated[float, Range(0, 86400)]
Span = Annotated[float, Range(0, 86400, above=True)]    # of a segment, seconds
Weight = Annotated[float, Range(-1000, 1000)]       # of a score
Hertz = Annotated[int, Range(1000, 384_000)]
Input = Annotated[str, OneOf(("features", "waveform"))]     # of an exported graph
SPEAKERS = Range(1, 100)                            # of a recording
THRESHOLD = Range(-2, 2)                            # of cosines, and a little beyond: none or all are the same speaker


@dataclass(frozen=True)
class Ranged:
    """A config whose fields may declare a Range. SettingError where one is out of it, also from dataclasses.replace."""

    def __post_init__(self) -> None:
        for name in ranges_of(type(self)):
            check_setting(type(self), name, getattr(self, name), name)


@cache
def ranges_of(cls: type) -> dict[str, Limit]:
    """{field: what it may be}; a subclass that only has another default keeps the one of its base."""
    names, found = {field.name for field in fields(cls)}, {}
    for base in reversed(cls.__mro__):
        own = base.__dict__.get("__annotations__", {})
        hints = get_type_hints(base, include_extras=True) if own else {}
        for name in names & own.keys():
            for limit in getattr(hints[name], "__metadata__", ()):
                found[name] = limit
    return found


def number(flag: str, limit: Limit, kind: type[int] | type[float] = float) -> Callable[[Any], int | float]:
    """The `type` of an argparse option, and a check of an argument: SettingError in one line for another value."""
    def converted(text: str) -> int | float:
        try:
            value = kind(text)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not isinstance(text, str) and value != text:     # 1.5, of which int() would make 1
            value = math.nan
        if value not in limit:
            raise SettingError(f"{flag}: found {text!r}, expected {limit}")
        return value

    return converted


def environment(name: str, limit: Range) -> int | None:
    """The whole number of an environment variable, None where it is not set. SettingError for another."""
    text = os.environ.get(name, "")
    return int(number(name, limit, int)(text)) if text else None


def check_setting(cls: type, name: str, value: Any, where: str) -> None:
    """SettingError, which begins with `where`, for a value that the setting `name` of `cls` may not have."""
    limit = ranges_of(cls).get(name)
    if limit is not None and value not in limit:
        close = nearest(value, limit.words) if isinstance(limit, OneOf) and isinstance(value, str) else ""
        raise SettingError(f"{where}: found {value!r}, expected {limit}{close}")
