"""utils/training/schedules.py: known values, and the same course over the epochs whatever the number of devices."""
import dataclasses

import numpy as np
import pytest
from helpers.errors import refused

from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.optimizer import make_schedule as make_conv_tasnet_schedule
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.optimizer import make_schedule as make_deepspeech2_schedule
from ecapatdnn.src.config import Config
from ecapatdnn.src.optimizer import make_schedule
from utils.errors import SettingError
from utils.ranges import ranges_of

BASE, TOP = 1e-6, 1e-3


def settings(schedule, **changes):
    values = {"schedule": schedule, "base_lrate": BASE, "max_lrate": TOP, "cycle_steps": 1000, "accumulate": 1,
              "num_epochs": 8, "warmup_epochs": 0.0, "decay": 0.97}
    return dataclasses.replace(Config(), **(values | changes))


@pytest.mark.parametrize("step, share", [(0, 0), (1, 0.001), (250, 0.25), (1000, 1), (1500, 0.5), (1999, 0.001),
                                         (2000, 0), (3000, 1), (4000, 0), (20300, 0.3)])
def test_cyclic_is_a_triangle(step, share):
    rate = make_schedule(settings("cyclic"), updates=123)
    assert rate(step) == pytest.approx(BASE + share * (TOP - BASE), rel=1e-9)


def test_cyclic_equals_pytorch_formula():
    rate = make_schedule(settings("cyclic", cycle_steps=65000), updates=5000)
    for step in np.random.default_rng(0).integers(0, 500000, 100):
        cycle = np.floor(1 + step / (65000 + 65000))
        x = 1 + step / (65000 + 65000) - cycle
        scale = x / 0.5 if x <= 0.5 else (x - 1) / (0.5 - 1)
        assert rate(int(step)) == pytest.approx(BASE + (TOP - BASE) * scale, rel=1e-6)


@pytest.mark.parametrize("schedule", ["cyclic", "exponential", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("epoch", [0.25, 0.5, 1, 2.5, 4, 7.75])
def test_eight_devices_take_the_same_course_over_the_epochs(schedule, warmup, epoch):
    config = settings(schedule, warmup_epochs=warmup)
    single, eight = make_schedule(config, 800, 1), make_schedule(config, 100, 8)
    # with a linear warm-up update n ends at share (n + 1) / warmup: compared at the last of the eight
    step = int(epoch * 100)
    same = single(8 * step + 7) if warmup and epoch < warmup and schedule != "cyclic" else single(8 * step)
    assert eight(step) == pytest.approx(same, rel=0.02 if schedule == "cosine" else 1e-9)


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_accumulation_counts_like_devices(accumulate):
    config = settings("cyclic", accumulate=accumulate)
    peak = make_schedule(config, 100)(1000 // accumulate)
    assert peak == pytest.approx(TOP) == make_schedule(config, 100, 2)(500 // accumulate)


@pytest.mark.parametrize("epoch", [0, 1, 2, 7, 79])
@pytest.mark.parametrize("within", [0, 49])
def test_exponential_decays_once_an_epoch(epoch, within):
    rate = make_schedule(settings("exponential"), updates=50)
    assert rate(epoch * 50 + within) == pytest.approx(TOP * 0.97 ** epoch, rel=1e-12)


@pytest.mark.parametrize("test_step", [1, 3])
def test_step_decays_every_test_step_epochs(test_step):
    """PyTorch's StepLR, as TaoRuijie calls it with the epoch's number from 0."""
    rate, expected = make_schedule(settings("step", test_step=test_step), updates=50), TOP
    for epoch in range(8):
        if epoch and epoch % test_step == 0:
            expected *= 0.97
        assert rate(epoch * 50) == rate(epoch * 50 + 49) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("step, expected", [(0, TOP), (200, (TOP + BASE) / 2), (100, BASE + (TOP - BASE) * 0.8535534),
                                            (400, BASE), (500, BASE)])
def test_cosine_from_top_to_base_and_not_up_again(step, expected):
    assert make_schedule(settings("cosine"), updates=50)(step) == pytest.approx(expected, rel=1e-6)


def test_cosine_never_rises():
    rate = make_schedule(settings("cosine"), updates=50)
    assert (np.diff([rate(step) for step in range(450)]) <= 0).all()


@pytest.mark.parametrize("epochs, last", [(1.0, 49), (0.5, 24), (2.0, 99), (0.02, 0), (0.001, 0)])
def test_warm_up_is_linear_and_full_on_its_last_update(epochs, last):
    rate = make_schedule(settings("exponential", warmup_epochs=epochs, decay=1.0), updates=50)
    ramp = [rate(step) for step in range(last + 1)]
    np.testing.assert_allclose(ramp, TOP * np.arange(1, last + 2) / (last + 1))
    assert rate(last + 1) == TOP


def test_warm_up_multiplies_the_cosine():
    with_ramp, without = (make_schedule(settings("cosine", warmup_epochs=w), 50) for w in (1.0, 0.0))
    for step in (0, 10, 48, 49, 50, 300):
        assert with_ramp(step) == pytest.approx(without(step) * min(1, (step + 1) / 50))


def test_rates_stay_between_zero_and_the_top():
    for schedule in ("cyclic", "exponential", "cosine"):
        for cycle in (1, 3, 1000):
            rate = make_schedule(settings(schedule, cycle_steps=cycle, warmup_epochs=0.3), updates=7, devices=8)
            assert all(0 < rate(step) <= TOP * (1 + 1e-12) for step in range(200))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential", "step", "cyclic"])
def test_an_update_of_more_steps_than_an_epoch_has(schedule):
    config = settings(schedule, accumulate=8, warmup_epochs=1.0)
    assert [config.updates(steps) for steps in (3, 8, 17)] == [1, 1, 2]
    rate = make_schedule(config, config.updates(3))
    assert all(0 < rate(update) <= TOP * (1 + 1e-12) for update in range(9))


@pytest.mark.parametrize("config, make", [(Config(), make_schedule),
                                          (ConvTasNetConfig(), make_conv_tasnet_schedule)])
def test_each_schedule_that_the_setting_may_be_is_made(config, make):
    for name in ranges_of(type(config))["schedule"].words:
        assert make(dataclasses.replace(config, schedule=name), 50)(100) > 0


def test_conv_tasnet_offers_the_schedules_that_it_has_settings_for():
    with refused(SettingError, "schedule", "'cyclic'", "constant, cosine") as error:
        make_conv_tasnet_schedule(ConvTasNetConfig(schedule="cyclic"), updates=50)
    assert not any(name in str(error.value) for name in ("exponential", "step"))
    rate = make_conv_tasnet_schedule(ConvTasNetConfig(schedule="cosine", lr=TOP, base_lrate=BASE, num_epochs=8), 50)
    assert [rate(update) for update in (0, 200, 400)] == pytest.approx([TOP, (TOP + BASE) / 2, BASE])


def test_deepspeech2_anneals_once_an_epoch():
    config = DeepSpeech2Config(learning_rate=TOP, learning_anneal=0.9, warmup_epochs=0.5)
    rate = make_deepspeech2_schedule(config, updates=50)
    assert [rate(update) for update in (0, 49, 50, 149)] == pytest.approx([TOP / 25, TOP, 0.9 * TOP, 0.81 * TOP])


def test_a_constant_rate_is_constant_after_its_warmup():
    rate = make_schedule(settings("constant", warmup_epochs=0.1), updates=50)
    assert [rate(step) for step in (0, 4, 5, 399)] == pytest.approx([TOP / 5, TOP, TOP, TOP])
