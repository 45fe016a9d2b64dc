"""All that a run needs to go on where it stopped, the same for every process that trains."""
import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor, ops

from utils.checkpoints.checkpoint import assign, load_checkpoint, save_checkpoint
from utils.errors import ContentError, MismatchError, RunError, UserError
from utils.formats import NewerFormatError, migrate, numbered, with_format

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

    def record(self) -> dict:
        """What a saved state says of it."""
        return with_format(dataclasses.asdict(self), MIGRATIONS)

    @classmethod
    def read(cls, record: dict, path) -> "Progress":
        """That of the record of the saved state `path`; ContentError where it is that of another file."""
        values = migrate(record, MIGRATIONS, path)
        unknown = values.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ContentError(f"{path}: {min(unknown)}: no part of a saved state; expected a last/state.ckpt")
        return cls(**values)


def parameters(*cells):
    """{name: Parameter} of all weights and statistics of `cells`, for checkpoints. Names must differ."""
    return {parameter.name: parameter for cell in cells for parameter in cell.get_parameters()}


def statistics(weights):
    """Of `weights` {name: Parameter}, those that no gradient moves: BatchNorm's."""
    return [one for one in weights.values() if not one.requires_grad]


class State:
    """Parameters {name: Parameter} and Progress of a run in the folder `run`, trained by `step`."""

    def __init__(self, weights, step, run, device):
        self.run, self.device = run, device
        self.progress = Progress(devices=device.size)
        self.parameters = weights | parameters(step.optimizer, step)
        self.own = statistics(weights) + list(step.kept) + list(step.sums)   # in what processes differ

    def average(self):
        """Gives all processes the same state: the mean of what each has of its own.

        That is BatchNorm's statistics, and sums of gradients that wait for their update. Both are sums over the
        batches, so to average them now and then is to average them after every batch.
        """
        if self.device.size > 1 and self.own:
            means = self.device.mean([one.asnumpy() for one in self.own])
            for parameter, mean in zip(self.own, means, strict=True):
                ops.assign(parameter, Tensor(mean, parameter.dtype))

    def save(self, checked=True):
        """Writes the state and keeps the one before it. `checked`: RunError where a number is not finite."""
        self.average()
        for name, value in self.parameters.items() if checked else ():
            if not np.isfinite(value.asnumpy().astype(np.float32)).all():
                raise RunError(f"{name} is no longer finite at epoch {self.progress.epoch}, batch "
                               f"{self.progress.step}; lower max_lrate or set clip_norm, and continue from "
                               f"{self.run.state} with --resume {self.run.path}")
        if self.run.writes:
            self.run.keep_state()
            save_checkpoint(self.run.state, self.parameters, **self.progress.record())

    def resume(self, auto=False):
        """Takes up the saved state; its path. `auto`: the one before it if it is no use, None if there is none."""
        places = self.run.saved_states() if auto else [self.run.state]
        for path in places:
            try:
                saved, record = load_checkpoint(path)
                self.progress = Progress.read(record, path)     # first: of a newer format, weights may differ too
                assign(saved, self.parameters, path)
            except NewerFormatError:        # not damaged: the one before it is no substitute
                raise
            except UserError as error:
                if path == places[-1]:
                    raise
                self.run.say(f"{error}; going back to {places[-1]}", own=True)
                self.run.damaged = True
            else:
                self._compare(path)
                self.run.forget_after(self.progress.epoch - 1)
                return path
        return None

    def _compare(self, path):
        """MismatchError unless all processes, as many as before, go on from the same place."""
        if self.progress.devices != self.device.size:
            raise MismatchError(f"{path}: saved by {self.progress.devices} process(es), found {self.device.size}, to "
                                "which an epoch has other batches; start as many, or begin anew with --initial_model")
        places = self.device.gather([self.progress.epoch, self.progress.step])
        if (places != places[0]).any():
            raise MismatchError(f"{path}: other processes go on at another batch; all servers must see the same run "
                                "folder")
