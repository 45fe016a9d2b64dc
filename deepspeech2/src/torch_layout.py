"""Weights of deepspeech.pytorch's DeepSpeech: which of its tensors is which of ours.

    deepspeech_pytorch   a checkpoint of PyTorch Lightning: state_dict and hyper_parameters, which hold the labels

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
from utils.torch_weights.importer import LIGHTNING, Original, Weights
from utils.torch_weights.names import CONV, CONV2D, NORM, Row, Tensors, expect, fill_rows, sizes, state_dict
from utils.torch_weights.plain_pickle import Instance, Name

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
DEPTH = 8           # of containers in the hyper-parameters
# what hyper-parameters of omegaconf name, besides tensors
INERT = (*LIGHTNING, "omegaconf.*", "deepspeech_pytorch.*", "typing.*", "enum.*", "operator.getitem",
         "torch.nn.modules.rnn.*", *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in (
             "int", "long", "float", "bool", "str", "unicode", "bytes", "dict", "list", "tuple", "type", "object")))


def deepspeech_pytorch(config: Config) -> Iterator[Row]:
    """The table of deepspeech.pytorch's tensors."""
    return fill_rows(ROWS, 0, LAYOUTS, [{"i": i} for i in range(config.hidden_layers)])


def read_deepspeech_pytorch(content: Any, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of a checkpoint. UserError for another front-end than features.py's."""
    state, stated = state_dict(content, path), plain(content.get("hyper_parameters")) or {}
    stated = stated | hyper if isinstance(stated, dict) else hyper
    expect(stated.get("spect_cfg") or {}, {"sample_rate": (RATE,), "window_size": (WINDOW / RATE,),
                                         "window_stride": (HOP / RATE,), "window": ("hamming",)}, path)
    rows, hidden = sizes(state, "rnns.0.rnn.weight_hh_l0", path, 2)
    if rows / hidden not in GATES:
        raise MismatchError(f"{path}: rnns.0.rnn.weight_hh_l0: found shape {(rows, hidden)}, expected 4 gates of an "
                            "LSTM or 3 of a GRU; this zoo's network has no other")
    settings = {
        "conv_channels": sizes(state, "conv.seq_module.0.weight", path, 4)[0], "rnn_type": GATES[rows // hidden],
        "hidden_size": hidden, "bidirectional": "rnns.0.rnn.weight_hh_l0_reverse" in state,
        "hidden_layers": len({match[1] for name in state if (match := re.match(r"rnns\.(\d+)\.", name))})}
    if not settings["bidirectional"]:
        settings["lookahead_context"] = sizes(state, "lookahead.0.conv.weight", path, 3)[2]
    labels = stated.get("labels")
    if labels is not None and (not isinstance(labels, (list, str)) or {len(str(label)) for label in labels} != {1}):
        raise ContentError(f"{path}: hyper_parameters: labels: found {labels!r}, expected a list of characters")
    settings["labels"] = "".join(labels or LABELS)
    return Weights(state, settings, assumed=() if labels else ("labels",))


def plain(value: Any, depth: int = DEPTH) -> Any:
    """The hyper-parameters without the objects of omegaconf, enum and Lightning around them."""
    if isinstance(value, Instance):
        state = value.state if isinstance(value.state, dict) else {}
        inner = [state[name] for name in ("_content", "_val") if name in state] or [value.items or None]
        return plain(value.arguments[0] if value.arguments else inner[0], depth - 1) if depth else None
    if isinstance(value, Name):
        return value.path
    if isinstance(value, dict):
        return {name: plain(item, depth - 1) for name, item in value.items()} if depth else None
    if isinstance(value, (list, tuple)):
        return [plain(item, depth - 1) for item in value] if depth else None
    return value


def write_deepspeech_pytorch(state: Tensors, config: Config, parameters: Tensors) -> dict[str, Any]:
    """State dict and hyper-parameters as Lightning names them; omegaconf's classes are not written."""
    model = {"rnn_type": config.rnn_type, "hidden_size": config.hidden_size, "hidden_layers": config.hidden_layers}
    if not config.bidirectional:
        model["lookahead_context"] = config.lookahead_context
    spectrogram = {"sample_rate": RATE, "window_size": WINDOW / RATE, "window_stride": HOP / RATE, "window": "hamming"}
    return {"state_dict": state, "hyper_parameters": {"labels": list(config.labels), "model_cfg": model,
                                                      "spect_cfg": spectrogram}}


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """{our parameter: shape} of the network."""
    return {parameter.name: parameter.shape for parameter in DeepSpeech2(config).get_parameters()}


ORIGINALS = {"deepspeech_pytorch": Original(read_deepspeech_pytorch, deepspeech_pytorch, write_deepspeech_pytorch, {},
                                            INERT)}
