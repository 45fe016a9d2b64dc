"""Conv-TasNet speech separation: `conv_tasnet.load().separate("mixture.wav")`; see docs/api.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conv_tasnet.src.inference import Separator, load

__all__ = ["Separator", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from conv_tasnet.src import inference

    return getattr(inference, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
