"""The graphs that an Ascend has to compile for ECAPA-TDNN: what utils/ascend_check checks."""
import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor

from ecapatdnn.src import speaker_id_training, training
from ecapatdnn.src.config import Config
from ecapatdnn.src.features import HOP, RATE
from ecapatdnn.src.identification import SpeakerId
from ecapatdnn.src.inference import SCORE_CROP, UtteranceNetwork, Verifier
from ecapatdnn.src.model import make_network
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from ecapatdnn.src.waveform import FromWaveform
from utils.ascend_check.graphs import distributed, training_calls, variants
from utils.cpu_ops import fast
from utils.device import Device
from utils.layers.ascend import for_ascend
from utils.training.train_step import adapt

CONFIG = Config
SPEAKERS = 10       # the loss's
STEPS = 100         # of an epoch


def train(config: Config, device: Device) -> list[Callable]:
    """As train.py."""
    config = dataclasses.replace(config, valid_list="", eval_list="", initial_model="")
    recipe = training.make_recipe(config, STEPS, SPEAKERS, device, training.write_score)
    return training_calls(recipe, config, device, crops(config))


def crops(config: Config | SpeakerIdConfig) -> list[Tensor]:
    """A batch of training."""
    features = np.zeros((config.minibatch_size, config.crop, config.in_channels), np.float32)
    return [Tensor(features), Tensor(np.zeros(config.minibatch_size, np.int32))]


def validate(config: Config, device: Device) -> list[Callable]:
    """As train.py does with whole files, after an epoch: in the precision of the training."""
    model = make_network(config)
    adapt(model, config, device)
    return whole_files(Verifier(model, config))


def evaluate(config: Config, device: Device) -> list[Callable]:
    """As eval.py."""
    return whole_files(Verifier(fast(make_network(config)), config))


def whole_files(net: Verifier) -> list[Callable]:
    """A file and a batch of crops, by the graph for any length."""
    return [lambda: net.outputs(np.zeros((1, 321, net.config.in_channels), np.float32)),
            lambda: net.outputs(np.zeros((5, SCORE_CROP, net.config.in_channels), np.float32))]


def export(config: Config, device: Device) -> list[Callable]:
    """As `export.py --runtime ascend`: for one length, and for a gear that a recording does not fill."""
    network, shape = make_network(config), (1, SCORE_CROP, config.in_channels)
    if config.input == "waveform":
        network, shape = FromWaveform(network, config.front_end, config.in_channels), (1, RATE)
    network, inputs = for_ascend(network).set_train(False), Tensor(np.zeros(shape, np.float32))
    return [lambda: network(inputs), lambda: network(inputs, Tensor([shape[1] - HOP], ms.int32))]


def identify(config: SpeakerIdConfig, device: Device) -> list[Callable]:
    """As speaker_id.py: a step of the training, then whole files."""
    model = SpeakerId(config, SPEAKERS)
    recipe = speaker_id_training.make_recipe(config, model, STEPS, device)
    calls = training_calls(recipe, config, device, crops(config))

    def test():
        UtteranceNetwork(model, config).outputs(np.zeros((1, 321, config.in_channels), np.float32))

    return [*calls, test]


KINDS = {"train": train, "validation": validate, "evaluation": evaluate, "export": export}
SMALL = dataclasses.replace(Config(), channels=64, mfa_channels=96, emb_size=32, minibatch_size=4)
SMALL_ID = dataclasses.replace(SpeakerIdConfig(), channels=32, mfa_channels=48, emb_size=32, minibatch_size=4)
SPEECHBRAIN = {"variant": "speechbrain", "front_end": "speechbrain"}
GRAPHS = {
    **variants("train", train, SMALL, {
        "O0": {"amp_level": "O0"},
        "O1": {"amp_level": "O1"},
        "O2": {"amp_level": "O2"},
        "no loss scale": {"loss_scale": 1.0},
        "dynamic loss scale": {"loss_scale": 0.0},
        "accumulated, clipped": {"accumulate": 2, "clip_norm": 5.0},
        "sub-centres": {"sub_centers": 2},
        "SpeechBrain's network": SPEECHBRAIN,
        "SpeechBrain's network, O2": SPEECHBRAIN | {"amp_level": "O2"}}),
    **distributed(train, SMALL),
    **variants("validation", validate, SMALL, {"": {}, "SpeechBrain's network": SPEECHBRAIN}),
    **variants("evaluation", evaluate, SMALL, {"": {}, "SpeechBrain's network": SPEECHBRAIN}),
    **variants("export", export, SMALL, {
        "features": {},
        "SpeechBrain's network": SPEECHBRAIN,
        "waveform, TaoRuijie's": {"input": "waveform"},
        "waveform, SpeechBrain's": SPEECHBRAIN | {"input": "waveform"},
        "waveform, Kaldi's": {"input": "waveform", "front_end": "kaldi"}}),
    **variants("speaker_id", identify, SMALL_ID, {"x-vector": {}, "ECAPA-TDNN": {"network": "ecapa"}}),
}
