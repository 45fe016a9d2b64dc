"""DeepSpeech2's network, loss, front-end and optimiser: exact counts, padding, streaming, independent formulas."""
import dataclasses
import itertools

import mindspore as ms
import numpy as np
import pytest
import scipy.signal
import soundfile
from helpers.errors import refused
from helpers.graphs import python
from mindspore import Parameter, Tensor

import deepspeech2
from deepspeech2 import infer
from deepspeech2.src import windows
from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, HOP, frame_count, log_magnitude, spectrogram
from deepspeech2.src.inference import Recognizer
from deepspeech2.src.loss import CtcLoss
from deepspeech2.src.manifest import Utterance
from deepspeech2.src.model import AFTER, DeepSpeech2, Lookahead, frames_after
from deepspeech2.src.optimizer import AdamW
from deepspeech2.src.streaming import Stream, begin, merged
from deepspeech2.src.text import BLANK, collapse
from utils.audio.audio_file import AudioError
from utils.config import parse_config
from utils.errors import MismatchError, SettingError
from utils.layers.mixed_precision import mixed

SMALL = dataclasses.replace(Config(), conv_channels=4, hidden_size=16, hidden_layers=2)


def network(**differences):
    """A small network in evaluation whose norms are not trivial, and its config."""
    ms.set_seed(0)
    config, generator = dataclasses.replace(SMALL, **differences), np.random.default_rng(0)
    model = DeepSpeech2(config).set_train(False)
    for parameter in model.get_parameters():
        if parameter.name.endswith(("gamma", "beta", "moving_mean", "moving_variance", "bias")):
            parameter.set_data(Tensor(generator.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    return model, config


def run(model, features, frames):
    log_probs, counts = python(model)(features, np.array(frames, np.int32))
    return log_probs.asnumpy(), counts.asnumpy()


@pytest.mark.parametrize("settings, count", [
    ({}, 86_618_400), ({"bidirectional": False}, 43_475_232), ({"hidden_size": 320, "hidden_layers": 3}, 7_732_448)])
def test_parameter_counts_are_those_of_deepspeech_pytorch(settings, count):
    model = DeepSpeech2(dataclasses.replace(Config(), **settings))
    assert sum(parameter.size for parameter in model.trainable_params()) == count


@pytest.mark.parametrize("name, count", [("open_speech", 5_870_352), ("open_speech_streaming", 2_981_392)])
def test_sizes_of_general_english(name, count, monkeypatch):
    monkeypatch.setenv("SPEECH_DATA", "data")
    model = DeepSpeech2(parse_config(Config, ["--config", name]))
    assert sum(parameter.size for parameter in model.get_parameters()) == count
    assert (model.lookahead is not None) == name.endswith("streaming")


@pytest.mark.parametrize("settings", [{}, {"bidirectional": False, "lookahead_context": 5}],
                         ids=["bidirectional", "unidirectional"])
def test_a_padded_batch_gives_what_each_gives_alone(settings):
    model, config = network(**settings)
    features = np.random.default_rng(1).normal(size=(3, 61, BINS)).astype(np.float32)   # noise in the padding too
    together, counts = run(model, features, [61, 40, 13])
    assert counts.tolist() == [31, 20, 7] and together.shape == (31, 3, len(config.labels))
    np.testing.assert_allclose(np.exp(together).sum(2), 1, rtol=1e-5)
    for i, length in enumerate((61, 40, 13)):
        alone, _ = run(model, features[i:i + 1, :length], [length])
        np.testing.assert_allclose(alone[:, 0], together[:counts[i], i], atol=2e-6)


@pytest.mark.parametrize("kernels", [lambda model: model, mixed], ids=["O0", "O1"])
def test_images_of_time_by_frequency_give_the_same(kernels):
    """As an Ascend's convolutions take them; of whole recordings and of parts, from the same weights."""
    model, _ = network()
    features = np.random.default_rng(1).normal(size=(2, 61, BINS)).astype(np.float32)
    mask, inside = (np.random.default_rng(2).integers(0, 2, (2, n)).astype(np.float32) for n in (61, 26))
    kernels(model.conv)

    def evaluate():
        return python(model.conv)(features, mask)[0], python(model.conv.slide)(features[:, :62], inside)

    expected = evaluate()
    model.conv.for_ascend()
    actual = evaluate()
    for one, other in zip(actual, expected, strict=True):
        tolerance = 1e-6 if kernels is not mixed else 2e-3
        assert one.shape == other.shape
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), rtol=0, atol=tolerance * other.abs().max().asnumpy())


def test_a_unidirectional_network_hears_no_further_than_its_lookahead():
    model, config = network(bidirectional=False, lookahead_context=4)
    features = np.random.default_rng(1).normal(size=(1, 120, BINS)).astype(np.float32)
    before = run(model, features, [120])[0]
    changed = features.copy()
    changed[:, 80:] += 1
    differs = np.abs(run(model, changed, [120])[0] - before).max((1, 2)) > 1e-6
    # frame 40 is the first of the change; a frame sees 3 more by lookahead and 7 by the convolutions
    assert not differs[:30].any() and differs[30:60].all()


@pytest.mark.parametrize("settings", [{}, {"bidirectional": False}], ids=["bidirectional", "unidirectional"])
def test_every_parameter_gets_a_gradient(settings):
    model, _ = network(**settings)
    model.set_train()
    loss = CtcLoss()
    features = Tensor(np.random.default_rng(1).normal(size=(2, 60, BINS)).astype(np.float32))

    def objective(features, frames, labels, counts):
        return loss(*model(features, frames), labels, counts)[0]

    weights = model.trainable_params()
    gradients = ms.value_and_grad(objective, None, weights)(
        features, Tensor([60, 40], ms.int32), Tensor([[1, 2, 3], [4, 5, 0]], ms.int32), Tensor([3, 2], ms.int32))[1]
    for weight, gradient in zip(weights, gradients, strict=True):
        gradient = gradient.asnumpy()
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0, weight.name


def test_lookahead_is_a_filter_over_the_frames_that_follow():
    layer, x = Lookahead(3, 4), np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    weight = layer.weight.asnumpy()[:, 0, 0]
    padded = np.concatenate((x, np.zeros((3, 2, 3), np.float32)))
    expected = sum(padded[k:k + 9] * weight[:, k] for k in range(4))
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy(), np.clip(expected, 0, 20), atol=1e-5)


@pytest.mark.parametrize("field, value, expected", [("rnn_type", "rnn", "lstm, gru"), ("hidden_size", 0, 1),
                                                    ("lookahead_context", 0, 1)])
def test_impossible_networks_are_refused(field, value, expected):
    with refused(SettingError, field, repr(value), expected):
        DeepSpeech2(dataclasses.replace(SMALL, **{field: value}))


# front-end


@pytest.mark.parametrize("samples", [20003, 16000, 161, 100])
def test_spectrogram_equals_scipys_stft(samples):
    x = np.random.default_rng(samples).normal(0, 0.1, samples)
    padded = np.pad(x, 160, "reflect")
    transform = scipy.signal.ShortTimeFFT(scipy.signal.get_window("hamming", 320), 160, 16000, phase_shift=None)
    expected = np.log1p(np.abs(transform.stft(padded, p0=1, p1=1 + samples // 160 + 1))).T
    actual = log_magnitude(x.astype(np.float32))
    assert actual.shape == (frame_count(samples), BINS) == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    normal = spectrogram(x.astype(np.float32))
    assert abs(normal.mean()) < 1e-4 and normal.std(ddof=1) == pytest.approx(1, abs=1e-4)


def test_spectrogram_of_silence_is_finite():
    assert np.isfinite(spectrogram(np.zeros(1000, np.float32))).all()


# streaming


@pytest.fixture(scope="module")
def stream():
    model, config = network(bidirectional=False)
    return model, Stream(model, config, seconds=0.2)


@pytest.mark.parametrize("samples", [100, 3200, 7999, 20003])
@pytest.mark.parametrize("block", [160, 777, 20003])
def test_streaming_equals_the_whole(stream, samples, block):
    """With states that know the moments of the whole: those of so many frames that no step changes them."""
    model, streamer = stream
    x = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    features, magnitudes = spectrogram(x), log_magnitude(x).astype(np.float64)
    expected = run(model, features[None], [len(features)])[0][:, 0]
    blocks = [x[i:i + block] for i in range(0, samples, block)]
    states = list(begin(model))
    states[1:4] = [Tensor([[number]], ms.float32) for number in (1e30, magnitudes.mean(), magnitudes.var(ddof=1))]
    actual = np.concatenate(list(streamer.stepper.run(blocks, states)))[:, 0]
    np.testing.assert_allclose(actual, expected, atol=5e-6)
    live = list(streamer.run(blocks))       # with the statistics of what the steps have seen
    for found, wanted in zip(live, streamer.run([x]), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert np.concatenate(live).shape == expected.shape
    assert model.output.weight.name == "output.weight"              # checkpoints of it stay as they were


def test_live_is_normalised_by_the_features_so_far(stream):
    """The moments after each step, also where it becomes louder, are those of all frames that the steps have seen."""
    streamer = stream[1]
    x = np.random.default_rng(5).normal(0, 0.1, 9600).astype(np.float32)
    x[6000:] *= 4
    steps = streamer.stepper.steps
    streamer.stepper.reset()
    seen = 0
    for number, _ in enumerate(streamer.stepper.push(x)):
        seen = number * steps.samples - steps.before + steps.window
        count, mean, variance = (float(state.asnumpy()[0, 0]) for state in streamer.stepper.states[1:4])
        features = log_magnitude(x[:seen])[:seen // HOP]        # without the frames that reach beyond it
        assert count == len(features) == 2 * (number + 1) * steps.rows + AFTER
        assert mean == pytest.approx(features.mean(dtype=np.float64), rel=1e-5)
        assert variance == pytest.approx(features.var(dtype=np.float64), rel=1e-5)
    assert seen > 8000


def test_the_moments_of_an_hour_stay_accurate():
    """In float32, over steps of 0.1 s with levels that drift and jump, against those of all numbers together."""
    generator = np.random.default_rng(0)
    steps = 36_000
    means = (2 + np.sin(np.arange(steps) / 5000) + generator.normal(0, 0.5, steps)).astype(np.float32)
    variances = generator.uniform(0.01, 2, steps).astype(np.float32)
    means[20_000:] -= 1.5
    count, state = np.full(1, 10, np.float32), (np.zeros(1, np.float32),) * 3
    for i in range(steps):
        state = merged(state, (count, means[i:i + 1], variances[i:i + 1]))
    assert all(number.dtype == np.float32 for number in state) and state[0] == 10 * steps
    exact = means.mean(dtype=np.float64)
    assert state[1] == pytest.approx(exact, rel=1e-5)
    assert state[2] == pytest.approx(variances.mean(dtype=np.float64) + means.var(dtype=np.float64), rel=1e-5)


def test_what_is_said_comes_while_it_arrives(stream, monkeypatch):
    """A segment before the last block has come; in all what the log probabilities say."""
    model, streamer = stream
    recognizer = Recognizer(model, dataclasses.replace(SMALL, bidirectional=False), lambda piece: f"N{len(piece)}")
    monkeypatch.setattr(recognizer, "stream", lambda seconds: streamer)
    monkeypatch.setattr(windows, "LONGEST", windows.SEGMENT + windows.PAUSE)       # cut without a pause, too
    blocks, arrived = list(np.random.default_rng(0).normal(0, 0.1, (25, 16000)).astype(np.float32)), []
    segments = []
    for segment in recognizer.transcribe_stream(block for block in blocks if not arrived.append(1)):
        segments.append(segment)
        assert len(arrived) < 25 or segment.end > 20
    assert len(segments) > 1 and segments[-1].end == pytest.approx(25, abs=0.05)
    assert segments == list(recognizer.decode_pieces(streamer.run(blocks)))
    with refused(AudioError, "int32"):
        list(recognizer.transcribe_stream([np.zeros(160, np.int32)]))


@pytest.mark.parametrize("level", [0.05, 0.0005])
def test_infer_streams_as_live(stream, tmp_path, monkeypatch, capsys, level):
    """A recording that becomes louder, and one so quiet that it is raised where it is not live."""
    model, streamer = stream
    recognizer = Recognizer(model, dataclasses.replace(SMALL, bidirectional=False),
                            lambda piece: f"N{len(piece)} {piece.argmax(1).sum()} {piece.sum():.1f}")
    monkeypatch.setattr(recognizer, "stream", lambda seconds=1.0: streamer)
    monkeypatch.setattr(deepspeech2, "load", lambda *_, **settings: recognizer, raising=False)
    x = (level * np.random.default_rng(0).normal(0, 1, 48000)).clip(-1, 1).astype(np.float32)
    x[32000:] *= 4
    soundfile.write(tmp_path / "a.wav", x, 16000, subtype="FLOAT")
    infer.main([str(tmp_path / "a.wav"), "--stream"])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [segment.text for segment in recognizer.transcribe_stream(np.split(x, 6))]
    assert "raised" not in printed.err


def test_evaluation_by_steps_hears_what_live_use_does(stream, tmp_path):
    """In whatever order, of whatever length: normalised by the sound so far, not by the whole."""
    model, streamer = stream
    settings = {"bidirectional": False, "streaming": True, "stream_step": 0.2}
    recognizer = Recognizer(model, dataclasses.replace(SMALL, **settings), str)
    generator, recordings, unfit = np.random.default_rng(0), {}, {}
    for name, samples in (("a", 20000), ("b", 7000), ("c", 100)):
        x = generator.normal(0, 0.05, samples).astype(np.float32)
        x[samples // 2:] *= 4
        recordings[name] = x
        soundfile.write(tmp_path / f"{name}.wav", x, 16000, subtype="FLOAT")
    utterances = [Utterance(str(tmp_path / f"{name}.wav"), "", len(x) / 16000) for name, x in recordings.items()]
    found = dict(recognizer.run_files(utterances, unfit))
    assert list(found) == [0, 1] and list(unfit) == [2]
    for i, name in enumerate("ab"):
        np.testing.assert_allclose(found[i], np.concatenate(list(streamer.run([recordings[name]]))), atol=1e-5)
    whole = Recognizer(model, dataclasses.replace(SMALL, bidirectional=False), str)
    assert all(np.abs(output - found[i]).max() > 1e-4 for i, output in whole.run_files(utterances[:2]))
    with refused(MismatchError, "bidirectional"):
        Recognizer(network()[0], dataclasses.replace(SMALL, streaming=True), str).run_files(utterances)


def test_a_bidirectional_network_cannot_stream():
    with refused(MismatchError, "stream", "--bidirectional false"):
        Stream(*network())


# loss


def all_alignments(log_probs, labels):
    """Negative log of the summed probability of every path that collapses to `labels`."""
    frames, size = log_probs.shape
    total = sum(np.exp(sum(log_probs[t, label] for t, label in enumerate(path)))
                for path in itertools.product(range(size), repeat=frames)
                if collapse(path).tolist() == list(labels))
    return -np.log(total)


@pytest.mark.parametrize("labels", [[1], [1, 2], [2, 2], [1, 1, 2]])
def test_loss_is_the_sum_over_all_alignments(labels):
    generator, frames = np.random.default_rng(len(labels)), 5
    scores = generator.normal(size=(frames, 1, 3))
    log_probs = (scores - np.log(np.exp(scores).sum(2, keepdims=True))).astype(np.float32)
    padded = np.zeros((1, 4), np.int32)
    padded[0, :len(labels)] = labels
    loss, infinite = CtcLoss()(Tensor(log_probs), Tensor([frames], ms.int32), Tensor(padded),
                               Tensor([len(labels)], ms.int32))
    assert float(loss) == pytest.approx(all_alignments(log_probs[:, 0], labels), rel=1e-5) and float(infinite) == 0


def test_what_has_no_alignment_adds_nothing_and_is_counted():
    scores = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)
    loss = CtcLoss()

    def objective(scores, frames):
        labels = Tensor([[1, 1, 2], [1, 2, 0]], ms.int32)       # the first needs 4 frames, and has 3
        return loss(ms.ops.log_softmax(scores, -1), frames, labels, Tensor([3, 2], ms.int32))

    function = ms.value_and_grad(objective, 0, has_aux=True)
    (value, infinite), gradient = function(Tensor(scores), Tensor([3, 3], ms.int32))
    log_probs = scores[:, 1] - np.log(np.exp(scores[:, 1]).sum(1, keepdims=True))
    assert float(value) == pytest.approx(all_alignments(log_probs, [1, 2]) / 2, rel=1e-5) and float(infinite) == 0.5
    assert not gradient.asnumpy()[:, 0].any() and np.abs(gradient.asnumpy()[:, 1]).max() > 0


def test_a_few_utterances_are_learnt_by_heart():
    from utils.training.train_step import TrainStep

    model, _ = network()
    model.set_train()
    loss, generator = CtcLoss(), np.random.default_rng(0)
    batch = (Tensor(generator.normal(size=(2, 60, BINS)).astype(np.float32)), Tensor([60, 50], ms.int32),
             Tensor([[1, 2, 2, 3], [4, 5, 6, 0]], ms.int32), Tensor([4, 3], ms.int32))

    def objective(features, frames, labels, counts):
        return loss(*model(features, frames), labels, counts)

    step = TrainStep(objective, AdamW(model.trainable_params(), 0.01, 1e-5), 1.0, 50.0)
    losses = [float(step(*batch)[0]) for _ in range(100)]
    assert losses[0] > 5 and losses[-1] < 0.5
    log_probs, counts = run(model.set_train(False), batch[0].asnumpy(), [60, 50])
    assert frames_after(60) == counts[0] == 30 and BLANK == 0 and log_probs.shape[0] == 30


# optimiser


def test_adamw_equals_its_formula():
    weight = Parameter(Tensor([1.0, -2.0, 3.0], ms.float32), "w")
    optimizer, expected = AdamW([weight], 0.1, 0.5), np.array([1.0, -2.0, 3.0])
    first, second = np.zeros(3), np.zeros(3)
    for step in range(1, 6):
        gradient = np.array([0.1, -1.0, 2.0]) * step
        optimizer((Tensor(gradient, ms.float32),))
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient ** 2
        expected = expected * (1 - 0.1 * 0.5)
        expected -= 0.1 * (first / (1 - 0.9 ** step)) / (np.sqrt(second / (1 - 0.999 ** step)) + 1e-8)
        np.testing.assert_allclose(weight.asnumpy(), expected, rtol=1e-4)
