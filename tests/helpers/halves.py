"""A graph for the C++ runner that shows what it has made of a recording."""
import dataclasses
from pathlib import Path

from mindspore import nn

from ecapatdnn.src.config import Config
from utils.export.graph import Port, export_model

RATE = 16000


class Halves(nn.Cell):
    """x / 2 twice: one output that is as loud as the input, and one that is not."""

    def construct(self, x):
        return x / 2.0, x * 0.5


def export_halves(folder: Path) -> Path:
    """The exported Halves, in `folder`; its first output is half of what the network is given."""
    config = dataclasses.replace(Config(), runtime="lite2.0-cpu", file_name=str(folder / "net.mindir"))
    outputs = [Port("same", "float32", (1, None)), Port("scaled", "float32", (1, None), scales=True)]
    return export_model(Halves(), config, [Port("waveform", "float32", (1, None))], outputs, "net",
                        sample_rate=RATE, step_seconds=1 / RATE, wav_multiple=1, raise_quiet=True)
