"""One training step as one compiled graph: gradients, scaling, averaging over devices, clipping, update."""
from collections.abc import Callable, Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore.ops.operations.math_ops import NPUClearFloatStatusV2, NPUGetFloatStatusV2

from utils.cpu_ops import BF16, Clipping, bfloat16_is_faster, exchange, fast, for_each, usable
from utils.device import Device
from utils.errors import SettingError
from utils.layers.mixed_precision import mixed, mostly_half
from utils.training.settings import RunSettings

FIRST_DYNAMIC_SCALE = 2.0 ** 16
BACKEND = "ms_backend"      # kernel by kernel: by default a 910A takes GE for jitted methods, whatever jit_level says
SMALLEST_SCALE = 1.0     # of a dynamic loss scale: halved for ever, it would become 0
GROW_AFTER = 2000   # finite steps in a row after which a dynamic loss scale doubles


class Precision(NamedTuple):
    """In what a network computes on its device, and by what its loss is scaled."""

    level: str
    loss_scale: float   # 1: not at all; 0: dynamic

    def __str__(self) -> str:
        return self.level


def adapt(network: nn.Cell, config: RunSettings, device: Device) -> Precision:
    """Makes `network` fast on its device, in place: casts it to the level that amp_level names.

    O1: the operators that gain from float16; O2: all but norms and statistics; bf16: a CPU's products of matrices take
    bfloat16, where that is faster. The default is O1 on Ascend, O0 elsewhere, and O0 and bf16 on a CPU take kernels of
    our own. An Ascend computes with less than float32 at O0 too: its LSTM casts to float16, its convolutions round to
    HF32 (a 910A's to float16). So the loss is scaled there at every level. bfloat16 has the range of float32.
    """
    level = config.amp_level or ("O1" if device.target == "Ascend" else "O0")
    if level == BF16:
        if device.target != "CPU":
            raise SettingError(f"amp_level: found {BF16}, which is for CPUs, expected O0, O1 or O2 on {device.target}")
        fast(network, bfloat16=True)
        level = BF16 if bfloat16_is_faster() else "O0"
    elif level == "O0":
        fast(network)
    elif level == "O1":
        mixed(network)
    else:
        mostly_half(network)
    return Precision(level, 1.0 if level in ("O0", BF16) and device.target != "Ascend" else config.loss_scale)


def mean_of_sum(share: float, total: Parameter, gradient: Tensor) -> Tensor:
    return (total + gradient) * share


def clear(total: Parameter, mean: Tensor) -> Tensor:
    """Zeroes `total` once `mean` has been computed from it."""
    return ops.assign(total, ops.depend(ops.zeros_like(mean), mean))


def keep(finite: Tensor, kept: Parameter, current: Parameter) -> None:
    """Both become `current` where the step is `finite`, else `kept`."""
    value = ops.select(finite, current, kept)
    ops.assign(current, value)
    ops.assign(kept, value)


class FloatStatus(nn.Cell):
    """Whether anything has overflowed, on chips that saturate: there no gradient is infinite.

    As MindSpore's TrainOneStepWithLossScaleCell takes it: the device counts, from `clear` to `has_counted`.
    """

    def __init__(self, devices: int):
        super().__init__(auto_prefix=False)
        self.get, self.reset = NPUGetFloatStatusV2(), NPUClearFloatStatusV2()
        self.sum_over_devices = ops.AllReduce() if devices > 1 else nn.Identity()

    def clear(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The batch, once the count is at zero."""
        return ops.depend(batch, self.reset(Tensor([0] * 8, ms.int32)))

    def has_counted(self, gradients: tuple[Tensor, ...]) -> Tensor:
        """Whether an overflow was counted on any device until `gradients` were there; scalar bool."""
        status = self.get(ops.depend(Tensor([0] * 8, ms.int32), gradients))
        return (self.sum_over_devices(status) != 0).any()


class TrainStep(nn.Cell):
    """`step(*batch)` -> loss, metric, whether the gradients were finite; all scalar.

    `objective(*batch)` returns (loss, metric). The optimiser moves by the mean gradient of the calls of `add` since
    the last step and this one, `accumulate` in all. Gradients that are not finite change nothing. `loss_scale` 1
    means none, 0 one that halves when gradients overflow and doubles after GROW_AFTER finite steps. With it,
    `statistics` (BatchNorm's) too are what they were before a step whose gradients were not finite. `overflow` is
    the FloatStatus of a device that saturates: what it has counted makes gradients not finite too.
    """

    def __init__(self, objective: Callable[..., tuple[Tensor, Tensor]], optimizer: nn.Optimizer,
                 loss_scale: float = 1.0, clip_norm: float = 0.0, accumulate: int = 1, devices: int = 1,
                 statistics: Sequence[Parameter] = (), overflow: FloatStatus | None = None) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.dynamic = loss_scale == 0
        self.scale = Parameter(Tensor(loss_scale or FIRST_DYNAMIC_SCALE, ms.float32), "loss_scale", requires_grad=False)
        self.finite_steps = Parameter(Tensor(0, ms.int32), "finite_steps", requires_grad=False)
        self.scaled = loss_scale != 1
        self.accumulate = accumulate
        self.weights = optimizer.parameters
        self.clipping = Clipping(clip_norm, len(self.weights)) if self.scaled or clip_norm > 0 else None
        if self.clipping and usable() and all(weight.dtype == ms.float32 for weight in self.weights):
            exchange(self.clipping, False)
        self.mean_over_devices = nn.DistributedGradReducer(self.weights) if devices > 1 else nn.Identity()
        # gradients and so decisions are the same on all devices: one that overflows makes all skip the step
        self.statistics = ParameterTuple(statistics if self.scaled else ())
        self.kept = ParameterTuple([Parameter(statistic.value(), f"kept.{statistic.name}", requires_grad=False)
                                    for statistic in self.statistics])
        self.sums = ParameterTuple([Parameter(ops.zeros_like(weight), f"accumulated.{weight.name}", requires_grad=False)
                                    for weight in self.weights] if accumulate > 1 else ())

        def scaled_objective(*batch):
            loss, metric = objective(*batch)
            return loss * self.scale if self.scaled else loss, loss, metric

        self.overflow = overflow if self.scaled else None
        self.overflowed = Parameter(Tensor(0, ms.float32), "accumulated.overflow", requires_grad=False) \
            if self.overflow is not None and accumulate > 1 else None   # in a batch since the last step

        self.value_and_gradients = ms.value_and_grad(scaled_objective, None, self.weights, has_aux=True)

    @ms.jit(backend=BACKEND)
    def construct(self, *batch):
        if self.overflow is not None:
            batch = self.overflow.clear(batch)
        (_, loss, metric), gradients = self.value_and_gradients(*batch)
        if self.accumulate > 1:
            gradients = self._take_sums(gradients)
        gradients = self.mean_over_devices(gradients)
        if self.clipping is None:
            self.optimizer(gradients)
            return loss, metric, True
        norm, clipped = self.clipping(1 / self.scale, gradients)
        finite = ops.isfinite(norm.reshape(()))
        if self.overflow is not None:
            overflowed = self._with_added(self.overflow.has_counted(gradients))
            finite = ops.logical_and(finite, ops.logical_not(overflowed))
        if finite:
            self.optimizer(clipped)
        if self.scaled and len(self.kept) > 0:
            for_each(ops.partial(keep, finite), self.kept, self.statistics)
        return loss, metric, finite

    @ms.jit(backend=BACKEND)
    def add(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of one more batch for the next step: loss, metric."""
        if self.overflow is not None:
            batch = self.overflow.clear(batch)
        (_, loss, metric), gradients = self.value_and_gradients(*batch)
        if self.overflow is not None and self.overflowed is not None:
            ops.assign_add(self.overflowed, self.overflow.has_counted(gradients).astype(ms.float32))
        for_each(ops.assign_add, self.sums, gradients)
        return loss, metric

    def _with_added(self, overflowed: Tensor) -> Tensor:
        """Whether this batch has `overflowed`, or one added before it has; the next step begins without."""
        if self.overflowed is not None:
            overflowed = ops.logical_or(overflowed, self.overflowed > 0)
            ops.assign(self.overflowed, ops.depend(ops.zeros_like(self.overflowed), overflowed))
        return overflowed

    def _take_sums(self, gradients):
        means = for_each(ops.partial(mean_of_sum, 1 / self.accumulate), self.sums, gradients)
        for_each(clear, self.sums, means)
        return means

    def drop_overflow(self) -> None:
        """Statistics as they were at the last step, where batches added since have made one not finite.

        The step to come would do so; this is for what uses the statistics before it.
        """
        if not all(np.isfinite(statistic.asnumpy()).all() for statistic in self.statistics):
            for kept, statistic in zip(self.kept, self.statistics, strict=True):
                ops.assign(statistic, kept)

    def adjust_scale(self, finite: bool) -> None:
        """Halves or doubles a dynamic loss scale after a step whose gradients were `finite`."""
        if not self.dynamic:
            return
        steps = int(self.finite_steps) + 1 if finite else 0
        if not finite or steps == GROW_AFTER:
            scale = float(self.scale) * (2.0 if finite else 0.5)
            self.scale.set_data(Tensor(max(scale, SMALLEST_SCALE), ms.float32))
            steps = 0
        self.finite_steps.set_data(Tensor(steps, ms.int32))
