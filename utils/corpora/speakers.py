"""Corpora that are folders of speakers: who speaks in which file.

Scanners take a config and give {part: [(speaker, path relative to the data folder)]}.
"""
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from utils.audio import audio_file
from utils.corpora import mini
from utils.corpora.corpus import Parts, wav_folder
from utils.corpora.settings import CorpusSettings
from utils.errors import ContentError, MismatchError, NotFoundError

T = TypeVar("T")


def find(config: CorpusSettings, extensions: tuple[str, ...] = audio_file.EXTENSIONS,
         excluded: Iterable[str] = ()) -> list[str]:
    """Sorted audio paths below the data folder, without those that an earlier run wrote there (nor in `excluded`)."""
    folders = [config.output_folder, wav_folder(config), *excluded]
    folders = [os.path.relpath(folder, config.data_folder).replace(os.sep, "/") + "/" for folder in folders]
    starts = tuple(folder for folder in folders if folder != "./")
    return [path for path in _find(config.data_folder, extensions) if not path.startswith(starts)]


def _find(folder, extensions=audio_file.EXTENSIONS):
    """The sorted audio paths below a folder; a line about files that may be meant as audio and are not taken."""
    others = Counter()
    paths = audio_file.find_audio(folder, extensions, others)
    if left := audio_file.describe_others(others):
        expected = "audio" if extensions == audio_file.EXTENSIONS else " or ".join(extensions)
        print(f"note: {folder}: left out, for by their ending they are not {expected}: {left}")
    return paths


def scan_librispeech(config: CorpusSettings) -> Parts:
    """LibriSpeech, nested or flat. Beside train-* splits, dev-* and test-* are not for training."""
    paths = [path for path in find(config) if re.fullmatch(r"(.*/)?\d+-\d+-\d+\.\w+", path)]
    train = [path for path in paths if re.search(r"(^|/)train-[^/]*/", path)]
    if train and len(train) < len(paths):
        print(f"note: {len(paths) - len(train)} files outside of train-* are left out; to list such a split, "
              "name its folder as --data_folder")
    return {"train": [(libri_speaker(path), path) for path in train or paths]}


def scan_an4(config: CorpusSettings) -> Parts:
    """CMU AN4: its training part and, where present, its test part."""
    parts = {"train": speaker_tree(config, "wav/an4_clstk"), "test": speaker_tree(config, "wav/an4test_clstk")}
    return {name: part for name, part in parts.items() if part or name == "train"}


def scan_aishell(config: CorpusSettings) -> Parts:
    """AISHELL-1: wav/{train,dev,test}/speaker/*.wav, where its archives of speakers were unpacked."""
    prefix, parts = aishell_folder(config), {}
    for part, folder in (("train", "train"), ("valid", "dev"), ("test", "test")):
        parts[part] = speaker_tree(config, f"{prefix}wav/{folder}")
    if not parts["train"]:
        raise NotFoundError(f"{config.data_folder}: no audio in {prefix}wav/train/SPEAKER/; unpack "
                            f"{prefix}wav/*.tar.gz where they are")
    return {part: items for part, items in parts.items() if items}


def aishell_folder(config: CorpusSettings) -> str:
    """"" where the data folder is data_aishell, data_aishell/ where it holds that. NotFoundError without a corpus."""
    for prefix in ("", "data_aishell/"):
        if os.path.isfile(os.path.join(config.data_folder, f"{prefix}transcript/aishell_transcript_v0.8.txt")):
            return prefix
    raise NotFoundError(f"{config.data_folder}: no transcript/aishell_transcript_v0.8.txt in it "
                        f"({audio_file.describe_files(config.data_folder)}); name data_aishell as --data_folder")


def scan_tree(config: CorpusSettings) -> Parts:
    """speaker/**/audio."""
    return {"train": [(path.split("/")[0], path) for path in find(config) if "/" in path]}


def scan_mini(config: CorpusSettings) -> Parts:
    """The synthetic corpus, made first where it is missing."""
    mini.make_mini_corpus(config.data_folder, config.seed)
    return {part: speaker_tree(config, part) for part in ("train", "test")}


SCANNERS = {"librispeech": scan_librispeech, "an4": scan_an4, "aishell": scan_aishell, "tree": scan_tree,
            "mini": scan_mini}


def find_in(config: CorpusSettings, folder: str) -> list[str]:
    """Sorted audio paths below a folder of the data folder, relative to that."""
    return _find(os.path.join(config.data_folder, folder))


def speaker_tree(config: CorpusSettings, folder: str, prefix: str = "") -> list[tuple[str, str]]:
    """[(speaker, path)] of folder/speaker/**/audio."""
    return [(prefix + path.split("/")[0], f"{folder}/{path}") for path in find_in(config, folder) if "/" in path]


def libri_speaker(path: str) -> str:
    """`84` of `dev-clean/84/121123/84-121123-0001.flac`."""
    return path.rsplit("/", 1)[-1].split("-")[0]


def evenly_spaced(items: list[T], count: int) -> list[T]:
    """`count` of `items`, from the first to the last, or the first; all of them where there are no more."""
    if len(items) <= count or count < 2:
        return items[:count]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def valid_speakers(config: CorpusSettings, by_corpus: Mapping[str, tuple[int, str]]) -> tuple[int, str]:
    """(how many speakers to hold out of training, their prefix) of {corpus: both}; --valid_speakers says how many."""
    count, prefix = by_corpus.get(config.corpus, (0, ""))
    return (count if config.valid_speakers < 0 else config.valid_speakers), prefix


def hold_out(items: list[tuple[str, T]], count: int, setting: str, prefix: str = "",
             least: int = 2) -> tuple[list[tuple[str, T]], list[tuple[str, T]]]:
    """(items, held items) with no speaker in both; `count` are chosen evenly among the sorted with the `prefix`.

    MismatchError, naming the `setting`, unless `least` or more are held and remain.
    """
    speakers = sorted({speaker for speaker, _ in items if speaker.startswith(prefix)})
    if 0 < count < least or count and count > len(speakers) - least:
        raise MismatchError(f"{setting}: found {count}, expected 0 or {least} to {max(least, len(speakers) - least)}: "
                            f"{len(speakers)} speakers can be held out, and {least} or more must remain")
    held = set(evenly_spaced(speakers, count)) if count else set()
    return [item for item in items if item[0] not in held], [item for item in items if item[0] in held]


def require_speakers(parts: Mapping[str, list[tuple[str, Any]]], config: CorpusSettings, least: int = 2) -> None:
    """UserError for a part that has nobody or fewer than `least` to tell apart."""
    for name, items in parts.items():
        speakers = sorted({speaker for speaker, _ in items})
        if not speakers:
            contents = ", ".join(sorted(os.listdir(config.data_folder))[:5]) or "nothing"
            raise NotFoundError(f"{config.data_folder}: no audio for the {name} part of --corpus {config.corpus}, "
                                f"found {contents} ({audio_file.describe_files(config.data_folder)}); expected one of "
                                "the layouts of --help below it; name another --data_folder")
        if len(speakers) < least:
            count = "one speaker" if len(speakers) == 1 else f"{len(speakers)} speakers"
            raise ContentError(f"{config.data_folder}: {count} only in the {name} part ({', '.join(speakers)}), "
                               f"expected at least {least}; --corpus {config.corpus} may not be its layout, see --help")
