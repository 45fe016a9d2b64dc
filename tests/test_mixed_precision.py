"""Mixed precision: the networks of the zoo train at O1 and O2 as in float32."""
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from conv_tasnet.src.config import Config as ConvTasNetConfig
from conv_tasnet.src.loss import PitSiSnr
from conv_tasnet.src.model import ConvTasNet
from deepspeech2.src.config import Config as DeepSpeech2Config
from deepspeech2.src.loss import CtcLoss
from deepspeech2.src.model import DeepSpeech2
from ecapatdnn.src.loss import AamSoftmax
from ecapatdnn.src.model import EcapaTdnn
from utils.device import Device
from utils.training.loop import trainable
from utils.training.train_step import TrainStep, adapt


def ecapatdnn(generator, variant):
    model, loss = EcapaTdnn(80, 16, 8, 24, variant), AamSoftmax(8, 5)

    def objective(features, speaker):
        return loss(model(features), speaker)

    return (model, loss, objective,
            (generator.standard_normal((4, 50, 80)).astype(np.float32), np.arange(4, dtype=np.int32)))


def conv_tasnet(generator, variant):
    model, loss = ConvTasNet(ConvTasNetConfig(N=16, B=8, H=16, Sc=8, X=2, R=1, variant=variant)), PitSiSnr(2)
    sources = generator.standard_normal((2, 2, 8000)).astype(np.float32)

    def objective(mixture, sources, lengths):
        return loss(model(mixture), sources, mixture, lengths)

    return (model, loss, objective,
            (sources.sum(1), sources, np.full(2, 8000, np.int32)))


def deepspeech2(generator, variant):
    model = DeepSpeech2(DeepSpeech2Config(conv_channels=4, hidden_size=16, hidden_layers=2, rnn_type=variant))
    loss = CtcLoss()

    def objective(features, frames, labels, counts):
        log_probs, frames = model(features, frames)
        return loss(log_probs, frames, labels, counts)

    return (model, loss, objective,
            (generator.standard_normal((2, 100, 161)).astype(np.float32), np.full(2, 100, np.int32),
             generator.integers(1, 29, (2, 10)).astype(np.int32), np.full(2, 10, np.int32)))


SLOW = {"marks": pytest.mark.slow}      # float16 takes long on a CPU


@pytest.mark.parametrize(("network", "variant", "level"), [
    pytest.param(ecapatdnn, "taoruijie", "O1", **SLOW), pytest.param(ecapatdnn, "taoruijie", "O2", **SLOW),
    pytest.param(ecapatdnn, "speechbrain", "O1", **SLOW), pytest.param(ecapatdnn, "speechbrain", "O2", **SLOW),
    (conv_tasnet, "asteroid", "O1"), pytest.param(conv_tasnet, "asteroid", "O2", **SLOW),
    pytest.param(conv_tasnet, "kaituoxu", "O1", **SLOW), pytest.param(conv_tasnet, "kaituoxu", "O2", **SLOW),
    pytest.param(deepspeech2, "lstm", "O1", **SLOW), (deepspeech2, "lstm", "O2")])
def test_networks_follow_float32(network, variant, level):
    losses = {}
    for tried in ("O0", level):
        ms.set_seed(0)
        model, loss, objective, batch = network(np.random.default_rng(0), variant)
        precision = adapt(model, DeepSpeech2Config(amp_level=tried), Device("CPU"))
        model.set_train()
        step = TrainStep(objective, nn.Adam(trainable(model, loss), 1e-3), precision.loss_scale)
        losses[tried] = [float(step(*map(Tensor, batch))[0]) for _ in range(3)]
    np.testing.assert_allclose(losses[level], losses["O0"], rtol=0.05)
    assert losses[level][2] < losses[level][0] and losses[level] != losses["O0"]
