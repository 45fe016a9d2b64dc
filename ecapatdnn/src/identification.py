"""Closed-set speaker identification: which of the speakers trained on a recording is of.

The simple TDNN and the classifier of SpeechBrain's templates/speaker_id/custom_model.py, an x-vector (Snyder et al.:
"X-Vectors: Robust DNN Embeddings for Speaker Recognition", ICASSP 2018). ECAPA-TDNN may take the TDNN's place.

Letters: B utterances, F mel bands, T frames, C channels, M pooled channels, E embedding size, S speakers.
"""
import os
from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from ecapatdnn.src.inference import UtteranceNetwork
from ecapatdnn.src.model import EcapaTdnn, batch_norm, frame_mask
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from utils import cpu_ops
from utils.corpora.lists import read_train_list
from utils.device import Device
from utils.errors import SettingError
from utils.layers.shapes import mirror_ends, ones_like, unbiased
from utils.progress import progress

KERNELS, DILATIONS = (5, 3, 3, 1, 1), (1, 2, 3, 1, 1)
FLOOR = 1e-5                        # added to a standard deviation
NETWORKS = ("xvector", "ecapa")


class SpeakerId(nn.Cell):
    """Features (B, T, F) -> log probabilities of the speakers (B, S); `lengths` as in EcapaTdnn."""

    def __init__(self, config: SpeakerIdConfig, speakers: int):
        super().__init__()
        if config.network not in NETWORKS:
            raise SettingError(f"network: found {config.network!r}, expected one of {', '.join(NETWORKS)}")
        sizes = config.in_channels, config.channels, config.emb_size, config.mfa_channels
        self.embedding = Xvector(*sizes) if config.network == "xvector" else EcapaTdnn(*sizes, config.variant)
        self.classifier = Classifier(config.emb_size, speakers)

    def construct(self, features, lengths=None):
        return self.classifier(self.embedding(features, lengths))


class Xvector(nn.Cell):
    """Features (B, T, F) -> embeddings (B, E). T is at least 5: the widest padding must fit.

    `lengths` (B,) int: the frames of each utterance of a padded batch; the result is what each gives alone. The
    template's random offset of the means, below 1e-4, is left out.
    """

    def __init__(self, in_channels: int = 23, channels: int = 512, emb_size: int = 512, last_channels: int = 1500):
        super().__init__()
        widths = (in_channels, *(channels,) * 4, last_channels)
        self.blocks = nn.CellList([TdnnBlock(*sizes) for sizes in zip(widths[:-1], widths[1:], KERNELS, DILATIONS)])
        self.statistics = cpu_ops.TimeStatistics()
        self.fc = nn.Dense(2 * last_channels, emb_size)

    def construct(self, features, lengths=None):
        x = features.transpose(0, 2, 1).expand_dims(2)                      # (B, F, 1, T)
        for block in self.blocks:
            x = block(x, lengths)                                           # (B, C, 1, T), at last (B, M, 1, T)
        mask = None if lengths is None else frame_mask(x, lengths)
        mean, variance = self.statistics(x, mask)                           # (B, M, 1, 1)
        frames = (ones_like(x[:, :1]) if mask is None else mask).sum(3, keepdims=True)
        deviation = ops.sqrt(ops.maximum(variance * unbiased(frames), FLOOR ** 2)) + FLOOR
        return self.fc(ops.cat((mean, deviation), 1).reshape(x.shape[0], -1))    # (B, E)


class TdnnBlock(nn.Cell):
    """Convolution over mirrored ends, LeakyReLU, BatchNorm (in this order): (B, C_in, 1, T) -> (B, C_out, 1, T)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int):
        super().__init__()
        self.side = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(in_channels, out_channels, (1, kernel), pad_mode="valid", dilation=(1, dilation),
                              has_bias=True)
        self.norm = batch_norm(out_channels)

    def construct(self, x, lengths=None):
        if self.side > 0:
            x = mirror_ends(x, self.side, lengths)
        return self.norm(leaky_relu(self.conv(x)))


class Classifier(nn.Cell):
    """Embeddings (B, E) -> log probabilities of the speakers (B, S): a hidden layer of E between two BatchNorms."""

    def __init__(self, emb_size: int, speakers: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(emb_size, momentum=0.9)          # PyTorch's 0.1
        self.hidden = nn.Dense(emb_size, emb_size)
        self.hidden_norm = nn.BatchNorm1d(emb_size, momentum=0.9)
        self.out = nn.Dense(emb_size, speakers)

    def construct(self, embedding):
        x = self.norm(leaky_relu(embedding))
        x = self.hidden_norm(leaky_relu(self.hidden(x)))
        return ops.log_softmax(self.out(x).astype(ms.float32), 1)


def leaky_relu(x: Tensor) -> Tensor:
    return ops.leaky_relu(x, 0.01)      # PyTorch's slope; MindSpore's default is 0.2


def likelihood_and_error(log_probabilities: Tensor, speaker: Tensor) -> tuple[Tensor, Tensor]:
    """Mean negative log likelihood and share of wrong decisions, scalar, of (B, S) and (B,) int."""
    wrong = log_probabilities.argmax(axis=1).astype(ms.int32) != speaker
    return ops.nll_loss(log_probabilities, speaker), wrong.astype(ms.float32).mean()


def evaluate(model: SpeakerId, config: SpeakerIdConfig, part: str, device: Device) -> tuple[float, float]:
    """(error, loss) on the whole files of a "valid" or "test" part, shared out over the processes."""
    paths, speaker, _ = read_train_list(config.list_of(part))
    model.set_train(False)
    net = UtteranceNetwork(model, config)
    rows = device.share_out(len(paths), lambda indices: np.concatenate(
        [net.run(f"{config.data_folder}/{os.fsdecode(paths[i])}") for i in progress(indices, part)]))    # (n, S)
    model.set_train(True)
    return float((rows.argmax(axis=1) != speaker).mean()), float(-rows[np.arange(len(rows)), speaker].mean())


def epoch_line(row: Mapping[str, Any]) -> str:
    """A row of metrics.csv as SpeechBrain's FileTrainLogger puts it."""
    line = f"Epoch: {int(row['epoch'])}, lr: {number(row['learning_rate'])} - train loss: {number(row['loss'])}"
    if row.get("valid_loss") in (None, ""):
        return line
    return line + f" - valid loss: {number(row['valid_loss'])}, valid error: {number(row['valid_error'])}"


def number(value: Any) -> str:
    """Two decimals between 1 and 100, else in exponents."""
    value = float(value)
    return f"{value:.2f}" if 1 < value < 100 else f"{value:.2e}"
