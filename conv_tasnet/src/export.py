"""The graph of Conv-TasNet as a file."""
from pathlib import Path
from typing import Any

from conv_tasnet.src.config import Config
from conv_tasnet.src.frames import frame_count, sample_count
from conv_tasnet.src.model import ConvTasNet, WholeStrides
from conv_tasnet.src.streaming import Step, require_causal, steps_of
from conv_tasnet.src.windows import graph_windows
from utils.checkpoints.checkpoint import load_model
from utils.errors import SettingError
from utils.export.gears import read_gears
from utils.export.graph import Port, export_model, note_columns, start_export
from utils.export.streaming import check_streaming, export_step


def export(config: Config) -> Path:
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of whole strides."""
    if config.streaming:
        return export_streaming(config)
    stride = config.L // 2
    if config.length % stride or config.length == stride:
        raise SettingError(f"length: {config.length} samples, expected two or more strides of {stride}; or 0 for any")
    start_export(config)
    model = ConvTasNet(config)
    load_model(config.model_path, model)
    # MindSpore Lite 2.0.0 writes beyond its memory where a convolution has more zeros on a side than there are frames
    reach = (config.P - 1) * 2 ** (config.X - 1) // (1 if config.causal else 2)
    shortest = sample_count(reach + 1 if config.runtime else 1, stride)
    gears = read_gears(config.gears, stride, shortest)
    length = None if gears else config.length or None
    note_columns(config, frame_count(max([*gears, length or 0]), stride))
    inputs = [Port("mixture", "float32", (1, length), 300 * stride), Port("lengths", "int32", (1,))]
    return export_model(WholeStrides(model), config, inputs if gears else inputs[:1],
                        outputs=[Port("sources", "float32", (1, config.C, length), length=(0, 1), scales=True)],
                        name="conv_tasnet", gears=gears, sample_rate=config.sample_rate,
                        step_seconds=1 / config.sample_rate, wav_multiple=stride, raise_quiet=True,
                        shortest=sample_count(1, stride) if gears else shortest,
                        answer=answer_of(config, length or 0, gears[-1] if gears else 0))


def export_streaming(config: Config) -> Path:
    """Writes the graph of one step and inputs.json; returns the graph's path."""
    require_causal(config)
    check_streaming(config)
    start_export(config)
    model, steps = ConvTasNet(config), steps_of(config, config.stream_step)
    load_model(config.model_path, model)
    sources = Port("sources", "float32", (1, config.C, steps.rows))
    return export_step(Step(model, steps), config, steps, model.start(), sources, "conv_tasnet",
                       sample_rate=config.sample_rate, answer=answer_of(config))


def answer_of(config: Config, fixed: int = 0, longest: int = 0) -> dict[str, Any]:
    """What the C++ runner has to know to separate recordings, in samples; `fixed`, `longest` as in `graph_windows`."""
    window, overlap = graph_windows(config, fixed, longest)
    return {"kind": "voices", "window": window, "overlap": overlap}
