"""The weights that a training begins with: whether they mean in its network what they meant in their own."""
import sys
from collections.abc import Sequence
from typing import TypeVar

from utils.config import CONFIG_FILE, load_config
from utils.errors import MismatchError
from utils.files import StrPath
from utils.paths import beside, best_of
from utils.training.settings import ModelSettings

Settings = TypeVar("Settings", bound=ModelSettings)


def settings_of(path: StrPath, config: Settings, names: Sequence[str]) -> Settings | None:
    """The config of the run that wrote `path`, a run folder or checkpoint; of the class of `config`.

    None where its config.yaml is not there: then a note says that the settings `names` may be others.
    """
    path = best_of(path)
    if beside(path, CONFIG_FILE, above=True):
        return load_config(type(config), path)
    print(f"note: {path}: no {CONFIG_FILE} beside it; whether {', '.join(names)} are the same is not known",
          file=sys.stderr)
    return None


def require_layout(path: StrPath, config: ModelSettings, names: Sequence[str]) -> None:
    """MismatchError unless the run that wrote `path` agrees with `config` in the settings `names`.

    names: what weights mean, beyond their shapes
    """
    trained = settings_of(path, config, names)
    for name in names if trained else ():
        found, expected = getattr(trained, name), getattr(config, name)
        if found != expected:
            raise MismatchError(f"initial_model: {best_of(path)} was trained with {name} {found}, but {name} is "
                                f"{expected}, where its weights mean something else; set {name} to {found}, or leave "
                                "initial_model out")
