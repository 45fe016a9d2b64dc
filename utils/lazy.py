"""Packages whose names are imported when they are first used, so that importing a package is instant."""
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any


def lazy(package: str, module: str, names: Sequence[str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of `package` (PEP 562): `names` are those of its `module`, imported at first use."""
    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), name)

    def listed() -> list[str]:
        return sorted([*vars(sys.modules[package]), *names])

    return get, listed
