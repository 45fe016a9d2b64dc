"""Enrolled voices: whose names are known. A file of the C++ runner's --enrol, or a folder of recordings.

    voices.json         {"format": 1, "voices": {NAME: [EMBEDDING, ...]}}, embeddings of length 1
    voices/NAME.wav     or voices/NAME/*.wav: recordings of each voice, in any audio format

Letters: E embedding size, k voices.
"""
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePath

import numpy as np

from ecapatdnn import Verifier
from utils.audio.audio_file import find_audio
from utils.errors import ContentError, MismatchError, NotFoundError
from utils.files import StrPath
from utils.texts import read_json

FORMAT = 1
TOLERANCE = 1e-3        # of a length of 1


def enrolled_voices(path: StrPath, verifier: Verifier) -> dict[str, np.ndarray]:
    """{name: embedding (E,) of length 1} of the file or folder `path`.

    NotFoundError where it is missing, ContentError where it holds no voices, MismatchError where the embeddings are
    another network's.
    """
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        raise NotFoundError(f"{path}: no such file or folder of enrolled voices; correct the path")
    voices = _recorded(path, verifier) if os.path.isdir(path) else _saved(path, verifier.config.emb_size)
    return unit_means(voices)


def unit_means(voices: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """{name: embeddings (E,)} -> {name: their mean, of length 1}."""
    sums = {name: np.sum(embeddings, axis=0) for name, embeddings in voices.items()}
    return {name: total / np.linalg.norm(total) for name, total in sums.items()}


def _recorded(folder, verifier):
    voices: dict[str, list[np.ndarray]] = {}
    for file in find_audio(folder):
        name = PurePath(file).parts[0] if "/" in file else PurePath(file).stem
        voices.setdefault(name, []).append(verifier.embed(os.path.join(folder, file)))
    if not voices:
        raise ContentError(f"{folder}: holds no recordings, expected NAME.wav or NAME/*.wav; name another folder")
    return voices


def _saved(path, size):
    expected = "a file of enrolled voices"
    content = read_json(path, expected)
    foreign = ContentError(f"{path}: is no file of enrolled voices; name another, or enrol the voices again")
    if not isinstance(content, dict) or not isinstance(content.get("voices"), dict) or not content["voices"]:
        raise foreign
    if content.get("format") != FORMAT:
        raise ContentError(f"{path}: format {content.get('format')}, but this program reads {FORMAT}; enrol the "
                           "voices again")
    voices = {}
    for name, embeddings in content["voices"].items():
        try:
            rows = [np.array(row, np.float32) for row in embeddings]
            if not rows or not all(row.ndim == 1 and abs(np.linalg.norm(row) - 1) <= TOLERANCE for row in rows):
                raise foreign
        except (TypeError, ValueError):
            raise foreign from None
        if any(len(row) != size for row in rows):
            raise MismatchError(f"{path}: embeddings of {len(rows[0])} numbers, but the checkpoint gives {size}; take "
                                "the one that they were enrolled with, or enrol them again")
        voices[name] = rows
    return voices
