"""Weights of deepspeech.pytorch's DeepSpeech in ours, and back."""
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
from utils.checkpoints.checkpoint import load_model
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
    """As the reader gives an object of a class that it tolerates."""
    made = Instance(Name(*path.rsplit(".", 1)), arguments)
    made.state = state
    return made


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
    endless = instance("omegaconf.dictconfig.DictConfig", state={})
    endless.state["_content"] = {"again": endless}
    assert "again" in plain(endless)
