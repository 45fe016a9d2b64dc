"""Where in a file the tensors of a network are, and whose network they are.

Programs wrap what they save: {"state_dict": ...}, {"model": ..., "optimizer": ...}, a module that was pickled whole,
`module.` before each name. So a network is looked for by one tensor that only it has: where that is, the others are.
"""
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from utils.errors import ContentError, MismatchError
from utils.files import StrPath
from utils.torch_weights.names import Tensors
from utils.torch_weights.plain_pickle import Instance
from utils.torch_weights.torch_file import as_array, save_again

DEPTH = 6           # of wrappings
STATE = ("callbacks", "loops", "optimizer_states", "lr_schedulers")     # of a training, in Lightning's checkpoints
COMPILED = "_orig_mod."     # what torch.compile puts before names, of a network or of a part of it
# a pattern in the names of tensors: whose network that is
OTHERS = (
    (r"(^|\.)(intra|inter)_(RNN|rnn|mdl)\.|(^|\.)dual_mdl\.|(^|\.)masker\.layers\.\d",
     "a dual-path network (DPRNNTasNet, DPTNet, SepFormer): recurrent or attentive blocks over chunks, not the "
     "convolutions of Conv-TasNet"),
    (r"(^|\.)sm\.\d+\.(proj_1x1|spp_dw)\.", "SuDORMRF: blocks that sample down and up, not the dilated convolutions "
                                             "of Conv-TasNet"),
    (r"(^|\.)encoder\.filterbank\.(torch_window|window|low_hz_)",
     "a network over a spectrum or over fixed filters (fb_name stft, param_sinc), not the learnt ones of Conv-TasNet"),
    (r"(^|\.)masker\.(encoders|decoders|rnn|mask_layer)\b", "a spectral or recurrent network of asteroid's (DCCRNet, "
                                                            "DCUNet, LSTMTasNet), not Conv-TasNet"),
    (r"(^|\.)mask_generator\.input_conv\.", "torchaudio's Conv-TasNet, whose tensors are laid out differently"),
    (r"(^|\.)xvector\.(tdnn|block1|dense)", "CAM++ or another D-TDNN of 3D-Speaker's, not ECAPA-TDNN"),
    (r"(^|\.)layer1\.0\.(conv1|bn1)\.", "a ResNet, not ECAPA-TDNN"),
    (r"(^|\.)encoder\.encoder\.\d+\.mconv\.", "NeMo's QuartzNet, Citrinet or TitaNet"),
    (r"(^|\.)(wav2vec2|hubert|wavlm|w2v_encoder)\.|feature_extractor\.conv_layers\.", "wav2vec 2.0, HuBERT or WavLM"),
    (r"(^|\.)encoder\.blocks\.0\.attn\.|(^|\.)encoder\.layers\.0\.self_attn\.k_proj", "Whisper, or another "
                                                                                        "Transformer"),
    (r"(^|\.)encoders\.\d+\.(self_attn|feed_forward)", "a Transformer or Conformer of ESPnet's or WeNet's"),
    (r"(^|\.)(conv\.0|fc\.0\.module\.weight$)", "a DeepSpeech of before version 2 of deepspeech.pytorch, whose "
                                               "convolutions are not padded"),
)
TAKEN = (
    (r"(^|\.)encoder\.conv1d_U\.weight$", "kaituoxu's Conv-TasNet, for conv_tasnet/import_torch.py --format kaituoxu"),
    (r"(^|\.)encoder\.filterbank\._filters$", "asteroid's Conv-TasNet, for conv_tasnet/import_torch.py --format "
                                              "asteroid"),
    (r"(^|\.)rnns\.0\.rnn\.weight_hh_l0$", "deepspeech.pytorch's network, for deepspeech2/import_torch.py --format "
                                           "deepspeech_pytorch"),
    (r"(^|\.)mfa\.conv\.conv\.weight$", "SpeechBrain's or 3D-Speaker's ECAPA-TDNN, for ecapatdnn/import_torch.py "
                                          "--format speechbrain or 3dspeaker"),
    (r"(^|\.)se_res2block\.0\.conv\.weight$", "wespeaker's ECAPA-TDNN, for ecapatdnn/import_torch.py --format "
                                               "wespeaker"),
    (r"(^|\.)layer1\.convs\.0\.weight$", "TaoRuijie's ECAPA-TDNN, for ecapatdnn/import_torch.py --format taoruijie"),
)


class Network(NamedTuple):
    """A network in a file."""

    state: Tensors              # without what stands before all names
    beside: dict[str, Any]      # what stands beside the state dict, such as the settings of the program
    others: Tensors             # tensors in the same state dict that are not of the network, such as a loss's


def find_network(content: Any, landmark: str, source: StrPath) -> Network:
    """The network that has a tensor `landmark` in what torch_file.read gave of the file `source`.

    UserError where there is none, naming whose network it is where that is known, and where there are several.
    """
    found = list(_state_dicts(content))
    if odd := [name for _, state, _ in found for name in state if not name.isprintable()]:
        raise ContentError(f"{source}: damaged, a tensor has the name {odd[0]!r}; copy it again")
    places = [(keys, name.removesuffix(landmark), state, beside) for keys, state, beside in found
              for name in state if name == landmark or name.endswith(f".{landmark}")]
    if not places:
        raise _missing(content, landmark, [name for _, state, _ in found for name in state], source)
    keys, prefix, state, beside = places[0]
    if any(other[before + landmark] is not state[prefix + landmark] for _, before, other, _ in places):
        raise _several(places, source)
    wrong = [name for name, value in state.items() if not isinstance(value, np.ndarray)]
    if wrong:
        raise ContentError(f"{source}: {wrong[0]}: found {_kind(state[wrong[0]])}, expected a tensor of numbers; save "
                           f"it again so: {save_again(source, _as_floats(keys))}")
    network = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if whose := _whose(network, OTHERS):
        raise MismatchError(f"{source}: {whose[0]}: this is {whose[1]}")
    return Network(network, beside, {name: value for name, value in state.items() if not name.startswith(prefix)})


def _state_dicts(content: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]]:
    """(the keys that lead to it, state dict, what stands beside it) of all in `content`.

    A state dict has tensors under names, perhaps among other values.
    """
    seen, waiting = set(), [((), content, {})]
    while waiting:
        keys, value, beside = waiting.pop(0)
        if id(value) in seen or len(keys) > DEPTH:
            continue
        seen.add(id(value))
        named = {name: as_array(item) for name, item in _items(value).items() if isinstance(name, str)}
        module = _module_state(value)
        tensors = {name.replace(COMPILED, ""): item for name, item in named.items() if _is_tensor(item)}
        beside = beside | named
        if module or tensors:
            yield keys, module or tensors, beside
        if not module:
            waiting += [((*keys, name), item, beside) for name, item in named.items()
                        if isinstance(item, (dict, Instance)) and not _is_tensor(item) and name not in STATE]


def _items(value):
    if isinstance(value, Instance):
        return value.items or (value.state if isinstance(value.state, dict) else {})
    return value if isinstance(value, dict) else {}


def _is_tensor(value):
    """Whether it is one, or stands for one of a kind that numpy does not have."""
    return isinstance(value, np.ndarray) or isinstance(value, Instance) and (
        value.kind.path.startswith("torch._utils._rebuild") or value.kind.path.endswith(("Storage", "Tensor")))


def _module_state(value: Any, prefix: str = "", depth: int = 32) -> dict[str, Any]:
    """The state dict of a module that was pickled whole; {} for anything else."""
    parts = value.state if isinstance(value, Instance) else None
    if depth == 0 or not isinstance(parts, dict) or not {"_parameters", "_modules"} <= parts.keys():
        return {}
    state = {}
    for group in ("_parameters", "_buffers"):
        state |= {f"{prefix}{name}".replace(COMPILED, ""): as_array(tensor)
                  for name, tensor in _items(parts.get(group)).items() if tensor is not None}
    for name, module in _items(parts["_modules"]).items():
        state |= _module_state(module, f"{prefix}{name}.", depth - 1)
    return state


def _missing(content, landmark, names, source):
    """The error for a file without the network, whose tensors have `names`."""
    if not names:
        kind = f"an object of {content.kind.path}" if isinstance(content, Instance) else type(content).__name__
        found = ", ".join(map(repr, list(_items(content))[:5])) if _items(content) else kind
        return ContentError(f"{source}: holds no state dict (found {found}); expected names and tensors, perhaps under "
                            f"`state_dict`; save it so where its program is: {save_again(source, '{}.state_dict()')}")
    whose = _whose(names, (*OTHERS, *TAKEN))
    found = f"this is {whose[1]}" if whose else "is the file of the format given?"
    return MismatchError(f"{source}: {landmark}: missing; {found} (it begins with {names[0]})")


def _several(places, source):
    """The error for a file with several such networks, such as the mean of the weights beside them."""
    where = [("".join(f"[{key!r}]" for key in keys), prefix) for keys, prefix, *_ in places]
    if len({keys for keys, _ in where}) > 1:
        found = " and ".join(dict.fromkeys(keys or "the file itself" for keys, _ in where))
        return MismatchError(f"{source}: holds the network several times, in {found}; save the one that you want, such "
                             f"as {save_again(source, '{}' + next(keys for keys, _ in where if keys))}")
    prefixes = " and ".join(dict.fromkeys(prefix for _, prefix in where))
    return MismatchError(f"{source}: holds several such networks, {prefixes}; save the one that you want alone, under "
                         "the names of one network")


def _kind(value):
    """What stands in the place of a tensor."""
    path = value.kind.path if isinstance(value, Instance) else type(value).__name__
    for part, kind in (("sparse", "a sparse tensor"), ("_q", "a quantised tensor"), ("QInt", "a quantised tensor"),
                       ("QUInt", "a quantised tensor"), ("meta", "a tensor without numbers (of the device meta)"),
                       ("Complex", "complex numbers")):
        if part in path:
            return f"{kind} ({path})"
    return path


def _as_floats(keys):
    """An expression that makes plain tensors of those of a state dict."""
    return ("{{k: v.dequantize() if v.is_quantized else v.to_dense().float() for k, v in {}"
            + "".join(f"[{key!r}]" for key in keys) + ".items()}}")


def _whose(names, networks):
    """(a name that shows it, whose network of `networks` has such a name); () for none."""
    return next(((name, whose) for pattern, whose in networks for name in names if re.search(pattern, name)), ())
