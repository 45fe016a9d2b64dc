"""DeepSpeech2 speech recognition: `deepspeech2.load().transcribe("talk.wav").text`; see docs/api.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING

from utils.lazy import lazy

if TYPE_CHECKING:
    from deepspeech2.src.inference import Recognizer, Segment, Transcript, load

__all__ = ["Recognizer", "Segment", "Transcript", "load"]

__getattr__, __dir__ = lazy(__name__, "deepspeech2.src.inference", __all__)
