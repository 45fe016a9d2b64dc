"""Gears: the lengths that a graph is compiled for on an Ascend. A recording is padded to the next of them.

A graph with gears takes the recording's own length as its last input, so that its result is that of the recording
alone. Imports no MindSpore.
"""
from collections.abc import Iterable, Sequence
from typing import Any

from utils.errors import SettingError

FEWEST, MOST = 2, 100       # that CANN compiles


def read_gears(text: str, multiple: int = 1, least: int = 1) -> list[int]:
    """The lengths in `--gears 200,400,800`, [] where there are none.

    SettingError unless they rise, are `least` or more, multiples of `multiple`, and as many as CANN compiles.
    """
    if not text:
        return []
    words = [word.strip() for word in text.split(",")]
    gears = [int(word) for word in words if word.isascii() and word.isdigit()]
    if len(gears) < len(words) or gears != sorted(set(gears)):
        raise SettingError(f"gears: found {text!r}, expected rising whole numbers such as 200,400,800")
    if not FEWEST <= len(gears) <= MOST:
        raise SettingError(f"gears: found {len(gears)}, expected {FEWEST} to {MOST} of them; a single length is "
                           "--length")
    for gear in gears:
        if gear < least or gear % multiple:
            raise SettingError(f"gears: found {gear}, expected {least} or more"
                               f"{f' and multiples of {multiple}' if multiple > 1 else ''}")
    return gears


def converter_config(inputs: Iterable[Any], gears: Sequence[int]) -> str:
    """What `converter_lite --configFile` takes to compile a graph of these Ports for each gear.

    Of "Ascend Conversion Tool Description" in MindSpore Lite's documentation it is the "dynamic dimension" of
    [acl_build_options]: the dynamic_dims of [ascend_context] are for inputs of four dimensions. The precision is the
    C++ runner's.
    """
    shapes = ";".join(f"{port.name}:{','.join(str(size or -1) for size in port.shape)}" for port in inputs)
    return ('[ascend_context]\nprecision_mode=preferred_fp32\n\n'
            '[acl_build_options]\ninput_format="ND"\n'
            f'input_shape="{shapes}"\nge.dynamicDims="{";".join(map(str, gears))}"\n')
