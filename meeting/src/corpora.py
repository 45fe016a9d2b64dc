"""Speech of which meetings are made.

    an4            10 speakers, an4/wav/an4test_clstk and an4/etc
    librispeech    20 speakers, librispeech/dev-clean with transcripts.tsv
    speechocean    114 adult speakers, speechocean762 with transcripts.tsv
"""
import os
from collections.abc import Callable

from deepspeech2.src.corpora import an4_texts
from meeting.src.simulation import RATE, Utterance, trimmed
from utils.audio.audio_file import duration, find_audio, read
from utils.corpora.open_speech import read_transcripts
from utils.errors import NotFoundError

ADULT = 15      # years
LONGEST = 10    # seconds: longer utterances would make a meeting of monologues
Paths = dict[str, list[tuple[str, str]]]      # {speaker: [(path, text)]}


def an4(folder: str) -> Paths:
    """The test part of CMU AN4."""
    root = _inside(folder, "an4")
    texts = an4_texts(os.path.join(root, "etc", "an4_test.transcription"))
    return _speakers((path.split("/")[0], os.path.join(root, "wav", "an4test_clstk", path), texts.get(_stem(path)))
                     for path in find_audio(os.path.join(root, "wav", "an4test_clstk")))


def librispeech(folder: str) -> Paths:
    """dev-clean of LibriSpeech."""
    root = _inside(folder, "librispeech/dev-clean")
    texts = {row["file"]: row["text"] for row in read_transcripts(os.path.join(root, "transcripts.tsv"))}
    return _speakers((path.split("/")[0], os.path.join(root, path), texts.get(_stem(path)))
                     for path in find_audio(root))


def speechocean(folder: str) -> Paths:
    """The adult speakers of speechocean762."""
    root = _inside(folder, "speechocean762")
    rows = read_transcripts(os.path.join(root, "transcripts.tsv"), ("file", "speaker", "age", "text"))
    return _speakers((row["speaker"], os.path.join(root, row["file"]), row["text"]) for row in rows
                     if row["age"].isdigit() and int(row["age"]) >= ADULT)


CORPORA: dict[str, Callable[[str], Paths]] = {"an4": an4, "librispeech": librispeech, "speechocean": speechocean}


def read_utterances(paths: Paths, speakers: list[str], most: float) -> dict[str, list[Utterance]]:
    """Utterances of `speakers`, of each the first until it has `most` seconds."""
    utterances: dict[str, list[Utterance]] = {}
    for speaker in speakers:
        items = utterances[speaker] = []
        for path, text in paths[speaker]:
            if duration(path, RATE) > LONGEST * RATE:
                continue
            items.append(Utterance(speaker, text, trimmed(read(path, RATE, resample=True))))
            if sum(len(item.samples) for item in items) > most * RATE:
                break
    return utterances


def _speakers(items):
    paths: Paths = {}
    for speaker, path, text in items:
        if text is not None:
            paths.setdefault(speaker, []).append((path, text))
    return paths


def _inside(folder, name):
    if os.path.isdir(root := os.path.join(folder, name)):
        return root
    raise NotFoundError(f"{folder}: holds no {name}; --data_folder names the folder that it lies in")


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]
