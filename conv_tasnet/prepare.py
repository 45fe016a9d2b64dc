"""A corpus on disk -> the lists Conv-TasNet trains and evaluates on.

    python prepare.py --corpus librimix --data_folder Libri2Mix/wav8k/min --output_folder lists/libri2mix

Into the output folder go lists of mixtures (.csv as LibriMix's, or folders of .json as kaituoxu's), train.txt
(`speaker path`, to mix on the fly), rejected.txt (why a file is in no list), verified*.txt (what was read already: an
interrupted run goes on where it stopped) and prepared.txt (what this run wrote: the next one deletes of it what it does
not write).
"""
import collections
import dataclasses
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from conv_tasnet.src import corpora
from utils.audio.packed import SUFFIX
from utils.config import parse_config
from utils.corpora import kaldi, open_speech, scenes
from utils.corpora.corpus import Job, Parts, choose_corpus, plan, prepared_folder, verify, write_list, write_rejected
from utils.corpora.pack import pack
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import SCANNERS, find_in, hold_out, libri_speaker, require_speakers, valid_speakers
from utils.errors import ContentError, SettingError, nearest, run
from utils.ranges import Count

LIBRISPEECH_RATE = 16000
TASKS = ("mix_clean", "mix_both")
Row = tuple[str, int, str, set[str], float]     # of the table: part, how many, of what, speakers, seconds
VALID_SPEAKERS = {"mini": (8, ""), "librispeech_an4": (25, ""), "open_speech": (25, "")}     # how many, of what prefix


@dataclasses.dataclass(frozen=True)
class PrepareConfig(corpora.MixtureSettings):
    """Make the lists of a corpus.

    Kinds of --corpus:

      librimix           as generated: Libri2Mix/wav8k/min, Libri3Mix/wav16k/max, ...
      librimix_metadata  LibriSpeech, of which mixtures are made when read (mix_clean)
      wsj0               {tr,cv,tt}/{mix,s1,s2}/*.wav
      librispeech        speaker/chapter/*.flac at any depth, or a flat folder speaker-chapter-n.flac
      an4                wav/an4_clstk/speaker/*, wav/an4test_clstk/speaker/*
      tree               speaker/**/audio; m4a, webm, amr, wma, ... are decoded to wav
      aishell            data_aishell/: wav/{train,dev,test}/S*/*.wav
      kaldi              wav.scp, utt2spk, segments of folders train*, dev and others in the folder
      mini               made in the data folder by utils/mini_corpus.py
      librispeech_an4    librispeech/train-251spk, .../dev-clean, lists/libri2mix_dev-clean.csv.gz
      open_speech        the same and mini_librispeech/, librispeech_three_more/; noise_*.txt and rooms_*.txt list
                         those of noise_esc10/, noise/, rir_rooms/, rir/

    --metadata         for librimix_metadata: its CSV (.gz too), or the folder of them
    --task             for librimix: mix_clean or mix_both (with noise)
    --wav_folder       where resampled files go; "": wav/ in the output folder
    --sample_rate      sample rate of the network, Hz
    --resample         true: a corpus of another rate is written once as wavs of sample_rate to the wav folder
    --pack             true: audio.mindrecord in the output folder gets all files as MindRecord shards, to train from
    --train_name       name of a MindRecord file, into which the training part is packed
    --test_name        the same for the other parts
    --C                speakers in a mixture that is made here
    --mixtures         fixed mixtures that are made of the speakers of valid.csv, and as many of test.csv
    --valid_speakers   training speakers kept for valid.csv; -1: 8 of mini, 25 of librispeech_an4 and of
                       open_speech, else 0
    --test_speakers    training speakers kept for test.csv, where the corpus has no test part
    --min_seconds      shorter training files are left out
    --workers          processes; 0: one per core
    """

    ALIASES: ClassVar[dict] = {"in-dir": "data_folder", "out-dir": "output_folder", "sample-rate": "sample_rate"}

    resample: bool = True
    metadata: str = ""
    train_name: str = ""
    test_name: str = ""
    test_speakers: Count = 0


def scan_train_251(config: CorpusSettings) -> Parts:
    """One utterance of each of 251 speakers of LibriSpeech."""
    folder = "librispeech/train-251spk"
    return {"train": [(libri_speaker(path), f"{folder}/{path}") for path in find_in(config, folder)]}


def scan_open_speech(config: CorpusSettings) -> Parts:
    """All of LibriSpeech in it. Other corpora sound so different that a mixture of two is too easy."""
    train, development = open_speech.scan(config)
    return {"train": [item for item in train + development if open_speech.corpus_of(item) == "libri"]}


SCANNERS = {**SCANNERS, "librispeech_an4": scan_train_251, "open_speech": scan_open_speech}


def prepare_speakers(config: PrepareConfig) -> list[Row]:
    """train.txt to mix on the fly, and fixed mixtures of other speakers; rows of the table."""
    parts = SCANNERS[config.corpus](config)
    require_speakers(parts, config, config.C)
    return prepare_parts(parts, config)


def prepare_kaldi(config: PrepareConfig) -> list[Row]:
    """As prepare_speakers, of data folders of Kaldi."""
    corpus = kaldi.read_corpus(config, config.sample_rate)
    folders, reasons = kaldi.speaker_parts(corpus)
    parts = {}
    for name, items in folders.items():
        part = "train" if name == "train" else "valid" if re.match("dev|cv|valid", name) else "test"
        parts.setdefault(part, []).extend(items)
    require_speakers(parts, config, config.C)
    return prepare_parts(parts, dataclasses.replace(config, data_folder=corpus.root), corpus.reasons + reasons)


def prepare_parts(parts: Parts, config: PrepareConfig, reasons: Sequence[str] = ()) -> list[Row]:
    """The lists of parts of speakers; rows of the table. `reasons`: why files of the corpus are in none."""
    folder, parts, jobs = plan(parts, config, config.sample_rate)
    good, bad = verify(jobs, config, folder)
    write_rejected([*reasons, *bad], len(jobs) + len(reasons), config)
    parts = split({name: [item for item in items if item[1] in good] for name, items in parts.items()}, config)
    require_speakers(parts, config, config.C)
    folders = pack_parts(folder, {part: [path for _, path in items] for part, items in parts.items()}, config)
    write_list(os.path.join(config.output_folder, "train.txt"), [" ".join(item) for item in parts["train"]])
    rows = [("train", len(parts["train"]), "utterances", {speaker for speaker, _ in parts["train"]},
             sum(good[path] for _, path in parts["train"]) / config.sample_rate)]
    for part in sorted(parts.keys() - {"train"}, reverse=True):     # valid, test
        mixtures = corpora.draw_mixtures(parts[part], folders[part], config)
        corpora.write_metadata(os.path.join(config.output_folder, f"{part}.csv"), mixtures)
        speaker = {path: speaker for speaker, path in parts[part]}
        rows.append((part, len(mixtures), "mixtures", {speaker[path] for _, paths, _ in mixtures for path in paths},
                     seconds(mixtures, good, config.sample_rate)))
    print_folders({"train.txt" if part == "train" else f"{part}.csv": folders[part] for part, *_ in rows})
    return rows


def split(parts: Parts, config: PrepareConfig) -> Parts:
    """`parts` with the speakers held out of training in parts of their own."""
    count, prefix = valid_speakers(config, VALID_SPEAKERS)
    train, valid = hold_out(parts["train"], count, "valid_speakers", prefix, config.C)
    parts = parts | ({"valid": valid} if valid else {})
    if config.test_speakers and "test" not in parts:
        train, parts["test"] = hold_out(train, config.test_speakers, "test_speakers", least=config.C)
    return parts | {"train": train}


def seconds(mixtures: Iterable[tuple[str, list[str], list]], good: Mapping[str, int], rate: int) -> float:
    """How long the mixtures are together, each as long as its shortest source."""
    return sum(min(good[path] for path in paths) for _, paths, _ in mixtures) / rate


def pack_parts(folder: str, files: Mapping[str, Sequence[str]], config: PrepareConfig,
               suffix: str = "") -> dict[str, str]:
    """{part: where its `files` {part: paths} are}: `folder`, or the shards that they are packed into."""
    if not (config.pack or config.train_name or config.test_name):
        return dict.fromkeys(files, folder)
    names = {part: (config.train_name if part.startswith("tr") else config.test_name).removesuffix(SUFFIX) or "audio"
             for part in files}
    packed = {}
    for name in dict.fromkeys(names.values()):
        held = {path for part, paths in files.items() if names[part] == name for path in paths}
        packed[name] = pack(folder, held, config, f"{name}{suffix}")
    return {part: packed[name] for part, name in names.items()}


def print_folders(folders: Mapping[str, str]) -> None:
    """Prints where the paths of the lists {list: folder} are."""
    for folder in dict.fromkeys(folders.values()):
        lists = " ".join(name for name, place in folders.items() if place == folder)
        print(f"paths of {lists} are relative to {folder}")


def prepare_official(config: PrepareConfig) -> list[Row]:
    """Training by mixing 226 speakers on the fly; the official Libri2Mix rows whose sources are there as test."""
    official = os.path.join(config.data_folder, "lists", "libri2mix_dev-clean.csv.gz")
    return prepare_speakers(config) + prepare_rows({"test": official}, config, "_test")


def prepare_open_speech(config: PrepareConfig) -> list[Row]:
    """As prepare_official, with the lists of noise and rooms; rows of the table."""
    prepare_scenes(config)
    return prepare_official(config)


def prepare_scenes(config: PrepareConfig) -> None:
    """The lists of noise and rooms that are in the data folder; of test rooms, those where two stand in two places."""
    folder, parts, jobs = plan(scenes.scan(config), config, config.sample_rate)
    if jobs:
        good, reasons = verify(jobs, config, folder, "verified_scenes.txt")
        write_rejected(reasons, len(jobs), config, "rejected_scenes.txt")
        parts = {name: [item for item in items if item[1] in good] for name, items in parts.items()}
        places = collections.Counter(room for room, _ in parts["rooms_test"])
        parts["rooms_test"] = [item for item in parts["rooms_test"] if places[item[0]] > 1]
        scenes.write_scenes(parts, config.output_folder)
        print_folders({f"{name}.txt": folder for name in parts})


def prepare_metadata(config: PrepareConfig) -> list[Row]:
    """Mixtures to be made while they are read, of all metadata; rows of the table."""
    if config.task != "mix_clean":
        raise SettingError("task: librimix_metadata makes mix_clean, without WHAM's noise; for mix_both generate "
                           "LibriMix and prepare it with --corpus librimix")
    return prepare_rows(corpora.find_metadata(config.metadata), config)


def prepare_rows(lists: Mapping[str, str], config: PrepareConfig, suffix: str = "") -> list[Row]:
    """The rows of {part: metadata file} whose sources are there, as part.csv; rows of the table."""
    parts = corpora.metadata_mixtures(lists, config)
    files = dict.fromkeys(path for mixtures in parts.values() for _, paths, _ in mixtures for path in paths)
    jobs = [Job(path, place, place, LIBRISPEECH_RATE, 0.0)
            for path in files for place in [os.path.join(config.data_folder, path)]]
    good, reasons = verify(jobs, config, config.data_folder, f"verified{suffix}.txt")
    write_rejected(reasons, len(jobs), config, f"rejected{suffix}.txt")
    parts = {part: whole for part, mixtures in parts.items()
             if (whole := [mixture for mixture in mixtures if all(path in good for path in mixture[1])])}
    require_mixtures(parts, config)
    files = {part: [path for _, paths, _ in mixtures for path in paths] for part, mixtures in parts.items()}
    folders = pack_parts(config.data_folder, files, config, suffix)
    rows = []
    for part, mixtures in parts.items():
        corpora.write_metadata(os.path.join(config.output_folder, f"{part}.csv"), mixtures)
        rows.append((part, len(mixtures), "mixtures",
                     {libri_speaker(path) for _, paths, _ in mixtures for path in paths},
                     seconds(mixtures, good, LIBRISPEECH_RATE)))
    print_folders({f"{part}.csv": folders[part] for part in parts})
    return rows


def require_mixtures(parts: Mapping[str, object], config: PrepareConfig) -> None:
    """ContentError where nothing is left to list."""
    if not parts:
        raise ContentError(f"{config.data_folder}: no mixture has all its files, see {config.output_folder}; "
                           "generate or copy the corpus again")


def prepare_generated(config: PrepareConfig) -> list[Row]:
    """LibriMix or WSJ0-mix as their scripts wrote it, every mixture with all its files; rows of the table."""
    if config.task not in TASKS:
        raise SettingError(f"task: found {config.task!r}, expected one of {', '.join(TASKS)}"
                           f"{nearest(config.task, TASKS)}")
    wsj0 = config.corpus == "wsj0"
    parts, reasons = corpora.wsj0_lists(config) if wsj0 else (corpora.librimix_lists(config), [])
    files = {part: [("", path) for _, paths in rows for path in paths] for part, rows in parts.items()}
    folder, _, jobs = plan(files, config, config.sample_rate)
    good, unreadable = verify(jobs, config, folder)
    parts, unequal = corpora.whole_mixtures(parts, good)
    write_rejected(reasons + unreadable + unequal, len(jobs), config)
    require_mixtures(parts, config)
    folders = pack_parts(folder, {part: [path for _, paths in rows for path in paths]
                                        for part, rows in parts.items()}, config)
    for part, rows in parts.items():
        if wsj0:
            corpora.write_json(os.path.join(config.output_folder, part), rows, good, folders[part])
        else:
            corpora.write_generated(os.path.join(config.output_folder, f"{part}.csv"), rows, good)
    if wsj0:
        print("paths of the lists are absolute")
    else:
        print_folders({f"{part}.csv": folders[part] for part in parts})
    return [(part, len(rows), "mixtures", set() if wsj0 else {libri_speaker(name) for key, _ in rows
                                                              for name in key.split("_")},
             sum(good[paths[0]] for _, paths in rows) / config.sample_rate) for part, rows in parts.items()]


CORPORA = {**dict.fromkeys(SCANNERS, prepare_speakers), "kaldi": prepare_kaldi,
           "librispeech_an4": prepare_official, "open_speech": prepare_open_speech,
           **dict.fromkeys(("librimix", "wsj0"), prepare_generated), "librimix_metadata": prepare_metadata}


def main(argv: Sequence[str]) -> None:
    """Prepares the corpus that the command line names."""
    config = parse_config(PrepareConfig, argv)
    prepare = choose_corpus(config, CORPORA)
    with prepared_folder(config):
        rows = prepare(config)
    print(f"{'part':<12}{'number':>10} {'of':<12}{'speakers':>10}{'hours':>10}")
    for part, count, kind, speakers, length in rows:
        print(f"{part:<12}{count:>10} {kind:<12}{len(speakers) or '-':>10}{length / 3600:>10.2f}")


if __name__ == "__main__":
    run(main, sys.argv[1:])
