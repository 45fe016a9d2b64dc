"""The graphs that an Ascend has to compile for DeepSpeech2: what utils/ascend_check checks."""
import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor

from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, RATE
from deepspeech2.src.inference import BatchNetwork
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.streaming import Step, Stream, begin, steps_of
from deepspeech2.src.training import make_recipe
from deepspeech2.src.waveform import FromWaveform
from utils.ascend_check.graphs import distributed, training_calls, variants
from utils.cpu_ops import fast
from utils.device import Device
from utils.layers.ascend import for_ascend
from utils.layers.steps import Stepper
from utils.training.train_step import adapt

CONFIG = Config
FRAMES, LABELS = 200, 20    # of an utterance
STEPS = 100                 # of an epoch


def train(config: Config, device: Device) -> list[Callable]:
    """As train.py."""
    recipe = make_recipe(dataclasses.replace(config, val_manifest="", initial_model=""), STEPS, device)
    count = config.minibatch_size
    batch = [Tensor(np.zeros((count, FRAMES, BINS), np.float32)), Tensor(np.full(count, FRAMES, np.int32)),
             Tensor(np.ones((count, LABELS), np.int32)), Tensor(np.full(count, LABELS, np.int32))]
    return training_calls(recipe, config, device, batch)


def validate(config: Config, device: Device) -> list[Callable]:
    """As train.py does after an epoch: in the precision of the training."""
    model = DeepSpeech2(config)
    adapt(model, config, device)
    return batches(BatchNetwork(model, config))


def evaluate(config: Config, device: Device) -> list[Callable]:
    """As eval.py."""
    return batches(BatchNetwork(fast(DeepSpeech2(config)), config))


def batches(network: BatchNetwork) -> list[Callable]:
    """A batch of utterances, padded to one length."""
    return [lambda: network.run([np.zeros((FRAMES, BINS), np.float32)], FRAMES)]


def stream(config: Config, device: Device) -> list[Callable]:
    """As `infer.py --stream`; nothing where the network is bidirectional."""
    if config.bidirectional:
        return []
    parts = Stream(fast(DeepSpeech2(config)), config)
    return [lambda: list(parts.stepper.push(np.zeros(2 * RATE, np.float32)))]


def export(config: Config, device: Device) -> list[Callable]:
    """As `export.py --runtime ascend`: for one length, and for a gear that a recording does not fill; or of a step."""
    if config.streaming:
        model, steps = DeepSpeech2(config), steps_of(config, config.stream_step)
        stepper = Stepper(for_ascend(Step(model, steps)), steps, 0, begin(model))
        return [lambda: list(stepper.push(np.zeros(steps.window, np.float32)))]
    if config.input == "waveform":
        network, shape = for_ascend(FromWaveform(DeepSpeech2(config))), (1, RATE)
    else:
        network, shape = for_ascend(DeepSpeech2(config)), (1, FRAMES, BINS)
    network, inputs, count = network.set_train(False), Tensor(np.zeros(shape, np.float32)), Tensor([shape[1]], ms.int32)
    return [lambda: network(inputs, count), *([lambda: network(inputs)] if config.input == "waveform" else [])]


KINDS = {"train": train, "validation": validate, "evaluation": evaluate, "streaming": stream, "export": export}
SMALL = dataclasses.replace(Config(), hidden_size=64, hidden_layers=2, conv_channels=8, minibatch_size=3)
ONE_WAY = {"bidirectional": False}
NETWORKS = {
    "LSTM": {},
    "GRU": {"rnn_type": "gru"},
    "one-way LSTM": ONE_WAY,
    "one-way GRU": ONE_WAY | {"rnn_type": "gru"}}
GRAPHS = {
    **variants("train", train, SMALL, {
        **NETWORKS,
        "O0": {"amp_level": "O0"},
        "O2": {"amp_level": "O2"},
        "O2, GRU": {"amp_level": "O2", "rnn_type": "gru"},
        "O2, one-way LSTM": ONE_WAY | {"amp_level": "O2"},
        "no loss scale": {"loss_scale": 1.0},
        "dynamic loss scale": {"loss_scale": 0.0},
        "accumulated": {"accumulate": 2},
        "not clipped": {"clip_norm": 0.0},
        "SGD": {"optimizer": "sgd"}}),
    **distributed(train, SMALL),
    **variants("validation", validate, SMALL, NETWORKS),
    **variants("evaluation", evaluate, SMALL, NETWORKS),
    **variants("streaming", stream, SMALL, {"LSTM": ONE_WAY, "GRU": ONE_WAY | {"rnn_type": "gru"}}),
    **variants("export", export, SMALL, {
        **NETWORKS, "waveform": {"input": "waveform"}, "streaming, LSTM": ONE_WAY | {"streaming": True},
        "streaming, GRU": ONE_WAY | {"streaming": True, "rnn_type": "gru"}}),
}
