"""ECAPA-TDNN speaker verification: `ecapatdnn.load().verify("a.wav", "b.wav")`; see docs/api.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecapatdnn.src.inference import Verdict, Verifier, load

__all__ = ["Verdict", "Verifier", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ecapatdnn.src import inference

    return getattr(inference, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
