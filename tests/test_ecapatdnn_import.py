"""Weights of SpeechBrain's and TaoRuijie's ECAPA-TDNN in ours, and back."""
import dataclasses

import librosa
import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.errors import refused
from helpers.originals import (
    assert_round_trip,
    assert_same_numbers,
    assert_same_tensors,
    give_back,
    golden,
    random_run,
    take_over,
)
from mindspore import Tensor, nn

from ecapatdnn import import_torch, infer
from ecapatdnn.src.config import Config
from ecapatdnn.src.inference import load
from ecapatdnn.src.torch_layout import ORIGINALS, shapes
from utils.checkpoints.checkpoint import load_checkpoint
from utils.config import load_config, parse_use_config
from utils.errors import ContentError, MismatchError, OutputError
from utils.torch_weights.importer import write_run
from utils.torch_weights.torch_file import read, write

SMALL = {"channels": 16, "mfa_channels": 24, "emb_size": 12}
HYPERPARAMS = """
n_mels: 80
out_n_neurons: 7205
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    activation: !name:torch.nn.ReLU
    dilations: [1, 2, 3, 4, 1]
modules:
    embedding_model: !ref <embedding_model>
"""


def net(checkpoint):
    return load(parse_use_config(Config, ["--checkpoint_path", str(checkpoint)])).network


class Masked(nn.Cell):
    """The network as SpeechBrain calls it: with the mask of the frames alone."""

    def __init__(self, model):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, x, mask):
        return self.model.embed(x, None, mask)


def test_speechbrain_equals_the_original(tmp_path):
    path, arrays = golden("speechbrain_ecapa.pt")
    checkpoint = take_over(import_torch, "speechbrain", path, tmp_path / "run")
    config = load_config(Config, checkpoint)
    assert (config.variant, config.front_end, config.channels, config.mfa_channels) == ("speechbrain",) * 2 + (64, 192)
    model, features = net(checkpoint), arrays["features"]
    assert_same_numbers(model(Tensor(features)).asnumpy(), arrays["embeddings"][:, 0])
    mask = np.arange(features.shape[1]) < (arrays["rel_lengths"] * np.float32(features.shape[1]))[:, None]
    masked = Masked(model)(Tensor(features.transpose(0, 2, 1)[:, :, None].copy()),
                           Tensor(mask[:, None, None].astype(np.float32)))
    assert_same_numbers(masked.asnumpy(), arrays["embeddings_rel_lengths"][:, 0])
    assert_round_trip(import_torch, "speechbrain", path, checkpoint, tmp_path)


def test_taoruijie_equals_the_original(tmp_path):
    path, arrays = golden("taoruijie_ecapa.pt")
    checkpoint = take_over(import_torch, "taoruijie", path, tmp_path / "run")
    config = load_config(Config, checkpoint)
    assert (config.variant, config.front_end, config.channels, config.mfa_channels) == ("taoruijie",) * 2 + (64, 1536)
    features = np.log(arrays["mel_power"].transpose(0, 2, 1) + 1e-6)
    features = features - features.mean(1, keepdims=True)
    assert_same_numbers(net(checkpoint)(Tensor(features)).asnumpy(), arrays["embeddings"])
    assert_round_trip(import_torch, "taoruijie", path, checkpoint, tmp_path)


@pytest.mark.parametrize("form", ORIGINALS)
def test_export_and_import_are_inverse(form, tmp_path):
    """Every parameter of ours has its place, and no two the same."""
    config = Config(**SMALL, **ORIGINALS[form].variant, ckpt_save_dir=str(tmp_path / "run"))
    checkpoint = random_run(shapes, config, write_run, tmp_path / "run")
    give_back(import_torch, form, checkpoint, tmp_path / "theirs.pt")
    assert_round_trip(import_torch, form, tmp_path / "theirs.pt", checkpoint, tmp_path)


def test_model_of_taoruijie_with_classes_and_front_end(tmp_path):
    """speaker_encoder.*, speaker_loss.weight and torchfbank's buffers; the classes are those of train.py's loss."""
    config = Config(**SMALL, ckpt_save_dir=str(tmp_path / "run"))
    state = give_back(import_torch, "taoruijie", random_run(shapes, config, write_run, tmp_path / "run"),
                      tmp_path / "theirs.pt")
    classes = np.random.default_rng(1).normal(size=(7, 12)).astype(np.float32)
    filters = librosa.filters.mel(sr=16000, n_fft=512, n_mels=80, fmin=20, fmax=7600, htk=True, norm=None).T
    buffers = {"torchfbank.0.flipped_filter": np.array([[[-0.97, 1]]], np.float32),
               "torchfbank.1.spectrogram.window": np.hamming(401)[:400].astype(np.float32),
               "torchfbank.1.mel_scale.fb": filters.astype(np.float32)}
    encoder = {f"speaker_encoder.{name}": value for name, value in (state | buffers).items()}
    write(tmp_path / "a.model", encoder | {"speaker_loss.weight": classes})
    checkpoint = take_over(import_torch, "taoruijie", tmp_path / "a.model", tmp_path / "taken")
    np.testing.assert_array_equal(load_checkpoint(checkpoint)[0]["loss.weight"].asnumpy(), classes)
    back = give_back(import_torch, "taoruijie", checkpoint, tmp_path / "b.model")
    for name, value in buffers.items():     # the class of the original misses them in its strict mode
        np.testing.assert_allclose(back.pop(f"speaker_encoder.{name}"), value, rtol=0, atol=1e-5)
    assert_same_tensors(back, {name: value for name, value in encoder.items() if "torchfbank" not in name} |
                        {"speaker_loss.weight": classes})
    encoder["speaker_encoder.torchfbank.1.mel_scale.fb"] = filters[:, ::-1].astype(np.float32)
    write(tmp_path / "c.model", encoder)
    with refused(MismatchError, tmp_path / "c.model", "torchfbank.1.mel_scale.fb"):
        take_over(import_torch, "taoruijie", tmp_path / "c.model", tmp_path / "refused")


def changed(state, **differences):
    return {name: value for name, value in (state | differences).items() if value is not None}


def test_what_does_not_fit_is_named(tmp_path):
    """Missing, extra, of another shape, not finite, whole numbers, half precision, the other original's; no folder."""
    config = Config(**SMALL, ckpt_save_dir=str(tmp_path / "run"))
    state = give_back(import_torch, "taoruijie", random_run(shapes, config, write_run, tmp_path / "run"),
                      tmp_path / "theirs.pt")
    name, weight = "layer2.conv3.weight", state["layer2.conv3.weight"]
    for differences, kind, facts in (
            ({name: None}, MismatchError, [name, "missing", (16, 16, 1)]),
            ({"layer5.weight": weight}, MismatchError, ["layer5.weight", "no such"]),
            ({name: weight[:, :, [0, 0]]}, MismatchError, [name, (16, 16, 2), (16, 16, 1)]),
            ({name: np.full_like(weight, np.nan)}, ContentError, [name, "NaN"]),
            ({name: weight.astype(np.int64)}, ContentError, [name, "int64"]),
            ({"conv1.weight": None}, MismatchError, ["conv1.weight", "missing"]),
            ({"conv1.weight": weight[0]}, MismatchError, ["conv1.weight", (16, 1), "3 dimensions"])):
        write(tmp_path / "bad.pt", changed(state, **differences))
        with refused(kind, tmp_path / "bad.pt", *facts):
            take_over(import_torch, "taoruijie", tmp_path / "bad.pt", tmp_path / "refused")
    with refused(MismatchError, tmp_path / "theirs.pt", "mfa.conv.conv.weight", "missing", "--format taoruijie"):
        take_over(import_torch, "speechbrain", tmp_path / "theirs.pt", tmp_path / "refused")
    with refused(OutputError, tmp_path / "run"):
        take_over(import_torch, "taoruijie", tmp_path / "theirs.pt", tmp_path / "run")
    with refused(MismatchError, tmp_path / "run" / "best.ckpt", "variant", "taoruijie", "--format speechbrain"):
        give_back(import_torch, "speechbrain", tmp_path / "run" / "best.ckpt", tmp_path / "refused")
    assert not (tmp_path / "refused").exists() and not list(tmp_path.glob(".*"))
    write(tmp_path / "half.pt", changed(state, **{name: weight.astype(np.float16)}))
    half = load_checkpoint(take_over(import_torch, "taoruijie", tmp_path / "half.pt", tmp_path / "half"))[0]
    assert half["blocks.1.expand.conv.weight"].dtype == ms.float32


def test_hyperparams_of_speechbrain(tmp_path, capsys):
    """The file beside the weights is believed only as far as our network and features go; its threshold is used."""
    config = Config(**SMALL, **ORIGINALS["speechbrain"].variant, ckpt_save_dir=str(tmp_path / "run"))
    place = tmp_path / "pretrained"
    place.mkdir()
    give_back(import_torch, "speechbrain", random_run(shapes, config, write_run, tmp_path / "run"),
              place / "embedding_model.ckpt")
    for found, wrong, facts in (
            ("4, 1]", "5, 1]", ["dilations", [1, 2, 3, 5, 1], [1, 2, 3, 4, 1]]),
            ("nn.ReLU", "nn.LeakyReLU", ["activation", "'torch.nn.LeakyReLU'", "'torch.nn.ReLU'"]),
            ("std_norm: False", "std_norm: True", ["std_norm", True, False]),
            ("norm_type: sentence", "norm_type: global", ["norm_type", "'global'", "'sentence'"]),
            ("n_mels: !ref", "n_fft: 512\n    n_mels: !ref", ["n_fft", 512, 400])):
        (place / "hyperparams.yaml").write_text(HYPERPARAMS.replace(found, wrong))
        with refused(MismatchError, place / "hyperparams.yaml", *facts):
            take_over(import_torch, "speechbrain", place / "embedding_model.ckpt", tmp_path / "taken")
    (place / "hyperparams.yaml").write_text(HYPERPARAMS)
    checkpoint = take_over(import_torch, "speechbrain", place / "embedding_model.ckpt", tmp_path / "taken")
    config = dataclasses.replace(config, ckpt_save_dir=str(tmp_path / "taken"))
    assert load_config(Config, checkpoint) == config
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 16000)
    capsys.readouterr()
    infer.main([str(tmp_path / "a.wav"), str(tmp_path / "a.wav"), "--checkpoint_path", str(checkpoint)])
    assert "same speaker: score 1.000, threshold 0.250" in capsys.readouterr().out


def test_exported_file_loads_in_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    config = Config(**SMALL, ckpt_save_dir=str(tmp_path / "run"))
    checkpoint = random_run(shapes, config, write_run, tmp_path / "run")
    give_back(import_torch, "taoruijie", checkpoint, tmp_path / "theirs.pt")
    state = torch.load(tmp_path / "theirs.pt", weights_only=True)
    assert_same_tensors({name: value.numpy() for name, value in state.items()}, read(tmp_path / "theirs.pt"))
    layer = torch.nn.Conv1d(48, 24, 1)
    layer.load_state_dict({"weight": state["layer4.weight"], "bias": state["layer4.bias"]}, strict=True)
