"""Graphs for an Ascend in float16, by an emulation in numpy; and the sizes of their convolutions, which CANN bounds.

A 310 multiplies matrices in float16 whatever the setting, and sums the products in float32. Told to compute everything
in float16 (enforce_fp16), it rounds what every operator gives, takes means by multiplying with 1 / N first, and adds
in float16: CANN's reduce_mean_d.py and reduce_sum_d.py, which cast to float32 on other chips only. So does the
emulation; where CANN adds in an order of its own, in pairs.
"""
import mindspore as ms
import numpy as np
import pytest
from helpers.graphs import randomised
from helpers.mindir_numpy import Evaluator
from mindspore import Tensor, nn, ops
from mindspore.train import mind_ir_pb2 as pb

from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.layers import NORMS, CumulativeNorm
from conv_tasnet.src.loss import PitSiSnr
from conv_tasnet.src.model import ConvTasNet, WholeStrides
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.features import spectrogram
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.waveform import FromWaveform as DeepSpeech2FromWaveform
from deepspeech2.src.waveform import Spectrogram
from ecapatdnn.src.config import Config as EcapaConfig
from ecapatdnn.src.features import FRONT_ENDS, filter_bank, mel_filters
from ecapatdnn.src.model import Deviation, EcapaTdnn
from ecapatdnn.src.waveform import FilterBank, fourier_kernel
from ecapatdnn.src.waveform import FromWaveform as EcapaFromWaveform
from utils import cpu_ops
from utils.export.graph import Port, export_model
from utils.layers.mixed_precision import mostly_half
from utils.layers.shapes import length_mask, ones_like

RATE, HOP = 16000, 160
STRIDE = 8        # of Conv-TasNet's networks here
PRODUCTS = ("Conv2D", "MatMul", "BatchMatMul")
WAVEFORM = [Port("waveform", "float32", (1, None), RATE), Port("samples", "int32", (1,))]


def half(x):
    """Numbers of any kind; fractions are rounded to float16, and kept as float32."""
    if isinstance(x, (tuple, list)):
        return tuple(map(half, x))
    if isinstance(x, float):
        return float(np.float16(x))
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        return x
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def half_sum(x, axes):
    """Over `axes`, which stay as 1: pairs are added, then pairs of their sums, each rounded."""
    for axis in axes:
        x = np.moveaxis(x, axis, -1)
        while x.shape[-1] > 1:
            x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, x.shape[-1] % 2)])
            x = half(x[..., ::2] + x[..., 1::2])
        x = np.moveaxis(x, -1, axis)
    return x


class Emulator(Evaluator):
    """A graph on a 310. With `everything` all operators compute in float16, else the products of matrices alone."""

    def __init__(self, path, everything):
        self.everything = everything
        super().__init__(path, half=True)

    def __call__(self, *inputs):
        with np.errstate(all="ignore"):
            return super().__call__(*(half(inputs) if self.everything else inputs))

    def _float(self, value):
        return half(value) if self.everything else value

    def apply(self, operator, inputs, settings):
        if operator in PRODUCTS:
            return half(super().apply(operator, half(inputs), settings))
        if not self.everything:
            return super().apply(operator, inputs, settings)
        x = inputs[0]
        is_float = isinstance(x, np.ndarray) and x.dtype.kind == "f"
        if operator in ("ReduceMean", "ReduceSum") and is_float:
            axes = tuple(axis % x.ndim for axis in inputs[1] or range(x.ndim))
            if operator == "ReduceMean":
                x = half(x * half(1 / float(np.prod([x.shape[axis] for axis in axes]))))
            x = half_sum(x, axes)
            return x if settings["keep_dims"] else x.squeeze(axes)
        if operator == "Softmax":
            axis = settings["axis"][0]
            x = half(np.exp(half(x - x.max(axis, keepdims=True))))
            return half(x / half_sum(x, [axis]))
        if operator == "CumSum" and is_float:
            x = np.moveaxis(x.copy(), int(inputs[1]), 0)
            for t in range(1, len(x)):
                x[t] = half(x[t - 1] + x[t])
            return np.moveaxis(x, 0, int(inputs[1]))
        return half(super().apply(operator, inputs, settings))


class Network(nn.Cell):
    """A cell as a network of its own."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def construct(self, *inputs):
        return self.cell(*inputs)


def exported(network, inputs, folder):
    """The path of the network's graph for an Ascend."""
    config = EcapaConfig(runtime="ascend", file_name=str(folder / "net.mindir"))
    return export_model(network.set_train(False), config, inputs, [Port("y", "float32", (1, None))], "net")


def voice(samples, seed=0):
    """Of 16 bits: harmonics of a gliding tone in noise, swelling and fading, and a pause of zeros."""
    generator, time = np.random.default_rng(seed), np.arange(samples) / RATE
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 1.3 * time)) / RATE
    tones = sum(np.sin(k * phase + k) * np.exp(-0.15 * k) for k in range(1, 40))
    x = (0.1 * tones + 0.003 * generator.standard_normal(samples)) * (0.02 + np.sin(2 * np.pi * 1.7 * time) ** 2)
    x[samples // 2:samples // 2 + 2000] = 0
    return (np.round(x * 32768) / 32768).astype(np.float32)


def padded(x, samples):
    """Samples and their number, as a graph for waveforms takes them."""
    return np.pad(x, (0, samples - len(x)))[None], np.array([len(x)], np.int32)


# front-ends


def features_as_they_were(name, x):
    """Of graphs that squared the spectrum as it is, all in float16."""
    frames = np.lib.stride_tricks.sliding_window_view(half(x * FRONT_ENDS[name].scale), 400)[::HOP]
    with np.errstate(all="ignore"):
        squares = half(half(frames @ half(fourier_kernel(name).T)) ** 2)
        mel = half(squares @ half(np.concatenate([mel_filters(name, 80)] * 2)))
        x = half(np.log(np.maximum(mel, np.float16(1e-10))))
        return x - x.mean(0)


@pytest.mark.parametrize("name", [*FRONT_ENDS, "deepspeech2"])
def test_features_of_quiet_and_loud_recordings(name, tmp_path):
    """In units of their deviation they are 0.0015 off, all in float16 0.005; one by one up to 0.15, 60 dB down."""
    cell = Spectrogram() if name == "deepspeech2" else FilterBank(name, 80)
    graph, x = exported(Network(cell), WAVEFORM, tmp_path), voice(20001)
    for gain in (2.0 ** -8, 1.0, 0.9 / np.abs(x).max()):
        samples = np.float32(gain) * x
        expected = spectrogram(samples) if name == "deepspeech2" else filter_bank(samples, name)
        for everything, bound in ((False, 0.0015), (True, 0.005)):
            found = Emulator(graph, everything)(*padded(samples, 24000))[0][0, :len(expected)]
            error = np.abs(found - expected) / expected.std()
            assert np.sqrt((error ** 2).mean()) < bound and error.max() < 0.15, (gain, everything)


@pytest.mark.parametrize("name", ["taoruijie", "kaldi"])
def test_features_without_a_number_of_samples(name, tmp_path):
    """A graph for any length takes any number of hops."""
    graph = Evaluator(exported(Network(FilterBank(name, 80)), WAVEFORM[:1], tmp_path))
    for samples in (8000, 24160):
        expected = filter_bank(voice(samples), name)
        assert error_of(graph(voice(samples)[None])[0][0], expected) < 1e-4


@pytest.mark.parametrize("name, gain", [("speechbrain", 2.0 ** -8), ("kaldi", 1.0)])
def test_squares_of_a_spectrum_as_it_is_leave_float16(name, gain):
    assert not np.isfinite(features_as_they_were(name, np.float32(gain) * voice(20001))).any()


# norms and statistics over time


class ByWeights(nn.Cell):
    """gLN by products of matrices with 1 / (T C), as it was."""

    def construct(self, x):
        weight = ones_like(x[:, :1]).transpose(0, 2, 1)
        weight = weight / weight.sum(1, keepdims=True) / x.shape[1]
        x = x - ops.bmm(x, weight).sum(1, keepdims=True)
        return x / ops.sqrt(ops.bmm(x.square(), weight).sum(1, keepdims=True) + 1e-8)


def global_norm(x):
    wide = x.astype(np.float64)
    return (wide - wide.mean((1, 2), keepdims=True)) / np.sqrt(wide.var((1, 2), keepdims=True) + 1e-8)


def error_of(actual, expected):
    """Of the largest number that there should be."""
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def norms(tmp_path_factory):
    """{(name, channels): graph} for any number of frames."""
    graphs = {}
    for name, make in (("old", lambda channels: ByWeights()), *NORMS.items()):
        for channels in ((4, 512) if name in ("old", "gLN") else (512,) if name != "BN" else ()):
            port = Port("x", "float32", (1, channels, None), 30)
            graphs[name, channels] = exported(make(channels), [port], tmp_path_factory.mktemp("norm"))
    return graphs


@pytest.mark.parametrize("everything", [False, True])
def test_global_norm_of_seconds_and_minutes(norms, everything):
    """4 s and 10 s of 512 channels at 8 kHz; and more frames than float16 counts."""
    generator = np.random.default_rng(0)
    for channels, frames in ((512, 3999), (512, 9999), (4, 66000)):
        x = 3 * generator.standard_normal((1, channels, frames)).astype(np.float32) + 1
        new, old = (Emulator(norms[name, channels], everything)(x)[0] for name in ("gLN", "old"))
        assert error_of(new, global_norm(x)) < 0.002
        if channels > 4 or everything:
            assert not error_of(old, global_norm(x)) < 0.01
    assert np.isfinite(old).all() != everything


@pytest.mark.parametrize("name, axes", [("gLN", (1, 2)), ("cLN", (1,)), ("cgLN", (1,))])
@pytest.mark.parametrize("level", [2e-4, 1.0, 300.0])
def test_norms_of_any_level(norms, name, axes, level):
    """Squares of 1e-8 and of 1e6 are no numbers of float16; silence before a sound, and a whole one, stay zeros."""
    x = np.float32(level) * np.random.default_rng(1).standard_normal((1, 512, 50)).astype(np.float32)
    x[:, :, :9] = 0
    expected = formula(name, x, axes)
    for everything in (False, True):
        assert error_of(Emulator(norms[name, 512], everything)(x)[0], expected) < 0.003
        assert not Emulator(norms[name, 512], everything)(0 * x)[0].any()
    if level != 1:
        assert not error_of(Emulator(norms["old", 512], True)(x)[0], global_norm(x)) < 0.01


def formula(name, x, axes):
    """What a norm gives, in float64."""
    wide = x.astype(np.float64)
    mean, power = wide.mean(axes, keepdims=True), (wide ** 2).mean(axes, keepdims=True)
    if name == "cgLN":
        count = np.arange(1, x.shape[2] + 1)
        mean, power = mean.cumsum(2) / count, power.cumsum(2) / count
    return (wide - mean) / np.sqrt(power - mean ** 2 + 1e-8)


class Statistics(nn.Cell):
    """Means and variances over time, plain and weighted, of what `lengths` leaves."""

    def __init__(self):
        super().__init__()
        self.plain, self.weighted = cpu_ops.TimeStatistics(), cpu_ops.SoftmaxStatistics()

    def construct(self, x, score, lengths):
        mask = length_mask(x[:, 0], lengths).expand_dims(1).expand_dims(1)
        x, score = x.expand_dims(2), score.expand_dims(2) + (mask - 1) * 1e4
        return ops.cat((*self.plain(x, mask), *self.weighted(x, score)), 1).squeeze(3).squeeze(2)


@pytest.fixture(scope="module")
def statistics(tmp_path_factory):
    ports = [Port("x", "float32", (1, 8, None), 30), Port("score", "float32", (1, 8, None), 30),
             Port("lengths", "int32", (1,))]
    return exported(Statistics(), ports, tmp_path_factory.mktemp("statistics"))


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("frames, length", [(300, 300), (3000, 2500), (30000, 20000), (70000, 66000)])
def test_statistics_over_time(statistics, frames, length, everything):
    """Of recordings of up to eleven minutes, and of padding that is far louder."""
    generator = np.random.default_rng(frames)
    x, score = (generator.standard_normal((1, 8, frames)).astype(np.float32) for _ in range(2))
    x = 2 + x
    x[:, :, length:] = 30
    actual = Emulator(statistics, everything)(x, score, np.array([length], np.int32))[0].reshape(4, 8)
    inside = x[0, :, :length].astype(np.float64)
    weight = np.exp(score[0, :, :length].astype(np.float64))
    weight /= weight.sum(1, keepdims=True)
    mean = (weight * inside).sum(1)
    expected = [inside.mean(1), inside.var(1), mean, (weight * (inside - mean[:, None]) ** 2).sum(1)]
    np.testing.assert_allclose(actual, expected, rtol=0.02 if everything else 1e-4)


def test_frames_are_counted_beyond_2048(tmp_path):
    """Where sums of float16 stop: 2048 + 1 is 2048."""
    class Mask(nn.Cell):
        def construct(self, x, lengths):
            return length_mask(x, lengths)

    ports = [Port("x", "float32", (1, None)), Port("lengths", "int32", (1,))]
    graph = Emulator(exported(Mask(), ports, tmp_path), True)
    x = np.zeros((1, 3001), np.float32)
    assert graph(x, np.array([2777], np.int32))[0].sum() == 2777
    assert graph.apply("CumSum", [x + 1, 1], {}).max() == 2048


# networks


def ecapa(variant, front_end):
    model = EcapaTdnn(80, 32, 16, 48, variant)
    return EcapaFromWaveform(randomised(model, np.random.default_rng(0)), front_end, 80), WAVEFORM


def conv_tasnet(**settings):
    sizes = {"N": 32, "L": 2 * STRIDE, "B": 16, "H": 32, "Sc": 16, "X": 8, "R": 1}
    model = ConvTasNet(ConvTasNetConfig(**(sizes | settings)))
    return WholeStrides(randomised(model, np.random.default_rng(0))), [
        Port("mixture", "float32", (1, None), 8000), Port("lengths", "int32", (1,))]


def deepspeech2():
    model = DeepSpeech2(DeepSpeech2Config(conv_channels=4, hidden_size=16, hidden_layers=2))
    return DeepSpeech2FromWaveform(randomised(model, np.random.default_rng(0))), WAVEFORM


NETWORKS = {
    "ecapatdnn taoruijie": lambda: ecapa("taoruijie", "taoruijie"),
    "ecapatdnn speechbrain": lambda: ecapa("speechbrain", "kaldi"),
    "conv_tasnet gLN": conv_tasnet,
    "conv_tasnet kaituoxu": lambda: conv_tasnet(variant="kaituoxu", Sc=0),
    "conv_tasnet causal": lambda: conv_tasnet(causal=True, norm="cgLN"),
    "deepspeech2": deepspeech2,
}


IN_EVERY_RUN = ("ecapatdnn taoruijie", "conv_tasnet gLN", "deepspeech2")     # the emulation takes long


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A function of a name that gives its graph, for any length."""
    graphs = {}

    def graph(name):
        if name not in graphs:
            ms.set_seed(0)
            graphs[name] = exported(*NETWORKS[name](), tmp_path_factory.mktemp("network"))
        return graphs[name]

    return graph


def arrays_of(name, length, size):
    """A recording of `length` samples in a graph for `size`; Conv-TasNet's lengths are whole strides."""
    return padded(voice(length // STRIDE * STRIDE if name.startswith("conv_tasnet") else length), size)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.slow)
                                  for name in NETWORKS])
def test_networks_follow_float32(name, networks):
    """Within 0.4 % of the largest output, with products of matrices or with everything in float16."""
    # float16 adds up no more than 2048 frames of 1, so in cgLN mean and variance stay behind; it wants float32
    path, bounds = networks(name), (0.004, 0.2 if name == "conv_tasnet causal" else 0.004)
    for length, size in ((16000, 16000), (20001, 32000)):
        arrays = arrays_of(name, length, size)
        expected = Evaluator(path)(*arrays)[0]
        for everything, bound in zip((False, True), bounds, strict=True):
            assert error_of(Emulator(path, everything)(*arrays)[0], expected) < bound


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_changes_nothing(name, networks):
    """Neither do the features, masks and norms of a gear see it, in a graph that no length is written in."""
    graph = Evaluator(networks(name))
    short, long = (graph(*arrays_of(name, 20001, size))[0] for size in (20160, 32000))
    if name.startswith("conv_tasnet"):
        short, long = short[:, :, :20000], long[:, :, :20000]
    if name == "deepspeech2":
        long = long[:len(short)]
    np.testing.assert_allclose(long, short, rtol=0, atol=1e-5 * np.abs(short).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_are_within_the_bounds_of_cann(name, networks):
    """Those in the specification of CANN's Conv2D: kernel, stride, zeros, dilation, and columns under a tall kernel.

    With one row CANN cuts the columns itself (conv1d_split_w_flag in its util_conv2d.py), so there may be any number.
    """
    graph = Evaluator(networks(name))
    count = 0
    for node in graph.graph.node:
        operator, settings = graph._operator(node)
        if operator == "Conv2D":
            count += 1
            height, width = settings["kernel_size"]
            assert max(height, width, *settings["dilation"], *settings["pad_list"]) <= 255
            assert max(settings["stride"]) <= 63
            columns = next(one.tensors[0] for one in node.attribute if one.name == "shape").dims[3]
            assert height == 1 or 0 < columns <= 4096
    assert count > 1


# training


@pytest.mark.parametrize("name, axes", [("gLN", (1, 2)), ("cLN", (1,)), ("cgLN", (1,))])
def test_norms_keep_float32_at_o2(name, axes):
    """Where sums of 3000 frames, and squares, would leave float16."""
    x = half(1000 * np.random.default_rng(0).standard_normal((1, 8, 3000)).astype(np.float32) + 1000)
    actual = mostly_half(Network(NORMS[name](8))).set_train(False)(Tensor(x)).asnumpy()
    assert error_of(actual, formula(name, x, axes)) < 0.001


def test_statistics_keep_float32_at_o2():
    generator = np.random.default_rng(0)
    x, score = (half(scale * generator.standard_normal((1, 8, 3000)).astype(np.float32)) for scale in (300, 1))
    network = mostly_half(Statistics()).set_train(False)
    actual = network(Tensor(x), Tensor(score), Tensor([3000], ms.int32)).asnumpy().reshape(4, 8)
    weight = np.exp(score[0].astype(np.float64))
    weight /= weight.sum(1, keepdims=True)
    mean = (weight * x[0]).sum(1)
    expected = x[0].mean(1), x[0].var(1), mean, (weight * (x[0] - mean[:, None]) ** 2).sum(1)
    np.testing.assert_allclose(actual, expected, rtol=0.002, atol=0.01)


def test_the_root_of_no_variance_has_a_gradient_at_o2():
    network = mostly_half(Network(Deviation(1e-12)))
    gradient = ms.grad(network)(Tensor(np.float32([0, 2.0 ** -20, 1])))
    np.testing.assert_allclose(gradient.asnumpy(), [0, 512, 0.5], rtol=1e-3)


def test_cumulative_norm_goes_on_after_hours():
    """Sums of a float32 stop at 2^24 frames, four hours; means, and a count that does not grow on, do not."""
    layer, x = CumulativeNorm(4), np.random.default_rng(0).standard_normal((1, 4, 1000)).astype(np.float32)
    state = (Tensor(np.float32([[[0.5], [1.0], [2.0 ** 23]]])),)
    for _ in range(3):
        y, state = layer.stream(Tensor(3 * x), state)
    expected, before = 1.0, 2.0 ** 23
    for _ in range(3):
        expected = (expected * before + 9 * np.square(x, dtype=np.float64).mean(1).sum()) / (before + 1000)
    assert float(state[0][0, 1, 0]) == pytest.approx(expected, rel=1e-6) and expected > 1.002
    assert float(state[0][0, 2, 0]) == 2.0 ** 23 and np.isfinite(y.asnumpy()).all()


def operators_of(path):
    model = pb.ModelProto()
    model.ParseFromString(path.read_bytes())
    return {primitive.op_type for primitive in model.primitives}


def test_the_loss_multiplies_no_matrices(tmp_path):
    """An Ascend would in float16, which has 1 - 5e-4 below 1: the noise in a correlation of 33 dB."""
    shapes = (1, 2, 80), (1, 2, 80), (1, 80)
    ms.export(PitSiSnr(2), *(Tensor(np.zeros(shape, np.float32)) for shape in shapes), Tensor([80], ms.int32),
              file_name=str(tmp_path / "loss"), file_format="MINDIR")
    operators = operators_of(tmp_path / "loss.mindir")
    assert "Mul" in operators and not {name for name in operators if "MatMul" in name}
