"""Log-likelihood ratios: known answers where their distribution is known."""
import dataclasses

import numpy as np
import pytest
from matplotlib import image
from scipy.integrate import quad
from scipy.stats import norm

from ecapatdnn.src import calibration
from ecapatdnn.src.config import Config
from ecapatdnn.src.metric import error_rates, minimum_detection_cost
from ecapatdnn.src.plots import draw_calibration

MEAN, DEVIATION = 4.0, np.sqrt(8.0)     # targets N(m, 2m) and others N(-m, 2m) have an LLR that is the number itself


@pytest.fixture(scope="module")
def trials():
    """(target, LLR) of 200,000 trials, a quarter of them targets."""
    generator = np.random.default_rng(0)
    target = generator.random(200_000) < 0.25
    return target, np.where(target, MEAN, -MEAN) + DEVIATION * generator.standard_normal(len(target))


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_fit_gives_back_the_ratios(precision, trials):
    """Cosines are float32."""
    target, llr = trials
    seconds = np.random.default_rng(1).uniform(0.5, 20, len(llr))
    scores = ((llr + 3 + 1.5 * np.log(seconds)) / 7).astype(precision)
    fitted = calibration.fit(target, scores, seconds)
    assert fitted == pytest.approx((7, -3, -1.5), rel=0.05)
    assert fitted.llr(np.array(fitted.threshold(3.0)), 3.0) == pytest.approx(0)
    assert fitted.threshold(9.0) - fitted.threshold(3.0) == pytest.approx(1.5 * np.log(3) / 7, rel=0.05)


def test_a_fit_does_not_depend_on_how_many_others_there_are(trials):
    target, llr = trials
    few = target | (np.arange(len(target)) % 9 == 0)
    ones = np.ones(len(target))
    assert calibration.fit(target[few], llr[few], ones[few]) == pytest.approx(
        calibration.fit(target, llr, ones), rel=0.1, abs=0.1)


def test_a_fit_of_scores_that_do_not_overlap_is_finite():
    target, scores = np.array([False, False, True, True]), np.array([0.0, 0.1, 0.5, 0.6])
    fitted = calibration.fit(target, scores, np.ones(4))
    assert 0 < fitted.scale < 1000 and 0.1 < fitted.threshold(1.0) < 0.5
    assert calibration.minimum_log_likelihood_cost(target, scores) == 0


def test_the_cost_is_that_of_the_distribution(trials):
    target, llr = trials
    expected = quad(lambda x: norm.pdf(x, MEAN, DEVIATION) * np.log2(1 + np.exp(-x)), -20, 30)[0]
    assert calibration.log_likelihood_cost(target, llr) == pytest.approx(expected, abs=0.01)
    assert calibration.log_likelihood_cost(target, np.zeros(len(target))) == pytest.approx(1)


def test_no_other_ratios_in_this_order_cost_less(trials):
    target, llr = trials
    minimum = calibration.minimum_log_likelihood_cost(target, llr)
    assert minimum == pytest.approx(calibration.minimum_log_likelihood_cost(target, np.exp(llr / 5)))
    for other in (llr, 0.8 * llr, llr + 1, np.cbrt(llr)):
        assert minimum <= calibration.log_likelihood_cost(target, other)
    assert minimum > calibration.log_likelihood_cost(target, llr) - 0.02


@pytest.mark.parametrize("prior", [0.01, 0.05, 0.5])
def test_right_ratios_decide_nearly_as_well_as_any_threshold(trials, prior):
    target, llr = trials
    actual = calibration.detection_cost(target, llr, prior)
    least = minimum_detection_cost(error_rates(target, llr), prior)
    assert least <= actual < least + 0.03
    assert calibration.detection_cost(target, llr - 3, 0.5) > calibration.detection_cost(target, llr, 0.5) + 0.05
    assert calibration.detection_cost(target, np.full(len(target), -np.inf), prior) == 1      # all rejected


@pytest.mark.parametrize("seconds", [1.0, 1.5, 2.0, 3.3])
def test_nothing_is_learned_of_lengths_where_all_are_the_same(trials, seconds):
    target, llr = trials
    fitted = calibration.fit(target, llr, np.full(len(target), seconds))
    assert fitted.duration == 0
    assert fitted == pytest.approx(calibration.fit(target, llr, np.ones(len(target))), rel=1e-3, abs=1e-3)


def test_a_calibration_is_for_scores_of_whole_files():
    config = Config(score_crops=0)
    record = calibration.to_record(calibration.Calibration(7.0, -3.0, -1.0), config)
    assert calibration.of_record(record, config) == (7.0, -3.0, -1.0)
    del record["calibration"]["duration"]       # as of before
    assert calibration.of_record(record, config) == (7.0, -3.0, 0.0)
    assert calibration.of_record(record, dataclasses.replace(config, score_crops=5)) is None
    of_crops = {"calibration": record["calibration"] | {"score_crops": 5}}      # as earlier versions fitted them, too
    assert calibration.of_record(of_crops, config) is None
    assert calibration.of_record({}, config) is None


def test_the_plot_has_the_counted_ratios_on_the_diagonal(trials, tmp_path):
    """Right ones; twice as large ones not: at 10 the dots are 5 lower."""
    target, llr = trials
    heights = []
    for scale in (1.0, 2.0):
        draw_calibration(target, scale * llr, tmp_path / "x.png")
        pixels = image.imread(tmp_path / "x.png")[340:, :, :3]
        dots = (pixels[..., 2] > 0.6) & (pixels[..., 0] < 0.2)
        columns = np.flatnonzero(dots.any(0))
        heights.append(np.ptp(np.flatnonzero(dots.any(1))) / np.ptp(columns))
    assert heights[1] < 0.8 * heights[0]


def test_two_recordings_are_together_as_long_as_the_shorter_one_allows():
    assert calibration.joint_seconds(5.0, 5.0) == calibration.TYPICAL
    assert calibration.joint_seconds(2.0, 1e6) == pytest.approx(2, rel=1e-4)
    np.testing.assert_allclose(calibration.joint_seconds(np.array([3.0, 6.0]), np.array([6.0, 3.0])), 2)
