"""Weights of deepspeech.pytorch's DeepSpeech: which of its tensors is which of ours.

    deepspeech_pytorch   a checkpoint of PyTorch Lightning (state_dict and hyper_parameters, which hold the labels), a
                         package of version 2 (state_dict, labels, audio_conf), or a state dict alone

The gates of LSTM (input, forget, cell, output) and GRU (reset, update, new) stand in the same order in both.
"""
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepspeech2.src.config import Config
from deepspeech2.src.features import HOP, RATE, WINDOW
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.text import LABELS
from utils.errors import ContentError, MismatchError
from utils.torch_weights.importer import Original, Weights
from utils.torch_weights.names import CONV, CONV2D, NORM, Row, Tensors, expect, fill_rows, sizes
from utils.torch_weights.networks import Network
from utils.torch_weights.plain_pickle import Instance, Name, plain

GATES = {4: "lstm", 3: "gru"}
WEIGHTS = {"weight_ih_l0": "GI->GI", "weight_hh_l0": "GH->GH", "bias_ih_l0": "G->G", "bias_hh_l0": "G->G"}
FORWARD = {name: (name, layout) for name, layout in WEIGHTS.items()}
BACKWARD = {name: (f"{name}_reverse", layout) for name, layout in WEIGHTS.items()}
LAYOUTS = {"conv": CONV, "conv2d": CONV2D, "norm": NORM, "rnn": FORWARD, "backward": BACKWARD, "labels": "KH->KH"}
ROWS = (    # ours, deepspeech_pytorch.model.DeepSpeech's, kind
    ("conv.first", "conv.seq_module.0", "conv2d"),
    ("conv.first_norm", "conv.seq_module.1", "norm"),
    ("conv.second", "conv.seq_module.3", "conv2d"),
    ("conv.second_norm", "conv.seq_module.4", "norm"),
    ("layers.{i}.norm.norm", "rnns.{i}.batch_norm.module", "norm"),     # of all but the first
    ("layers.{i}.rnn", "rnns.{i}.rnn", "rnn"),                          # of a unidirectional network
    ("layers.{i}.rnn.forward", "rnns.{i}.rnn", "rnn"),
    ("layers.{i}.rnn.backward", "rnns.{i}.rnn", "backward"),
    ("lookahead", "lookahead.0.conv", "conv"),                          # of a unidirectional network
    ("norm.norm", "fc.0.module.0", "norm"),
    ("output.weight", "fc.0.module.1.weight", "labels"),
)
BLANK = "_"         # the label by which deepspeech.pytorch finds CTC's blank, at any place
OUTPUT = "fc.0.module.1.weight"
LIGHTNING = "2.6.0"     # the version of the form in which checkpoints are written
CONFIGS, ENUMS, RNNS = "deepspeech_pytorch.configs.train_config", "deepspeech_pytorch.enums", "torch.nn.modules.rnn"


def deepspeech_pytorch(config: Config) -> Iterator[Row]:
    """The table of deepspeech.pytorch's tensors."""
    return fill_rows(ROWS, 0, LAYOUTS, [{"i": i} for i in range(config.hidden_layers)])


def read_deepspeech_pytorch(network: Network, hyper: dict[str, Any], given: dict[str, Any],
                            path: str | Path) -> Weights:
    """Weights of a checkpoint. UserError for another front-end than features.py's."""
    state, stated = network.state, stated_by(network) | hyper
    expect(stated.get("spect_cfg") or stated.get("audio_conf") or {}, {
        "sample_rate": (RATE,), "window_size": (WINDOW / RATE,), "window_stride": (HOP / RATE,),
        "window": ("hamming",)}, path)
    rows, hidden = sizes(state, "rnns.0.rnn.weight_hh_l0", path, 2)
    if rows / hidden not in GATES:
        raise MismatchError(f"{path}: rnns.0.rnn.weight_hh_l0: found shape {(rows, hidden)}, expected 4 gates of an "
                            "LSTM or 3 of a GRU; this zoo's network has no other")
    settings = {
        "conv_channels": sizes(state, "conv.seq_module.0.weight", path, 4)[0], "rnn_type": GATES[rows // hidden],
        "hidden_size": hidden, "bidirectional": "rnns.0.rnn.weight_hh_l0_reverse" in state,
        "hidden_layers": len({match[1] for name in state if (match := re.match(r"rnns\.(\d+)\.", name))})}
    if not settings["bidirectional"]:
        if "lookahead.0.weight" in state:       # of version 2: not yet a convolution, and the same numbers
            state["lookahead.0.conv.weight"] = state.pop("lookahead.0.weight")[:, None]
        settings["lookahead_context"] = sizes(state, "lookahead.0.conv.weight", path, 3)[2]
    outputs = sizes(state, OUTPUT, path, 2)[0]
    labels = given.get("labels") or stated.get("labels")
    if labels is None and outputs != len(LABELS):
        raise ContentError(f"{path}: has {outputs} outputs and not which labels they are; give --labels, in their "
                           f"order and with {BLANK} for the blank")
    if labels is not None and (not isinstance(labels, (list, str)) or {len(str(label)) for label in labels} != {1}):
        raise ContentError(f"{path}: hyper_parameters: labels: found {labels!r}, expected a list of characters")
    text = "".join(map(str, labels or LABELS))
    if text.count(BLANK) != 1:
        raise MismatchError(f"{path}: labels: found {text!r}, expected {BLANK} in it once, which deepspeech.pytorch "
                            "takes for the blank")
    if len(text) == outputs:        # ours have the blank first
        order = [text.index(BLANK), *(i for i, label in enumerate(text) if label != BLANK)]
        state[OUTPUT], text = state[OUTPUT][order], "".join(text[i] for i in order)
    return Weights(state, settings, assumed=() if labels else ("labels",), fixed={"labels": text})


def stated_by(network: Network) -> dict[str, Any]:
    """What the file says of the network: a Lightning checkpoint in its hyper_parameters, a package beside them."""
    package = {name: plain(network.beside[name]) for name in ("labels", "audio_conf") if name in network.beside}
    hyper = plain(network.beside.get("hyper_parameters"))
    return package | hyper if isinstance(hyper, dict) else package


def write_deepspeech_pytorch(state: Tensors, config: Config, parameters: Tensors) -> dict[str, Any]:
    """What DeepSpeech.load_from_checkpoint takes: the state dict, and the arguments that the class is made of.

    Those are objects of deepspeech.pytorch's own classes, which it asks for their attributes and their type.
    """
    if BLANK in config.labels[1:]:
        raise MismatchError(f"labels: found {config.labels!r}; deepspeech.pytorch takes {BLANK} for the blank, which "
                            "is a letter here")
    kind = Instance(Name(ENUMS, "RNNType"), (Name(RNNS, config.rnn_type.upper()),))
    model = {"rnn_type": kind, "hidden_size": config.hidden_size, "hidden_layers": config.hidden_layers}
    if not config.bidirectional:
        model["lookahead_context"] = config.lookahead_context
    spectrogram = {"sample_rate": RATE, "window_size": WINDOW / RATE, "window_stride": HOP / RATE,
                   "window": Instance(Name(ENUMS, "SpectrogramWindow"), ("hamming",))}
    optimizer = {"learning_rate": config.learning_rate, "learning_anneal": config.learning_anneal,
                 "weight_decay": config.weight_decay, "eps": 1e-8, "betas": (0.9, 0.999)}
    parts = {"model_cfg": ("BiDirectionalConfig" if config.bidirectional else "UniDirectionalConfig", model),
             "optim_cfg": ("AdamConfig", optimizer), "spect_cfg": ("SpectConfig", spectrogram)}
    return {"state_dict": state, "pytorch-lightning_version": LIGHTNING, "epoch": 0, "global_step": 0,
            "hyper_parameters": {"labels": [BLANK, *config.labels[1:]], "precision": 32} | {
                part: Instance(Name(CONFIGS, name), (), attributes) for part, (name, attributes) in parts.items()}}


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """{our parameter: shape} of the network."""
    return {parameter.name: parameter.shape for parameter in DeepSpeech2(config).get_parameters()}


ORIGINALS = {"deepspeech_pytorch": Original("rnns.0.rnn.weight_hh_l0", read_deepspeech_pytorch, deepspeech_pytorch,
                                            write_deepspeech_pytorch, {})}
