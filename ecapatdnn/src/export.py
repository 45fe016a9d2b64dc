"""The graph of ECAPA-TDNN as a file."""
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecapatdnn.src.calibration import WHOLE, of_record
from ecapatdnn.src.config import Config
from ecapatdnn.src.features import HOP, MIN_FRAMES, RATE, sample_count
from ecapatdnn.src.inference import LONGEST
from ecapatdnn.src.model import make_network
from ecapatdnn.src.waveform import FromWaveform
from utils.checkpoints.checkpoint import load_model
from utils.export.gears import read_gears
from utils.export.graph import Port, export_model, note_columns, start_export
from utils.export.lite2 import ASCEND


def export(config: Config) -> Path:
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of frames."""
    start_export(config)
    model = make_network(config)
    record = load_model(config.model_path, model)
    gears = read_gears(config.gears, least=MIN_FRAMES)
    length = None if gears else config.length or None
    note_columns(config, max([*gears, length or 0]))
    if config.input == "features":
        inputs = [Port("features", "float32", (1, length, config.in_channels)), Port("lengths", "int32", (1,))]
        facts = {"step_seconds": HOP / RATE}
    else:
        model = FromWaveform(model, config.front_end, config.in_channels)
        samples = length and sample_count(length, config.front_end)
        gears = [-(-sample_count(gear, config.front_end) // HOP) * HOP for gear in gears]
        inputs = [Port("waveform", "float32", (1, samples), RATE), Port("samples", "int32", (1,))]
        multiple = HOP if config.runtime in ASCEND and not (gears or length) else 1     # see Squares.for_ascend
        answer = {"kind": "embedding", "window": LONGEST * RATE} | verdicts(record, config)
        facts = {"step_seconds": 1 / RATE, "wav_multiple": multiple, "raise_quiet": True, "answer": answer,
                 "shortest": sample_count(MIN_FRAMES, config.front_end)}
    return export_model(model, config, inputs if gears else inputs[:1],
                        outputs=[Port("embedding", "float32", (1, config.emb_size))], name="ecapatdnn", gears=gears,
                        front_end=config.front_end, sample_rate=RATE, **facts)


def verdicts(record: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """What inputs.json says of verdicts, of a checkpoint's `record`: threshold and calibration, as far as it has them.

    As of a Verifier without crops: a graph scores whole recordings, so that only a calibration of those holds for it.
    """
    calibration = of_record(record, dataclasses.replace(config, **WHOLE))
    if calibration:
        return {"threshold": calibration.threshold(), "calibration": calibration._asdict()}
    return {"threshold": record["threshold"]} if "threshold" in record else {}
