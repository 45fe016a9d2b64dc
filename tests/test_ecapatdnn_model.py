"""The network and its loss: published sizes, padding, gradients, known values."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from ecapatdnn.src.loss import AamSoftmax, margin_at
from ecapatdnn.src.model import VARIANTS, EcapaTdnn
from utils.training.loop import trainable

GENERATOR = np.random.default_rng(0)


def small(variant, seed=0):
    """A network with BatchNorm statistics that matter, in evaluation mode."""
    ms.set_seed(seed)
    model = EcapaTdnn(80, 32, 24, 48, variant)
    for parameter in model.get_parameters():
        if "moving" in parameter.name:
            parameter.set_data(Tensor(GENERATOR.random(parameter.shape).astype(np.float32) + 0.5))
    return model.set_train(False)


def features(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("variant, channels, mfa_channels, count", [
    ("speechbrain", 512, 1536, 6_194_048),
    ("speechbrain", 1024, 1536, 14_660_416),
    ("speechbrain", 1024, 3072, 20_767_552),
    ("taoruijie", 512, 1536, 6_978_176),
    ("taoruijie", 1024, 1536, 15_444_544)])
def test_parameter_count_is_the_published_one(variant, channels, mfa_channels, count):
    model = EcapaTdnn(80, channels, 192, mfa_channels, variant)
    assert sum(parameter.size for parameter in model.trainable_params()) == count


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("pynative")
def test_padded_batch_equals_single_utterances(variant):
    model, lengths = small(variant), [60, 37, 58, 12]
    batch = features(4, 60, 80)
    padded = model(Tensor(batch), Tensor(lengths, ms.int32)).asnumpy()
    for i, length in enumerate(lengths):
        alone = model(Tensor(batch[i:i + 1, :length])).asnumpy()[0]
        np.testing.assert_allclose(padded[i], alone, rtol=0, atol=2e-5 * np.abs(padded).max())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.usefixtures("pynative")
def test_every_parameter_gets_a_finite_gradient(variant):
    model = EcapaTdnn(80, 16, 12, 24, variant).set_train()
    loss = AamSoftmax(12, 5)
    weights = model.trainable_params() + loss.trainable_params()

    def objective(x, speaker):
        return loss(model(x), speaker)[0]

    gradients = ms.value_and_grad(objective, None, weights)(Tensor(features(6, 40, 80)),
                                                            Tensor([0, 1, 2, 3, 4, 0], ms.int32))[1]
    for weight, gradient in zip(weights, gradients, strict=True):
        gradient = gradient.asnumpy()
        assert np.isfinite(gradient).all(), weight.name
        # a bias before BatchNorm cancels out, and so does one before the softmax over time: rounding is left of those
        assert np.abs(gradient).max() > 0, weight.name


@pytest.mark.slow
def test_four_utterances_are_learnt_by_heart():
    """By a graph."""
    ms.set_seed(0)
    model, loss = EcapaTdnn(80, 16, 16, 24).set_train(), AamSoftmax(16, 4)
    x = Tensor(np.random.default_rng(0).standard_normal((4, 40, 80)).astype(np.float32))
    speaker = Tensor(np.arange(4), ms.int32)
    optimizer = nn.Adam(trainable(model, loss), 0.01)

    def objective():
        return loss(model(x), speaker)[0]

    gradients = ms.value_and_grad(objective, None, optimizer.parameters)

    @ms.jit
    def step():
        value, grads = gradients()
        return ops.depend(value, optimizer(grads))

    losses = [float(step()) for _ in range(60)]
    assert losses[0] > 3 and losses[-1] < 0.05


@pytest.mark.usefixtures("pynative")
def test_aam_softmax_is_its_formula():
    """-log softmax of s cos(theta + m) against an independent float64 computation, on both sides of pi - m."""
    margin, scale, loss = 0.3, 20.0, AamSoftmax(6, 4, margin=0.3, scale=20.0)
    embedding, speaker = features(5, 6), np.array([0, 1, 2, 3, 3])
    embedding[4] = -loss.weight.asnumpy()[3]          # the angle to its own speaker is pi
    value, accuracy = loss(Tensor(embedding), Tensor(speaker, ms.int32))
    x, w = embedding.astype(np.float64), loss.weight.asnumpy().astype(np.float64)
    cosine = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
    angle = np.arccos(np.clip(cosine, -1, 1))
    own = np.arange(5), speaker
    logits = scale * cosine
    logits[own] = scale * np.where(angle[own] < np.pi - margin, np.cos(angle[own] + margin),
                                   cosine[own] - margin * np.sin(margin))
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[own])
    assert float(value) == pytest.approx(expected, rel=1e-4)
    assert float(accuracy) == pytest.approx(np.mean(cosine.argmax(axis=1) == speaker))


@pytest.mark.usefixtures("pynative")
def test_sub_centres_take_the_nearest():
    loss = AamSoftmax(4, 3, margin=0.0, sub_centers=2)
    nearest = Tensor(loss.weight.asnumpy()[[1, 2, 5]])   # a sub-centre of speakers 0, 1 and 2
    assert float(loss(nearest, Tensor([0, 1, 2], ms.int32))[1]) == 1.0


def test_margin_grows_linearly():
    assert [margin_at(epoch, 0.2, 2, 6) for epoch in (1, 2, 4, 6, 9)] == pytest.approx([0, 0, 0.1, 0.2, 0.2])
    assert margin_at(1, 0.5, 0, 0) == 0.5


@pytest.mark.usefixtures("pynative")
def test_embedding_does_not_depend_on_the_rest_of_the_batch():
    model, batch = small("taoruijie"), features(3, 50, 80)
    whole = model(Tensor(batch)).asnumpy()
    np.testing.assert_allclose(whole[1], model(Tensor(batch[1:2])).asnumpy()[0], atol=1e-5 * np.abs(whole).max())
    assert ops.isfinite(model(Tensor(features(1, 9, 80)))).all()   # the shortest input that the padding fits
