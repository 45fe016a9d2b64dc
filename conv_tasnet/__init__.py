"""Conv-TasNet speech separation: `conv_tasnet.load().separate("mixture.wav")`; see docs/api.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING

from utils.lazy import lazy

if TYPE_CHECKING:
    from conv_tasnet.src.inference import Separator, load

__all__ = ["Separator", "load"]

__getattr__, __dir__ = lazy(__name__, "conv_tasnet.src.inference", __all__)
