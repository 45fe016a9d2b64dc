"""The folder of one training run: config.yaml train.log metrics.csv curves.png checkpoints/ best.ckpt last/."""
import contextlib
import logging
import logging.handlers
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from utils.config import AUTO, save_config
from utils.defects import write_log
from utils.errors import ContentError, OutputError, UserError
from utils.files import csv_text, remove_unfinished, whole_file, write_text
from utils.locks import locked_folder
from utils.texts import read_rows
from utils.training.settings import RunSettings

STATE = Path("last", "state.ckpt")   # everything --resume needs
PREVIOUS = Path("last", "previous.ckpt")    # the one before it, for --resume auto
FORMAT = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")      # of the lines of train.log


class RunFolder:
    """config.ckpt_save_dir as one run's: `with` keeps other processes out of it, `start` is the first to write into it.

    So what is refused before `start` leaves everything as it was. Ranks other than 0 write nothing. `checkpoints` names
    the folder in it that gets a checkpoint of every epoch.
    """

    def __init__(self, config: RunSettings, rank: int = 0, checkpoints: str = "checkpoints") -> None:
        self.config = config
        aliases = getattr(config, "ALIASES", {})
        self.setting = next((flag for flag, name in aliases.items() if name == "ckpt_save_dir"), "ckpt_save_dir")
        self.path = Path(config.ckpt_save_dir)
        self.checkpoints = self.path / checkpoints
        self.writes = rank == 0
        self.rows: list[dict[str, Any]] = []    # of metrics.csv; those of before a resume hold text, as csv gives it
        self._logger, self._waiting = None, None
        self._held = contextlib.ExitStack()

    def __enter__(self) -> "RunFolder":
        if self.writes:
            remedy = f"wait for it, stop it, or choose another folder with --{self.setting}"
            self._held.enter_context(locked_folder(self.path, self.setting, remedy))
            try:
                self._check_free()
            except UserError:
                self._held.close()
                raise
            self._logger, self._waiting = _make_log(str(self.path))
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        log = self.path / "train.log"
        if self._logger and log.exists() and isinstance(error, Exception) and not isinstance(error, UserError):
            write_log(error, log)
        if self._logger:
            _close_log(self._logger)
            self._logger = None
        self._held.close()

    def _check_free(self) -> None:
        """OutputError where a run is there that is not to be continued, or cannot be."""
        states = self.saved_states()
        if self.config.resume and (states or self.config.resume != AUTO):
            return
        kept = [path for path in (*states, self.best, *sorted(self.checkpoints.glob("epoch_*.ckpt"))) if path.exists()]
        if kept:
            continued = f"continue it with --resume {self.path}" if states else "it holds no state to continue from"
            raise OutputError(f"{self.setting}: {self.path} holds a run ({kept[0].relative_to(self.path)}), which "
                              f"would be overwritten; {continued}, choose another folder with --{self.setting}, or "
                              "delete that one")

    def start(self) -> None:
        """Writes config.yaml and opens train.log, which gets what was logged before, too: the run begins."""
        if not self.writes:
            return
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.setting}: {self.path}: cannot be written ({error.strerror}); choose another "
                              "folder") from None
        remove_unfinished(self.path)
        save_config(self.config, self.path)
        if self._logger and self._waiting:
            _open_log(self._logger, self._waiting, self.path / "train.log", append=bool(self.config.resume))

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
            expected = "metrics as train.py writes them, from `epoch` on; delete the file to go on without them"
            (_, names), *rows = [*read_rows(table, expected)] or [(0, [])]
            try:
                metrics = [dict(zip(names, cells, strict=False)) for _, cells in rows]
                self.rows = [row for row in metrics if int(row["epoch"]) <= epoch]
            except (KeyError, ValueError):
                raise ContentError(f"{table}: found {','.join(names)[:80]}, expected {expected}") from None

    def drop_oldest(self) -> None:
        """Deletes the oldest checkpoints of epochs, all but keep_checkpoint_max."""
        if self.writes:
            for old in sorted(self.checkpoints.glob("epoch_*.ckpt"))[:-self.config.keep_checkpoint_max]:
                old.unlink()

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


def _make_log(name: str) -> tuple[logging.Logger, logging.handlers.MemoryHandler]:
    """(a logger that prints on the screen, what keeps its lines for the file)."""
    logger = logging.getLogger(name)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    _close_log(logger)
    screen, waiting = logging.StreamHandler(sys.stdout), logging.handlers.MemoryHandler(1000, logging.CRITICAL)
    screen.setFormatter(FORMAT)
    for handler in (screen, waiting):
        logger.addHandler(handler)
    return logger, waiting


def _open_log(logger: logging.Logger, waiting: logging.handlers.MemoryHandler, path: Path, append: bool) -> None:
    """From now on the lines go into the file `path`, those that have waited first."""
    file = logging.FileHandler(path, "a" if append else "w", encoding="utf-8", errors="surrogateescape")
    file.setFormatter(FORMAT)
    waiting.setTarget(file)
    logger.removeHandler(waiting)
    waiting.close()
    logger.addHandler(file)


def _close_log(logger: logging.Logger) -> None:
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
