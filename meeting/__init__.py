"""Who said what, by all three models: `meeting.load().transcribe("meeting.wav")`; see meeting/README.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING

from utils.lazy import lazy

if TYPE_CHECKING:
    from meeting.src.inference import Transcriber, WhoSaidWhat, load

__all__ = ["Transcriber", "WhoSaidWhat", "load"]

# None: the one of no name that ships. The separator must leave an output empty where only one speaks.
CHECKPOINTS = {"ecapatdnn": None, "conv_tasnet": "noisy", "deepspeech2": None}

__getattr__, __dir__ = lazy(__name__, "meeting.src.inference", __all__)
