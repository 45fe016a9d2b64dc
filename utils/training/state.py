"""All that a run needs to go on where it stopped, the same for every process that trains."""
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from utils.checkpoints.checkpoint import assign, load_checkpoint, save_checkpoint
from utils.device import Device
from utils.errors import ContentError, MismatchError, RunError, UserError
from utils.formats import NewerFormatError, migrate, numbered, renamed, with_format
from utils.training.run_folder import RunFolder
from utils.training.train_step import TrainStep

# of the record of a saved state, which holds the Progress (utils/formats.py)
MIGRATIONS = (numbered, renamed(finished=None))

STATISTICS = (".moving_mean", ".moving_variance")       # ends of their names
PLAN = ("steps", "minibatch_size", "accumulate", "seed")     # what batches and updates are counted by


@dataclass
class Progress:
    """Where a run stands; with weights, optimiser and loss scale it is all that `--resume` needs."""

    epoch: int = 1            # the one in training
    step: int = 0             # its batches done
    batches: int = 0          # of all epochs
    updates: int = 0          # of the optimiser
    overflows: int = 0        # steps of this epoch that changed nothing
    unscored: int = 0         # batches of this epoch whose loss was not finite
    rate: float = 0.0         # of the last batch
    loss: float = 0.0         # summed over this epoch
    metric: float = 0.0
    best: float = math.inf
    best_epoch: int = 0
    factor: float = 1.0       # on the scheduled rate: halved when validation stands still
    halved: int = 0           # epoch after which it was
    minutes: float = 0.0
    devices: int = 1          # processes that train together; steps and updates count for so many
    steps: int = 0            # batches of an epoch; not known of older states, as the next three: 0 or -1
    minibatch_size: int = 0
    accumulate: int = 0
    seed: int = -1

    @property
    def mean_loss(self) -> float:
        """Of this epoch's batches whose loss was finite; NaN without any."""
        return self.loss / (self.step - self.unscored or math.nan)

    @property
    def mean_metric(self) -> float:
        """Likewise."""
        return self.metric / (self.step - self.unscored or math.nan)

    def record(self) -> dict[str, Any]:
        """What a saved state holds of it."""
        return with_format(dataclasses.asdict(self), MIGRATIONS)

    @classmethod
    def read(cls, record: dict[str, Any], path: Path) -> "Progress":
        """That of the record of the saved state `path`; ContentError where it is that of another file."""
        values = migrate(record, MIGRATIONS, path)
        unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ContentError(f"{path}: {min(unknown)}: no part of a saved state; expected a last/state.ckpt")
        return cls(**values)


def parameters(*cells: nn.Cell) -> dict[str, Parameter]:
    """{name: Parameter} of all weights and statistics of `cells`, for checkpoints. Names must differ."""
    return {parameter.name: parameter for cell in cells for parameter in cell.get_parameters()}


def statistics(weights: dict[str, Parameter]) -> list[Parameter]:
    """Of `weights` {name: Parameter}, BatchNorm's: what training batches move without a gradient."""
    return [parameter for name, parameter in weights.items() if name.endswith(STATISTICS)]


class State:
    """Parameters {name: Parameter} and Progress of a run, whose one owner this is, in `folder`.

    `weights` are those of its checkpoints, `step` trains them; `progress` is that of a run that begins.
    """

    def __init__(self, weights: dict[str, Parameter], step: TrainStep, folder: RunFolder, device: Device,
                 progress: Progress) -> None:
        self.folder, self.device, self.progress = folder, device, progress
        self.parameters = weights | parameters(step.optimizer, step)
        self.local = statistics(weights) + list(step.kept) + list(step.sums)    # what differs between processes
        self.is_damaged = False     # the last state in `folder`, so that the one before it must be kept

    def average(self) -> None:
        """Gives all processes the same state: the mean of what differs between them.

        That is BatchNorm's statistics, and sums of gradients that wait for their update. Both are sums over the
        batches, so to average them now and then is to average them after every batch, up to rounding.
        """
        if self.device.size > 1 and self.local:
            means = self.device.mean([parameter.asnumpy() for parameter in self.local])
            for parameter, mean in zip(self.local, means, strict=True):
                ops.assign(parameter, Tensor(mean, parameter.dtype))

    def save(self, checked: bool = True) -> None:
        """Writes the state and keeps the one before it. `checked`: RunError where a number is not finite."""
        self.average()
        for name, value in self.parameters.items() if checked else ():
            if not np.isfinite(value.asnumpy().astype(np.float32)).all():
                raise RunError(f"{name} is no longer finite at epoch {self.progress.epoch}, batch "
                               f"{self.progress.step}; lower max_lrate or set clip_norm, and continue from "
                               f"{self.folder.state} with --resume {self.folder.path}")
        if self.folder.writes:
            if not self.is_damaged:
                self.folder.keep_state()
            save_checkpoint(self.folder.state, self.parameters, **self.progress.record())
        self.is_damaged = False

    def resume(self, auto: bool = False) -> Path | None:
        """Takes up the saved state; its path. `auto`: the one before it if it is damaged, None if there is none."""
        states = self.folder.saved_states() if auto else [self.folder.state]
        for path in states:
            try:
                saved, record = load_checkpoint(path)
                progress = Progress.read(record, path)      # first: of a newer format, weights may differ too
                self._require_plan(progress, path)
                assign(saved, self.parameters, path)
            except NewerFormatError:        # not damaged: the one before it is no substitute
                raise
            except UserError as error:
                if path == states[-1]:
                    raise
                self.folder.log(f"{error}; going back to {states[-1]}", every_rank=True)
                self.is_damaged = True
            else:
                self.progress = dataclasses.replace(progress, **{name: getattr(self.progress, name) for name in PLAN})
                self._compare(path)
                self.folder.forget_after(self.progress.epoch - 1)
                return path
        return None

    def _require_plan(self, saved: Progress, path: Path) -> None:
        """MismatchError where a step or an update of the state would be another one now."""
        for name in PLAN:
            then, now = getattr(saved, name), getattr(self.progress, name)
            if then not in (now, getattr(Progress, name)):
                raise MismatchError(f"{path}: saved with {name} {then}, found {now}, with which its batches would be "
                                    f"others; leave {name} as it was, or begin a new run with --initial_model")

    def _compare(self, path: Path) -> None:
        """MismatchError unless all processes, as many as before, go on from the same place."""
        if self.progress.devices != self.device.size:
            raise MismatchError(f"{path}: saved by {self.progress.devices} process(es), found {self.device.size}, to "
                                "which an epoch has other batches; start as many, or a new run with --initial_model")
        places = self.device.gather([self.progress.epoch, self.progress.step])
        if (places != places[0]).any():
            raise MismatchError(f"{path}: other processes go on at another batch; all servers must see the same run "
                                "folder")
