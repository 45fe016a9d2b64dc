"""Weights of SpeechBrain's and TaoRuijie's ECAPA-TDNN in ours, and back."""
import dataclasses
import re

import librosa
import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
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
from utils.config import load_config, parse_train_config, parse_use_config
from utils.errors import ContentError, MismatchError, OutputError
from utils.torch_weights.importer import write_run
from utils.torch_weights.torch_file import read, write
from utils.training.run_folder import RunFolder

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


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("form", ORIGINALS)
def test_export_and_import_are_inverse(form, context, ending, tmp_path):
    """Every parameter of ours has its place, and no two the same."""
    config = Config(**SMALL, **ORIGINALS[form].variant, global_context=context, ckpt_save_dir=str(tmp_path / "run"))
    checkpoint = random_run(shapes, config, write_run, tmp_path / "run")
    import_torch.main(["--export", "--format", form, str(checkpoint), "--output", str(tmp_path / f"theirs.{ending}")])
    again = take_over(import_torch, form, tmp_path / f"theirs.{ending}", tmp_path / "taken")
    assert dataclasses.replace(load_config(Config, again), ckpt_save_dir=config.ckpt_save_dir) == config
    assert_same_tensors(*({name: value.asnumpy() for name, value in load_checkpoint(run)[0].items()}
                          for run in (again, checkpoint)))
    if ending == "pt":
        assert_round_trip(import_torch, form, tmp_path / "theirs.pt", checkpoint, tmp_path)


@pytest.mark.parametrize("document", ["weights.md", "weights_CN.md"])
def test_what_the_document_says_trains_imported_weights_further(document, tmp_path):
    """In a run folder of its own."""
    run = tmp_path / "run"
    random_run(shapes, Config(**SMALL, ckpt_save_dir=str(run)), write_run, run)
    flags = re.search("`(--config RUN[^`]+)`", (ROOT / "docs" / document).read_text(encoding="utf-8"))[1]
    config = parse_train_config(Config, flags.replace("RUN", str(run)).replace("runs/", f"{tmp_path}/").split())
    assert config.channels == SMALL["channels"] and config.initial_model == str(run / "best.ckpt")
    with RunFolder(config) as folder:
        assert folder.path.parent == tmp_path and folder.path != run


def wespeaker_forward(state, features):
    """wespeaker's models/ecapa_tdnn.py with ASTP pooling, in numpy: features (B, T, F) -> embeddings (B, E)."""
    def conv(name, x, dilation=1):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        side = dilation * (weight.shape[2] - 1) // 2
        x = np.pad(x, ((0, 0), (0, 0), (side, side)))
        frames = x.shape[2] - 2 * side
        taps = (x[:, :, k * dilation:k * dilation + frames] for k in range(weight.shape[2]))
        return bias[:, None] + sum(np.einsum("oi,bit->bot", weight[:, :, k], tap) for k, tap in enumerate(taps))

    def norm(name, x):
        mean, variance, gain, shift = (state[f"{name}.{part}"].reshape(-1, *[1] * (x.ndim - 2)) for part in (
            "running_mean", "running_var", "weight", "bias"))
        return (x - mean) / np.sqrt(variance + 1e-5) * gain + shift

    def layer(conv_name, norm_name, x, dilation=1):
        return norm(norm_name, np.maximum(conv(conv_name, x, dilation), 0))

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    x = layer("layer1.conv", "layer1.bn", features.transpose(0, 2, 1).astype(np.float64))
    outputs = []
    for number in (2, 3, 4):
        block = f"layer{number}.se_res2block"
        splits, parts = np.split(layer(f"{block}.0.conv", f"{block}.0.bn", x), 8, 1), []
        for i in range(7):
            split = splits[i] + parts[-1] if parts else splits[i]
            parts.append(layer(f"{block}.1.convs.{i}", f"{block}.1.bns.{i}", split, number))
        y = layer(f"{block}.2.conv", f"{block}.2.bn", np.concatenate([*parts, splits[7]], 1))
        gate = linear(f"{block}.3.linear2", np.maximum(linear(f"{block}.3.linear1", y.mean(2)), 0))
        x = x + y / (1 + np.exp(-gate[:, :, None]))
        outputs.append(x)
    x = np.maximum(conv("conv", np.concatenate(outputs, 1)), 0)
    seen = x
    if state["pool.linear1.weight"].shape[1] > x.shape[1]:
        mean, deviation = x.mean(2, keepdims=True), np.sqrt(x.var(2, ddof=1, keepdims=True) + 1e-10)
        seen = np.concatenate([x, mean + 0 * x, deviation + 0 * x], 1)
    score = conv("pool.linear2", np.tanh(conv("pool.linear1", seen)))
    weight = np.exp(score - score.max(2, keepdims=True))
    weight = weight / weight.sum(2, keepdims=True)
    mean = (weight * x).sum(2)
    deviation = np.sqrt(np.maximum((weight * x ** 2).sum(2) - mean ** 2, 1e-10))
    return linear("linear", norm("bn", np.concatenate([mean, deviation], 1)))


@pytest.mark.parametrize("context", [True, False])
def test_wespeaker_computes_what_its_published_layers_do(context, tmp_path, capsys):
    """None of its files is at hand: tensors under its names, and its layers written down again."""
    config = Config(**SMALL, **ORIGINALS["wespeaker"].variant, global_context=context)
    state = give_back(import_torch, "wespeaker", random_run(shapes, config, write_run, tmp_path / "run"),
                      tmp_path / "theirs.pt")
    generator = np.random.default_rng(3)
    state = {name: value if value.ndim == 0 else value if "running_var" in name
             else generator.normal(0, 0.3, value.shape).astype(np.float32) for name, value in state.items()}
    write(tmp_path / "model.pt", state | {"projection.weight": np.zeros((7, 12), np.float32)})
    checkpoint = take_over(import_torch, "wespeaker", tmp_path / "model.pt", tmp_path / "taken")
    assert "projection.weight" in capsys.readouterr().out
    features = generator.normal(size=(2, 40, 80)).astype(np.float32)
    assert_same_numbers(net(checkpoint)(Tensor(features)).asnumpy(), wespeaker_forward(state, features))


def test_3dspeaker_is_speechbrains_network_on_other_features(tmp_path):
    config = Config(**SMALL, **ORIGINALS["speechbrain"].variant, ckpt_save_dir=str(tmp_path / "run"))
    state = give_back(import_torch, "speechbrain", random_run(shapes, config, write_run, tmp_path / "run"),
                      tmp_path / "a.pt")
    checkpoint = take_over(import_torch, "3dspeaker", tmp_path / "a.pt", tmp_path / "taken")
    assert load_config(Config, checkpoint).front_end == "3dspeaker"
    assert "threshold" not in load_checkpoint(checkpoint)[1]        # that is SpeechBrain's
    assert_same_tensors(give_back(import_torch, "3dspeaker", checkpoint, tmp_path / "b.pt"), state)


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
