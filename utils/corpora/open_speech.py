"""The corpora of openly licensed speech that RESULTS.md trains on, side by side in one folder: who speaks where.

    librispeech/train-251spk   251 speakers, one utterance each    librispeech/dev-clean   20 others, for tests
    mini_librispeech           28 of the 251, 1519 utterances      librispeech_three_more  3 of the 251, 104 utterances
    an4                        74 speakers, and 10 for tests       speechocean762          215 speakers
    speech_commands            193 speakers                        alphanumeric            32 speakers
"""
from collections.abc import Sequence
from typing import NamedTuple

from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import evenly_spaced, find_in, libri_speaker, speaker_tree
from utils.errors import ContentError
from utils.files import StrPath
from utils.texts import read_rows

TREES = {"an4": "an4/wav/an4_clstk", "ocean": "speechocean762", "commands": "speech_commands", "alnum": "alphanumeric"}
LIBRISPEECH = ("librispeech/train-251spk", "mini_librispeech", "librispeech_three_more")
DEVELOPMENT = {"an4": 14, "ocean": 20, "commands": 20}     # speakers held out of training, evenly among the sorted
CHAPTERS = 6        # and of the 28 LibriSpeech speakers with several chapters

Items = list[tuple[str, str]]       # (speaker, path relative to the data folder); a speaker begins with the corpus


class OpenSpeech(NamedTuple):
    """Speakers that no other part has."""

    train: Items
    development: Items      # to choose epochs and thresholds by


def scan(config: CorpusSettings) -> OpenSpeech:
    """All speakers but those of dev-clean and of AN4's test part, which are for the last number."""
    corpora = {name: speaker_tree(config, folder, f"{name}-") for name, folder in TREES.items()}
    libri = {folder: [(f"libri-{libri_speaker(path)}", f"{folder}/{path}") for path in find_in(config, folder)]
             for folder in LIBRISPEECH}
    held = {speaker for name, count in DEVELOPMENT.items() for speaker in _spread(corpora[name], count)}
    held |= set(_spread(libri["mini_librispeech"], CHAPTERS))
    items = [item for part in (*libri.values(), *corpora.values()) for item in part]
    return OpenSpeech([item for item in items if item[0] not in held], [item for item in items if item[0] in held])


def corpus_of(item: tuple[str, str]) -> str:
    """`libri`, `an4`, `ocean`, `commands` or `alnum` of (speaker, path)."""
    return item[0].partition("-")[0]


def read_transcripts(path: StrPath, columns: Sequence[str] = ("file", "text")) -> list[dict[str, str]]:
    """The rows {column: cell} of a transcripts.tsv: of the columns that its first row names, or `columns` without one.

    ContentError for a row of another number of columns, so also where the first row lacks one of `columns`.
    """
    rows, needed = [], set(columns)
    for number, row in read_rows(path, "transcripts, tab-separated"):
        if needed <= set(row):
            columns = row
        elif len(row) != len(columns):
            raise ContentError(f"{path}: line {number} has {len(row)} columns, expected {len(columns)}, "
                               f"{', '.join(columns)}; correct it")
        else:
            rows.append(dict(zip(columns, row, strict=True)))
    return rows


def _spread(items, count):
    """`count` speakers of items."""
    return evenly_spaced(sorted({speaker for speaker, _ in items}), count)
