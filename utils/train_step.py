"""One training step as one compiled graph: gradients, scaling, averaging over devices, clipping, update."""
import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from utils.cpu_ops import fast
from utils.errors import UserError
from utils.mixed_precision import mixed

AMP_LEVELS = ("O0", "O1", "O2")
FIRST_DYNAMIC_SCALE = 2.0 ** 16
GROW_AFTER = 2000   # finite steps in a row after which a dynamic loss scale doubles


def adapt(network, config, device):
    """Makes `network` fast on its device, in place: casts it to the level that amp_level names; returns the level.

    O1: the operators that gain from float16; O2: all but BatchNorm. The default is O1 on Ascend, O0 elsewhere, and O0
    on a CPU takes kernels of our own.
    """
    level = config.amp_level or ("O1" if device.target == "Ascend" else "O0")
    if level not in AMP_LEVELS:
        raise UserError(f"amp_level: found {level!r}, expected one of {', '.join(AMP_LEVELS)}")
    if level == "O0":
        fast(network)
    elif level == "O1":
        mixed(network)
    else:
        ms.amp.auto_mixed_precision(network, level)
    return level


for_each = ops.HyperMap()   # over hundreds of gradients; a Python loop in a graph takes twice as long to compile


def times(factor, gradient):
    return gradient * factor


def energy(gradient):
    return gradient.astype(ms.float32).square().sum()


def mean_of_sum(share, total, gradient):
    return (total + gradient) * share


def clear(total, mean):
    """Zeroes `total` once `mean` has been computed from it."""
    return ops.assign(total, ops.depend(ops.zeros_like(mean), mean))


class TrainStep(nn.Cell):
    """`step(*batch)` -> loss, metric, whether the gradients were finite; all scalar.

    `objective(*batch)` returns (loss, metric). The optimiser moves by the mean gradient of the calls of `add` since
    the last step and this one, `accumulate` in all. Gradients that are not finite change nothing. `loss_scale` 1
    means none, 0 one that halves when gradients overflow and doubles after GROW_AFTER finite steps. With it,
    `statistics` (BatchNorm's) too are what they were before a step whose gradients were not finite.
    """

    def __init__(self, objective, optimizer, loss_scale=1.0, clip_norm=0.0, accumulate=1, devices=1, statistics=()):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.dynamic = loss_scale == 0
        self.scale = Parameter(Tensor(loss_scale or FIRST_DYNAMIC_SCALE, ms.float32), "loss_scale", requires_grad=False)
        self.finite_steps = Parameter(Tensor(0, ms.int32), "finite_steps", requires_grad=False)
        self.scaled = loss_scale != 1
        self.clip_norm = clip_norm
        self.accumulate = accumulate
        self.weights = optimizer.parameters
        self.mean_over_devices = nn.DistributedGradReducer(self.weights) if devices > 1 else nn.Identity()
        # gradients and so decisions are the same on all devices: one that overflows makes all skip the step
        self.statistics = ParameterTuple(statistics if self.scaled else ())
        self.kept = ParameterTuple([Parameter(one.value(), f"kept.{one.name}", requires_grad=False)
                                    for one in self.statistics])
        self.sums = ParameterTuple([Parameter(ops.zeros_like(weight), f"accumulated.{weight.name}", requires_grad=False)
                                    for weight in self.weights] if accumulate > 1 else ())

        def scaled_objective(*batch):
            loss, metric = objective(*batch)
            return loss * self.scale if self.scaled else loss, loss, metric

        self.value_and_gradients = ms.value_and_grad(scaled_objective, None, self.weights, has_aux=True)

    @ms.jit
    def construct(self, *batch):
        (_, loss, metric), gradients = self.value_and_gradients(*batch)
        if self.accumulate > 1:
            gradients = self._take_sums(gradients)
        gradients = self.mean_over_devices(gradients)
        if not self.scaled and self.clip_norm == 0:
            self.optimizer(gradients)
            return loss, metric, True
        factor = 1 / self.scale
        norm = factor * ops.sqrt(ops.addn(for_each(energy, gradients)))
        finite = ops.isfinite(norm)
        if self.clip_norm > 0:
            factor = factor * ops.minimum(self.clip_norm / (norm + 1e-6), 1.0)
        if finite:
            self.optimizer(for_each(ops.partial(times, factor), gradients))
        if self.scaled and len(self.kept) > 0:
            self._keep_statistics(finite)
        return loss, metric, finite

    @ms.jit
    def add(self, *batch):
        """Gradients of one more batch for the next step: loss, metric."""
        (_, loss, metric), gradients = self.value_and_gradients(*batch)
        for_each(ops.assign_add, self.sums, gradients)
        return loss, metric

    def _keep_statistics(self, finite):
        if finite:
            for_each(ops.assign, self.kept, self.statistics)
        else:
            for_each(ops.assign, self.statistics, self.kept)

    def _take_sums(self, gradients):
        means = for_each(ops.partial(mean_of_sum, 1 / self.accumulate), self.sums, gradients)
        for_each(clear, self.sums, means)
        return means

    def adjust_scale(self, finite):
        """Halves or doubles a dynamic loss scale after a step whose gradients were `finite`."""
        if not self.dynamic:
            return
        steps = int(self.finite_steps) + 1 if finite else 0
        if not finite or steps == GROW_AFTER:
            self.scale.set_data(self.scale * (2.0 if finite else 0.5))
            steps = 0
        self.finite_steps.set_data(Tensor(steps, ms.int32))
