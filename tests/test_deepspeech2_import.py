"""Weights of deepspeech.pytorch's DeepSpeech in ours, and back."""
import io
import pickle
import zipfile
from collections import OrderedDict

import mindspore as ms
import numpy as np
import pytest
from helpers.errors import refused
from helpers.originals import assert_round_trip, assert_same_numbers, give_back, golden, random_run, take_over
from mindspore import Tensor

from deepspeech2 import import_torch
from deepspeech2.src.config import Config
from deepspeech2.src.model import DeepSpeech2, time_mask
from deepspeech2.src.torch_layout import shapes
from utils.checkpoints.checkpoint import load_checkpoint, load_model
from utils.config import load_config
from utils.errors import ContentError, MismatchError
from utils.torch_weights.importer import write_run
from utils.torch_weights.plain_pickle import Instance, Name, plain
from utils.torch_weights.torch_file import write

FORM = "deepspeech_pytorch"
SMALL = {"conv_channels": 2, "hidden_size": 6, "hidden_layers": 2}


def our_run(tmp_path, **settings):
    """The checkpoint of a run folder of random weights."""
    config = Config(**(SMALL | settings), ckpt_save_dir=str(tmp_path / "run"))
    return random_run(shapes, config, write_run, tmp_path / "run")


@pytest.mark.parametrize("kind", ["bilstm", "unilstm", "bigru"])
def test_probabilities_equal_the_original(kind, tmp_path):
    path, arrays = golden(f"deepspeech_pytorch_{kind}.ckpt")
    checkpoint = take_over(import_torch, FORM, path, tmp_path / "run")
    config = load_config(Config, checkpoint)
    assert (config.rnn_type, config.bidirectional) == (kind[-4:].lstrip("i"), kind.startswith("bi"))
    model = DeepSpeech2(config).set_train(False)
    load_model(checkpoint, model)
    features = np.ascontiguousarray(arrays["spectrogram"][:, 0].transpose(0, 2, 1))
    lengths = Tensor(arrays["lengths"].astype(np.int32))
    ms.set_context(mode=ms.PYNATIVE_MODE)           # a GRU takes long to compile
    try:
        # noise stands in the padding, which the original's convolutions hear and ours do not but through `listen`
        log_probs, frames = model.listen(Tensor(features), lengths, time_mask(Tensor(features), lengths))
        first = model(Tensor(features[:1]), lengths[:1])[0].asnumpy()[:, 0] if kind != "bigru" else None
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_array_equal(frames.asnumpy(), arrays["out_lengths"])
    if first is not None:
        assert_same_numbers(np.exp(first), arrays["probabilities"][0])      # the longest has no padding
    found = np.exp(log_probs.asnumpy()).transpose(1, 0, 2)
    for one, expected, length in zip(found, arrays["probabilities"], arrays["out_lengths"], strict=True):
        assert_same_numbers(one[:length], expected[:length])
    assert_round_trip(import_torch, FORM, path, checkpoint, tmp_path)


@pytest.mark.parametrize("settings", [{}, {"rnn_type": "gru"}, {"bidirectional": False, "lookahead_context": 5},
                                      {"bidirectional": False, "rnn_type": "gru", "labels": "_abc "}])
def test_export_and_import_are_inverse(settings, tmp_path):
    checkpoint = our_run(tmp_path, **settings)
    give_back(import_torch, FORM, checkpoint, tmp_path / "theirs.ckpt")
    assert_round_trip(import_torch, FORM, tmp_path / "theirs.ckpt", checkpoint, tmp_path)
    import_torch.main(["--export", "--format", FORM, str(checkpoint), "--output", str(tmp_path / "a.safetensors")])
    again = load_checkpoint(take_over(import_torch, FORM, tmp_path / "a.safetensors", tmp_path / "tensors"))[0]
    for name, value in load_checkpoint(checkpoint)[0].items():
        np.testing.assert_array_equal(again[name].asnumpy(), value.asnumpy(), err_msg=name)


def test_hyper_parameters_of_another_front_end_are_refused(tmp_path, capsys):
    """And labels that are not in the file are taken to be deepspeech.pytorch's, which is printed."""
    content = give_back(import_torch, FORM, our_run(tmp_path), tmp_path / "theirs.ckpt")
    hyper = content["hyper_parameters"]
    for change, kind, facts in (
            ({"spect_cfg": {"sample_rate": 8000}}, MismatchError, ["sample_rate", 8000, 16000]),
            ({"spect_cfg": {"window": "hann"}}, MismatchError, ["window", "'hann'", "'hamming'"]),
            ({"labels": ["_", "ab"]}, ContentError, ["labels", ["_", "ab"], "list of characters"]),
            ({"labels": list("_ABC")}, MismatchError, ["fc.0.module.1.weight", (29, 6), (4, 6)])):
        write(tmp_path / "bad.ckpt", content | {"hyper_parameters": hyper | change})
        with refused(kind, tmp_path / "bad.ckpt", *facts):
            take_over(import_torch, FORM, tmp_path / "bad.ckpt", tmp_path / "refused")
    weight = np.ones((6, 6), np.float32)
    write(tmp_path / "bad.ckpt", {"state_dict": content["state_dict"] | {"rnns.0.rnn.weight_hh_l0": weight}})
    with refused(MismatchError, "rnns.0.rnn.weight_hh_l0", (6, 6), "4 gates", "LSTM", "GRU"):
        take_over(import_torch, FORM, tmp_path / "bad.ckpt", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    write(tmp_path / "plain.ckpt", content["state_dict"])
    capsys.readouterr()
    take_over(import_torch, FORM, tmp_path / "plain.ckpt", tmp_path / "taken")
    assert "was taken to have --labels _'ABC" in capsys.readouterr().out


def instance(path, *arguments, state=None):
    """As the reader gives an object of a class."""
    return Instance(Name(*path.rsplit(".", 1)), arguments, state)


def config_of(**content):
    """A DictConfig, as omegaconf pickles one: its metadata name types by calls."""
    numbers = Name("builtins", "float"), Name("builtins", "Ellipsis")
    pair = instance("_operator.getitem", Name("typing", "Tuple"), numbers)
    metadata = instance("omegaconf.base.ContainerMetadata", state={"ref_type": pair, "object_type": Name(
        "deepspeech_pytorch.configs.train_config", "SpectConfig"), "optional": False})
    nodes = {name: instance("omegaconf.nodes.AnyNode", state={"_metadata": None, "_val": value})
             for name, value in content.items()}
    return instance("omegaconf.dictconfig.DictConfig", state={"_metadata": metadata, "_content": nodes})


def settings_of(checkpoint):
    config = load_config(Config, checkpoint)
    return config.labels, config.rnn_type, config.bidirectional, config.hidden_layers, config.lookahead_context


def test_checkpoint_of_a_trainer(tmp_path):
    """Whole configurations of omegaconf are pickled beside the weights, and the state of a training."""
    content = give_back(import_torch, FORM, our_run(tmp_path, labels="_ab "), tmp_path / "theirs.ckpt")
    window = instance("deepspeech_pytorch.enums.SpectrogramWindow", "hamming")
    content["hyper_parameters"] = {
        "labels": instance("omegaconf.listconfig.ListConfig", state={"_content": list("_ab ")}),
        "spect_cfg": config_of(sample_rate=16000, window_size=0.02, window_stride=0.01, window=window)}
    training = {"counts": instance("collections.defaultdict", Name("__builtin__", "long")), "kth": np.array(np.inf)}
    write(tmp_path / "a.ckpt", content | {"callbacks": training})
    assert settings_of(take_over(import_torch, FORM, tmp_path / "a.ckpt", tmp_path / "a")) == (
        "_ab ", "lstm", True, 2, 20)
    content["hyper_parameters"]["spect_cfg"] = config_of(sample_rate=8000, window=window)
    write(tmp_path / "b.ckpt", content)
    with refused(MismatchError, tmp_path / "b.ckpt", "sample_rate", 8000, 16000):
        take_over(import_torch, FORM, tmp_path / "b.ckpt", tmp_path / "b")


def test_package_of_version_2(tmp_path):
    """As DeepSpeech.serialize wrote it, also within a checkpoint; its lookahead was no convolution yet."""
    checkpoint = our_run(tmp_path, bidirectional=False, lookahead_context=5, labels="_ab ")
    state = give_back(import_torch, FORM, checkpoint, tmp_path / "theirs.ckpt")["state_dict"]
    state["lookahead.0.weight"] = state.pop("lookahead.0.conv.weight")[:, 0]
    package = {"version": "0.0.1", "hidden_size": 6, "hidden_layers": 2, "rnn_type": "lstm", "labels": "_ab ",
               "audio_conf": {"sample_rate": 16000, "window_size": 0.02, "window_stride": 0.01, "window": "hamming",
                              "noise_dir": None}, "bidirectional": False, "state_dict": state}
    for name, content in (("a", package), ("b", {"model": package, "epoch": 3, "optim_state": {"state": {}}})):
        write(tmp_path / f"{name}.pth", content)
        again = take_over(import_torch, FORM, tmp_path / f"{name}.pth", tmp_path / name)
        assert settings_of(again) == settings_of(checkpoint)
        expected, found = load_checkpoint(checkpoint)[0], load_checkpoint(again)[0]
        for parameter, value in expected.items():
            np.testing.assert_array_equal(found[parameter].asnumpy(), value.asnumpy(), err_msg=parameter)
    write(tmp_path / "c.pth", package | {"audio_conf": package["audio_conf"] | {"window": "hann"}})
    with refused(MismatchError, tmp_path / "c.pth", "window", "'hann'", "'hamming'"):
        take_over(import_torch, FORM, tmp_path / "c.pth", tmp_path / "c")


def test_blank_at_another_place_becomes_the_first_label(tmp_path):
    """With its row of the outputs; the labels are the file's or, where it has none, those given."""
    content = give_back(import_torch, FORM, our_run(tmp_path, labels="_ab "), tmp_path / "theirs.ckpt")
    state = content["state_dict"]
    rows = state["fc.0.module.1.weight"]
    moved = state | {"fc.0.module.1.weight": rows[[3, 1, 0, 2]]}       # " a_b"
    hyper = content["hyper_parameters"] | {"labels": list(" a_b")}
    write(tmp_path / "stated.ckpt", content | {"state_dict": moved, "hyper_parameters": hyper})
    write(tmp_path / "alone.ckpt", moved)
    for name, flags, labels, expected in (("stated", (), "_ ab", [0, 3, 1, 2]),
                                          ("alone", ("--labels", " a_b"), "_ ab", [0, 3, 1, 2]),
                                          ("stated", ("--labels", "x_yz"), "_xyz", [1, 3, 0, 2])):
        checkpoint = take_over(import_torch, FORM, tmp_path / f"{name}.ckpt", tmp_path / labels / name, *flags)
        assert load_config(Config, checkpoint).labels == labels
        np.testing.assert_array_equal(load_checkpoint(checkpoint)[0]["output.weight"].asnumpy(), rows[expected])
    with refused(ContentError, tmp_path / "alone.ckpt", "4 outputs", "--labels"):
        take_over(import_torch, FORM, tmp_path / "alone.ckpt", tmp_path / "refused")
    for labels in ("abc ", "_a_b"):
        with refused(MismatchError, labels, "blank"):
            take_over(import_torch, FORM, tmp_path / "alone.ckpt", tmp_path / "refused", "--labels", labels)


def test_exported_checkpoint_is_what_load_from_checkpoint_takes(tmp_path):
    """Every argument of DeepSpeech, as objects of its classes: their attributes and their type are asked for."""
    checkpoint = our_run(tmp_path, bidirectional=False, rnn_type="gru", lookahead_context=5, labels="*ab ")
    give_back(import_torch, FORM, checkpoint, tmp_path / "theirs.ckpt")
    classes = {}

    class Made:
        def __init__(self, value=None):
            self.value = value

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module.startswith("torch"):
                return lambda *_: name if name != "GRU" else None
            return OrderedDict if module == "collections" else classes.setdefault(f"{module}.{name}", type(
                name, (Made,), {}))

        def persistent_load(self, identifier):
            return identifier

    with zipfile.ZipFile(tmp_path / "theirs.ckpt") as file:
        content = Unpickler(io.BytesIO(file.read("theirs/data.pkl"))).load()
    hyper = content["hyper_parameters"]
    assert hyper.keys() == {"labels", "model_cfg", "precision", "optim_cfg", "spect_cfg"}
    assert content["pytorch-lightning_version"] and hyper["labels"] == ["_", "a", "b", " "]
    model, spectrogram = hyper["model_cfg"], hyper["spect_cfg"]
    assert type(model) is classes["deepspeech_pytorch.configs.train_config.UniDirectionalConfig"]
    assert (model.hidden_size, model.hidden_layers, model.lookahead_context) == (6, 2, 5)
    assert type(model.rnn_type) is classes["deepspeech_pytorch.enums.RNNType"]
    assert (spectrogram.sample_rate, spectrogram.window.value) == (16000, "hamming")
    with refused(MismatchError, "*a_", "blank"):
        give_back(import_torch, FORM, our_run(tmp_path / "other", labels="*a_"), tmp_path / "refused.ckpt")


def test_objects_of_omegaconf_become_what_they_hold():
    """DictConfig, ListConfig, nodes and an enum, in the form that omegaconf 2.x pickles them."""
    letters = [instance("omegaconf.nodes.AnyNode", state={"_metadata": None, "_val": letter}) for letter in "_A"]
    window = instance("deepspeech_pytorch.enums.SpectrogramWindow", "hamming")
    rnn = instance("deepspeech_pytorch.enums.RNNType", Name("torch.nn.modules.rnn", "LSTM"))
    content = {"window": instance("omegaconf.nodes.EnumNode", state={"_val": window}),
               "rnn_type": instance("omegaconf.nodes.EnumNode", state={"_val": rnn}), "rate": 16000}
    hyper = {"labels": instance("omegaconf.listconfig.ListConfig", state={"_parent": None, "_content": letters}),
             "spect_cfg": instance("omegaconf.dictconfig.DictConfig", state={"_content": content, "_parent": None})}
    assert plain(hyper) == {"labels": ["_", "A"], "spect_cfg": {
        "window": "hamming", "rnn_type": "torch.nn.modules.rnn.LSTM", "rate": 16000}}
    member = instance("builtins.getattr", Name("deepspeech_pytorch.enums", "SpectrogramWindow"), "hamming")
    assert plain({"window": member}) == {"window": "hamming"}      # as Python 3.11 pickles members of an enum
    endless = instance("omegaconf.dictconfig.DictConfig", state={})
    endless.state["_content"] = {"again": endless}
    assert "again" in plain(endless)
