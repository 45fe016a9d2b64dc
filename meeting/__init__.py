"""Who said what, by all three models: `meeting.load().transcribe("meeting.wav")`; see meeting/README.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING

from utils.lazy import lazy

if TYPE_CHECKING:
    from meeting.src.inference import Transcriber, WhoSaidWhat, load

__all__ = ["Transcriber", "WhoSaidWhat", "load"]

__getattr__, __dir__ = lazy(__name__, "meeting.src.inference", __all__)
