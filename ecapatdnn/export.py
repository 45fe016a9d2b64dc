"""Exports a checkpoint: python export.py --checkpoint_path RUN/best.ckpt --file_format MINDIR|ONNX|AIR [--length T].

--input waveform takes samples instead of features, --runtime lite2.0 writes MINDIR for MindSpore Lite 2.0,
lite2.0-cpu one that is faster there on a CPU and good for nothing else.
"""
import sys

from ecapatdnn.src.config import Config
from ecapatdnn.src.features import HOP, RATE, sample_count
from ecapatdnn.src.model import EcapaTdnn
from ecapatdnn.src.waveform import FromWaveform
from utils.checkpoint import load_model
from utils.config import parse_use_config
from utils.device import setup_device
from utils.errors import UserError, run
from utils.export import Port, export_model


def main(config):
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of frames."""
    setup_device(config.device_target, device_id=config.device_id)
    model = EcapaTdnn(config.in_channels, config.channels, config.emb_size, config.mfa_channels, config.variant)
    load_model(config.model_path, model)
    if config.input == "features":
        port = Port("features", "float32", (1, config.length or None, config.in_channels))
        facts = {"step_seconds": HOP / RATE}
    elif config.input == "waveform":
        model = FromWaveform(model, config.front_end, config.in_channels)
        samples = sample_count(config.length, config.front_end) if config.length else None
        port = Port("waveform", "float32", (1, samples), RATE)
        facts = {"step_seconds": 1 / RATE, "wav_multiple": 1}
    else:
        raise UserError(f"input: found {config.input!r}, expected features or waveform")
    return export_model(model, config, inputs=[port], outputs=[Port("embedding", "float32", (1, config.emb_size))],
                        name="ecapatdnn", front_end=config.front_end, sample_rate=RATE, **facts)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
