"""The command line of a program: a mistake in it is one line, as every mistake of a user."""
import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from utils.errors import SettingError, nearest
from utils.version import VERSION


class Parser(argparse.ArgumentParser):
    """argparse's, with --version, without abbreviations. A SettingError where argparse prints its usage and ends."""

    def __init__(self, **settings: Any):
        super().__init__(allow_abbrev=False, **settings)
        self.add_argument("--version", action="version", version=f"mindspore-speech-zoo {VERSION}",
                          help="print the version and end")

    def add_checkpoint(self, flag: str, default: str | None = None) -> None:
        """A flag for what the models' `load` takes; None: the checkpoint of no name that ships."""
        self.add_argument(flag, metavar="CHECKPOINT", default=default, help="run folder, .ckpt, an original's file, or "
                          f"a name in pretrained/ (default: {default or 'pretrained/best.ckpt'})")

    def add_device_target(self) -> None:
        """The flag --device_target, as of all programs that load a checkpoint."""
        self.add_argument("--device_target", default="",
                          help="Ascend, CPU or GPU (default: $DEVICE_TARGET, else what MindSpore finds)")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        """The values of the command line. SettingError for a flag that there is not, with the nearest."""
        values, unknown = self.parse_known_args(args, namespace)
        if unknown:
            word, flags = unknown[0], [flag for action in self._actions for flag in action.option_strings]
            name, assigns, _ = word.partition("=")
            if not word.startswith("-"):    # key=value is how hydra has settings
                meant = nearest(f"--{name}", flags) if assigns else ""
                raise SettingError(f"{word}: not expected here{meant}; --help shows what is")
            raise SettingError(f"{word}: no such flag{nearest(name, flags)}; --help lists them all")
        return values

    def error(self, message: str) -> NoReturn:
        """Called by argparse for any other mistake."""
        raise SettingError(f"{message}; --help shows what is expected")
