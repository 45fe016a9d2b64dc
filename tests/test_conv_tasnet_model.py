"""Conv-TasNet's network: published sizes, padding, causality, gradients, norms and overlap-add against formulas."""
import dataclasses

import mindspore as ms
import numpy as np
import pytest
from helpers.errors import assert_named, refused
from helpers.graphs import python
from mindspore import Tensor, nn

from conv_tasnet.src import layers
from conv_tasnet.src.config import Config
from conv_tasnet.src.loss import PitSiSnr
from conv_tasnet.src.model import ConvTasNet, overlap_add
from conv_tasnet.src.training import load_initial
from utils.checkpoints.checkpoint import save_checkpoint
from utils.config import save_config
from utils.cpu_ops import fast
from utils.errors import MismatchError, SettingError
from utils.training.state import parameters

SMALL = dataclasses.replace(Config(), N=16, L=8, B=8, H=12, Sc=8, X=2, R=1)
KAITUOXU = {"variant": "kaituoxu", "Sc": 0}
GENERATOR = np.random.default_rng(0)


def noise(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


def network(**differences):
    """A small network whose gains, biases, slopes and statistics all matter, in evaluation mode."""
    ms.set_seed(0)
    generator = np.random.default_rng(0)
    model = ConvTasNet(dataclasses.replace(SMALL, **differences))
    for parameter in model.get_parameters():
        if parameter.name.endswith(("gain", "bias", "slope", "gamma", "beta", "moving_mean", "moving_variance")):
            parameter.set_data(Tensor(generator.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    return model.set_train(False)


@pytest.mark.parametrize("sizes, count", [
    ({"N": 512, "L": 16, "B": 128, "H": 512, "Sc": 128, "P": 3, "X": 8, "R": 3}, 5_050_545),                  # asteroid
    ({"N": 256, "L": 20, "B": 256, "H": 512, "P": 3, "X": 8, "R": 4, **KAITUOXU}, 8_710_720),                 # kaituoxu
    ({"N": 256, "L": 16, "B": 256, "H": 512, "P": 3, "X": 6, "R": 4, **KAITUOXU}, 6_582_832)])             # SpeechBrain
def test_parameter_count_is_the_published_one(sizes, count):
    model = ConvTasNet(dataclasses.replace(Config(), **sizes))
    assert sum(parameter.size for parameter in model.trainable_params()) == count


def test_a_deeper_network_begins_as_the_one_it_grew_from(tmp_path, capsys):
    small, deep, path = network(), network(R=3), tmp_path / "small.ckpt"
    save_checkpoint(path, parameters(small))
    load_initial(path, deep, dataclasses.replace(SMALL, R=3))
    assert_named(capsys.readouterr().err.strip(), [path, "config.yaml", "mask_nonlinear"])
    save_config(SMALL, tmp_path)
    load_initial(path, deep, dataclasses.replace(SMALL, R=3, causal=True, norm="cgLN"))
    assert capsys.readouterr().err == ""
    mixture = noise(1, 96)
    np.testing.assert_array_equal(python(deep)(mixture).asnumpy(), python(small)(mixture).asnumpy())
    assert np.any(parameters(deep)["blocks.5.expand.weight"].asnumpy())      # what is behind the zeros can learn
    with refused(MismatchError, "blocks.0.expand.weight", "(12, 8"):
        load_initial(path, network(R=3, H=10), dataclasses.replace(SMALL, R=3, H=10))


@pytest.mark.parametrize("settings", [{}, {"norm": "cgLN", "causal": True, "mask_nonlinear": "sigmoid"},
                                      {**KAITUOXU, "mask_nonlinear": "softmax"}, {"norm": "BN", "C": 3}])
def test_padded_batch_equals_single_mixtures_of_any_length(settings):
    evaluate, lengths = python(network(**settings)), (203, 96, 57)
    batch = noise(3, 203)
    padded = evaluate(batch, np.array(lengths, np.int32)).asnumpy()
    assert padded.shape == (3, settings.get("C", 2), 203)
    for i, length in enumerate(lengths):
        alone = evaluate(batch[i:i + 1, :length]).asnumpy()[0]
        whole = length // 4 * 4
        assert alone.shape[1] == length and not alone[:, whole:].any() and np.abs(alone[:, :whole]).min(0).max() > 0
        np.testing.assert_allclose(padded[i, :, :whole], alone[:, :whole], rtol=0, atol=2e-5 * np.abs(padded).max())


@pytest.mark.parametrize("settings", [{"norm": "cLN"}, {"norm": "cgLN"}, {"norm": "BN"}, {"norm": "cLN", **KAITUOXU}])
def test_causal_output_does_not_depend_on_later_samples(settings):
    """A frame of L samples ends L - 1 after its first: output t may depend on inputs before t + L, and on no other."""
    evaluate = python(network(causal=True, **settings))
    x = noise(1, 240)
    later = x.copy()
    later[:, 121:] = noise(1, 119)
    same, other = evaluate(x).asnumpy(), evaluate(later).asnumpy()
    first = np.flatnonzero(np.abs(same - other).max((0, 1)) > 0)[0]
    assert 121 - SMALL.L < first <= 121


def test_global_norm_looks_ahead_and_is_refused_in_a_causal_network():
    with refused(SettingError, "norm", "gLN", "causal"):
        ConvTasNet(dataclasses.replace(SMALL, causal=True))


def gradients(settings, kernels):
    """{name: gradient} of the loss of a padded batch with respect to every weight, and the loss."""
    model, loss = kernels(network(**settings)).set_train(), PitSiSnr(2)
    generator = np.random.default_rng(1)
    sources = generator.standard_normal((3, 2, 203)).astype(np.float32)
    weights = model.trainable_params()

    def objective(mixture, sources, lengths):
        return loss(model(mixture, lengths), sources, mixture, lengths)[0]

    differentiate = ms.value_and_grad(objective, None, weights)

    @ms.jit
    def compute(mixture, sources, lengths):
        return differentiate(mixture, sources, lengths)

    value, found = compute(Tensor(sources.sum(1)), Tensor(sources), Tensor([203, 150, 90], ms.int32))
    return float(value), {weight.name: gradient.asnumpy() for weight, gradient in zip(weights, found, strict=True)}


@pytest.mark.parametrize("settings", [{}, pytest.param({"norm": "cgLN", "causal": True}, marks=pytest.mark.slow),
                                      pytest.param(KAITUOXU, marks=pytest.mark.slow)])
def test_every_parameter_gets_the_gradient_that_autodiff_finds(settings):
    value, actual = gradients(settings, fast)
    expected_value, expected = gradients(settings, lambda model: model)
    assert value == pytest.approx(expected_value, rel=1e-5)
    for name, gradient in expected.items():
        # with a skip path nothing follows the residual of the last block; the published networks have it all the same
        dead = settings.get("Sc", 8) and name.startswith("blocks.1.residual")
        assert np.isfinite(actual[name]).all() and actual[name].any() != dead, name
        np.testing.assert_allclose(actual[name], gradient, rtol=0, atol=1e-4 * np.abs(gradient).max(), err_msg=name)


def apply(layer, *arrays):
    return layer.set_train(False)(*(Tensor(array) for array in arrays)).asnumpy()


def test_norms_equal_their_formulas():
    x, gain, bias = noise(2, 5, 40) * 3 + 1, noise(1, 5, 1), noise(1, 5, 1)
    wide = x.astype(np.float64)
    expected = {"gLN": (wide - wide.mean((1, 2), keepdims=True)) / wide.std((1, 2), keepdims=True),
                "cLN": (wide - wide.mean(1, keepdims=True)) / wide.std(1, keepdims=True),
                "cgLN": np.stack([(wide[:, :, t] - wide[:, :, :t + 1].mean((1, 2))[:, None])
                                  / wide[:, :, :t + 1].std((1, 2))[:, None] for t in range(40)], 2)}
    for name, value in expected.items():
        layer = layers.NORMS[name](5)
        layer.gain.set_data(Tensor(gain))
        layer.bias.set_data(Tensor(bias))
        np.testing.assert_allclose(layer(Tensor(x)).asnumpy(), value * gain + bias, atol=2e-4, err_msg=name)


# the last two have more zeros at an end than CANN's convolutions take
@pytest.mark.parametrize("taps, dilation, causal", [(3, 4, False), (5, 2, False), (2, 3, True), (3, 128, True),
                                                    (5, 150, False)])
def test_depthwise_convolution_is_a_filter_of_each_channel(taps, dilation, causal):
    layer = layers.DepthwiseConv(4, taps, dilation, causal, has_bias=True)
    x, weight, bias = noise(2, 4, 30), layer.weight.asnumpy()[:, 0, 0], layer.bias.asnumpy()
    context = (taps - 1) * dilation
    padded = np.pad(x, ((0, 0), (0, 0), (context, context)))
    start = 0 if causal else context - context // 2
    starts = [start + k * dilation for k in range(taps)]
    expected = sum(weight[:, k:k + 1] * padded[:, :, s:s + 30] for k, s in enumerate(starts))
    np.testing.assert_allclose(apply(layer, x), expected + bias[:, None], atol=1e-5)


def test_overlap_add_is_the_transposed_convolution():
    frames, expected = noise(2, 6, 5), np.zeros((2, 18), np.float32)
    for t in range(5):
        expected[:, 3 * t:3 * t + 6] += frames[:, :, t]

    class Sum(nn.Cell):
        def construct(self, x):
            return overlap_add(x)

    np.testing.assert_allclose(apply(Sum(), frames), expected, atol=1e-6)


@pytest.mark.parametrize("settings, facts", [
    ({"L": 15}, ["L", 15, "even"]), ({"P": 4}, ["P", 4, "odd"]),
    ({"norm": "LN"}, ["norm", "'LN'", "gLN, cLN, cgLN, BN"]), ({"X": 0}, ["X", 0]),
    ({"mask_nonlinear": "tanh"}, ["mask_nonlinear", "'tanh'"]), ({"variant": "paper"}, ["variant", "'paper'"])])
def test_sizes_that_make_no_network_are_refused(settings, facts):
    with refused(SettingError, *facts):
        ConvTasNet(dataclasses.replace(SMALL, **settings))
