"""Speaker identification: python speaker_id.py --config configs/speaker_id.yaml --data_folder DIR [--flag value].

Splits the utterances of every speaker in DIR, trains, and tests the best epoch. --rank_size N trains on N devices.
"""
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from ecapatdnn.src.speaker_split import prepare
from utils.config import parse_train_config
from utils.errors import run
from utils.launching.jobs import cluster_jobs
from utils.launching.watch import Watch
from utils.training.run_folder import RunFolder

if TYPE_CHECKING:
    from utils.training.state import Progress


def main(config: SpeakerIdConfig) -> "Progress":
    """Trains and tests as `config` says, as one of rank_size processes."""
    from ecapatdnn.src.speaker_id_training import train  # MindSpore, which --help does not wait for

    return train(config)


def start(config: SpeakerIdConfig) -> None:
    """Runs `main`, in rank_size processes where that is more than one; a launcher's process is one of them."""
    from utils.device import choose_target  # MindSpore, which --help does not wait for

    if config.rank_size == 1 or "MS_ROLE" in os.environ:
        main(config)
        return
    with RunFolder(config, checkpoints="save"):     # held again by rank 0, once it is started
        prepare(config)
    command = [sys.executable, os.path.abspath(__file__), *sys.argv[1:]]
    jobs = cluster_jobs(command, config.rank_size, choose_target(config.device_target), Path.cwd())
    sys.exit(Watch(jobs).run())


if __name__ == "__main__":
    run(lambda: start(parse_train_config(SpeakerIdConfig, sys.argv[1:])))
