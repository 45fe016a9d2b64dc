"""SI-SNR, the best assignment and SDR: known answers, invariances, independent implementations."""
import functools
import math
from itertools import permutations

import mindspore as ms
import mir_eval
import numpy as np
import pytest
from helpers.errors import assert_line, refused
from mindspore import Tensor
from scipy.optimize import linear_sum_assignment

from conv_tasnet.src.config import Config
from conv_tasnet.src.evaluation import report
from conv_tasnet.src.loss import BestAssignment, PitSiSnr, PitSnr, make_loss
from conv_tasnet.src.metric import best_order, scores, sdr, si_snr
from utils.errors import SettingError

GENERATOR = np.random.default_rng(0)


def noise(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


@functools.cache
def loss_of(speakers):
    """One for all tests: it is compiled once per shape."""
    return PitSiSnr(speakers)


def pit(separated, sources, lengths=None):
    """(loss, improvement) of a batch."""
    lengths = [sources.shape[2]] * len(sources) if lengths is None else lengths
    tensors = [Tensor(x) for x in (separated, sources, sources.sum(1))]
    return [float(x) for x in loss_of(sources.shape[1])(*tensors, Tensor(lengths, ms.int32))]


def formula(separated, source):
    """SI-SNR by the projection, in float64, of one pair."""
    e, s = separated.astype(np.float64) - separated.mean(), source.astype(np.float64) - source.mean()
    target = np.dot(e, s) / np.dot(s, s) * s
    return 10 * np.log10(np.dot(target, target) / np.dot(e - target, e - target))


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_every_permutation_is_found(speakers):
    """In the loss, which sees all of them as one batch, and in evaluation, one by one."""
    sources = noise(speakers, 400)
    orders = list(permutations(range(speakers)))
    separated = np.stack([sources[list(order)] for order in orders]) + 0.1 * noise(len(orders), speakers, 400)
    expected = np.mean([[formula(estimates[order.index(i)], sources[i]) for i in range(speakers)]
                        for estimates, order in zip(separated, orders, strict=True)])
    loss, improvement = pit(separated, np.stack([sources] * len(orders)))
    assert loss == pytest.approx(-expected, abs=1e-3) and expected > 15
    before = np.mean([formula(sources.sum(0), source) for source in sources])
    assert improvement == pytest.approx(expected - before, abs=1e-3)
    for estimates, order in zip(separated, orders, strict=True):
        assert [order[i] for i in best_order(estimates, sources)] == list(range(speakers))


def test_best_assignment_is_the_hungarian_one():
    scores_of_pairs = GENERATOR.standard_normal((20, 5, 5)).astype(np.float32)
    expected = [pairs[linear_sum_assignment(-pairs)].mean() for pairs in scores_of_pairs]
    np.testing.assert_allclose(BestAssignment(5)(Tensor(scores_of_pairs)).asnumpy(), expected, atol=1e-6)


def test_loss_ignores_scale_offset_and_what_lies_behind_the_length():
    sources, separated = noise(2, 2, 300), noise(2, 2, 300)
    loss = pit(separated, sources)
    assert pit(-0.03 * separated + 0.5, 7 * sources - 2) == pytest.approx(loss, abs=1e-3)
    padded = [np.concatenate((x, 9 * noise(2, 2, 50)), 2) for x in (separated, sources)]
    assert pit(*padded, lengths=[300, 300]) == pytest.approx(loss, abs=1e-3)
    alone = [pit(separated[i:i + 1, :, :n], sources[i:i + 1, :, :n])[0] for i, n in enumerate((300, 120))]
    assert pit(separated, sources, lengths=[300, 120])[0] == pytest.approx(np.mean(alone), abs=1e-3)


def at_one_level(separated, sources):
    """Outputs of a mixture in float64, with the one gain that fits them to their sources."""
    total = separated.sum(0, dtype=np.float64)
    return separated * (np.linalg.lstsq(total[:, None], sources.sum(0), rcond=None)[0] if total.any() else 0)


def thresholded(separated, source, mixture):
    """SNR of at most 30 dB in float64, or how far the output of a silent source is below the mixture."""
    separated, source, mixture = (x.astype(np.float64) for x in (separated, source, mixture))
    reference = np.dot(source, source) or np.dot(mixture, mixture)
    error = source - separated
    return 10 * np.log10(reference / (np.dot(error, error) + 1e-3 * reference))


def test_loss_for_silent_sources_equals_its_formula_and_has_finite_gradients():
    """Two mixtures of two voices and two of one voice, silent outputs and perfect ones among them, and padding."""
    sources, separated = noise(4, 2, 300), 0.3 * noise(4, 2, 300)
    sources[1, 0] = sources[2, 1] = 0
    separated[2] = sources[2, ::-1]         # exactly right, in the other order
    separated[3] = 0
    mixture = sources.sum(1)
    padding = 9 * noise(4, 2, 40)
    padded = [Tensor(np.concatenate((x, padding), 2)) for x in (separated, sources)]
    loss = PitSnr(2)
    arguments = Tensor(np.concatenate((mixture, padding[:, 0]), 1)), Tensor([300] * 4, ms.int32)

    def objective(x):
        return loss(x, padded[1], *arguments)

    step = ms.value_and_grad(objective, 0, None, has_aux=True)
    (found, improvement), gradient = step(padded[0])
    levelled = [at_one_level(e, s) for e, s in zip(separated, sources, strict=True)]
    expected = [max(np.mean([thresholded(e[i], s[k], x) for i, k in enumerate(order)])
                    for order in permutations(range(2))) for e, s, x in zip(levelled, sources, mixture, strict=True)]
    before = [np.mean([thresholded(x, source, x) for source in s]) for s, x in zip(sources, mixture, strict=True)]
    assert float(found) == pytest.approx(-np.mean(expected), abs=1e-3)
    assert float(improvement) == pytest.approx(np.mean(expected) - np.mean(before), abs=1e-3)
    assert expected[2] == pytest.approx(30, abs=1e-3)       # and no more is asked for
    gradient = gradient.asnumpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 1 and not gradient[..., 300:].any()
    assert np.abs(gradient[1, :, :300]).max(axis=-1).min() > 0      # of the silent source's output too


def test_loss_for_silent_sources_ignores_one_gain_of_all_outputs_only():
    sources, errors = noise(2, 2, 300), noise(2, 2, 300)
    sources[1, 0] = 0
    separated, network = sources + 0.1 * errors, PitSnr(2)

    def loss(gains):
        tensors = [Tensor(x) for x in (separated * np.float32(gains)[:, None], sources, sources.sum(1))]
        return float(network(*tensors, Tensor([300] * 2, ms.int32))[0])

    assert loss([5000, 5000]) == pytest.approx(loss([1, 1]), abs=1e-3) == loss([-1e-3, -1e-3])
    assert min(loss([1, 2]), loss([2, 1])) > loss([1, 1]) + 3


def test_a_loss_has_a_name():
    assert [make_loss(Config(loss=name))[1] for name in ("si_snr", "snr")] == ["si_snri", "snri"]
    with refused(SettingError, "loss", "'mse'", "si_snr, snr"):
        Config(loss="mse")


def test_si_snr_equals_the_formula_and_known_answers():
    separated, source = noise(500), noise(500)
    assert si_snr(separated, source) == pytest.approx(formula(separated, source), abs=1e-9)
    t = np.arange(8000) / 8000
    tone, other = np.sin(2 * np.pi * 50 * t), np.sin(2 * np.pi * 90 * t)     # orthogonal, of equal power
    assert si_snr(3 * tone + 0.3 * other, tone) == pytest.approx(20, abs=1e-6)
    assert si_snr(tone + other, tone) == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_sdr_equals_mir_eval():
    sources = noise(2, 6000)
    filtered = np.convolve(sources[0], [1, 0.5, -0.2])[:6000]
    separated = np.stack([filtered + 0.1 * sources[1], sources[1] + 0.3 * sources[0]])
    expected = mir_eval.separation.bss_eval_sources(sources, separated, compute_permutation=False)[0]
    np.testing.assert_allclose(sdr(separated, sources), expected, atol=1e-3)


def test_perfect_and_useless_separations():
    sources = noise(2, 16000) * np.array([[1.0], [0.5]], np.float32)
    mixture = sources.sum(0)
    useless = scores(mixture, np.stack([mixture, mixture]), sources, 8000)
    assert useless["si_snri"] == pytest.approx(0, abs=1e-9) and useless["sdri"] == pytest.approx(0, abs=1e-6)
    perfect = scores(mixture, 3 * sources, sources, 8000)
    assert perfect["si_snri"] > 60 and perfect["stoi"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("samples, undefined", [(100, {"sdr", "sdri", "stoi"}), (2000, {"stoi"}), (8000, set())])
def test_scores_of_what_is_too_short_are_not_numbers_and_warn_of_nothing(samples, undefined, recwarn):
    sources = noise(2, samples)
    found = scores(sources.sum(0), sources + 0.1 * noise(2, samples)[::-1], sources, 8000)
    assert {name for name, value in found.items() if np.isnan(value)} == undefined
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_scores_of_a_source_that_is_mostly_silent_and_of_a_silent_output():
    sources = noise(2, 16000) * (np.arange(16000) < 1500)
    assert np.isnan(scores(sources.sum(0), sources + 1e-3 * noise(2, 16000), sources, 8000)["stoi"])
    found = scores(sources.sum(0), 0 * sources, sources, 8000)
    assert np.isnan(found["sdr"]) and np.isfinite(found["si_snr"])


@pytest.mark.parametrize("decibels", [-6, -20])
def test_of_a_silent_source_the_level_of_its_output_is_the_score(decibels):
    """One voice in noise, which the other output has, at any scale; the other scores are those of the voice."""
    voice, hum = noise(2, 16000) * np.array([[1], [10 ** (decibels / 20)]], np.float32)
    sources, separated = np.stack([0 * voice, voice]), np.stack([0.8 * (voice + 0.5 * hum), -hum])
    assert list(best_order(separated, sources)) == [1, 0]
    found = scores(voice + hum, separated[::-1], sources, 8000)
    share = 10 ** (decibels / 10)       # voice + hum = (voice + hum / 2) + hum / 2
    assert found["silent_level"] == pytest.approx(10 * math.log10(share / 4 / (1 + share)), abs=0.5)
    assert found["si_snri"] == pytest.approx(20 * math.log10(2), abs=0.3)
    clean = scores(voice, separated[::-1], sources, 8000)
    assert np.isnan(clean["si_snri"]) and np.isnan(clean["sdri"]) and clean["si_snr"] > 5 - decibels
    assert "silent_level" not in scores(voice + hum, separated, np.stack([voice, hum]), 8000)


def test_a_mean_is_over_the_mixtures_for_which_a_score_is_defined(tmp_path, capsys):
    rows = [{"mixture_ID": key, "seconds": 1.0, "si_snri": 1.0, "sdri": math.nan, "stoi": stoi}
            for key, stoi in (("a", 0.5), ("b", math.nan), ("c", 0.7), ("d", 0.6))]
    means = report(rows, "list.csv", tmp_path)
    assert means["stoi"] == pytest.approx(0.6) and np.isnan(means["sdri"]) and means["si_snri"] == 1
    printed = capsys.readouterr().err
    assert_line(printed, "stoi", "1 of 4", "b")
    assert_line(printed, "sdri", "4 of 4", "a, b, c")
