"""A trained network, from whatever holds one: what the `load` of every model begins with."""
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mindspore import Tensor, nn

from utils.checkpoints.checkpoint import assign, load_checkpoint
from utils.config import UseSettings, checkpoint_config, with_settings
from utils.device import setup_device
from utils.errors import SettingError, UserError
from utils.files import StrPath
from utils.paths import best_of
from utils.torch_weights.importer import Original, convert, guessed, read_file
from utils.torch_weights.networks import find_network
from utils.torch_weights.safetensors_file import is_safetensors

Settings = TypeVar("Settings", bound=UseSettings)


@dataclass(frozen=True)
class Kind(Generic[Settings]):
    """What a model is, for `find`."""

    settings: type[Settings]                # the class of its configs
    folder: Path                            # where pretrained/best.ckpt ships, pretrained/NAME/best.ckpt too
    originals: Mapping[str, Original]       # whose files it takes
    shapes: Callable[[Any], dict]           # config -> {our parameter: shape}


@dataclass(frozen=True)
class Trained(Generic[Settings]):
    """A trained network before it is built."""

    config: Settings
    parameters: Mapping[str, Tensor]
    record: Mapping[str, Any]               # what the checkpoint says of itself

    def fill(self, network: nn.Cell) -> None:
        """Gives `network` its weights. MismatchError where they do not fit it."""
        names = {parameter.name: parameter for parameter in network.get_parameters()}
        assign(self.parameters, names, self.config.model_path, skip=("loss.",))


def find(kind: Kind[Settings], checkpoint: Settings | StrPath | None, device_target: str,
         settings: dict[str, Any]) -> Trained[Settings]:
    """The network of `checkpoint`, and the device set up for it.

    `checkpoint`: None for the one that ships, the name of another one that does, a run folder, a checkpoint in one, a
    file of one of the originals, or a config whose model_path names a checkpoint. `settings` replace those that were
    saved with it. UserError where there is none, or the device is not there.
    """
    if isinstance(checkpoint, kind.settings):
        target = {"device_target": device_target} if device_target else {}
        return _ours(with_settings(checkpoint, **target | settings))
    pretrained = kind.folder / "pretrained"
    checkpoint = pretrained if checkpoint is None else checkpoint
    if not isinstance(checkpoint, (str, os.PathLike)) or not os.fspath(checkpoint):     # "": such as of an unset $RUN
        shown = repr(checkpoint) if isinstance(checkpoint, str) else type(checkpoint).__name__
        raise SettingError(f"checkpoint_path: found {shown}, expected a run folder or a checkpoint; without it, "
                           "the one that ships is taken")
    path = best_of(os.path.expanduser(checkpoint), pretrained)
    if _is_ours(path):
        return _ours(checkpoint_config(kind.settings, path, device_target=device_target, **settings))
    content = read_file(path)
    setup_device(device_target)
    given = {"model_path": path, "device_target": device_target} | settings
    with_settings(kind.settings(), **given)
    name, open_settings = _whose(content, path, kind.originals, given)
    found = convert(content, path, name, {}, given, kind.settings, kind.originals, kind.shapes)
    if guesses := found.guesses | open_settings:
        warnings.warn(guessed(path, guesses), stacklevel=3)
    return Trained(found.config, {name: Tensor(array) for name, array in found.parameters.items()}, found.record)


def _ours(config):
    setup_device(config.device_target, device_id=config.device_id)
    return Trained(config, *load_checkpoint(config.model_path))


def _is_ours(path):
    """Whether a file is to be read as a checkpoint of ours: no safetensors, no zip or pickle of PyTorch's.

    So is one that is missing, or damaged beyond recognition.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(2)
    except OSError:
        return True
    return start not in (b"PK", b"\x80\x02") and not is_safetensors(path)


def _whose(content, path, originals, given):
    """(the original whose network is in `content`, {setting: value} by which others with the same tensors differ).

    Of those the first that agrees with the settings `given`. UserError where it is none of them.
    """
    fitting, errors = {}, []
    for name, original in originals.items():
        try:
            find_network(content, original.landmark, path)
            fitting[name] = original.variant
        except UserError as error:
            errors.append(error)
    if not fitting:
        raise errors[0]
    name = next((name for name, variant in fitting.items() if variant.items() >= {
        setting: value for setting, value in given.items() if setting in variant}.items()), next(iter(fitting)))
    return name, {setting: value for setting, value in fitting[name].items() if setting not in given
                  and any(variant.get(setting) != value for variant in fitting.values())}
