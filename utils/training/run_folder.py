"""The folder of one training run: config.yaml train.log metrics.csv curves.png checkpoints/ best.ckpt last/."""
import csv
import logging
import os
import shutil
import sys
from pathlib import Path

from utils.checkpoints.checkpoint import UNFINISHED
from utils.config import save_config
from utils.errors import OutputError
from utils.files import csv_text, write_text
from utils.training.step_clock import check_steps

STATE = Path("last", "state.ckpt")   # everything --resume needs
PREVIOUS = Path("last", "previous.ckpt")    # the one before it, for --resume auto


class RunFolder:
    """Creates `folder` and writes into it; ranks other than 0 write nothing. `checkpoints`: its folder of epochs."""

    def __init__(self, config, rank=0, checkpoints="checkpoints"):
        check_steps(config.max_steps)       # before a run of that name is overwritten
        self.path = Path(config.ckpt_save_dir)
        self.checkpoints = self.path / checkpoints
        self.writes = rank == 0
        self.resuming = bool(config.resume)
        self.damaged = False        # the state is no use, what is before it must be kept
        self.rows = []
        if not self.writes:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"ckpt_save_dir: {self.path}: cannot be written ({error.strerror}); choose another "
                              "folder") from None
        for unfinished in self.path.rglob(UNFINISHED + "*"):     # of a run that was killed
            shutil.rmtree(unfinished, ignore_errors=True)
        save_config(config, self.path)
        self.log = _logger(self.path / "train.log", append=self.resuming)

    @property
    def best(self):
        return self.path / "best.ckpt"

    @property
    def state(self):
        return self.path / STATE

    def saved_states(self):
        """The paths of the last state and the one before it, as far as there are any."""
        return [path for path in (self.state, self.path / PREVIOUS) if path.is_file()]

    def keep_state(self):
        """Keeps the last state, if it is of use, while a new one takes its name."""
        if self.state.is_file() and not self.damaged:
            temporary = self.path / PREVIOUS.with_suffix(".new")
            temporary.unlink(missing_ok=True)
            try:
                os.link(self.state, temporary)
            except OSError:             # some file systems have no links
                shutil.copyfile(self.state, temporary)
            os.replace(temporary, self.path / PREVIOUS)
        self.damaged = False

    def say(self, text, own=False):
        """One event, one line: on the screen and in train.log. `own`: ranks other than 0 print it too."""
        if self.writes:
            self.log.info(text)
        elif own:
            print(text, flush=True)

    def forget_after(self, epoch):
        """Takes up metrics.csv where a run resumes: rows after `epoch` belong to work that is done again."""
        table = self.path / "metrics.csv"
        if table.is_file():
            with open(table, newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= epoch]

    def add_row(self, row):
        """Appends a row of metrics {name: number}, `epoch` among them."""
        self.rows.append(row)
        self.write("metrics.csv", csv_text(self.rows))

    def write(self, name, text):
        """Replaces the text file `name` of the folder."""
        if self.writes:
            write_text(self.path / name, text)

    def draw(self):
        """curves.png: every metric over the epochs."""
        if self.writes and self.rows:
            from utils.plots import draw_curves  # matplotlib takes a second to import
            draw_curves(self.rows, self.path / "curves.png")


def _logger(path, append):
    log = logging.getLogger(str(path))
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    to_file = logging.FileHandler(path, "a" if append else "w", encoding="utf-8")
    for handler in (logging.StreamHandler(sys.stdout), to_file):
        handler.setFormatter(formatter)
        log.addHandler(handler)
    return log
