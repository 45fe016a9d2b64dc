"""Exports a checkpoint: python export.py --checkpoint_path RUN/best.ckpt --file_format MINDIR|ONNX|AIR [--length T]."""
import sys

from ecapatdnn.src.config import Config
from ecapatdnn.src.features import RATE
from ecapatdnn.src.model import EcapaTdnn
from utils.checkpoint import load_model
from utils.config import parse_use_config
from utils.device import setup_device
from utils.errors import run
from utils.export import Port, export_model


def main(config):
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of frames."""
    setup_device(config.device_target, device_id=config.device_id)
    model = EcapaTdnn(config.in_channels, config.channels, config.emb_size, config.mfa_channels, config.variant)
    load_model(config.model_path, model)
    return export_model(model, config,
                        inputs=[Port("features", "float32", (1, config.length or None, config.in_channels))],
                        outputs=[Port("embedding", "float32", (1, config.emb_size))],
                        name="ecapatdnn", front_end=config.front_end, sample_rate=RATE)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
