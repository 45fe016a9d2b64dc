"""Weights of asteroid's and kaituoxu's Conv-TasNet: which of their tensors is which of ours.

    asteroid   what serialize() saved (model_args and state_dict), a Lightning checkpoint with the training_config, or a
               state dict alone
    kaituoxu   the package of ConvTasNet.serialize (letters and state_dict), or a state dict alone

Letters as in model.py. The decoder is asteroid's transposed convolution (N, 1, L), kaituoxu's linear layer (L, N).
"""
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conv_tasnet.src.config import Config
from conv_tasnet.src.model import ConvTasNet
from utils.errors import ContentError, MismatchError, SettingError
from utils.torch_weights.importer import Original, Weights
from utils.torch_weights.names import CONV, NORM, Row, Tensors, expect, fill_rows, sizes
from utils.torch_weights.networks import Network
from utils.torch_weights.plain_pickle import plain

BATCH_NORM = {f"norm.{name}": theirs for name, theirs in NORM.items()}
GAIN_FLAT = {"gain": ("gamma", "1C1->C"), "bias": ("beta", "1C1->C")} | BATCH_NORM
GAIN = {"gain": ("gamma", "1C1->1C1"), "bias": ("beta", "1C1->1C1")} | BATCH_NORM
SLOPE = {"slope": ("weight", "S->S")}
ASTEROID = {"filters": "NL11->N1L", "synthesis": "LN11->N1L", "conv": CONV, "norm": GAIN_FLAT, "prelu": SLOPE}
KAITUOXU = {"filters": "NL11->N1L", "synthesis": "LN11->LN", "conv": CONV, "norm": GAIN, "prelu": SLOPE}
BLOCK, KAITUOXU_BLOCK = "masker.TCN.{i}", "separator.network.2.{repeat}.{x}.net"
ROWS = (    # ours, asteroid.models.ConvTasNet's, kaituoxu's conv_tasnet.ConvTasNet's, kind
    ("encoder.weight", "encoder.filterbank._filters", "encoder.conv1d_U.weight", "filters"),
    ("norm", "masker.bottleneck.0", "separator.network.0", "norm"),
    ("bottleneck", "masker.bottleneck.1", "separator.network.1", "conv"),
    ("blocks.{i}.expand", f"{BLOCK}.shared_block.0", f"{KAITUOXU_BLOCK}.0", "conv"),
    ("blocks.{i}.prelu1", f"{BLOCK}.shared_block.1", f"{KAITUOXU_BLOCK}.1", "prelu"),
    ("blocks.{i}.norm1", f"{BLOCK}.shared_block.2", f"{KAITUOXU_BLOCK}.2", "norm"),
    ("blocks.{i}.depthwise", f"{BLOCK}.shared_block.{{depthwise}}", f"{KAITUOXU_BLOCK}.3.net.0", "conv"),
    ("blocks.{i}.prelu2", f"{BLOCK}.shared_block.4", f"{KAITUOXU_BLOCK}.3.net.{{prelu}}", "prelu"),
    ("blocks.{i}.norm2", f"{BLOCK}.shared_block.5", f"{KAITUOXU_BLOCK}.3.net.{{norm}}", "norm"),
    ("blocks.{i}.residual", f"{BLOCK}.res_conv", f"{KAITUOXU_BLOCK}.3.net.{{pointwise}}", "conv"),
    ("blocks.{i}.skip", f"{BLOCK}.skip_conv", None, "conv"),
    ("mask_prelu", "masker.mask_net.0", None, "prelu"),
    ("mask", "masker.mask_net.1", "separator.network.3", "conv"),
    ("decoder.weight", "decoder.filterbank._filters", "decoder.basis_signals.weight", "synthesis"),
)
NORMS = {"gLN": "gLN", "GlobLN": "gLN", "cLN": "cLN", "ChanLN": "cLN", "cgLN": "cgLN", "CumLN": "cgLN", "bN": "BN",
         "BN": "BN", "BatchNorm": "BN"}     # asteroid's names
ARGUMENTS = {"N": "n_filters", "L": "kernel_size", "B": "bn_chan", "H": "hid_chan", "Sc": "skip_chan",
             "P": "conv_kernel_size", "X": "n_blocks", "R": "n_repeats", "C": "n_src", "causal": "causal",
             "mask_nonlinear": "mask_act", "sample_rate": "sample_rate"}    # ours, asteroid's
SECTIONS = ("filterbank_", "masknet_", "data_")     # of the configurations of asteroid's recipes


def blocks(config: Config) -> list[dict[str, int]]:
    """The numbers of each block: among all, of its repeat, within that."""
    return [{"i": i, "repeat": i // config.X, "x": i % config.X} for i in range(config.X * config.R)]


def asteroid(config: Config) -> Iterator[Row]:
    """The table of asteroid's tensors."""
    depthwise = "3.0" if config.causal else "3"     # in a Sequential, chopped
    return fill_rows(ROWS, 0, ASTEROID, blocks(config), depthwise=depthwise)


def kaituoxu(config: Config) -> Iterator[Row]:
    """The table of kaituoxu's tensors."""
    if config.Sc:
        raise SettingError(f"Sc: found {config.Sc}, expected 0: kaituoxu's network has no skip path")
    prelu, norm, pointwise = (2, 3, 4) if config.causal else (1, 2, 3)      # causal: chopped before
    return fill_rows(ROWS, 1, KAITUOXU, blocks(config), prelu=prelu, norm=norm, pointwise=pointwise)


def read_asteroid(network: Network, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of a file of asteroid's. A state dict alone does not hold how its blocks are repeated: --X gives it."""
    state, arguments = network.state, stated_by_asteroid(network, hyper)
    filters, _, length = sizes(state, "encoder.filterbank._filters", path, 3)
    expect(arguments, {"fb_name": ("free", "FreeFB"), "stride": (length // 2, None), "in_chan": (filters, None),
                       "out_chan": (filters, None), "encoder_activation": (None, "", "linear"),
                       "norm_type": tuple(NORMS)}, path)
    number = count(state, r"masker\.TCN\.(\d+)\.")
    block = "masker.TCN.0.shared_block"
    causal = f"{block}.3.0.weight" in state
    built = "masknet" in arguments      # by a recipe, which leaves the rest to ConvTasNet's own defaults
    repeat = given.get("X") or arguments.get("n_blocks") or (8 if built else None)
    if not repeat:
        raise ContentError(f"{path}: has {number} blocks and not how many are a repeat; give --X (asteroid's "
                           "n_blocks, 8 unless set) or --hyper_parameters")
    if not isinstance(repeat, int) or number % repeat:
        raise MismatchError(f"{path}: has {number} blocks, which are no whole repeats of {repeat!r} (n_blocks); give "
                            "--X")
    hidden = sizes(state, f"{block}.0.weight", path, 3)
    inferred = {
        "N": filters, "L": length, "B": hidden[1], "H": hidden[0], "X": repeat, "R": number // repeat, "causal": causal,
        "Sc": state["masker.TCN.0.skip_conv.weight"].shape[0] if "masker.TCN.0.skip_conv.weight" in state else 0,
        "P": sizes(state, f"{block}.3.{'0.' if causal else ''}weight", path, 3)[2],
        "C": sizes(state, "masker.mask_net.1.weight", path, 3)[0] // filters}
    expect(arguments, {ARGUMENTS[name]: (value, None) if name == "Sc" else (value,) for name, value in inferred.items()
                       if name != "X"}, path)
    norm = "BN" if "masker.bottleneck.0.weight" in state else "cLN" if causal else "gLN"
    stated = {"norm": "BN"} if norm == "BN" else {}
    if "norm_type" in arguments:
        stated["norm"] = NORMS[arguments["norm_type"]]
        if causal and stated["norm"] == "gLN":      # as asteroid's class takes it
            stated["norm"] = "cLN"
    stated |= {name: arguments[ARGUMENTS[name]] for name in ("mask_nonlinear", "sample_rate")
               if arguments.get(ARGUMENTS[name])}
    mask = "sigmoid" if built else "relu"       # the default of the class, that of asteroid's recipes
    return with_guesses(state, inferred, stated, {"norm": norm, "mask_nonlinear": mask, "sample_rate": 8000}, path)


def stated_by_asteroid(network: Network, hyper: dict[str, Any]) -> dict[str, Any]:
    """What the file and `hyper` say of the network, by asteroid's names: sections and what is in them."""
    beside = {name: value if isinstance(value := plain(network.beside.get(name)), dict) else {} for name in (
        "hyper_parameters", "infos", "training_config", "model_args")}
    flat = {name.removeprefix(section): value for section in SECTIONS      # Lightning's: masknet_n_blocks
            for name, value in beside["hyper_parameters"].items() if name.startswith(section)}
    published = {"infos": beside["infos"].get("training_config")}
    return flat | merged(merged(published)) | merged(beside["training_config"]) | merged(hyper) | beside["model_args"]


def read_kaituoxu(network: Network, hyper: dict[str, Any], given: dict[str, Any], path: str | Path) -> Weights:
    """Weights of a file of kaituoxu's."""
    state, beside = network.state, plain(network.beside)
    letters = merged(beside) | beside | merged(hyper)
    filters, _, length = sizes(state, "encoder.conv1d_U.weight", path, 3)
    block = "separator.network.2.0.0.net"
    hidden = sizes(state, f"{block}.0.weight", path, 3)
    causal = f"{block}.3.net.4.weight" in state
    inferred = {
        "N": filters, "L": length, "B": hidden[1], "H": hidden[0], "Sc": 0,
        "P": sizes(state, f"{block}.3.net.0.weight", path, 3)[2], "causal": causal,
        "X": count(state, r"separator\.network\.2\.0\.(\d+)\."), "R": count(state, r"separator\.network\.2\.(\d+)\."),
        "C": sizes(state, "separator.network.3.weight", path, 3)[0] // filters}
    expect(letters, {name: (value,) for name, value in inferred.items() if name != "Sc"}, path)
    expect(letters, {"norm_type": ("gLN", "cLN", "BN"), "mask_nonlinear": ("relu", "softmax")}, path)
    stated = {"norm": "BN"} if f"{block}.2.running_mean" in state else {}
    if "norm_type" in letters:
        stated["norm"] = letters["norm_type"]
        if causal and stated["norm"] == "gLN":
            raise MismatchError(f"{path}: norm_type: found 'gLN' in a causal network; its convolutions do not look "
                                "ahead, but that norm does. This zoo's causal networks have 'cLN', 'cgLN' or 'BN'")
    stated |= {name: letters[name] for name in ("mask_nonlinear", "sample_rate") if name in letters}
    norm = "cLN" if causal else "gLN"       # cumulative or global ones have the same tensors
    return with_guesses(state, inferred, stated, {"norm": norm, "mask_nonlinear": "relu", "sample_rate": 8000}, path)


def merged(hyper: dict[str, Any]) -> dict[str, Any]:
    """The values of a YAML or JSON, and those of its sections, as in the conf.yml of asteroid's recipes."""
    sections = [value for name, value in hyper.items() if isinstance(value, dict) and name != "state_dict"]
    return {name: value for section in (hyper, *sections) for name, value in section.items()}


def count(state: dict[str, Any], pattern: str) -> int:
    """How many numbers there are in the place of the group of `pattern`."""
    return len({match[1] for name in state if (match := re.match(pattern, name))})


def with_guesses(state: Tensors, inferred: dict[str, Any], stated: dict[str, Any], recipe: dict[str, Any],
                 path: str | Path) -> Weights:
    """The Weights with the values of the original's `recipe` for what the file does not state."""
    rate = stated.get("sample_rate", recipe["sample_rate"])
    if not isinstance(rate, (int, float)) or not 1 <= rate < 1e6:
        raise ContentError(f"{path}: sample_rate: found {rate!r}, expected the rate of the mixtures in Hz")
    settings = recipe | inferred | stated | {"sample_rate": round(rate)}        # asteroid's is a float
    return Weights(state, settings, assumed=tuple(name for name in recipe if name not in stated))


def write_asteroid(state: Tensors, config: Config, parameters: Tensors) -> dict[str, Any]:
    """What serialize() saves: for ConvTasNet.from_pretrained."""
    arguments = {theirs: getattr(config, ours) for ours, theirs in ARGUMENTS.items()}
    arguments |= {"fb_name": "free", "stride": config.L // 2, "in_chan": config.N, "out_chan": config.N,
                  "norm_type": "bN" if config.norm == "BN" else config.norm, "encoder_activation": None}
    return {"model_name": "ConvTasNet", "state_dict": state, "model_args": arguments, "infos": {}}


def write_kaituoxu(state: Tensors, config: Config, parameters: Tensors) -> dict[str, Any]:
    """A package, for ConvTasNet.load_model_from_package."""
    return {letter: getattr(config, letter) for letter in "NLBHPXRC"} | {
        "norm_type": config.norm, "causal": config.causal, "mask_nonlinear": config.mask_nonlinear, "state_dict": state}


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """{our parameter: shape} of the network."""
    return {parameter.name: parameter.shape for parameter in ConvTasNet(config).get_parameters()}


ORIGINALS = {
    "asteroid": Original("encoder.filterbank._filters", read_asteroid, asteroid, write_asteroid,
                         {"variant": "asteroid"}),
    "kaituoxu": Original("encoder.conv1d_U.weight", read_kaituoxu, kaituoxu, write_kaituoxu,
                         {"variant": "kaituoxu"}),
}
