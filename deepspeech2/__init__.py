"""DeepSpeech2 speech recognition: `deepspeech2.load().transcribe("talk.wav").text`; see docs/api.md.

MindSpore is imported by the first use of `load`.
"""
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepspeech2.src.inference import Recognizer, Segment, Transcript, load

__all__ = ["Recognizer", "Segment", "Transcript", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deepspeech2.src import inference

    return getattr(inference, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
