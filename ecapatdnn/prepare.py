"""A corpus on disk -> the lists ECAPA-TDNN trains and evaluates on.

    python prepare.py --corpus voxceleb --data_folder voxceleb2/dev/aac --output_folder lists/vox2

Into the output folder go train.txt (`speaker path`), lists of trials (`1|0 path path`), rejected.txt (why a file is in
no list), verified.txt (what was read already: an interrupted run goes on where it stopped) and prepared.txt (what this
run wrote: the next one deletes of it what it does not write).
"""
import dataclasses
import glob
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from ecapatdnn.src import corpora
from ecapatdnn.src.features import RATE
from utils.audio import audio_file
from utils.audio.recording import inspect
from utils.config import parse_config
from utils.corpora import kaldi
from utils.corpora.corpus import (
    Parts,
    choose_corpus,
    parallel,
    plan,
    prepared_folder,
    to_int16,
    verify,
    write_list,
    write_rejected,
)
from utils.corpora.pack import pack
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import SCANNERS, find, hold_out, require_speakers, valid_speakers
from utils.errors import NotFoundError, SettingError, run
from utils.files import is_outdated
from utils.ranges import Count

PIECE, STRIDE = 5 * RATE, 3 * RATE      # MUSAN pieces, as voxceleb_trainer cuts them
KNOWN = {5994: ("VoxCeleb2 dev", 1_092_009), 118: ("VoxCeleb2 test", 36_237), 1251: ("VoxCeleb1", 153_516),
         1211: ("VoxCeleb1 dev", 148_642), 40: ("VoxCeleb1 test", 4_874)}   # speakers: files

# how many, of what prefix; librispeech_an4 has one utterance of each LibriSpeech speaker: no target pairs
VALID_SPEAKERS = {"mini": (8, ""), "librispeech_an4": (14, "an4-")}


@dataclasses.dataclass(frozen=True)
class PrepareConfig(CorpusSettings):
    """Make the training and trial lists of a corpus.

    Kinds of --corpus:

      voxceleb         id*/video/utterance.m4a or .wav; m4a is decoded to wav
      librispeech      speaker/chapter/*.flac at any depth, or a flat folder speaker-chapter-n.flac
      an4              wav/an4_clstk/speaker/*, wav/an4test_clstk/speaker/*
      tree             speaker/**/audio; m4a, webm, amr, wma, ... are decoded to wav
      cnceleb          CN-Celeb_flac, CN-Celeb2_flac or the folder of both: data/id*/*.flac,
                       dev/dev.lst, eval/{enroll,test,lists}
      aishell          data_aishell/: wav/{train,dev,test}/S*/*.wav
      kaldi            wav.scp, utt2spk, segments, trials: of the folder, or of folders in it
      musan            musan/{music,noise,speech}: cut into pieces of 5 s, musan_split/
      rirs             RIRS_NOISES/simulated_rirs: verified, rirs.txt
      mini             made in the data folder by utils/mini_corpus.py
      librispeech_an4  librispeech/train-251spk, librispeech/dev-clean, an4/wav/*
      open_speech      the same and mini_librispeech/, librispeech_three_more/, speechocean762/,
                       speech_commands/, alphanumeric/

    --wav_folder       where decoded or resampled files go; "": wav/ in the output folder
    --trials           official trials (1|0 path path) to check against the tree and to write as eval.txt
    --expect_speakers  warn when the corpus has another number of speakers
    --valid_speakers   training speakers kept for valid_trials.txt; -1: 8 of mini, 14 of librispeech_an4, else 0
                       (open_speech has validation speakers of its own)
    --workers          processes; 0: one per core
    --min_seconds      shorter training files are left out; test files only have to be readable
    --resample         true: a corpus of another rate is written as 16 kHz wav to the wav folder
    --pack             true: audio.mindrecord in the output folder gets all files as MindRecord shards, to train from
    """

    trials: str = ""
    expect_speakers: Count = 0


def note_counts(items: Sequence[tuple[str, str]], config: PrepareConfig) -> None:
    """Says when a VoxCeleb tree is not as large as it should be."""
    speakers, files = len({speaker for speaker, _ in items}), len(items)
    print(f"{config.data_folder}: {speakers:,} speakers, {files:,} files")
    name, expected = KNOWN.get(config.expect_speakers or speakers, ("", files))
    if config.expect_speakers not in (0, speakers):
        print(f"warning: {speakers:,} speakers, expected {config.expect_speakers:,}")
    if not config.expect_speakers and not name:
        print("note: not a whole part of VoxCeleb: "
              + ", ".join(f"{part} has {n:,} speakers in {count:,} files" for n, (part, count) in KNOWN.items()))
    if files != expected:
        print(f"warning: {files:,} files, {name} has {expected:,}")


def print_table(parts: Parts, good: Mapping[str, int], lists: Mapping[str, Sequence[str]]) -> None:
    """Speakers, utterances and hours of every part, then the lists."""
    print(f"{'part':<12}{'speakers':>10}{'utterances':>12}{'hours':>10}")
    for name, items in parts.items():
        hours = sum(good[path] for _, path in items) / RATE / 3600
        print(f"{name:<12}{len({speaker for speaker, _ in items}):>10}{len(items):>12}{hours:>10.2f}")
    for path, lines in lists.items():
        targets = sum(line.startswith("1 ") for line in lines)
        print(f"{path}: {len(lines)} lines"
              + ("" if path.endswith("train.txt") else f", {targets} targets, {len(lines) - targets} non-targets"))


SCANNERS = {"voxceleb": corpora.scan_voxceleb, **SCANNERS, "librispeech_an4": corpora.scan_librispeech_an4,
            "open_speech": corpora.scan_open_speech}
REAL_TESTS = {"dev_clean_all.txt": ("dev_clean", corpora.all_pairs),
              "dev_clean_cross.txt": ("dev_clean", corpora.cross_chapter_pairs),
              "an4_test.txt": ("an4_test", corpora.all_pairs)}
TEST_LISTS = {   # corpus: {list: (part, its trials)}
    "an4": {"test_trials.txt": ("test", corpora.all_pairs)},
    "librispeech_an4": REAL_TESTS,
    "open_speech": REAL_TESTS | {"valid_trials.txt": ("valid", corpora.pairs_within_corpora)},
}
DRAWN = ("aishell", "kaldi")        # corpora whose other parts may come without trials


def prepare_speakers(config: PrepareConfig) -> None:
    """Training list, validation trials and test trials of a corpus of speakers."""
    parts = SCANNERS[config.corpus](config)
    require_speakers(parts, config)
    if config.corpus == "voxceleb":
        note_counts(parts["train"], config)
    prepare_parts(parts, config)


def prepare_cnceleb(config: PrepareConfig) -> None:
    """As prepare_speakers, of CN-Celeb with its trials."""
    parts, pairs = corpora.scan_cnceleb(config)
    require_speakers(parts, config)
    prepare_parts(parts, config, pairs)


def prepare_kaldi(config: PrepareConfig) -> None:
    """As prepare_speakers, of data folders of Kaldi: a list of trials for each that is not for training."""
    corpus = kaldi.read_corpus(config, RATE)
    parts, reasons = kaldi.speaker_parts(corpus)
    require_speakers(parts, config)
    prepare_parts(parts, dataclasses.replace(config, data_folder=corpus.root),
                  {f"{name}.txt": trials for name, trials in corpus.trials.items()}, corpus.reasons + reasons)


def prepare_parts(parts: Parts, config: PrepareConfig,
                  pairs: Mapping[str, Iterable[tuple[bool, str, str]]] | None = None,
                  reasons: Sequence[str] = ()) -> None:
    """The lists of parts of speakers; `pairs` {list: [(target, path, path)]} come with them, and [reason] of others."""
    folder, parts, jobs = plan(parts, config, RATE)
    trials = given_trials(parts, config)
    listed = {os.path.relpath(job.source, config.data_folder): job.path for job in jobs}
    trials |= {name: [f"{int(target)} {listed.get(left, left)} {listed.get(right, right)}"
                      for target, left, right in given] for name, given in (pairs or {}).items()}
    good, bad = verify(jobs, config, folder)
    write_rejected([*reasons, *bad], len(jobs) + len(reasons), config)
    if config.pack:
        folder = pack(folder, good, config)
    usable = {name: [item for item in items if item[1] in good] for name, items in parts.items()}
    require_speakers(usable, config)
    lists = make_lists(usable, config, trials)
    for name, lines in trials.items():
        lists[name] = lines
        broken = {path for line in lines for path in line.split()[1:]} - {_cut(path, config) for path in good}
        if broken:
            print(f"warning: {len(broken)} files that {name} names were rejected, such as {min(broken)}; "
                  "evaluation will stop at them")
    lists = {os.path.join(config.output_folder, name): lines for name, lines in lists.items()}
    for path, lines in lists.items():
        write_list(path, lines)
    print(f"paths are relative to {folder}" + ("/train and /test" if config.corpus == "mini" else ""))
    print_table(usable, good, lists)


def given_trials(parts: Parts, config: PrepareConfig) -> dict[str, list[str]]:
    """{list: lines} of the trials that come with a corpus or with --trials, checked before the long work."""
    if config.corpus == "mini":
        file = os.path.join(config.data_folder, "test_trials.txt")
        return {"test_trials.txt": corpora.corpus_trials(file, [_cut(path, config) for _, path in parts["test"]])}
    if config.trials:
        paths = [path for items in parts.values() for _, path in items]
        return {"eval.txt": corpora.corpus_trials(config.trials, paths)}
    return {}


def make_lists(parts: Parts, config: PrepareConfig, given: Iterable[str]) -> dict[str, list[str]]:
    """{list: lines}; takes the validation speakers out of parts["train"] into parts["valid"].

    A test part gets the trials of TEST_LISTS, or a sample of all where none are `given`.
    """
    count, prefix = valid_speakers(config, VALID_SPEAKERS)
    parts["train"], valid = hold_out(parts["train"], count, "valid_speakers", prefix)
    lists = {"train.txt": [f"{speaker} {_cut(path, config)}" for speaker, path in parts["train"]]}
    if valid:
        parts["valid"] = valid
        valid = [(speaker, _cut(path, config)) for speaker, path in valid]
        lists["valid_trials.txt"] = corpora.validation_trials(valid, config.seed)
    for name, (part, pairs) in TEST_LISTS.get(config.corpus, {}).items():
        if part in parts:
            lists[name] = pairs(parts[part])
    if config.corpus in DRAWN:
        for part in parts.keys() - {"train", *(["valid"] if valid else [])}:
            several = len({speaker for speaker, _ in parts[part]}) < len(parts[part])
            if several and not any(name.startswith(f"{part}_trials") for name in given):
                lists[f"{part}_trials.txt"] = corpora.validation_trials(parts[part], config.seed)
    return lists


def _cut(path, config):
    """The mini corpus has its lists relative to its train/ and test/."""
    return path.split("/", 1)[1] if config.corpus == "mini" else path


def prepare_rirs(config: PrepareConfig) -> None:
    """rirs.txt: simulated room impulse responses that can be read."""
    top = os.path.basename(os.path.abspath(config.data_folder))
    paths = [path for path in find(config) if "/simulated_rirs/" in f"/{top}/{path}"]
    if not paths:
        raise NotFoundError(f"{config.data_folder}: no audio below simulated_rirs/; name the folder that holds "
                            "RIRS_NOISES")
    folder, parts, jobs = plan({"rirs": [("", path) for path in paths]}, dataclasses.replace(config, resample=False),
                               RATE)
    good, reasons = verify(jobs, config, folder)
    write_rejected(reasons, len(jobs), config)
    path = os.path.join(config.output_folder, "rirs.txt")
    count = write_list(path, [path for _, path in parts["rirs"] if path in good])
    print(f"{path}: {count} lines, relative to {folder}")


def prepare_musan(config: PrepareConfig) -> None:
    """musan_split/: long files in pieces, so that a noise costs a short read."""
    split, jobs = os.path.join(config.output_folder, "musan_split"), []
    for path in find(config, excluded=[split]):
        if match := re.search(r"(?:^|/)((?:music|noise|speech)/.+)\.\w+$", path):
            jobs.append((os.path.join(config.data_folder, path), os.path.join(split, match[1]), config.resample))
    if not jobs:
        raise NotFoundError(f"{config.data_folder}: no audio in music/, noise/ or speech/; name the folder that holds "
                            "musan")
    results = list(parallel(split_musan, jobs, config.workers, "split"))
    write_rejected([reason for _, reason in results if reason], len(jobs), config)
    pieces, short = sum(count for count, _ in results), sum(result == (0, "") for result in results)
    print(f"{short} files of {PIECE // RATE} s or less give no piece, as in voxceleb_trainer")
    print(f"{split}: {pieces} pieces, {pieces * PIECE / RATE / 3600:.2f} h")


def split_musan(job: tuple[str, str, bool]) -> tuple[int, str]:
    """Of (recording, folder for its pieces, resample): (pieces, "") or (0, reason).

    Pieces are named by their first second and written in order.
    """
    source, folder, resample = job
    try:
        starts = range(0, audio_file.duration(source, RATE) - PIECE, STRIDE)
        targets = [os.path.join(folder, f"{start // RATE:05d}.wav") for start in starts]
        if targets and is_outdated(targets[-1], source):
            inspect(source, 0, RATE, resample)
            samples = to_int16(audio_file.read(source, RATE, resample=resample))
            for other in glob.glob(os.path.join(glob.escape(folder), "*.wav")):     # of a longer file of this name
                os.unlink(other)
            for start, target in zip(starts, targets, strict=True):
                audio_file.write_wav(target, samples[start:start + PIECE], RATE)
        return len(targets), ""
    except audio_file.AudioError as error:
        return 0, str(error)


CORPORA = {**dict.fromkeys(SCANNERS, prepare_speakers), "cnceleb": prepare_cnceleb, "kaldi": prepare_kaldi,
           "musan": prepare_musan, "rirs": prepare_rirs}


def main(argv: Sequence[str]) -> None:
    """Prepares the corpus that the command line names."""
    config = parse_config(PrepareConfig, argv)
    prepare = choose_corpus(config, CORPORA)
    if config.trials and config.corpus not in ("voxceleb", "librispeech", "an4", "tree"):
        raise SettingError(f"trials: --corpus {config.corpus} makes its own lists; leave --trials out")
    if config.pack and config.corpus in ("musan", "rirs"):
        raise SettingError(f"pack: --corpus {config.corpus} is read as files; leave --pack out")
    with prepared_folder(config):
        prepare(config)


if __name__ == "__main__":
    run(main, sys.argv[1:])
