"""Learning rates as functions of the update number, from 0. `steps` are updates per epoch on one device.

With D devices an epoch has a D-th of the updates, so everything counted in updates is divided by D: every schedule
then takes the same course over the epochs, whatever the number of devices.
"""
import math

from utils.errors import SettingError


def learning_rate(config, steps, devices=1):
    """The function update -> rate that `config` names. `steps`: updates of an epoch on each of `devices`.

    Those that need a setting which `config` does not have (decay, cycle_steps) are not on offer.
    """
    total = config.num_epochs * steps
    warmup = max(1, round(config.warmup_epochs * steps))
    ramp = (lambda step: min(1.0, (step + 1) / warmup)) if config.warmup_epochs else (lambda step: 1.0)
    schedules = {
        "constant": lambda step: ramp(step) * config.max_lrate,
        "cosine": lambda step: ramp(step) * cosine(step, config.base_lrate, config.max_lrate, total),
    }
    if hasattr(config, "decay"):
        schedules["exponential"] = lambda step: ramp(step) * config.max_lrate * config.decay ** (step // steps)
        schedules["step"] = lambda step: (ramp(step) * config.max_lrate
                                          * config.decay ** (step // steps // config.test_step))
    if hasattr(config, "cycle_steps"):
        cycle = max(1, config.cycle_steps // (devices * config.accumulate))
        schedules["cyclic"] = lambda step: cyclic(step, config.base_lrate, config.max_lrate, cycle)
    if config.schedule not in schedules:
        raise SettingError(f"schedule: found {config.schedule!r}, expected one of {', '.join(schedules)}")
    return schedules[config.schedule]


def cyclic(step, base, top, cycle):
    """Triangular (Smith, arXiv:1506.01186): `base` to `top` in `cycle` steps, back in as many, and again."""
    position = step % (2 * cycle) / cycle
    return base + (top - base) * (1 - abs(position - 1))


def cosine(step, last, first, total):
    """Half a cosine from `first` to `last` over `total` steps (Loshchilov, Hutter, arXiv:1608.03983)."""
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, step / max(1, total)))) / 2
