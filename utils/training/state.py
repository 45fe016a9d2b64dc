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
from utils.formats import NewerFormatError, migrate, numbered, with_format
from utils.training.run_folder import RunFolder
from utils.training.train_step import TrainStep

MIGRATIONS = (numbered,)    # of the record of a saved state, which holds the Progress (utils/formats.py)


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
    finished: bool = False
    devices: int = 1          # processes that train together; steps and updates count for so many

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
    """Of `weights` {name: Parameter}, those that no gradient moves: BatchNorm's."""
    return [parameter for parameter in weights.values() if not parameter.requires_grad]


class State:
    """Parameters {name: Parameter} and Progress of a run, whose one owner this is, in `folder`.

    `weights` are those of its checkpoints, `step` trains them.
    """

    def __init__(self, weights: dict[str, Parameter], step: TrainStep, folder: RunFolder, device: Device) -> None:
        self.folder, self.device = folder, device
        self.progress = Progress(devices=device.size)
        self.parameters = weights | parameters(step.optimizer, step)
        self.local = statistics(weights) + list(step.kept) + list(step.sums)    # what differs between processes
        self.is_damaged = False     # the last state in `folder`, so that the one before it must be kept

    def average(self) -> None:
        """Gives all processes the same state: the mean of what differs between them.

        That is BatchNorm's statistics, and sums of gradients that wait for their update. Both are sums over the
        batches, so to average them now and then is to average them after every batch.
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
                assign(saved, self.parameters, path)
            except NewerFormatError:        # not damaged: the one before it is no substitute
                raise
            except UserError as error:
                if path == states[-1]:
                    raise
                self.folder.log(f"{error}; going back to {states[-1]}", every_rank=True)
                self.is_damaged = True
            else:
                self.progress = progress
                self._compare(path)
                self.folder.forget_after(self.progress.epoch - 1)
                return path
        return None

    def _compare(self, path: Path) -> None:
        """MismatchError unless all processes, as many as before, go on from the same place."""
        if self.progress.devices != self.device.size:
            raise MismatchError(f"{path}: saved by {self.progress.devices} process(es), found {self.device.size}, to "
                                "which an epoch has other batches; start as many, or a new run with --initial_model")
        places = self.device.gather([self.progress.epoch, self.progress.step])
        if (places != places[0]).any():
            raise MismatchError(f"{path}: other processes go on at another batch; all servers must see the same run "
                                "folder")
