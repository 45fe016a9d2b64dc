"""The C++ runner's answers of text (ascend310_infer), called in this process."""
import ctypes
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helpers.documents import ROOT
from utils.errors import MismatchError
from utils.files import CACHE

RUNNER = ROOT / "ascend310_infer"
KENLM = CACHE / "kenlm-0.3.0"       # as build.sh leaves it
PARTS = ("alphabet", "decoder", "alignment", "transcript")
SAMPLES, NUMBERS = ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_int64)
NETWORK = ctypes.CFUNCTYPE(None, SAMPLES, ctypes.c_int64, SAMPLES)
TAKE = ctypes.CFUNCTYPE(None, SAMPLES, ctypes.c_int64)


class Facts(NamedTuple):
    """What inputs.json says of the text, what the graph takes, and how it is run."""

    window: int             # samples
    overlap: int
    frame_samples: int
    pause: int              # frames
    segment: int
    longest: int
    sample_rate: int
    graph_length: int = 0   # samples; 0: any number
    is_fixed: bool = False
    block: int = 16000
    beam_width: int = 0


class TextAnswers:
    """The library is built in `folder`; with language models where build.sh has built KenLM.

    MismatchError is what the runner would say.
    """

    def __init__(self, folder: Path):
        path, options, parts = folder / "libtext_answers.so", [], PARTS
        self.has_models = (KENLM / "lib" / "libkenlm.so").exists()
        if self.has_models:
            parts = (*PARTS, "language_model")
            options = ["-DHAS_KENLM", "-DKENLM_MAX_ORDER=6", f"-I{KENLM}", f"-L{KENLM / 'lib'}", "-lkenlm",
                       f"-Wl,-rpath,{KENLM / 'lib'}"]
        subprocess.run(["g++", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{RUNNER / 'inc'}",
                        *(RUNNER / "src" / f"{part}.cc" for part in parts),
                        ROOT / "tests" / "helpers" / "text_answers.cc", *options, "-o", path], check=True)
        self.library = ctypes.CDLL(path)
        for name in ("Decode", "Align", "Transcribe", "Join", *(["DecodeByModel"] if self.has_models else [])):
            getattr(self.library, name).restype = ctypes.c_char_p

    def decode(self, log_probs: np.ndarray, labels: str, width: int) -> list[tuple[str, float]]:
        """[(text, log probability)], best first; of width 0 that of greedy decoding, without its probability."""
        lines = self._lines("Decode", labels.encode(), 1, *_matrix(log_probs), ctypes.c_int64(width))
        return [(text, float(score)) for score, text in lines]

    def decode_by_model(self, log_probs: np.ndarray, labels: str, spaced: bool, path: Path, alpha: float, beta: float,
                        width: int) -> tuple[str, float]:
        """(text, score) that a language model finds the best."""
        (score, text), = self._lines("DecodeByModel", labels.encode(), spaced, str(path).encode(),
                                     ctypes.c_double(alpha), ctypes.c_double(beta), *_matrix(log_probs),
                                     ctypes.c_int64(width))
        return text, float(score)

    def word_times(self, log_probs: np.ndarray, text: str, labels: str, spaced: bool,
                   seconds: float) -> list[tuple[str, float, float]]:
        """[(word, start, end)]."""
        lines = self._lines("Align", labels.encode(), spaced, *_matrix(log_probs), text.encode(),
                            ctypes.c_double(seconds))
        return [(word, float(start), float(end)) for start, end, word in lines]

    def transcribe(self, samples: np.ndarray, network: Callable[[np.ndarray], np.ndarray], labels: str, spaced: bool,
                   facts: Facts) -> list[tuple[float, float, str, list]]:
        """[(start, end, text, [(word, start, end)])] of each segment."""
        segments = []
        for kind, start, end, text in self._lines("Transcribe", labels.encode(), spaced, _numbers(facts),
                                                  _pointer(samples), ctypes.c_int64(len(samples)),
                                                  _callback(network, len(labels))):
            if kind == "segment":
                segments.append((float(start), float(end), text, []))
            else:
                segments[-1][-1].append((text, float(start), float(end)))
        return segments

    def join(self, samples: np.ndarray, network: Callable[[np.ndarray], np.ndarray], labels: str,
             facts: Facts) -> list[np.ndarray]:
        """The log probabilities of the windows, piece by piece."""
        pieces = []

        def take(values, frames):
            pieces.append(np.ctypeslib.as_array(values, (frames, len(labels))).copy() if frames else
                          np.zeros((0, len(labels)), np.float32))

        self._lines("Join", labels.encode(), _numbers(facts), _pointer(samples), ctypes.c_int64(len(samples)),
                    _callback(network, len(labels)), TAKE(take))
        return pieces

    def _lines(self, name, *arguments):
        kind, _, lines = getattr(self.library, name)(*arguments).decode().partition("\n")
        if kind != "done":
            raise MismatchError(kind)
        return [line.split("\t") for line in lines.split("\n")[:-1]]


def _callback(network, labels):
    def fill(samples, count, log_probs):
        result = network(np.ctypeslib.as_array(samples, (count,)).copy())
        np.ctypeslib.as_array(log_probs, (len(result), labels))[:] = result

    return NETWORK(fill)


def _matrix(log_probs):
    array = np.ascontiguousarray(log_probs, np.float32)
    return _pointer(array), ctypes.c_int64(len(array))


def _pointer(array):
    return array.ctypes.data_as(SAMPLES)


def _numbers(facts: Sequence[int]):
    return (ctypes.c_int64 * len(facts))(*map(int, facts))
