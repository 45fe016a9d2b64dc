"""Weights of asteroid's and kaituoxu's Conv-TasNet: which of their tensors is which of ours.

    asteroid   what serialize() saved (model_args and state_dict), a Lightning checkpoint, or a state dict alone
    kaituoxu   the package of ConvTasNet.serialize (letters and state_dict), or a state dict alone

Letters as in model.py. The decoder is asteroid's transposed convolution (N, 1, L), kaituoxu's linear layer (L, N).
"""
import re

from conv_tasnet.src.model import ConvTasNet
from utils.errors import ContentError, SettingError
from utils.torch_weights.importer import LIGHTNING, Original, Weights
from utils.torch_weights.names import CONV, NORM, expect, sizes, state_dict

BATCH_NORM = {f"norm.{name}": theirs for name, theirs in NORM.items()}
GAIN_FLAT = {"gain": ("gamma", "1C1->C"), "bias": ("beta", "1C1->C")} | BATCH_NORM
GAIN = {"gain": ("gamma", "1C1->1C1"), "bias": ("beta", "1C1->1C1")} | BATCH_NORM
SLOPE = {"slope": ("weight", "S->S")}
NORMS = {"gLN": "gLN", "GlobLN": "gLN", "cLN": "cLN", "ChanLN": "cLN", "cgLN": "cgLN", "CumLN": "cgLN", "bN": "BN",
         "BN": "BN", "BatchNorm": "BN"}     # asteroid's names
ARGUMENTS = {"N": "n_filters", "L": "kernel_size", "B": "bn_chan", "H": "hid_chan", "Sc": "skip_chan",
             "P": "conv_kernel_size", "X": "n_blocks", "R": "n_repeats", "C": "n_src", "causal": "causal",
             "mask_nonlinear": "mask_act", "sample_rate": "sample_rate"}    # ours, asteroid's


def asteroid(config):
    """Ours, asteroid.models.ConvTasNet's."""
    depthwise = "shared_block.3.0" if config.causal else "shared_block.3"     # in a Sequential, chopped
    yield "encoder.weight", "encoder.filterbank._filters", "NL11->N1L"
    yield "norm", "masker.bottleneck.0", GAIN_FLAT
    yield "bottleneck", "masker.bottleneck.1", CONV
    for i in range(config.X * config.R):
        ours, theirs = f"blocks.{i}", f"masker.TCN.{i}"
        yield f"{ours}.expand", f"{theirs}.shared_block.0", CONV
        yield f"{ours}.prelu1", f"{theirs}.shared_block.1", SLOPE
        yield f"{ours}.norm1", f"{theirs}.shared_block.2", GAIN_FLAT
        yield f"{ours}.depthwise", f"{theirs}.{depthwise}", CONV
        yield f"{ours}.prelu2", f"{theirs}.shared_block.4", SLOPE
        yield f"{ours}.norm2", f"{theirs}.shared_block.5", GAIN_FLAT
        yield f"{ours}.residual", f"{theirs}.res_conv", CONV
        yield f"{ours}.skip", f"{theirs}.skip_conv", CONV
    yield "mask_prelu", "masker.mask_net.0", SLOPE
    yield "mask", "masker.mask_net.1", CONV
    yield "decoder.weight", "decoder.filterbank._filters", "LN11->N1L"


def kaituoxu(config):
    """Ours, kaituoxu's conv_tasnet.ConvTasNet's."""
    if config.Sc:
        raise SettingError(f"Sc: found {config.Sc}, expected 0: kaituoxu's network has no skip path")
    prelu, norm, pointwise = (2, 3, 4) if config.causal else (1, 2, 3)      # causal: chopped before
    yield "encoder.weight", "encoder.conv1d_U.weight", "NL11->N1L"
    yield "norm", "separator.network.0", GAIN
    yield "bottleneck", "separator.network.1", CONV
    for i in range(config.X * config.R):
        ours, theirs = f"blocks.{i}", f"separator.network.2.{i // config.X}.{i % config.X}.net"
        yield f"{ours}.expand", f"{theirs}.0", CONV
        yield f"{ours}.prelu1", f"{theirs}.1", SLOPE
        yield f"{ours}.norm1", f"{theirs}.2", GAIN
        yield f"{ours}.depthwise", f"{theirs}.3.net.0", CONV
        yield f"{ours}.prelu2", f"{theirs}.3.net.{prelu}", SLOPE
        yield f"{ours}.norm2", f"{theirs}.3.net.{norm}", GAIN
        yield f"{ours}.residual", f"{theirs}.3.net.{pointwise}", CONV
    yield "mask", "separator.network.3", CONV
    yield "decoder.weight", "decoder.basis_signals.weight", "LN11->LN"


def read_asteroid(content, hyper, given, path):
    """Weights of a file of asteroid's. A state dict alone does not tell how its blocks are repeated: --X says it."""
    state = state_dict(content, path, "model.")         # of a Lightning checkpoint
    arguments = merged(hyper) | (content.get("model_args") or {})
    filters, _, length = sizes(state, "encoder.filterbank._filters", path, 3)
    expect(arguments, {"fb_name": ("free", "FreeFB"), "stride": (length // 2,), "in_chan": (filters, None),
                       "out_chan": (filters, None), "encoder_activation": (None, "", "linear"),
                       "norm_type": tuple(NORMS)}, path)
    blocks = count(state, r"masker\.TCN\.(\d+)\.")
    block = "masker.TCN.0.shared_block"
    causal = f"{block}.3.0.weight" in state
    repeat = given.get("X") or arguments.get("n_blocks")
    if not repeat:
        raise ContentError(f"{path}: has {blocks} blocks and does not tell how many are a repeat; give --X (asteroid's "
                           "n_blocks, 8 unless set) or --hyper_parameters")
    hidden = sizes(state, f"{block}.0.weight", path, 3)
    inferred = {
        "N": filters, "L": length, "B": hidden[1], "H": hidden[0], "X": repeat, "R": blocks // repeat, "causal": causal,
        "Sc": state["masker.TCN.0.skip_conv.weight"].shape[0] if "masker.TCN.0.skip_conv.weight" in state else 0,
        "P": sizes(state, f"{block}.3.{'0.' if causal else ''}weight", path, 3)[2],
        "C": sizes(state, "masker.mask_net.1.weight", path, 3)[0] // filters}
    expect(arguments, {ARGUMENTS[name]: (value, None) if name == "Sc" else (value,) for name, value in inferred.items()
                       if name != "X"}, path)
    norm = "BN" if "masker.bottleneck.0.weight" in state else "cgLN" if causal else "gLN"
    told = {"norm": "BN"} if norm == "BN" else {}
    if "norm_type" in arguments:
        told["norm"] = NORMS[arguments["norm_type"]]
    told |= {name: arguments[ARGUMENTS[name]] for name in ("mask_nonlinear", "sample_rate")
             if arguments.get(ARGUMENTS[name])}
    return with_guesses(state, inferred, told, {"norm": norm, "mask_nonlinear": "relu", "sample_rate": 8000})


def read_kaituoxu(content, hyper, given, path):
    """Weights of a file of kaituoxu's."""
    state, letters = state_dict(content, path), merged(hyper) | content
    filters, _, length = sizes(state, "encoder.conv1d_U.weight", path, 3)
    block = "separator.network.2.0.0.net"
    hidden = sizes(state, f"{block}.0.weight", path, 3)
    inferred = {
        "N": filters, "L": length, "B": hidden[1], "H": hidden[0], "Sc": 0,
        "P": sizes(state, f"{block}.3.net.0.weight", path, 3)[2], "causal": f"{block}.3.net.4.weight" in state,
        "X": count(state, r"separator\.network\.2\.0\.(\d+)\."), "R": count(state, r"separator\.network\.2\.(\d+)\."),
        "C": sizes(state, "separator.network.3.weight", path, 3)[0] // filters}
    expect(letters, {name: (value,) for name, value in inferred.items() if name != "Sc"}, path)
    expect(letters, {"norm_type": ("gLN", "cLN", "BN"), "mask_nonlinear": ("relu", "softmax")}, path)
    told = {"norm": "BN"} if f"{block}.2.running_mean" in state else {}
    if "norm_type" in letters:
        told["norm"] = letters["norm_type"]
    told |= {name: letters[name] for name in ("mask_nonlinear", "sample_rate") if name in letters}
    return with_guesses(state, inferred, told, {"norm": "gLN", "mask_nonlinear": "relu", "sample_rate": 8000})


def merged(hyper):
    """The values of a YAML or JSON, and those of its sections, as in the conf.yml of asteroid's recipes."""
    sections = [value for value in hyper.values() if isinstance(value, dict)]
    return {name: value for section in (hyper, *sections) for name, value in section.items()}


def count(state, pattern):
    """How many numbers there are in the place of the group of `pattern`."""
    return len({found[1] for name in state if (found := re.match(pattern, name))})


def with_guesses(state, inferred, told, recipe):
    """The Weights with the values of the original's `recipe` for what nothing tells."""
    return Weights(state, recipe | inferred | told, assumed=tuple(name for name in recipe if name not in told))


def write_asteroid(state, config, parameters):
    """What serialize() saves: for ConvTasNet.from_pretrained."""
    arguments = {theirs: getattr(config, ours) for ours, theirs in ARGUMENTS.items()}
    arguments |= {"fb_name": "free", "stride": config.L // 2, "in_chan": config.N, "out_chan": config.N,
                  "norm_type": "bN" if config.norm == "BN" else config.norm, "encoder_activation": None}
    return {"model_name": "ConvTasNet", "state_dict": state, "model_args": arguments, "infos": {}}


def write_kaituoxu(state, config, parameters):
    """A package, for ConvTasNet.load_model_from_package."""
    return {letter: getattr(config, letter) for letter in "NLBHPXRC"} | {
        "norm_type": config.norm, "causal": config.causal, "mask_nonlinear": config.mask_nonlinear, "state_dict": state}


def shapes(config):
    """{our parameter: shape} of the network."""
    return {parameter.name: parameter.shape for parameter in ConvTasNet(config).get_parameters()}


ORIGINALS = {
    "asteroid": Original(read_asteroid, asteroid, write_asteroid, {"variant": "asteroid"}, LIGHTNING),
    "kaituoxu": Original(read_kaituoxu, kaituoxu, write_kaituoxu, {"variant": "kaituoxu"}),
}
