"""Graphs of one step over a recording that arrives (utils/layers/steps.py): what was before comes in, what follows out.

inputs.json has under "streaming" all that Steps says, as `count` the name of the input with the number of samples, and
as `states` {input: output that is its value at the next step}; all are zeros before a recording.
"""
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindspore import Tensor, nn

from utils.errors import SettingError
from utils.export.graph import Port, export_model
from utils.layers.steps import Steps
from utils.training.settings import ModelSettings

COUNT = "samples"


def check_streaming(config: ModelSettings) -> None:
    """SettingError for what a graph of steps cannot be."""
    if config.gears:
        raise SettingError(f"gears: found {config.gears} with streaming, expected none: all steps have one length, "
                           "--stream_step")
    if config.file_format.upper() != "MINDIR":
        raise SettingError(f"file_format {config.file_format}: found with streaming, expected MINDIR")


def export_step(step: nn.Cell, config: ModelSettings, steps: Steps, states: Sequence[Tensor], result: Port, name: str,
                **facts: Any) -> Path:
    """Writes the graph of `step`, (samples, count, *states) -> (result, *states after), as `export_model` does."""
    before = [Port(f"state_{i}", "float32", state.shape, state=True) for i, state in enumerate(states)]
    after = [Port(f"next_{i}", "float32", state.shape) for i, state in enumerate(states)]
    inputs = [Port("waveform", "float32", (1, steps.window)), Port(COUNT, "int32", (1,)), *before]
    streaming = dataclasses.asdict(steps) | {
        "count": COUNT, "states": {port.name: following.name for port, following in zip(before, after, strict=True)}}
    return export_model(step, config, inputs, [result, *after], f"{name}_streaming", model=name, streaming=streaming,
                        step_seconds=1 / facts["sample_rate"], **facts)
