"""The graph of DeepSpeech2 as a file."""
from pathlib import Path
from typing import Any

from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, HOP, RATE, sample_count
from deepspeech2.src.inference import Recognizer
from deepspeech2.src.model import DeepSpeech2, FixedLength, frames_after
from deepspeech2.src.streaming import Step, begin, require_unidirectional, steps_of
from deepspeech2.src.text import BLANK, Alphabet
from deepspeech2.src.waveform import FromWaveform
from deepspeech2.src.windows import FRAME, LONGEST, OVERLAP, PAUSE, SEGMENT, WINDOW
from utils.checkpoints.checkpoint import load_model
from utils.errors import SettingError
from utils.export.gears import read_gears
from utils.export.graph import Port, export_model, start_export
from utils.export.lite2 import ASCEND
from utils.export.streaming import check_streaming, export_step


def export(config: Config) -> Path:
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of frames."""
    if config.streaming:
        require_unidirectional(config)
        check_streaming(config)
    start_export(config)
    onnx = config.file_format.upper() == "ONNX"
    if onnx and config.input == "waveform":
        raise SettingError("file_format ONNX: found with input waveform, expected features; MindSpore cannot write "
                           "the front-end as ONNX, take MINDIR")
    if config.runtime.startswith("lite2.0") and config.runtime not in ASCEND and config.rnn_type == "gru":
        raise SettingError(f"runtime {config.runtime}: found with rnn_type gru, expected lstm; MindSpore Lite 2.0 has "
                           "no GRU for a CPU, take ONNX, or MINDIR without --runtime")
    model = DeepSpeech2(config)
    load_model(config.model_path, model)
    if config.streaming:
        steps = steps_of(config, config.stream_step)
        log_probs = Port("log_probs", "float32", (steps.rows, 1, len(config.labels)))
        return export_step(Step(model, steps), config, steps, begin(model), log_probs, "deepspeech2", sample_rate=RATE,
                           answer=answer_of(config))
    gears = read_gears(config.gears)
    length = None if gears else config.length or None
    if config.input == "features":
        inputs = [Port("features", "float32", (1, length, BINS)), Port("frames", "int32", (1,))]
        if onnx and length:
            model = FixedLength(model, length)
        facts, halved = {"step_seconds": HOP / RATE, "labels": config.labels}, (1, 2)
    else:
        model = FromWaveform(model)
        inputs = [Port("waveform", "float32", (1, length and sample_count(length)), RATE)]
        if gears:
            gears = [sample_count(gear) for gear in gears]
            inputs.append(Port("samples", "int32", (1,)))
        multiple = HOP if config.runtime in ASCEND and not (gears or length) else 1     # see Squares.for_ascend
        facts = {"step_seconds": 1 / RATE, "wav_multiple": multiple, "raise_quiet": True, "answer": answer_of(config),
                 "shortest": Recognizer.fewest}
        halved = (2 * HOP, 2 * HOP)
    outputs = [Port("log_probs", "float32", (length and frames_after(length), 1, len(config.labels)), length=halved),
               Port("log_prob_frames", "int32", (1,))]
    return export_model(model, config, inputs, outputs, "deepspeech2", gears=gears, sample_rate=RATE,
                        branches=1 + config.bidirectional, **facts)


def answer_of(config: Config) -> dict[str, Any]:
    """What the C++ runner has to know to write down recordings: in samples, and the lengths of a text in frames."""
    return {"kind": "text", "labels": config.labels, "blank": BLANK, "spaced": Alphabet(config.labels).spaced,
            "frame_samples": FRAME, "window": WINDOW * RATE, "overlap": OVERLAP * RATE, "pause": PAUSE,
            "segment": SEGMENT, "longest": LONGEST, "beam_width": config.beam_width, "alpha": config.alpha,
            "beta": config.beta}
