"""Weights of others' ECAPA-TDNN: which of their tensors is which of ours.

    speechbrain  embedding_model.ckpt; hyperparams.yaml beside it is read where it is there
    taoruijie    .model of TaoRuijie/ECAPA-TDNN: speaker_encoder.*, speaker_loss.weight; or the network's alone
    wespeaker    avg_model.pt or model_<n>.pt, of the models ECAPA_TDNN_* and ECAPA_TDNN_GLOB_*
    3dspeaker    embedding_model.ckpt, or ModelScope's .bin: SpeechBrain's network on other features

All convolve [x; mean; deviation] at the entrance of the attention, where ours holds the columns of x apart (`hidden`)
from those of the statistics (`context`): see AttentiveStatistics in model.py. Without global context there is x alone.
The last two follow the published code of wespeaker (models/ecapa_tdnn.py, models/pooling_layers.py) and 3D-Speaker
(speakerlab/models/ecapa_tdnn); none of their files was at hand.
"""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ecapatdnn.src.config import Config
from ecapatdnn.src.features import WINDOW, mel_filters, window
from ecapatdnn.src.model import DILATIONS, RES2NET_SCALE, make_network
from utils.errors import MismatchError
from utils.torch_weights.importer import Original, Weights, read_hyper_parameters
from utils.torch_weights.names import CONV, NORM, Row, Tensors, expect, fill_rows, sizes
from utils.torch_weights.networks import Network

LINEAR = {"weight": ("weight", "OI11->OI"), "bias": ("bias", "O->O")}
CONTEXT = {"weight": ("context", "OI1K->OIK")}       # the columns that `split_context` takes apart
SPEECHBRAIN = {"conv": CONV, "norm": NORM, "context": CONTEXT, "se": CONV, "fc": CONV}
TAORUIJIE = SPEECHBRAIN | {"fc": LINEAR}
WESPEAKER = TAORUIJIE | {"se": LINEAR}
BLOCKS = [{"i": i, "n": i + 1, "m": i + 2} for i in range(len(DILATIONS))]      # we count from 0, they from 1
SPLITS = [{"j": j} for j in range(RES2NET_SCALE - 1)]
ROWS = (    # ours, speechbrain.lobes.models.ECAPA_TDNN's, TaoRuijie's model.ECAPA_TDNN's, wespeaker's, kind
    ("stem.conv", "blocks.0.conv.conv", "conv1", "layer1.conv", "conv"),
    ("stem.norm", "blocks.0.norm.norm", "bn1", "layer1.bn", "norm"),
    ("blocks.{i}.reduce.conv", "blocks.{n}.tdnn1.conv.conv", "layer{n}.conv1", "layer{m}.se_res2block.0.conv", "conv"),
    ("blocks.{i}.reduce.norm", "blocks.{n}.tdnn1.norm.norm", "layer{n}.bn1", "layer{m}.se_res2block.0.bn", "norm"),
    ("blocks.{i}.res2net.convs.{j}.conv", "blocks.{n}.res2net_block.blocks.{j}.conv.conv", "layer{n}.convs.{j}",
     "layer{m}.se_res2block.1.convs.{j}", "conv"),
    ("blocks.{i}.res2net.convs.{j}.norm", "blocks.{n}.res2net_block.blocks.{j}.norm.norm", "layer{n}.bns.{j}",
     "layer{m}.se_res2block.1.bns.{j}", "norm"),
    ("blocks.{i}.expand.conv", "blocks.{n}.tdnn2.conv.conv", "layer{n}.conv3", "layer{m}.se_res2block.2.conv", "conv"),
    ("blocks.{i}.expand.norm", "blocks.{n}.tdnn2.norm.norm", "layer{n}.bn3", "layer{m}.se_res2block.2.bn", "norm"),
    ("blocks.{i}.se.squeeze", "blocks.{n}.se_block.conv1.conv", "layer{n}.se.se.1", "layer{m}.se_res2block.3.linear1",
     "se"),
    ("blocks.{i}.se.excite", "blocks.{n}.se_block.conv2.conv", "layer{n}.se.se.3", "layer{m}.se_res2block.3.linear2",
     "se"),
    ("mfa.conv", "mfa.conv.conv", "layer4", "conv", "conv"),
    ("mfa.norm", "mfa.norm.norm", None, None, "norm"),
    ("pool.hidden", "asp.tdnn.conv.conv", "attention.0", "pool.linear1", "conv"),
    ("pool.context", "asp.tdnn.conv.conv", "attention.0", "pool.linear1", "context"),
    ("pool.norm", "asp.tdnn.norm.norm", "attention.2", None, "norm"),
    ("pool.score", "asp.conv.conv", "attention.4", "pool.linear2", "conv"),
    ("pool_norm", "asp_bn.norm", "bn5", "bn", "norm"),
    ("fc", "fc.conv", "fc6", "linear", "fc"),
    ("norm", None, "bn6", None, "norm"),
)
FRONT_END = ("torchfbank.0.flipped_filter", "torchfbank.1.spectrogram.window", "torchfbank.1.mel_scale.fb")
THRESHOLD = 0.25        # of SpeechBrain's verify_files


def speechbrain(config: Config) -> Iterator[Row]:
    """The table of SpeechBrain's tensors."""
    return fill_rows(ROWS, 0, SPEECHBRAIN, BLOCKS, SPLITS)


def taoruijie(config: Config) -> Iterator[Row]:
    """The table of TaoRuijie's tensors."""
    return fill_rows(ROWS, 1, TAORUIJIE, BLOCKS, SPLITS)


def wespeaker(config: Config) -> Iterator[Row]:
    """The table of wespeaker's tensors."""
    return fill_rows(ROWS, 2, WESPEAKER, BLOCKS, SPLITS)


def read_speechbrain(network: Network, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of an embedding_model.ckpt. UserError for hyper-parameters that our network or features do not have."""
    source = Path(path).with_name("hyperparams.yaml")
    if not hyper and source.is_file():
        hyper = read_hyper_parameters(str(source))
    expect(hyper.get("embedding_model", hyper), {
                     "dilations": ([1, *DILATIONS, 1],), "groups": ([1] * 5,),
                     "res2net_scale": (RES2NET_SCALE,), "activation": ("torch.nn.ReLU",)}, source)
    expect(hyper, {"sample_rate": (16000,)}, source)
    expect(hyper.get("compute_features") or {}, {
        "sample_rate": (16000, "<sample_rate>"), "n_fft": (400,), "win_length": (25,), "hop_length": (10,),
        "f_min": (0,), "f_max": (8000,), "deltas": (False, "<deltas>"), "context": (False,)}, source)
    expect(hyper.get("mean_var_norm") or {}, {"norm_type": ("sentence",), "std_norm": (False,)}, source)
    return speechbrain_weights(network, path)._replace(record={"threshold": THRESHOLD})


def speechbrain_weights(network: Network, path: str | Path) -> Weights:
    """Weights under SpeechBrain's names, with the settings that follow from their shapes."""
    state = network.state
    settings = network_sizes(state, path, "blocks.0.conv.conv", "mfa.conv.conv", "fc.conv.weight", 3)
    settings["global_context"] = split_context(state, "asp.tdnn.conv.conv", settings["mfa_channels"])
    return Weights(state, settings)


def read_3dspeaker(network: Network, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of 3D-Speaker. Its YAML says nothing that the shapes do not."""
    return speechbrain_weights(network, path)


def read_wespeaker(network: Network, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of a .pt; the classes of its loss, whose kinds have several centres and none, are not taken."""
    state = network.state
    network.others.update({name: state.pop(name) for name in list(state) if name.startswith("projection.")})
    settings = network_sizes(state, path, "layer1.conv", "conv", "linear.weight", 2)
    settings["global_context"] = split_context(state, "pool.linear1", settings["mfa_channels"])
    return Weights(state, settings)


def read_taoruijie(network: Network, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of a .model, with the classes of its loss, or of the network's state dict."""
    state, loss = network.state, [name for name in network.others if name.endswith("speaker_loss.weight")]
    classes = network.others.pop(loss[0]) if loss else None
    check_front_end({name: state.pop(name) for name in FRONT_END if name in state}, path)
    settings = network_sizes(state, path, "conv1", "layer4", "fc6.weight", 2)
    settings["global_context"] = split_context(state, "attention.0", settings["mfa_channels"])
    if classes is not None and classes.shape[1:] != (settings["emb_size"],):
        raise MismatchError(f"{path}: speaker_loss.weight: found shape {classes.shape}, expected a row of "
                            f"{settings['emb_size']} for each speaker")
    return Weights(state, settings, extra={} if classes is None else {"loss.weight": classes})


def network_sizes(state: Tensors, path: str | Path, first: str, aggregation: str, last: str,
                  dimensions: int) -> dict[str, Any]:
    """The settings that follow from shapes: of their layers `first` and `aggregation`, and of the tensor `last`."""
    channels, bands, _ = sizes(state, f"{first}.weight", path, 3)
    return {"in_channels": bands, "channels": channels,
            "mfa_channels": sizes(state, f"{aggregation}.weight", path, 3)[0],
            "emb_size": sizes(state, last, path, dimensions)[0]}


def front_end_buffers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FRONT_END's tensors: the pre-emphasis (1, 1, 2), the window (WINDOW,), the mel filters (K, 80), float32."""
    filters = mel_filters("taoruijie", 80)
    return np.array([[[-0.97, 1]]], np.float32), window("taoruijie")[56:56 + WINDOW], filters


def check_front_end(buffers: Tensors, path: str | Path) -> None:
    """MismatchError unless the front-end that a .model carries is the one of features.py."""
    for name, expected in zip(FRONT_END, front_end_buffers(), strict=True):
        buffer = buffers.get(name, expected)
        if buffer.shape != expected.shape or not np.allclose(buffer, expected, rtol=0, atol=1e-3):
            raise MismatchError(f"{path}: {name}: not that of TaoRuijie's front-end; its network takes other features")


def split_context(state: Tensors, name: str, channels: int) -> bool:
    """The columns of the statistics as a tensor of their own; False where there are none, without global context."""
    weight = state.get(f"{name}.weight")
    if weight is None or weight.ndim != 3:
        return True     # which is named later
    if weight.shape[1] == channels:
        return False
    state[f"{name}.weight"], state[f"{name}.context"] = weight[:, :channels], weight[:, channels:]
    return True


def join_context(state: Tensors, name: str) -> Tensors:
    """The inverse of `split_context`, of a state dict to be written."""
    if f"{name}.context" not in state:
        return state
    parts = state[f"{name}.weight"], state[f"{name}.context"]
    return {key: np.concatenate(parts, 1) if key == f"{name}.weight" else value for key, value in state.items()
            if key != f"{name}.context"}


def write_speechbrain(state: Tensors, config: Config, parameters: Tensors) -> Tensors:
    """An embedding_model.ckpt."""
    return join_context(state, "asp.tdnn.conv.conv")


def write_wespeaker(state: Tensors, config: Config, parameters: Tensors) -> Tensors:
    """A .pt without the classes of a loss."""
    return join_context(state, "pool.linear1")


def write_taoruijie(state: Tensors, config: Config, parameters: Tensors) -> Tensors:
    """The network's state dict; a .model with both prefixes where the checkpoint holds the classes of a loss."""
    front_end = dict(zip(FRONT_END, front_end_buffers(), strict=True))
    state, classes = front_end | join_context(state, "attention.0"), parameters.get("loss.weight")
    if classes is None or config.sub_centers > 1:       # the original has one centre a speaker
        return state
    return {f"speaker_encoder.{name}": value for name, value in state.items()} | {"speaker_loss.weight": classes}


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """{our parameter: shape} of the network."""
    return {parameter.name: parameter.shape for parameter in make_network(config).get_parameters()}


ORIGINALS = {
    "speechbrain": Original("mfa.conv.conv.weight", read_speechbrain, speechbrain, write_speechbrain,
                            {"variant": "speechbrain", "front_end": "speechbrain"}),
    "taoruijie": Original("layer1.convs.0.weight", read_taoruijie, taoruijie, write_taoruijie,
                          {"variant": "taoruijie", "front_end": "taoruijie"}),
    "wespeaker": Original("layer2.se_res2block.0.conv.weight", read_wespeaker, wespeaker, write_wespeaker,
                          {"variant": "wespeaker", "front_end": "kaldi"}),
    "3dspeaker": Original("mfa.conv.conv.weight", read_3dspeaker, speechbrain, write_speechbrain,
                          {"variant": "speechbrain", "front_end": "3dspeaker"}),
}
