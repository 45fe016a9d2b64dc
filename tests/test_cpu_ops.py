"""The CPU kernels: values and gradients against formulas in float64, any sizes, any threads, and the way back."""
import json
import os
import re
import subprocess
import sys
from functools import partial

import mindspore as ms
import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.networks import Around, BothEnds, Outputs
from mindspore import Tensor, nn

from conv_tasnet.src.block import Block, FastBlock
from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.layers import norm_class
from conv_tasnet.src.model import ConvTasNet
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.loss import CtcLoss
from deepspeech2.src.model import DeepSpeech2
from ecapatdnn.src.block import FastSERes2Block, SERes2Block
from ecapatdnn.src.model import VARIANTS, EcapaTdnn
from utils import cpu_ops
from utils.cpu_ops import build
from utils.cpu_ops.layers import FAST

# formulas in numpy


def convolution(x, weight, bias, stride=(1, 1), dilation=1, padding=(0, 0, 0, 0)):
    top, bottom, left, right = padding
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    tall, wide = weight.shape[2:]
    bins, frames = (x.shape[2] - tall) // stride[0] + 1, (x.shape[3] - (wide - 1) * dilation - 1) // stride[1] + 1
    y = np.zeros((x.shape[0], weight.shape[0], bins, frames)) + bias.reshape(1, -1, 1, 1)
    for k in range(tall):
        for tap in range(wide):
            under = x[:, :, k::stride[0], tap * dilation::stride[1]][:, :, :bins, :frames]
            y += np.einsum("oi,bift->boft", weight[:, :, k, tap], under)
    return y


def prelu(x, slope):
    return np.where(x > 0, x, slope * x)


def clipped_relu(x):
    return np.clip(x, 0, 2)


def global_norm(x, gain, bias, mask):
    share = mask / mask.sum(2, keepdims=True) / x.shape[1]
    mean = (x * share).sum((1, 2), keepdims=True)
    return gain * (x - mean) / np.sqrt(((x - mean) ** 2 * share).sum((1, 2), keepdims=True) + 1e-8) + bias


def causal_norm(x, gain, bias, _mask, so_far):
    """cgLN, or cLN where not `so_far`: a frame's mean and variance, by definition and not by running sums."""
    parts = [x[:, :, :t + 1] if so_far else x[:, :, t:t + 1] for t in range(x.shape[2])]
    mean = np.stack([part.mean((1, 2)) for part in parts], 1)[:, None]
    variance = np.stack([part.var((1, 2)) for part in parts], 1)[:, None]
    return gain * (x - mean) / np.sqrt(variance + 1e-8) + bias


NORMS = {"gLN": global_norm, "cgLN": partial(causal_norm, so_far=True), "cLN": partial(causal_norm, so_far=False)}


def batch_norm(x, gain, offset):
    mean = x.mean((0, 2, 3), keepdims=True)
    scale = gain.reshape(1, -1, 1, 1) / np.sqrt(((x - mean) ** 2).mean((0, 2, 3), keepdims=True) + 1e-5)
    return (x - mean) * scale + offset.reshape(1, -1, 1, 1)


def depthwise(x, weight, dilation, left, right):
    x = np.pad(x, ((0, 0), (0, 0), (0, 0), (left, right)))
    frames = x.shape[3] - (weight.shape[3] - 1) * dilation
    return sum(x[..., k * dilation:k * dilation + frames] * weight[:, :, 0, k:k + 1] for k in range(weight.shape[3]))


def block(x, mask, weights, dilation, left, norm):
    """Conv-TasNet's, of {name: array}: the residual path, and below it the skip."""
    def pointwise(layer, x):
        return np.einsum("oi,bit->bot", weights[f"{layer}.weight"][:, :, 0, 0], x) + column(f"{layer}.bias")

    def bent_norm(number, x):
        gain, bias = weights[f"norm{number}.gain"], weights[f"norm{number}.bias"]
        return NORMS[norm](prelu(x, weights[f"prelu{number}.slope"]), gain, bias, mask)

    def column(name):
        return weights[name].reshape(-1, 1)

    y = bent_norm(1, pointwise("expand", x)) * mask
    taps = weights["depthwise.weight"]
    y = depthwise(y[:, :, None], taps, dilation, left, (taps.shape[3] - 1) * dilation - left)[:, :, 0]
    y = bent_norm(2, y + column("depthwise.bias"))
    return np.concatenate((x + pointwise("residual", y), pointwise("skip", y)), 1)


def res2net_block(x, weights, dilation, kind):
    """ECAPA-TDNN's in training, of {name: array}."""
    def layer(name, x):
        weight = weights[f"{name}.conv.weight"]
        side = dilation * (weight.shape[3] - 1) // 2
        x = np.pad(x, ((0, 0),) * 3 + ((side, side),), "reflect" if kind.reflect_padding else "constant")
        y = np.maximum(convolution(x, weight, weights[f"{name}.conv.bias"], dilation=dilation), 0)
        y = (y - y.mean((0, 3), keepdims=True)) / np.sqrt(y.var((0, 3), keepdims=True) + 1e-5)
        return y * column(f"{name}.norm.gamma") + column(f"{name}.norm.beta")

    def column(name):
        return weights[name].reshape(1, -1, 1, 1)

    parts = np.split(layer("reduce", x), 8, 1)
    before = 0
    for i in range(7):
        place = i + kind.pass_first
        parts[place] = before = layer(f"res2net.convs.{i}", parts[place] + before)
    y = layer("expand", np.concatenate(parts, 1))
    squeezed = convolution(y.mean(3, keepdims=True), weights["se.squeeze.weight"], weights["se.squeeze.bias"])
    gate = convolution(np.maximum(squeezed, 0), weights["se.excite.weight"], weights["se.excite.bias"])
    return x + y / (1 + np.exp(-gate))


def time_statistics(x):
    return np.concatenate((x.mean(3, keepdims=True), x.var(3, keepdims=True)), 1)


def softmax_statistics(x, score):
    weight = np.exp(score) / np.exp(score).sum(3, keepdims=True)
    mean = (x * weight).sum(3, keepdims=True)
    return np.concatenate((mean, (x ** 2 * weight).sum(3, keepdims=True) - mean ** 2), 1)


def lstm(x, frames, *weights):
    """Forward, or where there are weights for it both directions, summed."""
    y = np.zeros((*x.shape[:2], weights[1].shape[1]))
    for direction in range(len(weights) // 4):
        w_x, w_h, b_x, b_h = weights[4 * direction:4 * direction + 4]
        for b, length in enumerate(frames.astype(int)):
            h, c = np.zeros(w_h.shape[1]), np.zeros(w_h.shape[1])
            order = np.arange(len(x))
            if direction:
                order[:length] = order[:length][::-1]
            for t in order:
                i, f, g, o = np.split(w_x @ x[t, b] + w_h @ h + b_x + b_h, 4)
                c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                h = np.tanh(c) / (1 + np.exp(-o))
                y[t, b] += h
    return y


def ctc(log_probs, labels, frames, counts):
    """The negative logarithm of the summed probability of all paths (Graves et al., 2006, equations 5 to 8)."""
    losses = []
    for b, (length, count) in enumerate(zip(frames.astype(int), counts.astype(int), strict=True)):
        states = np.zeros(2 * count + 1, int)
        states[1::2] = labels[b, :count]
        probability = np.exp(log_probs[:, b])
        ahead = np.where(np.arange(len(states)) < 2, probability[0, states], 0.0)
        for t in range(1, length):
            ahead = probability[t, states] * np.array([
                ahead[s] + ahead[max(s - 1, 0):s].sum() + (ahead[s - 2] if s > 1 and states[s] not in (0, states[s - 2])
                                                           else 0.0) for s in range(len(states))])
        losses.append(-np.log(ahead[-2:].sum()))
    return np.array(losses)


# each kernel: (layer, its inputs or the inputs and weights of its formula, formula)


def conv2d(shape, outputs, kernel, bias=True, stride=(1, 1), dilation=1, padding=(0, 0, 0, 0)):
    layer = nn.Conv2d(shape[1], outputs, kernel, stride, pad_mode="pad", padding=padding, dilation=(1, dilation),
                      has_bias=bias)
    weights = [layer.weight.asnumpy(), layer.bias.asnumpy() if bias else np.zeros(outputs)]
    return layer, [noise(*shape)], weights, lambda *x: convolution(*x, stride, dilation, padding)


def conv1d(shape, outputs, kernel, dilation):
    side = dilation * (kernel - 1) // 2
    layer = nn.Conv1d(shape[1], outputs, kernel, pad_mode="pad", padding=side, dilation=dilation, has_bias=True)
    weights = [layer.weight.asnumpy(), layer.bias.asnumpy()]
    return layer, [noise(*shape)], weights, lambda x, *weights: convolution(
        x[:, :, None], *weights, (1, 1), dilation, (0, 0, side, side))[:, :, 0]


def both_directions(steps, frames, inputs, units):
    layer = cpu_ops.BothDirections(nn.LSTM(inputs, units), nn.LSTM(inputs, units))
    weights = [parameter.asnumpy() for parameter in layer.get_parameters()]
    return layer, [noise(steps, len(frames), inputs), np.array(frames, np.int32)], weights, lstm


def forward_in_time(steps, items, inputs, units):
    layer = Outputs(nn.LSTM(inputs, units))
    weights = [parameter.asnumpy() for parameter in layer.get_parameters()]
    return layer, [noise(steps, items, inputs)], weights, lambda x, *weights: lstm(x, np.full(items, steps), *weights)


def norm_of_batch(*shape, mean=2):
    layer = nn.BatchNorm2d(shape[1], momentum=0.9).set_train()
    weights = [noise(shape[1]), noise(shape[1], 1)[..., 0]]
    layer.gamma.set_data(Tensor(weights[0]))
    layer.beta.set_data(Tensor(weights[1]))
    return layer, [noise(*shape, 1)[..., 0] * 3 + np.float32(mean)], weights, batch_norm


def classification(steps, labels, frames, counts):
    """Labels of an alphabet of 5 with the blank."""
    x = noise(steps, len(counts), 5) * 2
    log_probs = x - np.log(np.exp(x).sum(2, keepdims=True))
    return nn.CTCLoss(reduction="none", zero_infinity=True), [log_probs, *(np.array(one, np.int32) for one in (
        labels, frames, counts))], [], ctc


def temporal_block(items, frames, dilation, causal=False, norm="gLN", **sizes):
    config = ConvTasNetConfig(**{"B": 4, "H": 7, "Sc": 5, "P": 3} | sizes, causal=causal)
    layer = Block(config, dilation, norm_class(norm, causal), has_bias=True)
    for i, weight in enumerate(layer.get_parameters()):
        weight.set_data(Tensor(noise(*weight.shape, i + 1)[..., 0] * 0.5 + (0.5 if "gain" in weight.name else 0)))
    weights = {weight.name: weight.asnumpy() for weight in layer.get_parameters()}
    context = (config.P - 1) * dilation
    layer = BothEnds(layer)
    return layer, [noise(items, config.B, frames), frame_mask(items, frames)], list(weights.values()), (
        lambda x, mask, *values: block(x, mask, dict(zip(weights, values, strict=True)), dilation,
                                        context if causal else context // 2, norm))


@pytest.mark.parametrize(("norm", "counted"), [("cgLN", 0), ("cgLN", 2 ** 23), ("cLN", None)])
@pytest.mark.parametrize("sizes", [{}, {"Sc": 0, "P": 4, "H": 24}])
def test_a_step_of_a_block_goes_on_where_the_one_before_ended(norm, sizes, counted, pynative):
    """Steps of one frame and of more than the taps reach; the plain block's, also where the norm counts no further."""
    config = ConvTasNetConfig(**{"B": 4, "H": 7, "Sc": 5, "P": 3} | sizes, causal=True)
    plain, quick = (Block(config, 4, norm_class(norm, True), has_bias=True) for _ in range(2))
    for i, weights in enumerate(zip(plain.get_parameters(), quick.get_parameters(), strict=True)):
        for weight in weights:
            weight.set_data(Tensor(noise(*weight.shape, i + 1)[..., 0]))
    steps = [OneStep(plain), cpu_ops.fast(OneStep(quick))]
    assert (type(plain), type(quick)) == (Block, FastBlock)
    states = [plain.start()] * 2
    if counted is not None:
        before = Tensor(np.float32([[[0.5], [2], [counted]]]))
        states = [(past, before, before) for past, *_ in states]
    for i, frames in enumerate([1, 30, 2, 7]):
        x = Tensor(noise(1, 4, frames, i + 1)[..., 0])
        results = [step(x, *state) for step, state in zip(steps, states, strict=True)]
        for expected, found in zip(*results, strict=True):
            np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=1e-5, atol=1e-5)
        states = [result[-len(states[0]):] for result in results]


class OneStep(nn.Cell):
    """What `stream` gives, as tensors."""

    fast_cells = {Block: FastBlock}

    def __init__(self, block):
        super().__init__(auto_prefix=False)
        self.block, self.has_skip = block, block.skip is not None

    def construct(self, x, *state):
        residual, skip, after = self.block.stream(x, state)
        return (residual, skip, *after) if self.has_skip else (residual, *after)


def ecapa_block(items, channels, frames, dilation, variant):
    layer = SERes2Block(channels, dilation, VARIANTS[variant]).set_train()
    for i, weight in enumerate(layer.trainable_params()):
        weight.set_data(Tensor(noise(*weight.shape, i + 1)[..., 0] * 0.5 + (1 if "gamma" in weight.name else 0)))
    weights = {weight.name: weight.asnumpy() for weight in layer.trainable_params()}
    return Around(layer), [noise(items, channels, 1, frames)], list(weights.values()), lambda x, *values: res2net_block(
        x, dict(zip(weights, values, strict=True)), dilation, VARIANTS[variant])


def noise(*shape):
    return np.random.default_rng(abs(hash(shape)) % 2 ** 32).standard_normal(shape).astype(np.float32)


def frame_mask(batch, frames):
    """Each item has some frames of padding."""
    return (np.arange(frames) < frames - np.arange(batch)[:, None]).astype(np.float32)[:, None]


CASES = {
    "pointwise": lambda: conv2d((3, 7, 1, 19), 5, (1, 1)),
    "pointwise without bias": lambda: conv2d((2, 4, 3, 5), 6, (1, 1), bias=False),
    "one item, one channel": lambda: conv2d((1, 1, 1, 9), 1, (1, 3), padding=(0, 0, 1, 1)),
    "dilated": lambda: conv2d((2, 8, 1, 23), 8, (1, 3), dilation=4, padding=(0, 0, 4, 4)),
    "kernel wider than its padding": lambda: conv2d((2, 3, 1, 30), 4, (1, 5), padding=(0, 0, 1, 0)),
    "first of DeepSpeech2": lambda: conv2d((2, 1, 45, 24), 3, (41, 11), stride=(2, 2), padding=(20, 20, 5, 5)),
    "second of DeepSpeech2": lambda: conv2d((2, 3, 25, 17), 4, (21, 11), stride=(2, 1), padding=(10, 10, 5, 5)),
    "odd strides and padding": lambda: conv2d((3, 2, 9, 14), 5, (4, 5), stride=(3, 3), padding=(1, 2, 0, 3)),
    "more frames than kernels reach": lambda: conv2d((2, 2, 8, 10), 3, (1, 1), stride=(3, 4)),
    "one dimension": lambda: conv1d((3, 6, 29), 7, 3, 2),
    "PReLU": lambda: (cpu_ops.PReLU(), [noise(2, 3, 70000), np.float32([0.3])], [], prelu),
    "clipped ReLU": lambda: (cpu_ops.ClippedReLU(2), [noise(3, 5, 7)], [], clipped_relu),
    "mask of frames": lambda: (cpu_ops.Masking(), [noise(3, 4, 5, 37), frame_mask(3, 37)[:, None]], [], np.multiply),
    "mask of rows": lambda: (cpu_ops.Masking(), [noise(37, 3, 5), frame_mask(37, 37)[:, 0, :3, None]], [], np.multiply),
    "mask without an axis that repeats": lambda: (cpu_ops.Masking(), [noise(2, 3), noise(2, 3, 1)[..., 0]], [],
                                                  np.multiply),
    "global norm": lambda: (cpu_ops.GlobalNorm(), [noise(3, 5, 37) * 3 + 2, noise(1, 5, 1), noise(1, 5, 1),
                                                   frame_mask(3, 37)], [], global_norm),
    "norm of a batch of images": lambda: norm_of_batch(3, 5, 4, 37),
    "norm of a batch of more numbers than a task takes": lambda: norm_of_batch(2, 3, 150, 200),
    "norm of a batch of rows": lambda: norm_of_batch(9000, 17, 1, 1),
    "norm of a batch far from zero": lambda: norm_of_batch(4, 6, 5, 301, mean=300),
    "LSTM": lambda: both_directions(9, [9, 4, 1], 5, 7),
    "LSTM of one step": lambda: both_directions(1, [1], 1, 1),
    "LSTM of many items": lambda: both_directions(4, [4, 3, 4, 2, 4, 4, 1, 4, 4, 3, 2, 4, 4], 6, 16),
    "LSTM forward in time": lambda: forward_in_time(9, 3, 5, 7),
    "LSTM forward in time of many items": lambda: forward_in_time(4, 13, 6, 16),
    "CTC": lambda: classification(9, [[1, 2, 2, 1], [3, 3, 0, 0], [4, 1, 2, 3]], [9, 7, 4], [4, 2, 4]),
    "CTC of one label, and of none": lambda: classification(6, [[2], [0], [1]], [6, 5, 1], [1, 0, 1]),
    "block": lambda: temporal_block(3, 40, 2),
    "block longer than a piece": lambda: temporal_block(2, 1100, 3),
    "block whose taps reach beyond both ends": lambda: temporal_block(1, 9, 8, P=5),
    "causal block": lambda: temporal_block(2, 30, 4, causal=True, norm="cgLN", B=3, Sc=2),
    "causal block longer than a piece": lambda: temporal_block(2, 1100, 3, causal=True, norm="cgLN"),
    "block with a norm of each frame": lambda: temporal_block(2, 600, 4, causal=True, norm="cLN", H=24),
    "block of ECAPA-TDNN": lambda: ecapa_block(3, 24, 13, 2, "taoruijie"),
    "block of ECAPA-TDNN, mirrored ends": lambda: ecapa_block(2, 16, 9, 4, "speechbrain"),
    "block of ECAPA-TDNN, taps beyond both ends": lambda: ecapa_block(4, 16, 3, 3, "taoruijie"),
    "time statistics": lambda: (BothEnds(cpu_ops.TimeStatistics()), [noise(3, 50, 1, 13) + 4], [], time_statistics),
    "softmax statistics": lambda: (BothEnds(cpu_ops.SoftmaxStatistics()),
                                   [noise(3, 50, 1, 13) + 4, noise(3, 50, 1, 13, 2)[..., 0] * 3], [],
                                   softmax_statistics),
    "statistics of one frame": lambda: (BothEnds(cpu_ops.SoftmaxStatistics()), [noise(2, 3, 1, 1)] * 2, [],
                                        softmax_statistics),
    "depthwise": lambda: (cpu_ops.Depthwise(5, 3, 4, 4, 4), [noise(2, 5, 1, 21), noise(5, 1, 1, 3)], [],
                          lambda x, weight: depthwise(x, weight, 4, 4, 4)),
    "depthwise beyond both ends": lambda: (cpu_ops.Depthwise(2, 5, 3, 9, 6), [noise(2, 2, 1, 4), noise(2, 1, 1, 5)], [],
                                           lambda x, weight: depthwise(x, weight, 3, 9, 6)),
}


def value_and_gradients(layer, arrays, slope):
    """Result, and gradients of its sum times `slope` with respect to inputs and weights."""
    weights = layer.trainable_params()
    tensors = [Tensor(array) for array in arrays]

    def objective(*inputs):
        y = layer(*inputs)
        return (y * Tensor(slope)).sum(), y

    gradients = ms.grad(objective, tuple(range(len(arrays))), weights or None, has_aux=True)(*tensors)[0]
    by_input, by_weight = gradients if weights else (gradients, ())
    by_input = by_input if isinstance(by_input, tuple) else (by_input,)
    return layer(*tensors).asnumpy(), [one.asnumpy() for one in (*by_input, *by_weight)]


@pytest.mark.parametrize("name", CASES)
def test_value_is_the_formula_and_gradients_are_its_differences(name):
    layer, inputs, weights, formula = CASES[name]()
    cpu_ops.fast(layer)
    kinds = {type(cell) for _, cell in layer.cells_and_names()}
    assert kinds & {*FAST.values(), FastBlock, FastSERes2Block}, "a slow layer would pass too"
    arguments = [array.astype(np.float64) for array in (*inputs, *weights)]
    expected = formula(*arguments)
    slope = noise(*expected.shape)
    value, gradients = value_and_gradients(layer, inputs, slope)
    np.testing.assert_allclose(value, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    for i, gradient in enumerate(gradients):
        if (name, i) == ("global norm", 3) or i == 1 < len(inputs) and re.search("block|mask", name):
            continue      # masks are no weights
        if i < len(inputs) and inputs[i].dtype == np.int32:
            continue
        direction = noise(*gradient.shape, 1)[..., 0].astype(np.float64)
        either = []
        for sign in (1, -1):
            moved = list(arguments)
            moved[i] = moved[i] + sign * 1e-6 * direction
            either.append((formula(*moved) * slope).sum())
        difference = (either[0] - either[1]) / 2e-6
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert (gradient.astype(np.float64) * direction).sum() == pytest.approx(difference, abs=1e-5 * size), i


def forward_variables(log_probs, labels):
    """Their logarithms, (T, 2 S + 1), and the label of each state."""
    states = np.zeros(2 * len(labels) + 1, int)
    states[1::2] = labels
    skips = np.r_[False, False, (states[2:] != 0) & (states[2:] != states[:-2])]
    ahead = [np.where(np.arange(len(states)) < 2, log_probs[0, states], -np.inf)]
    for row in log_probs[1:]:
        one, two = (np.r_[np.full(back, -np.inf), ahead[-1][:-back]] for back in (1, 2))
        ahead.append(np.logaddexp(np.logaddexp(ahead[-1], one), np.where(skips, two, -np.inf)) + row[states])
    return np.array(ahead), states


def test_losses_of_long_utterances_and_of_impossible_ones():
    """15 s against float64; equal labels, four and two, without a frame for the blanks between them."""
    frames, counts = np.array([750, 4, 2], np.int32), np.array([200, 4, 2], np.int32)
    labels = np.random.default_rng(0).integers(1, 28, (3, 200)).astype(np.int32)
    labels[1:, :4] = 5
    x = noise(750, 3, 28) * 4
    layer = cpu_ops.fast(nn.CTCLoss(reduction="none", zero_infinity=True))
    losses, gradients = losses_and_gradients(layer, Tensor(x), [Tensor(labels), Tensor(frames), Tensor(counts)])
    log_probs = x[:, 0] - np.log(np.exp(x[:, 0].astype(np.float64)).sum(1, keepdims=True))
    ahead, states = forward_variables(log_probs, labels[0])
    back, _ = forward_variables(log_probs[::-1], labels[0][::-1])
    whole = np.logaddexp(*ahead[-1, -2:])
    shares = np.exp(ahead + back[::-1, ::-1] - log_probs[:, states] - whole)
    expected = np.exp(log_probs)
    np.subtract.at(expected, (slice(None), states), shares)
    assert np.isinf(losses).tolist() == [False, True, True]
    assert losses[0] == pytest.approx(-whole, rel=3e-7)
    np.testing.assert_allclose(gradients[0][:, 0], expected, rtol=0, atol=2e-4)     # of MindSpore's: 5e-3
    assert not np.any(gradients[1:])


@pytest.mark.parametrize("kind", ["plain", "fast"])
def test_a_loss_of_what_is_no_number_is_none(kind):
    """It is not masked as an infinite one is; what is no number in the padding of an utterance is not part of it."""
    labels, counts = Tensor([[1, 2], [3, 3], [1, 2]], ms.int32), Tensor([2, 2, 2], ms.int32)
    frames = Tensor([6, 2, 6], ms.int32)        # too few for the second
    loss = CtcLoss()
    if kind == "fast":
        assert type(cpu_ops.fast(loss).ctc) in FAST.values()
    x = noise(8, 3, 5)
    x[7] = np.nan

    def objective(x):
        return loss(ms.ops.log_softmax(x, 2), frames, labels, counts)

    function = ms.value_and_grad(objective, has_aux=True)
    (mean, infinite), gradients = function(Tensor(x))
    log_probs = x - np.log(np.exp(x).sum(2, keepdims=True))
    finite = ctc(log_probs[:, ::2], labels.asnumpy()[::2], np.array([6, 6]), counts.asnumpy()[::2])
    assert float(mean) == pytest.approx(finite.sum() / 3, rel=1e-5) and float(infinite) == pytest.approx(1 / 3)
    x[3, 0] = np.nan
    (mean, infinite), gradients = function(Tensor(x))
    assert np.isnan(float(mean)) and float(infinite) == pytest.approx(1 / 3)
    assert np.isnan(gradients.asnumpy()[3, 0]).all() and np.isfinite(gradients.asnumpy()[:6, 2]).all()


def losses_and_gradients(layer, x, arrays):
    """The loss of each utterance, and its gradients with respect to x (T, B, K), of which log_softmax is taken."""
    def objective(x, utterance):
        return layer(ms.ops.log_softmax(x, 2), *arrays)[utterance]

    count = len(arrays[1])
    losses = layer(ms.ops.log_softmax(x, 2), *arrays).asnumpy()
    return losses, [ms.grad(objective)(x, i).asnumpy() for i in range(count)]


def loss_and_gradients(model, x):
    """A sum over the outputs of a batch, and {name: gradient}."""
    weights = model.trainable_params()
    more = (Tensor(np.full(len(x), x.shape[1], np.int32)),) if isinstance(model, DeepSpeech2) else ()

    def objective(*batch):
        y = model(*batch)
        y = y[0] if isinstance(y, tuple) else y
        return (y * ms.ops.cos(ms.ops.arange(y.size).reshape(y.shape).astype(ms.float32))).sum()

    value, gradients = ms.value_and_grad(objective, None, weights)(Tensor(x), *more)
    return value.asnumpy(), {weight.name: one.asnumpy() for weight, one in zip(weights, gradients, strict=True)}


@pytest.mark.parametrize("kind", ["plain", "fast"])
@pytest.mark.parametrize("limit", [0.0, 3.0, 1e4])
def test_gradients_are_clipped_by_the_norm_of_all(limit, kind):
    gradients = [noise(70001), noise(3, 5, 7), noise(1)]
    clipping = cpu_ops.Clipping(limit, 3)
    if kind == "fast":
        assert type(cpu_ops.exchange(clipping, False)) in FAST.values()
    norm, scaled = clipping(Tensor(0.5, ms.float32), tuple(map(Tensor, gradients)))
    expected = 0.5 * np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for gradient in gradients))
    np.testing.assert_allclose(norm.asnumpy(), [expected], rtol=1e-6)
    factor = 0.5 * min(1, limit / expected) if limit else 0.5
    for one, gradient in zip(scaled, gradients, strict=True):
        np.testing.assert_allclose(one.asnumpy(), factor * gradient, rtol=1e-5)
    gradients[1][0] = np.inf
    assert not np.isfinite(clipping(Tensor(0.5, ms.float32), tuple(map(Tensor, gradients)))[0].asnumpy())


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, pytest.param(ms.GRAPH_MODE, marks=pytest.mark.slow)],
                         ids=["operators", "graph"])
@pytest.mark.parametrize("network, shape", [
    (lambda: EcapaTdnn(10, 16, 8, 24), (8, 30, 10)), (lambda: EcapaTdnn(10, 16, 8, 24, "speechbrain"), (8, 30, 10)),
    (lambda: ConvTasNet(ConvTasNetConfig(N=16, L=8, B=6, H=12, Sc=6, X=2, R=2)), (2, 203)),
    (lambda: ConvTasNet(ConvTasNetConfig(N=16, L=8, B=6, H=12, Sc=5, X=2, R=2, variant="kaituoxu")), (2, 203)),
    (lambda: ConvTasNet(ConvTasNetConfig(N=16, L=8, B=6, H=12, Sc=0, X=2, R=2)), (2, 203)),
    (lambda: DeepSpeech2(DeepSpeech2Config(conv_channels=4, hidden_size=12, hidden_layers=2)), (2, 41, 161)),
    (lambda: DeepSpeech2(DeepSpeech2Config(conv_channels=4, hidden_size=12, hidden_layers=2, bidirectional=False)),
     (2, 41, 161))],
    ids=["ecapa", "ecapa speechbrain", "conv_tasnet", "kaituoxu", "no skip", "deepspeech2", "unidirectional"])
def test_a_fast_network_learns_what_the_plain_one_learns(network, shape, mode, pynative):
    """Graphs of the kernels one by one are above."""
    ms.set_context(mode=mode)
    found = []
    for quick in (False, True):
        ms.set_seed(1)
        np.random.seed(1)
        model = network().set_train()
        names = [parameter.name for parameter in model.get_parameters()]
        if quick:
            assert sum(type(cell) in FAST.values() for _, cell in cpu_ops.fast(model).cells_and_names()) > 2
        value, gradients = loss_and_gradients(model, noise(*shape))
        statistics = {one.name: one.asnumpy() for one in model.get_parameters() if "moving" in one.name}
        found.append((value, gradients, statistics, names))
    (value, gradients, statistics, names), (fast_value, fast_gradients, fast_statistics, fast_names) = found
    assert fast_names == names
    np.testing.assert_allclose(fast_value, value, rtol=1e-4)
    for name, statistic in statistics.items():
        np.testing.assert_allclose(fast_statistics[name], statistic, rtol=0, atol=1e-5, err_msg=name)
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        atol = 2e-4 * np.abs(gradient).max() + 1e-6 * largest      # a bias before a norm has no gradient but rounding
        np.testing.assert_allclose(fast_gradients[name], gradient, rtol=0, atol=atol, err_msg=name)


def test_gradients_of_the_block_outside_of_training_leave_its_statistics_alone(pynative):
    layer, (x,), _, _ = ecapa_block(2, 16, 9, 2, "taoruijie")
    layer.set_train(False)
    slope = noise(*x.shape)
    (value, gradients), (fast_value, fast_gradients) = (
        value_and_gradients(cpu_ops.fast(layer) if quick else layer, [x], slope) for quick in (False, True))
    np.testing.assert_allclose(fast_value, value, rtol=0, atol=1e-5 * np.abs(value).max())
    for fast_gradient, gradient in zip(fast_gradients, gradients, strict=True):
        np.testing.assert_allclose(fast_gradient, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


def test_one_graph_takes_any_length():
    layer = cpu_ops.fast(nn.Conv1d(3, 4, 5, pad_mode="pad", padding=2, has_bias=True)).set_train(False)
    any_length = cpu_ops.fast(nn.Conv1d(3, 4, 5, pad_mode="pad", padding=2, has_bias=True)).set_train(False)
    ms.load_param_into_net(any_length, {one.name: one for one in layer.get_parameters()})
    any_length.set_inputs(Tensor(shape=(2, 3, None), dtype=ms.float32))
    for frames in (7, 30, 1):
        x = Tensor(noise(2, 3, frames))
        np.testing.assert_allclose(any_length(x).asnumpy(), layer(x).asnumpy(), rtol=0, atol=1e-6)


def test_layers_that_the_kernels_do_not_know_stay_as_they_are():
    cells = [nn.Conv2d(4, 4, 3, group=4), nn.Conv2d(2, 2, 3, pad_mode="same"), nn.Conv2d(2, 2, 3, dilation=(2, 1))]
    for cell in cells:
        assert type(cpu_ops.fast(cell)) is nn.Conv2d


def test_an_exported_graph_has_no_kernel_of_ours(tmp_path):
    for name in ("plain", "fast"):
        network = ConvTasNet(ConvTasNetConfig(N=8, L=4, B=4, H=6, Sc=4, X=1, R=1)).set_train(False)
        if name == "fast":
            cpu_ops.fast(network)
        ms.export(network, Tensor(noise(1, 40)), file_name=str(tmp_path / name), file_format="MINDIR")
    assert b"Custom" not in (tmp_path / "plain.mindir").read_bytes()
    assert b"Custom" in (tmp_path / "fast.mindir").read_bytes(), "or the line above could not fail"


THREADS = """
import json, sys
import numpy as np
from mindspore import Tensor, nn
from utils.cpu_ops import fast
from utils.device import setup_device
setup_device("CPU", seed=0)
layer, x = fast(nn.Conv2d(9, 7, (3, 5), pad_mode="pad", padding=(1, 1, 2, 2))), np.random.default_rng(0)
y = layer(Tensor(x.standard_normal((2, 9, 4, 33)).astype(np.float32))).asnumpy()
states = fast(nn.LSTM(5, 6))(Tensor(x.standard_normal((7, 13, 5)).astype(np.float32)))[0].asnumpy()
print(json.dumps([float(one) for part in (y, states) for one in part.ravel()[::17]]))
"""


def test_the_number_of_threads_changes_nothing():
    actual = []
    for threads in "123":
        done = subprocess.run([sys.executable, "-c", THREADS], env=os.environ | {"OMP_NUM_THREADS": threads}, cwd=ROOT,
                              stdout=subprocess.PIPE, text=True, check=True)
        actual.append(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(actual[1], actual[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(actual[2], actual[0], rtol=0, atol=1e-6)


def test_without_a_compiler_layers_stay_plain_and_the_reason_is_said_once(monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(cpu_ops, "library", build.functools.cache(build.library.__wrapped__))
    for _ in range(2):
        assert type(cpu_ops.fast(nn.Conv1d(2, 2, 1))) is nn.Conv1d
    assert capsys.readouterr().err.count("no C++ compiler: ") == 1


def test_sources_that_do_not_compile_are_said_and_leave_nothing(monkeypatch, capsys, tmp_path):
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "bad.cc").write_text("this is no C++\n")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "sources")
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    assert build.library.__wrapped__() is None
    assert "cannot compile" in capsys.readouterr().err and "bad.cc" not in os.listdir(tmp_path / "cache")
    assert os.listdir(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_said(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(build, "CACHE", tmp_path / "file")
    assert build.library.__wrapped__() is None
    assert re.search(rf"^{tmp_path / 'file'}/.*\.so: cannot be written \(File exists\).*: going on with",
                     capsys.readouterr().err)
