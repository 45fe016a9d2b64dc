"""The folder of one training run: config.yaml train.log metrics.csv curves.png checkpoints/ best.ckpt last/."""
import csv
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from utils.config import save_config
from utils.errors import OutputError
from utils.files import csv_text, remove_unfinished, whole_file, write_text
from utils.training.settings import RunSettings
from utils.training.step_clock import check_steps

STATE = Path("last", "state.ckpt")   # everything --resume needs
PREVIOUS = Path("last", "previous.ckpt")    # the one before it, for --resume auto


class RunFolder:
    """Creates config.ckpt_save_dir and writes into it; ranks other than 0 write nothing.

    `checkpoints` names the folder in it that gets a checkpoint of every epoch.
    """

    def __init__(self, config: RunSettings, rank: int = 0, checkpoints: str = "checkpoints") -> None:
        check_steps(config.max_steps)       # before a run of that name is overwritten
        self.path = Path(config.ckpt_save_dir)
        self.checkpoints = self.path / checkpoints
        self.writes = rank == 0
        self.rows: list[dict[str, Any]] = []    # of metrics.csv; those of before a resume hold text, as csv gives it
        self._logger = None
        if not self.writes:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"ckpt_save_dir: {self.path}: cannot be written ({error.strerror}); choose another "
                              "folder") from None
        remove_unfinished(self.path)
        save_config(config, self.path)
        self._logger = _open_log(self.path / "train.log", append=bool(config.resume))

    @property
    def best(self) -> Path:
        return self.path / "best.ckpt"

    @property
    def state(self) -> Path:
        return self.path / STATE

    def saved_states(self) -> list[Path]:
        """The paths of the last state and the one before it, as far as there are any."""
        return [path for path in (self.state, self.path / PREVIOUS) if path.is_file()]

    def keep_state(self) -> None:
        """Keeps the last state, if there is one, as the one before it: a new one is to take its name."""
        if self.state.is_file():
            with whole_file(self.path / PREVIOUS) as temporary:
                try:
                    os.link(self.state, temporary)
                except OSError:             # some file systems have no links
                    shutil.copyfile(self.state, temporary)

    def log(self, text: str, every_rank: bool = False) -> None:
        """One event, one line: on the screen and in train.log. `every_rank`: ranks other than 0 print it too."""
        if self._logger:
            self._logger.info(text)
        elif every_rank:
            print(text, flush=True)

    def forget_after(self, epoch: int) -> None:
        """Takes up metrics.csv where a run resumes: rows after `epoch` belong to work that is done again."""
        table = self.path / "metrics.csv"
        if table.is_file():
            with open(table, newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= epoch]

    def add_row(self, row: dict[str, Any]) -> None:
        """Appends a row of metrics {name: number}, `epoch` among them."""
        self.rows.append(row)
        self.write("metrics.csv", csv_text(self.rows))

    def write(self, name: str, text: str) -> None:
        """Replaces the text file `name` of the folder."""
        if self.writes:
            write_text(self.path / name, text)

    def draw(self, criterion: str) -> None:
        """curves.png: every metric over the epochs; the best epoch by `criterion`, one of them, is marked."""
        if self.writes and self.rows:
            from utils.plots import draw_curves  # matplotlib takes a second to import
            draw_curves(self.rows, self.path / "curves.png", criterion)


def _open_log(path: Path, append: bool) -> logging.Logger:
    logger = logging.getLogger(str(path))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    to_file = logging.FileHandler(path, "a" if append else "w", encoding="utf-8")
    for handler in (logging.StreamHandler(sys.stdout), to_file):
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    return logger
