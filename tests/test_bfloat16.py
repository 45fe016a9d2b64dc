"""amp_level bf16 of a CPU: products round what they take to bfloat16 and sum in float32; all else is float32.

Each kernel is held against a reference that rounds the same numbers. Where a processor has no bfloat16 oneDNN computes
it number by number, so that all of this holds on any machine; as it does here, capped at AVX2. With all instructions:
ONEDNN_MAX_CPU_ISA=DEFAULT python -m pytest tests/test_bfloat16.py.
"""
import mindspore as ms
import numpy as np
import pytest
from helpers.errors import refused
from helpers.networks import Around, BothEnds, Outputs
from mindspore import Tensor, nn, ops

from conv_tasnet.src.block import Block
from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.layers import CumulativeNorm, FrameNorm, GlobalNorm
from conv_tasnet.src.model import ConvTasNet
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.model import DeepSpeech2
from ecapatdnn.src.block import SERes2Block
from ecapatdnn.src.loss import AamSoftmax
from ecapatdnn.src.model import VARIANTS, EcapaTdnn
from utils import cpu_ops
from utils.cpu_ops import speed
from utils.cpu_ops.layers import FAST
from utils.device import Device
from utils.errors import SettingError
from utils.training.settings import RunSettings
from utils.training.train_step import adapt

CPU = Device("CPU")


def noise(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def rounded(array):
    """The nearest bfloat16 of float32, of two the one whose last bit is 0."""
    bits = np.asarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000).astype(np.uint32).view(np.float32)


def in_bfloat16(layer):
    """`layer` with our kernels, whatever this processor is fast at."""
    layer = cpu_ops.exchange(layer, True)
    fast_cells = FAST | ConvTasNet.fast_cells | EcapaTdnn.fast_cells
    assert any(type(cell) in fast_cells.values() for _, cell in layer.cells_and_names())
    return layer


def value_and_gradients(layer, inputs, errors):
    """Result, and gradients of its product with `errors` by the first input and all weights."""
    weights = layer.trainable_params()

    def objective(*inputs):
        return (layer(*inputs) * Tensor(errors)).sum()

    tensors = [Tensor(array) for array in inputs]
    by_input, by_weights = ms.grad(objective, 0, weights)(*tensors)
    return layer(*tensors).asnumpy(), [gradient.asnumpy() for gradient in (by_input, *by_weights)]


# layers that are linear in their input and in their weight


def convolution(x, weight, stride=(1, 1), dilation=1, padding=(0, 0, 0, 0)):
    top, bottom, left, right = padding
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    tall, wide = weight.shape[2:]
    bins, frames = (x.shape[2] - tall) // stride[0] + 1, (x.shape[3] - (wide - 1) * dilation - 1) // stride[1] + 1
    y = np.zeros((x.shape[0], weight.shape[0], bins, frames))
    for k in range(tall):
        for tap in range(wide):
            under = x[:, :, k::stride[0], tap * dilation::stride[1]][:, :, :bins, :frames]
            y += np.einsum("oi,bift->boft", weight[:, :, k, tap], under)
    return y


def conv(shape, outputs, kernel, bias=True, **more):
    layer = nn.Conv2d(shape[1], outputs, kernel, more.get("stride", 1), pad_mode="pad",
                      padding=more.get("padding", 0), dilation=(1, more.get("dilation", 1)), has_bias=bias)
    return layer, shape, lambda x, weight: convolution(x, weight, **more), (1, -1, 1, 1)


def dense(shape, outputs, bias=True):
    layer = nn.Dense(shape[-1], outputs, has_bias=bias)
    return layer, shape, lambda x, weight: x @ weight.T, (-1,)


class Classes(nn.Cell):
    """A product with a weight, as in a loss."""

    has_bias = False

    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight, self.product = ms.Parameter(Tensor(noise(outputs, inputs, seed=3)), "weight"), cpu_ops.Product()

    def construct(self, x):
        return self.product(x, self.weight)


def classes(shape, outputs):
    return Classes(outputs, shape[-1]), shape, lambda x, weight: x @ weight.T, (-1,)


LINEAR = {
    "pointwise": lambda: conv((3, 7, 1, 19), 5, 1),
    "pointwise, one item, no bias": lambda: conv((1, 33, 2, 17), 40, 1, bias=False),
    "dilated": lambda: conv((2, 8, 1, 23), 8, (1, 3), dilation=4, padding=(0, 0, 4, 4)),
    "first of DeepSpeech2": lambda: conv((2, 1, 45, 24), 3, (41, 11), stride=(2, 2), padding=(20, 20, 5, 5)),
    "second of DeepSpeech2": lambda: conv((2, 3, 25, 17), 4, (21, 11), stride=(2, 1), padding=(10, 10, 5, 5)),
    "dense": lambda: dense((13, 21), 5),
    "dense of three axes, no bias": lambda: dense((2, 3, 9), 4, bias=False),
    "of two tensors": lambda: classes((13, 21), 5),
}


@pytest.mark.parametrize("name", LINEAR)
def test_products_round_what_they_take(name, pynative):
    """The result, and both gradients along a direction, are sums over rounded numbers; a bias is not rounded."""
    layer, shape, formula, column = LINEAR[name]()
    in_bfloat16(layer)
    x, weight = noise(*shape), layer.weight.asnumpy()
    bias = layer.bias.asnumpy().reshape(column) if layer.has_bias else 0
    expected = formula(rounded(x).astype(np.float64), rounded(weight)) + bias
    errors = noise(*expected.shape, seed=1)
    value, (dx, dweight, *dbias) = value_and_gradients(layer, [x], errors)
    near = {"rtol": 0, "atol": 1e-5 * np.abs(expected).max()}
    np.testing.assert_allclose(value, expected, **near)
    assert np.abs(formula(x, weight) + bias - expected).max() > 5 * near["atol"], "or nothing is shown"
    for gradient, along in ((dx, lambda v: formula(v, rounded(weight))), (dweight, lambda v: formula(rounded(x), v))):
        v = noise(*gradient.shape, seed=2).astype(np.float64)
        assert (gradient * v).sum() == pytest.approx((rounded(errors) * along(v)).sum(),
                                                     abs=1e-5 * np.linalg.norm(gradient) * np.linalg.norm(v))
    if dbias:
        axes = tuple(axis for axis in range(errors.ndim) if axis != errors.ndim + column.index(-1) - len(column))
        np.testing.assert_allclose(dbias[0], errors.sum(axes), rtol=0, atol=1e-4)


def test_what_is_no_number_stays_none_and_what_is_too_large_becomes_infinite(pynative):
    layer = in_bfloat16(nn.Conv1d(1, 1, 1, weight_init="ones"))
    x = np.array([np.nan, np.inf, -np.inf, 3.4e38, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 0], np.float32)
    y = layer(Tensor(x.reshape(1, 1, -1))).asnumpy().ravel()
    np.testing.assert_array_equal(y, [np.nan, np.inf, -np.inf, np.inf, 1, 1 + 2 ** -6, 0])


# layers that have more in them than products: beside the same of MindSpore's operators, with products that round


class Product(nn.Cell):
    """a (..., m, k), b (k, n) -> (..., m, n); it and its gradients of rounded numbers."""

    def construct(self, a, b):
        return ops.matmul(self.round(a), self.round(b))

    def bprop(self, a, b, out, dout):
        a, b, dout = self.round(a), self.round(b), self.round(dout)
        by_b = ops.matmul(a.reshape(-1, a.shape[-1]).T, dout.reshape(-1, dout.shape[-1]))
        return ops.matmul(dout, b.T), by_b

    def round(self, x):
        return x.astype(ms.bfloat16).astype(ms.float32)


class SlowLstm(nn.Cell):
    """The parameters of a BothDirections, which sums its directions, or of one direction in Outputs."""

    def __init__(self, layer, frames):
        super().__init__()
        self.layer, self.frames, self.product = layer, Tensor(frames, ms.int32), Product()

    def construct(self, x, *_):
        if isinstance(self.layer, Outputs):
            return self.direction(self.layer.layer, x)
        return self.direction(self.layer.forward, x) + self.turned(
            self.direction(self.layer.backward, self.turned(x)))

    def turned(self, x):
        """Each item (steps, items, n) from its last frame to its first; what lies behind stays."""
        return ops.reverse_sequence(x, self.frames, 0, 1)

    def direction(self, lstm, x):
        w_x, w_h = lstm.w_ih_list[0], lstm.w_hh_list[0]
        h = c = ops.zeros((x.shape[1], w_h.shape[1]))
        outputs = []
        for t in range(len(x)):
            i, f, g, o = ops.split(self.product(x[t], w_x.T) + self.product(h, w_h.T) + lstm.b_ih_list[0]
                                   + lstm.b_hh_list[0], w_h.shape[1], 1)
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            h = ops.sigmoid(o) * ops.tanh(c)
            outputs.append(h)
        return ops.stack(outputs)


class SlowBlock(nn.Cell):
    """Conv-TasNet's block, its two outputs one above the other."""

    def __init__(self, block):
        super().__init__()
        self.block, self.product = block, Product()

    def construct(self, x, mask):
        block = self.block
        y = block.norm1(block.prelu1(self.pointwise(block.expand, x)), mask) * mask
        y = block.norm2(block.prelu2(block.depthwise(y)), mask)
        return ops.cat((x + self.pointwise(block.residual, y), self.pointwise(block.skip, y)), 1)

    def pointwise(self, layer, x):
        y = self.product(x.transpose(0, 2, 1), layer.weight[:, :, 0, 0].T) + layer.bias
        return y.transpose(0, 2, 1)


class SlowRes2NetBlock(nn.Cell):
    """ECAPA-TDNN's block with zeros at its ends; its squeeze-excitation rounds nothing."""

    def __init__(self, block):
        super().__init__()
        self.block, self.product = block, Product()

    def construct(self, x):
        block = self.block
        y = self.layer(block.reduce, x)
        splits = ops.split(y, block.res2net.width, 1)
        outputs, before = (), 0.0
        for conv, split in zip(block.res2net.convs, splits[:-1], strict=True):
            before = self.layer(conv, split + before)
            outputs += (before,)
        return x + block.se(self.layer(block.expand, ops.cat((*outputs, splits[-1]), 1)))

    def layer(self, layer, x):
        side, dilation, frames = layer.side, layer.conv.dilation[1], x.shape[3]
        padded = ops.pad(x, (side, side)) if side else x
        taps = layer.conv.weight.shape[3]
        under = ops.cat([padded[..., k * dilation:k * dilation + frames] for k in range(taps)], 1)
        weight = layer.conv.weight[:, :, 0].transpose(2, 1, 0).reshape(-1, layer.conv.weight.shape[0])
        y = self.product(under[:, :, 0].transpose(0, 2, 1), weight).transpose(0, 2, 1).expand_dims(2)
        return layer.norm(ops.relu(y + layer.conv.bias.reshape(1, -1, 1, 1)))


def lstm(steps, frames, inputs, units):
    layer = cpu_ops.BothDirections(nn.LSTM(inputs, units), nn.LSTM(inputs, units))
    return layer, SlowLstm(layer, frames), [noise(steps, len(frames), inputs), np.array(frames, np.int32)]


def forward_in_time(steps, items, inputs, units):
    layer = Outputs(nn.LSTM(inputs, units))
    return layer, SlowLstm(layer, [steps] * items), [noise(steps, items, inputs)]


def block(items, frames, dilation):
    layer = Block(ConvTasNetConfig(B=4, H=7, Sc=5, P=3), dilation, GlobalNorm, has_bias=True)
    mask = (np.arange(frames) < frames - np.arange(items)[:, None]).astype(np.float32)[:, None]
    return BothEnds(layer), SlowBlock(layer), [noise(items, 4, frames), mask]


@pytest.mark.parametrize("make", [
    lambda: lstm(5, [5, 3, 1], 5, 7), lambda: lstm(2, [2, 1, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 1], 6, 16),
    lambda: lstm(2, [2], 4, 330), lambda: lstm(3, [3, 2, 3, 1, 3, 3], 5, 96), lambda: lstm(2, [2] * 37, 4, 32),
    lambda: forward_in_time(3, 9, 5, 7), lambda: block(3, 40, 2), lambda: block(1, 530, 3)],
    ids=["LSTM", "LSTM of many items", "LSTM of many units", "LSTM of whole tiles", "LSTM of more items than a tile's",
         "LSTM forward in time", "block",
         "block longer than a piece"])
def test_values_and_gradients_are_those_of_products_that_round(make, pynative):
    ms.set_seed(0)
    layer, slow, inputs = make()
    errors = noise(*slow(*map(Tensor, inputs)).shape, seed=1)
    expected, expected_gradients = value_and_gradients(slow, inputs, errors)
    in_bfloat16(layer)
    value, gradients = value_and_gradients(layer, inputs, errors)
    # a number that rounds to the other side, as sums differ in their order, is half of 2^-8 apart
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    names = ["x", *(weight.name for weight in layer.trainable_params())]
    for name, gradient, reference in zip(names, gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, reference, rtol=0, atol=1e-3 * np.abs(reference).max(), err_msg=name)


def test_the_block_of_ecapa_tdnn_is_that_of_products_that_round(pynative):
    """Nine products follow each other: what rounds to the other side in one moves all that follow, so on the whole."""
    ms.set_seed(0)
    layer = SERes2Block(32, 2, VARIANTS["taoruijie"]).set_train()
    slow, inputs = SlowRes2NetBlock(layer).set_train(), [noise(3, 32, 1, 40)]
    around, errors = Around(layer), noise(3, 32, 1, 40, seed=1)
    expected, expected_gradients = value_and_gradients(slow, inputs, errors)
    float32, float32_gradients = value_and_gradients(cpu_ops.exchange(around, False), inputs, errors)
    value, gradients = value_and_gradients(in_bfloat16(around), inputs, errors)
    assert np.linalg.norm(value - expected) < 0.05 * np.linalg.norm(float32 - expected)
    names = ["x", *(weight.name for weight in layer.trainable_params())]
    for name, gradient, other, reference in zip(names, gradients, float32_gradients, expected_gradients, strict=True):
        assert np.linalg.norm(gradient - reference) < 0.7 * np.linalg.norm(other - reference), name


@pytest.mark.parametrize("norm", [CumulativeNorm, FrameNorm])
def test_steps_of_a_block_round_as_the_whole_does(norm, pynative):
    """What sums in another order rounds to the other side here and there: far less than float32 is away."""
    ms.set_seed(0)
    layer, x = Block(ConvTasNetConfig(B=24, H=40, Sc=24, causal=True), 2, norm, has_bias=True), noise(1, 24, 60)

    def numbers(outputs):
        return np.concatenate([outputs[0].asnumpy(), outputs[1].asnumpy()], 1)

    float32 = numbers(layer(Tensor(x)))
    layer = in_bfloat16(Around(layer)).layer
    whole, steps, state = numbers(layer(Tensor(x))), [], layer.start()
    for piece in np.split(x, [1, 20, 24], axis=2):
        *outputs, state = layer.stream(Tensor(piece), state)
        steps.append(numbers(outputs))
    assert np.linalg.norm(np.concatenate(steps, 2) - whole) < 0.1 * np.linalg.norm(float32 - whole)


# networks


@pytest.mark.parametrize("network, shape", [
    (lambda: EcapaTdnn(10, 16, 8, 24), (8, 30, 10)),
    (lambda: ConvTasNet(ConvTasNetConfig(N=16, L=8, B=6, H=12, Sc=6, X=2, R=2)), (2, 203)),
    (lambda: DeepSpeech2(DeepSpeech2Config(conv_channels=4, hidden_size=12, hidden_layers=2)), (2, 41, 161))],
    ids=["ecapa", "conv_tasnet", "deepspeech2"])
def test_a_network_gives_nearly_what_it_gives_in_float32(network, shape, pynative):
    """And its weights stay float32 and the same."""
    model = network().set_train(False)
    more = (Tensor([shape[1]] * shape[0], ms.int32),) if isinstance(model, DeepSpeech2) else ()
    results = []
    for bfloat16 in (False, True):
        cpu_ops.exchange(model, bfloat16)
        y = model(Tensor(noise(*shape)), *more)
        results.append((y[0] if isinstance(y, tuple) else y).asnumpy())
    distance = np.abs(results[1] - results[0]).max() / np.abs(results[0]).max()
    assert 1e-5 < distance < 0.05
    assert {weight.dtype for weight in model.get_parameters()} == {ms.float32}


def test_the_cosines_of_speakers_round(pynative):
    embedding, speaker = Tensor(noise(6, 12)), Tensor(np.arange(6) % 5, ms.int32)
    loss = AamSoftmax(12, 5)
    values = []
    for bfloat16 in (False, True):
        cpu_ops.exchange(loss, bfloat16)
        values.append(float(loss(embedding, speaker)[0]))
    assert 1e-5 < abs(values[1] / values[0] - 1) < 0.01


# when it is taken


@pytest.fixture
def measured(monkeypatch):
    """A function that makes this processor one with such GFLOPS."""
    def make(float32, bfloat16):
        speed.bfloat16_is_faster.cache_clear()
        monkeypatch.setattr(speed, "products", lambda: {"float32": float32, "bfloat16": bfloat16})
    yield make
    speed.bfloat16_is_faster.cache_clear()


def products_round(layer):
    x, weight = noise(2, 3, 9), layer.weight.asnumpy()[:, :, 0]
    y = layer(Tensor(x)).asnumpy()
    return bool(np.abs(y - convolution(x[:, :, None], weight[:, :, None])[:, :, 0]).max() > 1e-4)


@pytest.mark.parametrize("float32, bfloat16", [(151, 609), (106, 198), (151, 43), (76, 0.1)],
                         ids=["AMX", "Zen 4", "AVX512_BF16 of a Xeon", "number by number"])
def test_it_is_taken_where_it_is_faster_and_one_line_says_where_not(measured, float32, bfloat16, capsys, pynative):
    measured(float32, bfloat16)
    faster = bfloat16 > float32
    for _ in range(2):
        layer = nn.Conv1d(3, 4, 1)
        assert adapt(layer, RunSettings(amp_level="bf16"), CPU) == ("bf16" if faster else "O0", 1.0)
        assert products_round(layer) == faster
    printed = capsys.readouterr().out
    assert printed.count("\n") == (0 if faster else 1)
    assert faster or {f"{float32} ", f"{bfloat16} "} <= {word + " " for word in printed.split()}


def test_without_it_being_asked_for_nothing_rounds(measured, pynative):
    measured(100, 200)
    layer = nn.Conv1d(3, 4, 1)
    assert adapt(layer, RunSettings(), CPU).level == "O0" and not products_round(layer)


def test_without_kernels_it_is_float32(monkeypatch, capsys, measured, pynative):
    measured(100, 200)
    for module in (cpu_ops, speed):
        monkeypatch.setattr(module, "library", lambda: None)
    layer = nn.Conv1d(3, 4, 1)
    assert adapt(layer, RunSettings(amp_level="bf16"), CPU).level == "O0" and type(layer) is nn.Conv1d
    assert capsys.readouterr().out.count("bf16") == 1


@pytest.mark.parametrize("target", ["Ascend", "GPU"])
def test_it_is_for_cpus(target):
    with refused(SettingError, "amp_level", "bf16", "O0, O1 or O2", target):
        adapt(nn.Conv1d(3, 4, 1), RunSettings(amp_level="bf16"), Device(target))


def test_the_speeds_are_positive_and_measured_once():
    speeds = speed.products()
    assert set(speeds) == {"float32", "bfloat16"} and speeds["float32"] > 1 and speeds["bfloat16"] > 0
    assert speed.products() is speeds
