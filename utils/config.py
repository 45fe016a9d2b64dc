"""Typed configuration: a frozen dataclass, overridden by `--config file.yaml`, overridden by `--flag value`.

A run saves the resolved values as config.yaml beside its checkpoints. Whatever uses a checkpoint later reads that
file, so features and hyper-parameters cannot differ between training and use.
"""
import argparse
import dataclasses
import functools
import inspect
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, get_type_hints

import yaml

from utils.command_line import Parser
from utils.errors import ContentError, MismatchError, NotFoundError, SettingError, nearest
from utils.files import StrPath, write_text
from utils.formats import KEY, Step, migrate, numbered, with_format
from utils.paths import beside, best_of
from utils.ranges import OneOf, check_setting, ranges_of
from utils.texts import read_text

CONFIG_FILE = "config.yaml"
AUTO = "auto"       # value of `resume`: continue the run in ckpt_save_dir if there is one
SECTION = re.compile(r"    # (.+)")                              # of the source of a config: network, data, ...
FIRST = ("", "network", "features", "data", "loss", "trials", "training", "optimisation", "run")    # sections of --help
FIELD = re.compile(r"    (\w+): .*?(?:  # (.+))?")            # a setting and what it means
EXPLAINED = re.compile(r"^ *--(\w+) +(\S.*(?:\n {9,}\S.*)*)\n", re.M)      # a flag in the docstring of a config
VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")     # of the environment, as os.path.expandvars finds it
OPTIONAL: dict[str, Any] = {"nargs": "?", "const": "true"}   # of argparse: `--flag` alone means `--flag true`
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Dataclass(Protocol):
    """Any dataclass: here a frozen one of int, float, bool and str."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class TrainSettings(Dataclass, Protocol):
    """Settings of a training, which can be resumed."""

    @property
    def resume(self) -> str: ...
    @property
    def ckpt_save_dir(self) -> str: ...


class UseSettings(Dataclass, Protocol):
    """Settings of a program that uses a checkpoint."""

    @property
    def model_path(self) -> str: ...


Settings = TypeVar("Settings", bound=Dataclass)
TrainConfig = TypeVar("TrainConfig", bound=TrainSettings)
UseConfig = TypeVar("UseConfig", bound=UseSettings)


def parse_config(cls: type[Settings], argv: Sequence[str], base: Dataclass | None = None,
                 program: str | None = None) -> Settings:
    """The config of type `cls` that a command line asks for.

    `base`: values to start from instead of the defaults, such as those a checkpoint was trained with. `cls.ALIASES`,
    where there are any: {other name of a flag: field}. A flag of a bool may stand without a value, for true. Raises
    SettingError for a flag or key that does not exist (naming the nearest) and for a value of the wrong type.
    """
    parser = Parser(prog=program, description=described(cls),
                    usage="%(prog)s [--config FILE] [--SETTING VALUE] ...",
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="FILE", help="YAML file of values that differ from the defaults, or "
                        "the name of a preset that ships: mini for configs/mini.yaml")
    types, defaults = _types(cls), {field.name: field.default for field in dataclasses.fields(cls)}
    aliases, meanings = getattr(cls, "ALIASES", {}), explained(cls)
    groups: dict[str, Any] = {"": parser}
    for name in sorted(types, key=list(meanings).index):
        flags = [f"--{flag}" for flag in (name, *(alias for alias, meant in aliases.items() if meant == name))]
        section, text = meanings[name]
        group = groups[section] = groups.get(section) or parser.add_argument_group(section)
        group.add_argument(*flags, dest=name, metavar=types[name].__name__.upper(),
                           help=_help(cls, name, text, defaults[name]), **OPTIONAL if types[name] is bool else {})
    given = vars(parser.parse_args(argv))
    values = {} if base is None else dataclasses.asdict(base)
    changes = read_yaml(cls, preset(cls, name)) if (name := given.pop("config")) else {}
    changes |= {name: _convert(cls, name, text, f"--{name}") for name, text in given.items() if text is not None}
    return cls(**values | {name: _expand(name, value) for name, value in changes.items()})


def preset(cls: type[Dataclass], name: str) -> StrPath:
    """The file that `--config name` means: one of that path, else the preset of that name beside the model of `cls`."""
    if os.path.isfile(name) or os.path.dirname(name):
        return name
    shipped = {path.stem: path for path in sorted((_model_folder(cls) / "configs").glob("*.yaml"))}
    if shipped and (stem := name.removesuffix(".yaml")) not in shipped:
        raise NotFoundError(f"config: {name}: no such file, nor one of the presets {', '.join(shipped)}"
                            f"{nearest(stem, shipped)}")
    return shipped.get(name.removesuffix(".yaml"), name)


def _model_folder(cls):
    return Path(sys.modules[cls.__module__].__file__ or "").parents[1]


def parse_train_config(cls: type[TrainConfig], argv: Sequence[str]) -> TrainConfig:
    """`parse_config`, where `--resume RUN` starts from the values that RUN was trained with.

    `--resume auto` names the run in ckpt_save_dir, which need not exist yet.
    """
    config = parse_config(cls, argv)
    if not config.resume:
        return config
    folder = config.ckpt_save_dir if config.resume == AUTO else config.resume
    saved = Path(folder) / CONFIG_FILE
    if not saved.is_file():
        if config.resume == AUTO:
            return config
        raise NotFoundError(f"resume: {config.resume} is no run folder, it holds no {CONFIG_FILE}")
    config = parse_config(cls, argv, base=cls(**read_yaml(cls, saved, of_run=True)))
    return dataclasses.replace(config, ckpt_save_dir=folder)


def parse_use_config(cls: type[UseConfig], argv: Sequence[str]) -> UseConfig:
    """`parse_config` for programs that use a checkpoint: starts from the values its run saved beside it.

    A run folder stands for its best.ckpt, a name for what ships under it. SettingError without any, MismatchError
    where a setting in cls.FIXED is another than that of the run.
    """
    config = parse_config(cls, argv)
    if not config.model_path:
        raise SettingError("model_path: no checkpoint given; train.py writes best.ckpt into its run folder, pass it "
                           "with --checkpoint_path")
    path = best_of(config.model_path, _model_folder(cls) / "pretrained")
    saved = load_config(cls, path)
    config = parse_config(cls, argv, base=saved)
    _require_fixed(saved, config, path)
    return dataclasses.replace(config, model_path=path)


def read_yaml(cls: type[Dataclass], path: StrPath, of_run: bool = False) -> dict[str, Any]:
    """The keys and values of a preset, each checked against the fields of `cls`.

    `of_run`: of the config.yaml of a run, which any version may have saved (utils/formats.py). A preset is of today.
    """
    values = read_mapping(path, "a YAML file of settings", may_be_empty=True)
    if of_run or KEY in values:     # such a file may be given as a preset, too
        values = migrate(values, history(cls), path)
    types = _types(cls)
    for key in values:
        if key not in types:
            remedy = "; is it a run of another model?" if of_run else nearest(str(key), types)
            raise SettingError(f"{path}: {key}: no such setting{remedy}")
    return {key: _convert(cls, key, value, f"{path}: {key}") for key, value in values.items()}


class Loader(yaml.SafeLoader):
    """Takes a TAB between values for a space, which PyYAML refuses; within a value it stays what it is."""

    def scan_to_next_token(self) -> None:
        """Goes on to what is neither space nor comment."""
        super().scan_to_next_token()
        while self.peek() == "\t":
            self.forward()
            super().scan_to_next_token()


def read_mapping(path: StrPath, expected: str, loader: type[Loader] = Loader,
                 may_be_empty: bool = False) -> dict[Any, Any]:
    """The mapping in a YAML file, where one is `expected`. `loader`: Loader or a kind of it.

    ContentError for another file, and for a key that is there twice, of which YAML's library takes the last.
    """
    text = read_text(path, expected)
    try:
        reader = loader(text)       # which looks at the characters
        node = reader.get_single_node()
        lines = _lines_of_keys(node)
        values = None if node is None else reader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:     # ValueError: of a date such as 2024-13-01
        raise ContentError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if may_be_empty:
        values = values or {}
    if not isinstance(values, dict):
        raise ContentError(f"{path}: found {type(values).__name__}, expected lines of `key: value`")
    for key, (first, *others) in lines.items():
        if others:
            raise ContentError(f"{path}: line {others[0]}: {key} is set in line {first} already; delete one of the two")
    return values


def _lines_of_keys(node):
    """{key: numbers of its lines} of a mapping in YAML, {} for what is none; not of the mappings in it."""
    lines: dict[str, list[int]] = {}
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":      # which merges a mapping, as often as one likes
            lines.setdefault(key.value, []).append(key.start_mark.line + 1)
    return lines


def load_config(cls: type[Settings], checkpoint: StrPath) -> Settings:
    """The config saved by the run that wrote `checkpoint` (a file in the run folder or one level below)."""
    return cls(**read_yaml(cls, config_file(checkpoint), of_run=True))


def config_file(checkpoint: StrPath) -> Path:
    """The config.yaml of the run that wrote `checkpoint`. NotFoundError without one, or without the checkpoint."""
    if not Path(checkpoint).is_file():
        raise NotFoundError(f"{checkpoint}: no such checkpoint; train.py writes best.ckpt into its run folder")
    if path := beside(checkpoint, CONFIG_FILE, above=True):
        return path
    raise NotFoundError(f"{checkpoint}: no {CONFIG_FILE} beside it or one folder up; keep the run folder together")


def checkpoint_config(cls: type[Settings], checkpoint: StrPath, **settings: Any) -> Settings:
    """The config to use a checkpoint with: the one saved with it, but for its device, and for `settings`.

    MismatchError where one of these is in cls.FIXED and another than that of the run.
    """
    given = {"model_path": str(checkpoint), "device_target": "", "device_id": 0} | settings
    saved = load_config(cls, checkpoint)
    config = with_settings(saved, **given)
    _require_fixed(saved, config, checkpoint)
    return config


def _require_fixed(saved, config, checkpoint):
    """MismatchError where `config` differs from what a run has `saved` in a setting that weights mean, not only fit.

    Which those are, FIXED says in the class of the config, where there are any.
    """
    for name in getattr(config, "FIXED", ()):
        trained, found = getattr(saved, name), getattr(config, name)
        if found != trained:
            raise MismatchError(f"{name}: found {found}, but {checkpoint} was trained with {trained}, and its weights "
                                f"mean nothing else; leave {name} out")


def with_settings(config: Settings, **settings: Any) -> Settings:
    """`config` with other values of some settings. SettingError for a name or value that there is not."""
    cls = type(config)
    for name in settings:
        if name not in _types(cls):
            raise SettingError(f"{name}: no such setting{nearest(name, _types(cls))}")
    return dataclasses.replace(config, **{name: _convert(cls, name, value, name) for name, value in settings.items()})


def save_config(config: Dataclass, folder: StrPath) -> None:
    """Writes the format and every value of `config` to config.yaml in `folder`."""
    values = with_format(dataclasses.asdict(config), history(config))
    write_text(Path(folder, CONFIG_FILE), yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def history(cls: Dataclass | type[Dataclass]) -> Sequence[Step]:
    """The steps from each format of config.yaml to the next (utils/formats.py): cls.MIGRATIONS, where there are any."""
    return getattr(cls, "MIGRATIONS", (numbered,))


def require(config: Dataclass, *names: str) -> None:
    """SettingError unless each named setting has a value."""
    for name in names:
        if not getattr(config, name):
            raise SettingError(f"{name}: not set; give --{name}, or a preset with --config")


@functools.cache
def _types(cls: type[Dataclass]) -> dict[str, type]:
    """{setting: its type}."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@functools.cache
def explained(cls: type[Dataclass]) -> dict[str, tuple[str, str]]:
    """{setting: (the section it stands in, what it means)}, in the order of --help.

    Both are comments in the source of `cls` and of its bases; a subclass with another default need not repeat what it
    means. What the docstring of `cls` says of a setting, in a line that begins with its flag, comes before its comment.
    """
    texts: dict[str, str] = {}
    sections, placed = [], dict.fromkeys(_types(cls), "")
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        section = ""
        for line in inspect.getsource(base).splitlines():
            if match := SECTION.fullmatch(line):
                section = match[1]
            elif (match := FIELD.fullmatch(line)) and match[1] in placed:
                placed[match[1]] = section
                texts |= {match[1]: match[2]} if match[2] else {}
        sections += [placed[name] for name in placed if placed[name] not in sections]
    sections.sort(key=lambda section: FIRST.index(section) if section in FIRST else len(FIRST))
    order = sorted(placed, key=lambda name: sections.index(placed[name]))
    texts |= {name: " ".join(text.split()) for name, text in EXPLAINED.findall(cls.__doc__ or "")}
    return {name: (placed[name], texts.get(name, "")) for name in order}


def described(cls: type[Dataclass]) -> str:
    """The docstring of `cls` without what --help says where it lists the flags."""
    return inspect.cleandoc(EXPLAINED.sub("", cls.__doc__ or "")).rstrip()


def _help(cls: type[Dataclass], name: str, text: str, default: Any) -> str:
    limit = ranges_of(cls).get(name)
    limit = None if isinstance(limit, OneOf) else limit     # the text has the words, and what they mean
    return "; ".join(part.replace("%", "%%") for part in (text, str(limit or ""), f"default: {default!r}") if part)


def _convert(cls: type[Dataclass], name: str, value: Any, where: str) -> Any:
    """`value`, from YAML or a command line, as the setting `name` of `cls` has it. SettingError where it may not."""
    converted = _typed(value, _types(cls)[name], where)
    check_setting(cls, name, converted, where)
    return converted


def _typed(value: Any, kind: type, where: str) -> Any:
    """`value` as `kind`: int, float, bool or str."""
    try:
        if kind is bool:
            return value if isinstance(value, bool) else WORDS[str(value).lower()]
        if kind is int and (isinstance(value, bool) or float(value) != int(float(value))):
            raise ValueError
        if kind is float and isinstance(value, bool):
            raise ValueError
        if kind is str:
            if isinstance(value, (dict, list)):
                raise ValueError
            return "" if value is None else str(value)
        return kind(float(value)) if kind is int else kind(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        shown = type(value).__name__ if isinstance(value, (dict, list)) else repr(value)
        raise SettingError(f"{where}: found {shown}, expected {kind.__name__}") from None


def _expand(name: str, value: Any) -> Any:
    """`value` with ~ and $VARIABLES of the environment replaced: presets need not name anyone's folders.

    A $ that is part of a name stays: where there is a file or folder of that very name.
    """
    if not isinstance(value, str):
        return value
    value = os.path.expanduser(value)
    if not VARIABLE.search(value):
        return value
    expanded = os.path.expandvars(value)
    if _named(value) and not os.path.exists(expanded):
        return value
    if (unset := VARIABLE.search(expanded)) and not _named(expanded):
        raise SettingError(f"{name}: {value}: the environment variable {unset[0]} is not set, and nothing has this "
                           f"name; set it, or give --{name}")
    return expanded


def _named(path: str) -> bool:
    """Whether there is what `path` names, up to the last folder or file with a $ in its name."""
    return "$" in path and os.path.exists(path[:path.rindex("$")] + path[path.rindex("$"):].split(os.sep)[0])
