"""What is said in the corpora of utils/corpora/open_speech.py: read English, spelled names, numbers, command words.

Development speakers are of every corpus, of LibriSpeech those with one utterance, so that little is lost to training.
Tested on LibriSpeech's dev-clean, AN4's test part and speakers of alphanumeric/ that nothing else has.
"""
import dataclasses
import os
from collections import Counter

from deepspeech2.src.corpora import Scanned, Spoken, missing, scan_an4, scan_librispeech, stem, under
from utils.corpora.open_speech import read_transcripts
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import evenly_spaced, find_in, libri_speaker
from utils.errors import ContentError

MINI, DEV_CLEAN = "mini_librispeech", "librispeech/dev-clean"
# {folder: (the table of its texts, what a speaker's name begins with)}
TABLES = {"librispeech/train-251spk": ("librispeech_train251_transcripts/transcripts.tsv", "libri-"),
          "librispeech_three_more": ("librispeech_three_more/transcripts.tsv", "libri-"),
          "speechocean762": ("speechocean762/transcripts.tsv", "ocean-"),
          "speech_commands": ("speech_commands/transcripts.tsv", "commands-"),
          "alphanumeric": ("alphanumeric/transcripts.tsv", "alnum-")}
TEST_SPEAKERS = 10      # of alphanumeric/
DEVELOPMENT = {"libri-": 40, "an4-": 8, "ocean-": 10, "commands-": 8, "alnum-": 3}      # speakers
# The speakers who spell, read numbers or give commands, and the words of others who do nothing else
SPELLING = ("an4-", "commands-", "alnum-")
DIGITS = {"ZERO", "OH", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"}


def scan_open_speech(config: CorpusSettings) -> Scanned:
    """train, valid, and for tests dev-clean, an4_test and alphanumeric: no speaker is in two of them.

    spelled_train and spelled_valid are the parts of train and valid in which letters, numbers and commands are said,
    spelled_all is both: for a last training, when nothing is left to choose.
    """
    libri, reasons = _scanned(config, MINI, scan_librispeech, "libri-")
    an4, some = _scanned(config, "an4", scan_an4, "an4-")
    items, reasons = [item for part in libri.values() for item in part] + an4["train"], reasons + some
    names = {stem(os.path.basename(item.path)) for item in items}
    for folder, (table, prefix) in TABLES.items():
        found, some = _of_table(config, folder, table, prefix)
        # LibriSpeech's corpora share some utterances
        items += [item for item in found if prefix != "libri-" or stem(os.path.basename(item.path)) not in names]
        names |= {stem(os.path.basename(item.path)) for item in found if prefix == "libri-"}
        reasons += some
    dev_clean, some = _of_table(config, DEV_CLEAN, f"{DEV_CLEAN}/transcripts.tsv", "libri-")
    tested = set(evenly_spaced(_speakers(items, "alnum-"), TEST_SPEAKERS))
    parts = {"dev-clean": dev_clean, "an4_test": an4["test"],
             "alphanumeric": [item for item in items if item.speaker in tested]}
    items = [item for item in items if item.speaker not in tested]
    held = development_speakers(items)
    parts = {"train": [item for item in items if item.speaker not in held],
             "valid": [item for item in items if item.speaker in held], **parts}
    _check_speakers(parts)
    for part in ("train", "valid"):
        parts[f"spelled_{part}"] = [item for item in parts[part] if item.speaker.startswith(SPELLING)
                                    or set(item.text.upper().split()) <= DIGITS]
    parts["spelled_all"] = parts["spelled_train"] + parts["spelled_valid"]
    return config.data_folder, parts, reasons + some


def development_speakers(items: list[Spoken]) -> set[str]:
    """Speakers to choose epochs by, evenly among the sorted of each corpus."""
    files = Counter(item.speaker for item in items)
    return {speaker for prefix, count in DEVELOPMENT.items()
            for speaker in evenly_spaced([name for name in _speakers(items, prefix)
                                          if prefix != "libri-" or files[name] == 1], count)}


def _speakers(items, prefix):
    return sorted({item.speaker for item in items if item.speaker.startswith(prefix)})


def _check_speakers(parts):
    """ContentError for a speaker in two parts."""
    places = {}
    for part, items in parts.items():
        for item in items:
            if places.setdefault(item.speaker, part) != part:
                raise ContentError(f"{item.path}: its speaker is in the {places[item.speaker]} part as well, expected "
                                   "nobody in two; take one of both away")


def _scanned(config, folder, scan, prefix):
    """({part: [Spoken]}, reasons) of a corpus that has a scanner, with paths from the data folder."""
    if not os.path.isdir(os.path.join(config.data_folder, folder)):
        raise missing(config, f"{folder}/", "the folder of all corpora of --help")
    root, parts, reasons = scan(dataclasses.replace(config, data_folder=os.path.join(config.data_folder, folder)))
    return {part: [item._replace(speaker=prefix + item.speaker, path=under(config.data_folder, root, item.path))
                   for item in items] for part, items in parts.items()}, reasons


def _of_table(config, folder, table, prefix):
    """([Spoken], reasons) of a folder of files named by `table`, tab-separated, by path or by name."""
    if not os.path.isdir(os.path.join(config.data_folder, folder)):
        raise missing(config, f"{folder}/", "the folder of all corpora of --help")
    source = os.path.join(config.data_folder, table)
    texts, items, reasons = {stem(row["file"]): row["text"] for row in read_transcripts(source)}, [], []
    for path in find_in(config, folder):
        name = stem(os.path.basename(path))
        text = texts.get(stem(path)) or texts.get(name)
        speaker = libri_speaker(path) if prefix == "libri-" else path.split("/")[0]
        if text:
            items.append(Spoken(prefix + speaker, f"{folder}/{path}", text, f"{source}: {stem(path)}"))
        else:
            reasons.append(f"{folder}/{path}: no text of it in {source}")
    return items, reasons
