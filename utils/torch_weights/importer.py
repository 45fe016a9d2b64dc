"""What the importers share: the run folder, or the original's file, that comes of their command line."""
import argparse
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from mindspore import Tensor

from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.config import Loader, load_config, read_mapping, save_config
from utils.device import setup_device
from utils.errors import ContentError, MismatchError, OutputError, SettingError, UserError
from utils.files import whole_folder
from utils.results import require_output, require_writable
from utils.torch_weights import safetensors_file, torch_file
from utils.torch_weights.names import Tensors, to_ours, to_theirs
from utils.torch_weights.networks import find_network


class Weights(NamedTuple):
    """What a file holds: tensors {their name: array}, settings {ours: value}, of which some are `assumed`."""

    state: dict
    settings: dict
    assumed: tuple = ()         # settings that the file does not state
    fixed: dict = {}            # settings that hold whatever is given by flags
    extra: dict = {}            # {our name: array} beside the network's, such as the classes of a loss
    record: dict = {}           # what the checkpoint's record says besides


class Original(NamedTuple):
    """A published program whose files are known."""

    landmark: str               # the tensor by which its network is found in a file
    read: Callable              # (Network, hyper-parameters, settings given, path) -> Weights; takes what it uses
                                # out of the Network's others
    table: Callable             # config -> rows
    write: Callable             # (state, config, our parameters) -> content of the file
    variant: dict               # settings that make our network this one


class Converted(NamedTuple):
    """A network of an original's file, as one of ours."""

    config: Any
    parameters: Tensors
    record: dict[str, Any]      # of the checkpoint
    guesses: dict[str, Any]     # settings that the file does not state
    left: list[str]             # tensors beside the network that were not taken


def work(args: argparse.Namespace, given: dict[str, Any], cls: type, originals: dict[str, Original],
         shapes: Callable) -> None:
    """What an import_torch.py does for configs of type `cls`; shapes(config): {our parameter: shape}."""
    setup_device("CPU")
    if args.export:
        export_file(args, given, cls, originals)
    else:
        import_file(args, given, cls, originals, shapes)


def import_file(args: argparse.Namespace, given: dict[str, Any], cls: type, originals: dict[str, Original],
                shapes: Callable) -> None:
    """Makes the run folder args.output of the original's file."""
    output = Path(args.output)
    if output.exists():
        raise OutputError(f"output: {output} exists already; give the name of a folder to make")
    require_writable(output, "name another --output")
    hyper = read_hyper_parameters(args.hyper_parameters)
    found = convert(read_file(args.file), args.file, args.format, hyper, {"ckpt_save_dir": args.output} | given, cls,
                    originals, shapes)
    write_run(output, found.config, found.parameters, found.record)
    if found.left:
        more = f" and {len(found.left) - 1} more" if len(found.left) > 1 else ""
        print(f"{args.file}: beside the network, not taken: {found.left[0]}{more}")
    if found.guesses:
        print(guessed(args.file, found.guesses))
    numbers = sum(array.size for array in found.parameters.values())
    print(f"{output}: config.yaml and best.ckpt, {len(found.parameters)} tensors, {numbers:,} numbers")


def convert(content: Any, path: str, name: str, hyper: dict[str, Any], given: dict[str, Any], cls: type,
            originals: Mapping[str, Original], shapes: Callable) -> Converted:
    """Our network of what `read_file` gave of the file `path` of the original `name`.

    `hyper`: its hyper-parameters, beside those in the file. `given`: settings that hold whatever the file says.
    UserError where the file holds no such network, or one that ours cannot be.
    """
    original = originals[name]
    network = find_network(content, original.landmark, path)
    weights = original.read(network, hyper, given, path)
    config = cls(**(weights.settings | original.variant | given | weights.fixed))
    parameters = to_ours(original.table(config), weights.state, shapes(config), path) | weights.extra
    guesses = {guess: getattr(config, guess) for guess in weights.assumed if guess not in given}
    record = {"imported": name, "file": os.path.basename(path)} | weights.record
    return Converted(config, parameters, record, guesses, list(network.others))


def guessed(path: str, guesses: dict[str, Any]) -> str:
    """The line about settings that are a guess."""
    flags = " ".join(f"--{name} {value}" for name, value in guesses.items())
    return f"{path} does not state and was taken to have {flags}; give what is otherwise"


def read_file(path: str) -> Any:
    """What a file of PyTorch's or of safetensors holds; UserError for another, naming what it is if that is known."""
    if safetensors_file.is_safetensors(path):
        return safetensors_file.read(path)
    try:
        return torch_file.read(path)
    except ContentError:
        if not is_checkpoint(path):
            raise
    raise MismatchError(f"{path}: is a checkpoint of MindSpore; expected the original's file. With --export, that is "
                        "written of it")


def is_checkpoint(path: str) -> bool:
    """Whether the file is one of MindSpore's, as train.py writes them."""
    try:
        load_checkpoint(path)
    except UserError:
        return False
    return True


def export_file(args: argparse.Namespace, given: dict[str, Any], cls: type, originals: dict[str, Original]) -> None:
    """Writes our checkpoint args.file as a file of the original."""
    original = originals[args.format]
    if os.path.exists(args.output):
        raise OutputError(f"output: {args.output} exists already; name another file, or delete that one")
    require_output(args.output, "name another --output")
    if given:
        raise SettingError(f"--{next(iter(given))}: not with --export, the settings are those of the run")
    if zipfile.is_zipfile(args.file) or safetensors_file.is_safetensors(args.file):
        raise MismatchError(f"{args.file}: is a file of PyTorch's or of safetensors; expected a checkpoint of ours. "
                            "Without --export, a run folder is made of it")
    config, parameters = load_config(cls, args.file), load_checkpoint(args.file)[0]
    for name, value in original.variant.items():
        if getattr(config, name) != value and name != "front_end":
            raise MismatchError(f"{args.file}: its {name} is {getattr(config, name)}, but --format {args.format} needs "
                                f"{value}")
        if getattr(config, name) != value:
            print(f"{args.file} takes the features of {getattr(config, name)}, not those of {args.format}")
    arrays = {name: value.asnumpy().astype(np.float32) for name, value in parameters.items()}
    state = to_theirs(original.table(config), {name: array for name, array in arrays.items()
                                               if not name.startswith("loss.")})
    writer = safetensors_file if args.output.endswith(safetensors_file.SUFFIX) else torch_file
    writer.write(args.output, original.write(state, config, arrays))
    print(f"{args.output}: {len(state)} tensors, for {args.format}")


def read_hyper_parameters(path: str) -> dict[str, Any]:
    """The mapping in a YAML (HyperPyYAML too, whose tags are passed over) or JSON file; {} for no path."""
    return read_mapping(path, "YAML or JSON of hyper-parameters", _Untagged) if path else {}


class _Untagged(Loader):
    """Values without what their tags would make of them."""


def _without_tag(loader, suffix, node):
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return node.value or suffix.split(":", 1)[-1]      # of !name:torch.nn.ReLU, the name


_Untagged.add_multi_constructor("!", _without_tag)


def write_run(folder: Path, config: Any, parameters: Tensors, record: dict[str, Any]) -> None:
    """The run folder of `parameters` {name: array}: whole, or not there."""
    with whole_folder(folder) as temporary:
        save_config(config, temporary)
        save_checkpoint(temporary / "best.ckpt", {name: Tensor(array) for name, array in parameters.items()}, **record)
