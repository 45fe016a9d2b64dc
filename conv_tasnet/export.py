"""Exports a checkpoint: python export.py --checkpoint_path RUN/best.ckpt --file_format MINDIR|ONNX|AIR [--length S].

--runtime says which runtime a MINDIR is for: ascend, or lite2.0-ascend with MindSpore Lite 2.0; lite2.0 on a CPU, or
lite2.0-cpu, faster there and good for nothing else. --gears 16000,32000 takes mixtures up to the last of these lengths,
padded to the next, with the results that they have alone. --streaming writes a graph of one step of a causal network,
for a runner's --stream.
"""
import sys
from pathlib import Path

from conv_tasnet.src.config import Config
from utils.config import parse_use_config
from utils.errors import run


def main(config: Config) -> Path:
    """Writes the graph and inputs.json; returns the graph's path. --length 0 takes any number of whole strides."""
    from conv_tasnet.src.export import export  # MindSpore, which --help does not wait for

    return export(config)


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
