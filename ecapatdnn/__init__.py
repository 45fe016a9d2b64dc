"""ECAPA-TDNN speaker verification: `ecapatdnn.load().verify("a.wav", "b.wav")`; see docs/api.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING

from utils.lazy import lazy

if TYPE_CHECKING:
    from ecapatdnn.src.inference import Verdict, Verifier, load

__all__ = ["Verdict", "Verifier", "load"]

__getattr__, __dir__ = lazy(__name__, "ecapatdnn.src.inference", __all__)
