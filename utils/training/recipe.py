"""What a model brings to the training loop."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mindspore import Parameter, Tensor, nn

from utils.training.run_folder import RunFolder
from utils.training.schedules import Schedule
from utils.training.train_step import Precision


class Objective(Protocol):
    """What is trained for: tensors of a batch -> (loss, metric), both scalar. It becomes part of a compiled graph."""

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Recipe:
    """The ingredients of `fit`."""

    weights: dict[str, Parameter]   # what checkpoints hold, by name
    precision: Precision
    objective: Objective
    metric: str                     # what the objective's second number is called in train.log and metrics.csv
    optimizer: nn.Optimizer
    schedule: Schedule              # number of an update, from 0 -> learning rate
    criterion: str                  # the number of `validate` that chooses best.ckpt: the smallest is the best
    validate: Callable[[], dict[str, float]] | None = None      # {name: number}; None: the last epoch is the best
    before_epoch: Callable[[int], object] | None = None         # called with the epoch's number, from 1
    after_epoch: Callable[[RunFolder], object] | None = None    # its `rows` end with that of the epoch
