"""A run's checkpoint as it ships: python -m utils.publish RUN/best.ckpt MODEL/pretrained.

The weights as float16, without the loss's, and the settings without this machine's folders. Programs that use a
checkpoint compute in float32 all the same.
"""
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from utils.command_line import Parser
from utils.config import CONFIG_FILE, config_file, read_mapping
from utils.errors import ContentError, OutputError, run
from utils.files import write_text

OF_THE_RUN = {"ckpt_save_dir", "resume", "initial_model", "model_path", "distribute", "device_target", "device_id",
              "amp_level"}      # with bf16 a checkpoint would answer otherwise on each processor


def main(argv: Sequence[str]) -> Path:
    """Writes best.ckpt and config.yaml into the folder; returns the path of the checkpoint."""
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="of a run folder, with its config.yaml beside it")
    parser.add_argument("output", help="folder; a README.md in it is yours to write")
    args = parser.parse_args(argv)
    import mindspore as ms  # which --help does not wait for

    from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint

    parameters, record = load_checkpoint(args.checkpoint)
    settings = read_mapping(config_file(args.checkpoint), "the settings of the run")
    path = Path(args.output, "best.ckpt")
    if path.exists() and any(value.dtype != ms.float16 for value in load_checkpoint(path)[0].values()):
        raise OutputError(f"output: {path} exists already and is none that was published here before; name another "
                          "folder")
    weights = {name: ms.Tensor(halved(name, value.asnumpy())) for name, value in parameters.items()
               if not name.startswith("loss.")}
    save_checkpoint(path, weights, **record)
    write_text(path.with_name(CONFIG_FILE), yaml.safe_dump(without_folders(settings), sort_keys=False))
    print(f"{path}: {len(weights)} tensors, {path.stat().st_size / 1e6:.1f} MB; settings in {CONFIG_FILE}")
    return path


def halved(name: str, array: np.ndarray) -> np.ndarray:
    """The array in float16; ContentError for a number that does not fit."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ContentError(f"{name}: holds {np.abs(array).max():g}, expected at most 65504, float16's largest number")
    return half


def without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that mean the same on any machine: no absolute paths, nothing of the run itself."""
    return {name: value for name, value in settings.items()
            if name not in OF_THE_RUN and not (isinstance(value, str) and os.path.isabs(value))}


if __name__ == "__main__":
    run(main, sys.argv[1:])
