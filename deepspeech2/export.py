"""Exports a checkpoint: python export.py --checkpoint_path RUN/best.ckpt --file_format MINDIR|ONNX|AIR [--length T]."""
import sys

from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, RATE
from deepspeech2.src.model import DeepSpeech2, frames_after
from utils.checkpoint import load_model
from utils.config import parse_use_config
from utils.device import setup_device
from utils.errors import run
from utils.export import Port, export_model


def main(config):
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of frames."""
    setup_device(config.device_target, device_id=config.device_id)
    model = DeepSpeech2(config)
    load_model(config.model_path, model)
    frames = frames_after(config.length) if config.length else None
    return export_model(model, config,
                        inputs=[Port("features", "float32", (1, config.length or None, BINS)),
                                Port("frames", "int32", (1,))],
                        outputs=[Port("log_probs", "float32", (frames, 1, len(config.labels))),
                                 Port("log_prob_frames", "int32", (1,))],
                        name="deepspeech2", sample_rate=RATE, labels=config.labels)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
