"""The graphs that an Ascend has to compile for Conv-TasNet: what utils/ascend_check checks."""
import dataclasses
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor

from conv_tasnet.src.config import Config
from conv_tasnet.src.inference import MixtureNetwork
from conv_tasnet.src.model import ConvTasNet
from conv_tasnet.src.streaming import Step, Stream, steps_of
from conv_tasnet.src.training import make_recipe
from utils.ascend_check.graphs import distributed, training_calls, variants
from utils.cpu_ops import fast
from utils.device import Device
from utils.layers.ascend import for_ascend
from utils.layers.steps import Stepper
from utils.training.train_step import adapt

CONFIG = Config
STEPS = 100     # of an epoch


def train(config: Config, device: Device) -> list[Callable]:
    """As train.py."""
    recipe = make_recipe(dataclasses.replace(config, valid_dir="", initial_model=""), STEPS, device)
    count, samples = config.minibatch_size, round(config.segment * config.sample_rate)
    batch = [Tensor(np.zeros(shape, np.float32)) for shape in ((count, samples), (count, config.C, samples))]
    batch.append(Tensor(np.full(count, samples, np.int32)))
    return training_calls(recipe, config, device, batch)


def validate(config: Config, device: Device) -> list[Callable]:
    """As train.py does after an epoch: in the precision of the training, up to cv_maxlen seconds."""
    model = ConvTasNet(config)
    adapt(model, config, device)
    longest = round(config.cv_maxlen * config.sample_rate)
    mixtures = MixtureNetwork(model, config, longest)
    return [lambda: mixtures.run(np.zeros(longest or config.sample_rate, np.float32))]


def evaluate(config: Config, device: Device) -> list[Callable]:
    """As eval.py, for any length."""
    mixtures = MixtureNetwork(fast(ConvTasNet(config)), config)
    return [lambda: mixtures.run(np.zeros(config.sample_rate, np.float32))]


def stream(config: Config, device: Device) -> list[Callable]:
    """As `infer.py --stream`; nothing where the network is not causal."""
    if not config.causal:
        return []
    parts = Stream(fast(ConvTasNet(config)), config)
    return [lambda: list(parts.stepper.push(np.zeros(config.sample_rate, np.float32)))]


def export(config: Config, device: Device) -> list[Callable]:
    """As `export.py --runtime ascend`: for one length, and for a gear that a recording does not fill; or of a step."""
    if config.streaming:
        model, steps = ConvTasNet(config), steps_of(config, config.stream_step)
        stepper = Stepper(for_ascend(Step(model, steps)), steps, 2, model.start())
        return [lambda: list(stepper.push(np.zeros(steps.window, np.float32)))]
    network = for_ascend(ConvTasNet(config)).set_train(False)
    samples = 100 * config.L
    mixture, length = Tensor(np.zeros((1, samples), np.float32)), Tensor([samples - config.L], ms.int32)
    return [lambda: network(mixture), lambda: network(mixture, length)]


KINDS = {"train": train, "validation": validate, "evaluation": evaluate, "streaming": stream, "export": export}
SMALL = dataclasses.replace(Config(), N=32, B=16, H=32, Sc=16, X=2, R=1, segment=1.0, cv_maxlen=1.0, minibatch_size=2)
KAITUOXU = {"variant": "kaituoxu", "Sc": 0}
NETWORKS = {
    "gLN": {},
    "cLN": {"norm": "cLN"},
    "BN": {"norm": "BN"},
    "causal, cgLN": {"norm": "cgLN", "causal": True},
    "kaituoxu's network": KAITUOXU}
GRAPHS = {
    **variants("train", train, SMALL, {
        **NETWORKS,
        "O0": {"amp_level": "O0"},
        "O2": {"amp_level": "O2"},
        "O2, BN": {"amp_level": "O2", "norm": "BN"},
        "O2, causal, cgLN": {"amp_level": "O2", "norm": "cgLN", "causal": True},
        "no loss scale": {"loss_scale": 1.0},
        "dynamic loss scale": {"loss_scale": 0.0},
        "accumulated": {"accumulate": 2},
        "not clipped": {"clip_norm": 0.0},
        "SGD": {"optimizer": "sgd"},
        "three speakers": {"C": 3},
        "softmax masks": {"mask_nonlinear": "softmax"}}),
    **distributed(train, SMALL),
    **variants("validation", validate, SMALL, NETWORKS),
    **variants("evaluation", evaluate, SMALL, NETWORKS),
    **variants("streaming", stream, dataclasses.replace(SMALL, causal=True), {
        "cgLN": {"norm": "cgLN"}, "cLN": {"norm": "cLN"}, "BN": {"norm": "BN"}}),
    **variants("export", export, SMALL, {
        **NETWORKS, "streaming": {"norm": "cgLN", "causal": True, "streaming": True}}),
}
