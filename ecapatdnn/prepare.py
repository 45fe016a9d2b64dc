"""A corpus on disk -> the lists ECAPA-TDNN trains and evaluates on.

    python prepare.py --corpus voxceleb --data_folder voxceleb2/dev/aac --output_folder lists/vox2

Into the output folder go train.txt (`speaker path`), lists of trials (`1|0 path path`), rejected.txt (why a file is in
no list) and verified.txt (what was read already: an interrupted run goes on where it stopped).
"""
import dataclasses
import itertools
import multiprocessing
import os
import random
import re
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

from utils import audio
from utils.config import parse_config, require
from utils.errors import UserError, nearest, run

RATE = 16000
MAX_TRIALS = 200_000          # validation is run every few epochs: more trials are sampled down to this
PIECE, STRIDE = 5 * RATE, 3 * RATE      # MUSAN pieces, as voxceleb_trainer cuts them
PER_SPEAKER = 30              # utterances of a dev-clean speaker in the trials
KNOWN = {5994: ("VoxCeleb2 dev", 1_092_009), 118: ("VoxCeleb2 test", 36_237), 1251: ("VoxCeleb1", 153_516),
         1211: ("VoxCeleb1 dev", 148_642), 40: ("VoxCeleb1 test", 4_874)}   # speakers: files


@dataclasses.dataclass(frozen=True)
class PrepareConfig:
    """Make the training and trial lists of a corpus.

    --corpus           voxceleb         id*/video/utterance.m4a or .wav; m4a is decoded to wav
                       librispeech      speaker/chapter/*.flac at any depth, or a flat folder speaker-chapter-n.flac
                       an4              wav/an4_clstk/speaker/*, wav/an4test_clstk/speaker/*
                       tree             speaker/**/audio
                       musan            musan/{music,noise,speech}: cut into pieces of 5 s, musan_split/
                       rirs             RIRS_NOISES/simulated_rirs: verified, rirs.txt
                       mini             made in the data folder by utils/mini_corpus.py
                       librispeech_an4  librispeech/train-251spk, librispeech/dev-clean, an4/wav/*
    --wav_folder       where decoded or resampled files go; default: wav/ in the output folder
    --trials           official trials (1|0 path path) to check against the tree and to write as eval.txt
    --expect_speakers  warn when the corpus has another number of speakers
    --valid_speakers   training speakers kept for valid_trials.txt; -1: 8 of mini, 14 of librispeech_an4, else 0
    --workers          processes; 0: one per core
    --min_seconds      shorter training files are left out; test files only have to be readable
    --resample         true: a corpus of another rate is written as 16 kHz wav to the wav folder
    """

    corpus: str = ""
    data_folder: str = ""
    output_folder: str = ""
    wav_folder: str = ""
    trials: str = ""
    expect_speakers: int = 0
    valid_speakers: int = -1
    workers: int = 0
    min_seconds: float = 1.0
    resample: bool = False
    seed: int = 0


class Job(NamedTuple):
    """One file to verify: `target` is read; when it is missing it is made from `source` first."""

    path: str           # as in the lists
    source: str
    target: str
    min_seconds: float


# ---- scanners: config -> {part: [(speaker, path relative to the data folder)]}

def find(config, extensions=audio.EXTENSIONS):
    """Sorted audio paths below the data folder, without those that an earlier run wrote there."""
    own = [config.output_folder, wav_folder(config), os.path.join(config.output_folder, "musan_split")]
    own = [os.path.relpath(folder, config.data_folder).replace(os.sep, "/") + "/" for folder in own]
    own = tuple(folder for folder in own if folder != "./")
    return [path for path in audio.find_audio(config.data_folder, extensions) if not path.startswith(own)]


def scan_voxceleb(config):
    """A VoxCeleb tree; an m4a stands before a wav of the same name."""
    paths = [path for path in find(config, (".m4a", ".wav")) if re.fullmatch(r"id[^/]*/[^/]+/[^/]+", path)]
    return {"train": [(path.split("/")[0], path) for path in paths]}


def scan_librispeech(config):
    """LibriSpeech, nested or flat. Beside train-* splits, dev-* and test-* are not for training."""
    paths = [path for path in find(config) if re.fullmatch(r"(.*/)?\d+-\d+-\d+\.\w+", path)]
    train = [path for path in paths if re.search(r"(^|/)train-[^/]*/", path)]
    if train and len(train) < len(paths):
        print(f"note: {len(paths) - len(train)} files outside of train-* are left out; to list such a split, "
              "name its folder as --data_folder")
    return {"train": [(libri_speaker(path), path) for path in train or paths]}


def scan_an4(config):
    """CMU AN4: its training part and, where present, its test part."""
    parts = {"train": _speaker_tree(config, "wav/an4_clstk"), "test": _speaker_tree(config, "wav/an4test_clstk")}
    return {name: part for name, part in parts.items() if part or name == "train"}


def scan_tree(config):
    """speaker/**/audio."""
    return {"train": [(path.split("/")[0], path) for path in find(config) if "/" in path]}


def scan_mini(config):
    """The synthetic corpus, made first where it is missing."""
    from utils.mini_corpus import make_mini_corpus

    make_mini_corpus(config.data_folder, config.seed)
    return {part: _speaker_tree(config, part) for part in ("train", "test")}


def scan_librispeech_an4(config):
    """251 LibriSpeech and 74 AN4 speakers for training, 600 files of dev-clean and AN4's test part for trials."""
    libri = {split: [(f"libri-{libri_speaker(path)}", f"librispeech/{split}/{path}")
                     for path in _find_in(config, f"librispeech/{split}")] for split in ("train-251spk", "dev-clean")}
    an4 = {split: _speaker_tree(config, f"an4/wav/{split}", "an4-") for split in ("an4_clstk", "an4test_clstk")}
    dev = sorted(libri["dev-clean"])
    chosen = [item for _, items in itertools.groupby(dev, key=lambda item: item[0])
              for item in evenly_spaced(list(items), PER_SPEAKER)]
    return {"train": libri["train-251spk"] + an4["an4_clstk"], "dev_clean": chosen, "an4_test": an4["an4test_clstk"]}


def _find_in(config, folder):
    return audio.find_audio(os.path.join(config.data_folder, folder))


def _speaker_tree(config, folder, prefix=""):
    return [(prefix + path.split("/")[0], f"{folder}/{path}") for path in _find_in(config, folder) if "/" in path]


def libri_speaker(path):
    """`84` of `dev-clean/84/121123/84-121123-0001.flac`."""
    return path.rsplit("/", 1)[-1].split("-")[0]


def evenly_spaced(items, count):
    """`count` of `items`, from the first to the last; all of them where there are no more."""
    if len(items) <= count:
        return items
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


# ---- trials

def all_pairs(items):
    """Trial lines of every unordered pair of [(speaker, path)]."""
    return [f"{int(a[0] == b[0])} {a[1]} {b[1]}" for a, b in itertools.combinations(items, 2)]


def cross_chapter_pairs(items):
    """All pairs of LibriSpeech files, except those of one speaker within one chapter: they share the recording."""
    def chapter(line, column):
        return line.split()[column].rsplit("/", 1)[-1].split("-")[:2]

    return [line for line in all_pairs(items) if line[0] == "0" or chapter(line, 1) != chapter(line, 2)]


def random_pairs(items, count, seed):
    """Up to `count` trial lines, half of them targets, or as many as there are."""
    rng, speakers = random.Random(seed), {}
    for item in items:
        speakers.setdefault(item[0], []).append(item)
    targets = sum(len(files) * (len(files) - 1) // 2 for files in speakers.values())
    lines = []
    for target, available in ((True, targets), (False, len(items) * (len(items) - 1) // 2 - targets)):
        pairs = {}      # a dict keeps the order of drawing, so that a seed gives one list
        while len(pairs) < min(count // 2, available):
            a = rng.choice(items)
            b = rng.choice(speakers[a[0]] if target else items)
            if a != b and (a[0] == b[0]) == target:
                pairs[min(a, b), max(a, b)] = f"{int(target)} {min(a, b)[1]} {max(a, b)[1]}"
        lines += pairs.values()
    return lines


def validation_trials(items, seed):
    """All pairs, or a sample where those are too many to score again and again."""
    if len(items) * (len(items) - 1) // 2 <= MAX_TRIALS:
        return all_pairs(items)
    return random_pairs(items, MAX_TRIALS, seed)


def read_trials(file, paths):
    """The lines of a trial list; UserError unless all files it names are in `paths`."""
    try:
        with open(file, encoding="utf-8") as stream:
            lines = [line.split() for line in stream if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not readable ({error}); expected trials, `1|0 path path` a line") from None
    for number, line in enumerate(lines, 1):
        if len(line) != 3 or line[0] not in ("0", "1"):
            raise UserError(f"{file}: trial {number}: found {' '.join(line)!r}, expected `1|0 path path`")
    if not lines:
        raise UserError(f"{file}: empty, expected trials, `1|0 path path` a line")
    if missing := sorted({path for line in lines for path in line[1:]} - set(paths)):
        raise UserError(f"{file}: {len(missing)} of the files it names are not in the corpus, the first: {missing[0]}; "
                        "name the folder that its paths are relative to as --data_folder")
    return [" ".join(line) for line in lines]


# ---- verification and conversion

def wav_folder(config):
    """Where converted files go."""
    return config.wav_folder or os.path.join(config.output_folder, "wav")


def decode(path):
    """Mono int16 samples (n,) at 16 kHz of any file FFmpeg reads; AudioError for a broken or shortened one."""
    import av

    resampler, chunks = av.AudioResampler(format="s16", layout="mono", rate=RATE), []
    try:
        with av.open(path) as container:
            promised = (container.duration or 0) / av.time_base
            for frame in itertools.chain(container.decode(container.streams.audio[0]), [None]):
                chunks += [resampled.to_ndarray()[0] for resampled in resampler.resample(frame)]
    except (av.error.FFmpegError, IndexError) as error:
        raise audio.AudioError(f"{path}: not readable as audio ({error}); replace the file") from None
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.int16)
    if len(samples) / RATE < promised - 0.1:
        raise audio.AudioError(f"{path}: truncated, {len(samples) / RATE:.2f} s found of {promised:.2f} s; "
                               "copy the file anew")
    return samples


def to_int16(samples):
    """The 16-bit samples (n,) that were read as float32 (n,)."""
    # libsndfile would write with a scale of 32767 what it has read with 1 / 32768
    return np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)


def convert(source, target):
    """Writes `target`, a 16 kHz mono 16-bit wav; UserError when that fails, as it would for all files to come."""
    if source.lower().endswith(".m4a"):
        samples = decode(source)
    else:
        samples = to_int16(audio.read(source, RATE, resample=True))
    try:
        audio.write_wav(target, samples, RATE)
    except (OSError, soundfile.LibsndfileError) as error:
        raise UserError(f"{target}: not written ({error}); make room or name another --wav_folder, and run again: "
                        "finished files are kept") from None


def inspect(job):
    """(samples, bytes, "") of a file that is fit for use, (0, 0, reason) of another."""
    try:
        if len(job.path.split()) != 1:
            raise audio.AudioError(f"{job.source}: white space in the path, which separates columns; rename the file")
        if job.source != job.target and not os.path.exists(job.target):
            convert(job.source, job.target)
        return audio.check(job.target, RATE, job.min_seconds), os.path.getsize(job.target), ""
    except audio.AudioError as error:
        return 0, 0, str(error)


def parallel(function, jobs, config, title):
    """Yields function(job) of every job, in order."""
    workers = min(config.workers or os.cpu_count(), len(jobs))
    if workers <= 1:
        yield from tqdm(map(function, jobs), title, len(jobs))
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), signal.signal,
                               (signal.SIGINT, signal.SIG_IGN))
    try:
        chunk = max(1, min(16, len(jobs) // (4 * workers)))
        yield from tqdm(pool.map(function, jobs, chunksize=chunk), title, len(jobs))
    finally:    # without this Ctrl-C would wait for all files
        pool.shutdown(cancel_futures=True)


def verify(jobs, config, folder):
    """Reads, or converts and reads, every file that was not read before: {path: samples} of the good, [reason]."""
    log = os.path.join(config.output_folder, "verified.txt")
    known = read_verified(log, folder)
    good, todo, reasons = {}, [], []
    for job in jobs:
        samples, size = known.get(job.path, (0, None))
        if samples >= max(1, job.min_seconds * RATE) and os.path.exists(job.target) \
                and os.path.getsize(job.target) == size:
            good[job.path] = samples
        else:
            todo.append(job)
    write_list(log, [os.path.abspath(folder), *(f"{path} {n} {size}" for path, (n, size) in known.items())])
    with open(log, "a", encoding="utf-8", buffering=1) as stream:
        for job, (samples, size, reason) in zip(todo, parallel(inspect, todo, config, "verify"), strict=True):
            if reason:
                reasons.append(reason)
            else:
                good[job.path] = samples
                stream.write(f"{job.path} {samples} {size}\n")
    return good, reasons


def read_verified(log, folder):
    """{path: (samples, bytes)} that an earlier run found good in the same folder."""
    if not os.path.exists(log):
        return {}
    with open(log, encoding="utf-8") as stream:
        first, *lines = stream.read().split("\n")
    rows = [line.split() for line in lines]
    if first != os.path.abspath(folder):
        return {}
    return {row[0]: (int(row[1]), int(row[2])) for row in rows if len(row) == 3 and (row[1] + row[2]).isdigit()}


def plan(parts, config):
    """The folder that the lists are relative to, {part: [(speaker, path in it)]} and the jobs to get there."""
    sources = [path for items in parts.values() for _, path in items]
    if encoded := any(path.lower().endswith(".m4a") for path in sources):
        try:
            import av  # noqa: F401
        except ImportError:
            raise UserError("m4a files are decoded with PyAV, which is not installed: pip install av") from None
    other_rate = config.resample and any(_other_rate(os.path.join(config.data_folder, path)) for path in sources)
    moved = encoded or other_rate
    folder = wav_folder(config) if moved else config.data_folder
    if other_rate and os.path.abspath(folder) == os.path.abspath(config.data_folder):
        raise UserError(f"wav_folder: {folder} is the data folder, resampling would overwrite the corpus; name another")
    planned, jobs = {}, {}
    for name, items in parts.items():
        limit = config.min_seconds if name == "train" else 0.0
        planned[name] = {}
        for speaker, source in items:
            path = os.path.splitext(source)[0] + ".wav" if moved else source
            planned[name].setdefault(path, speaker)
            source = os.path.join(config.data_folder, source)
            jobs.setdefault(path, Job(path, source, os.path.join(folder, path), limit))
    planned = {name: [(speaker, path) for path, speaker in items.items()] for name, items in planned.items()}
    return folder, planned, list(jobs.values())


def _other_rate(path):
    try:
        return soundfile.info(path).samplerate != RATE
    except soundfile.LibsndfileError:   # m4a, and broken files: verification names those
        return False


# ---- what is written

def write_list(path, lines):
    """One line each, under a temporary name and then renamed; returns the number of lines."""
    with open(path + ".part", "w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)
    os.replace(path + ".part", path)
    return len(lines)


def write_rejected(reasons, total, config):
    """rejected.txt, and lines on the screen that say how many."""
    path = os.path.join(config.output_folder, "rejected.txt")
    write_list(path, reasons)
    print(f"rejected: {len(reasons)} of {total} files" + (f", see {path}" if reasons else ""))
    if reasons and len(reasons) == total:
        raise UserError(f"{config.data_folder}: all {total} files were rejected; the first: {reasons[0]}")
    if len(reasons) > total / 100:
        print(f"warning: {100 * len(reasons) / total:.1f} % of the files were rejected; the lists are without them")


def require_speakers(parts, config):
    """UserError for a part that has nobody or only one to tell apart."""
    for name, items in parts.items():
        speakers = sorted({speaker for speaker, _ in items})
        if not speakers:
            found = ", ".join(sorted(os.listdir(config.data_folder))[:5]) or "nothing"
            raise UserError(f"{config.data_folder}: no audio for the {name} part of --corpus {config.corpus}, found "
                            f"{found}; expected one of the layouts of --help below it; name another --data_folder")
        if len(speakers) == 1:
            raise UserError(f"{config.data_folder}: one speaker only in the {name} part ({speakers[0]}), expected at "
                            f"least 2; --corpus {config.corpus} may not be its layout, see --help")


def hold_out(items, config):
    """(training items, validation items) with no speaker in both, chosen evenly among the sorted speakers."""
    count = config.valid_speakers
    if count < 0:
        count = {"mini": 8, "librispeech_an4": 14}.get(config.corpus, 0)
    prefix = "an4-" if config.corpus == "librispeech_an4" else ""   # its LibriSpeech speakers have one utterance each
    speakers = sorted({speaker for speaker, _ in items if speaker.startswith(prefix)})
    if count == 1 or count and count > len(speakers) - 2:
        raise UserError(f"valid_speakers: found {count}, expected 0 or 2 to {max(2, len(speakers) - 2)}: "
                        f"{len(speakers)} speakers can be held out, and 2 or more must remain")
    held = set(evenly_spaced(speakers, count)) if count else set()
    return [item for item in items if item[0] not in held], [item for item in items if item[0] in held]


def note_counts(items, config):
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


def print_table(parts, good, lists):
    """Speakers, utterances and hours of every part, then the lists."""
    print(f"{'part':<12}{'speakers':>10}{'utterances':>12}{'hours':>10}")
    for name, items in parts.items():
        hours = sum(good[path] for _, path in items) / RATE / 3600
        print(f"{name:<12}{len({speaker for speaker, _ in items}):>10}{len(items):>12}{hours:>10.2f}")
    for path, lines in lists.items():
        targets = sum(line.startswith("1 ") for line in lines)
        print(f"{path}: {len(lines)} lines"
              + ("" if path.endswith("train.txt") else f", {targets} targets, {len(lines) - targets} non-targets"))


# ---- corpora

SCANNERS = {"voxceleb": scan_voxceleb, "librispeech": scan_librispeech, "an4": scan_an4, "tree": scan_tree,
            "mini": scan_mini, "librispeech_an4": scan_librispeech_an4}
TEST_LISTS = {   # corpus: {list: (part, its trials)}
    "an4": {"test_trials.txt": ("test", all_pairs)},
    "librispeech_an4": {"dev_clean_all.txt": ("dev_clean", all_pairs),
                        "dev_clean_cross.txt": ("dev_clean", cross_chapter_pairs),
                        "an4_test.txt": ("an4_test", all_pairs)},
}


def prepare_speakers(config):
    """Training list, validation trials and test trials of a corpus of speakers."""
    parts = SCANNERS[config.corpus](config)
    require_speakers(parts, config)
    if config.corpus == "voxceleb":
        note_counts(parts["train"], config)
    folder, parts, jobs = plan(parts, config)
    trials = given_trials(parts, config)
    good, reasons = verify(jobs, config, folder)
    write_rejected(reasons, len(jobs), config)
    usable = {name: [item for item in items if item[1] in good] for name, items in parts.items()}
    require_speakers(usable, config)
    lists = make_lists(usable, config)
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


def given_trials(parts, config):
    """{list: lines} of the trials that come with a corpus or with --trials, checked before the long work."""
    if config.corpus == "mini":
        file = os.path.join(config.data_folder, "test_trials.txt")
        return {"test_trials.txt": read_trials(file, [_cut(path, config) for _, path in parts["test"]])}
    if config.trials:
        return {"eval.txt": read_trials(config.trials, [path for items in parts.values() for _, path in items])}
    return {}


def make_lists(parts, config):
    """{list: lines}; takes the validation speakers out of parts["train"] into parts["valid"]."""
    parts["train"], valid = hold_out(parts["train"], config)
    lists = {"train.txt": [f"{speaker} {_cut(path, config)}" for speaker, path in parts["train"]]}
    if valid:
        parts["valid"] = valid
        valid = [(speaker, _cut(path, config)) for speaker, path in valid]
        lists["valid_trials.txt"] = validation_trials(valid, config.seed)
    for name, (part, pairs) in TEST_LISTS.get(config.corpus, {}).items():
        if part in parts:
            lists[name] = pairs(parts[part])
    return lists


def _cut(path, config):
    """The mini corpus has its lists relative to its train/ and test/."""
    return path.split("/", 1)[1] if config.corpus == "mini" else path


def prepare_rirs(config):
    """rirs.txt: simulated room impulse responses that can be read."""
    top = os.path.basename(os.path.abspath(config.data_folder))
    paths = [path for path in find(config) if "/simulated_rirs/" in f"/{top}/{path}"]
    if not paths:
        raise UserError(f"{config.data_folder}: no audio below simulated_rirs/; name the folder that holds RIRS_NOISES")
    folder, _, jobs = plan({"rirs": [("", path) for path in paths]}, dataclasses.replace(config, resample=False))
    good, reasons = verify(jobs, config, folder)
    write_rejected(reasons, len(jobs), config)
    path = os.path.join(config.output_folder, "rirs.txt")
    print(f"{path}: {write_list(path, [path for path in paths if path in good])} lines")


def prepare_musan(config):
    """musan_split/: long files in pieces, so that a noise costs a short read."""
    jobs = []
    for path in find(config, (".wav",)):
        if found := re.search(r"(?:^|/)((?:music|noise|speech)/.+)\.wav$", path):
            jobs.append((os.path.join(config.data_folder, path),
                         os.path.join(config.output_folder, "musan_split", found[1]), config.resample))
    if not jobs:
        raise UserError(f"{config.data_folder}: no wavs in music/, noise/ or speech/; name the folder that holds musan")
    results = list(parallel(split_musan, jobs, config, "split"))
    write_rejected([reason for _, reason in results if reason], len(jobs), config)
    pieces, short = sum(count for count, _ in results), sum(result == (0, "") for result in results)
    print(f"{short} files of {PIECE // RATE} s or less give no piece, as in voxceleb_trainer")
    print(f"{os.path.join(config.output_folder, 'musan_split')}: {pieces} pieces, {pieces * PIECE / RATE / 3600:.2f} h")


def split_musan(job):
    """(pieces, "") or (0, reason). Pieces are named by their first second and written in order."""
    source, folder, resample = job
    try:
        starts = range(0, audio.duration(source, RATE) - PIECE, STRIDE)
        targets = [os.path.join(folder, f"{start // RATE:05d}.wav") for start in starts]
        if targets and not os.path.exists(targets[-1]):
            audio.check(source, RATE, resample=resample)
            samples = to_int16(audio.read(source, RATE, resample=resample))
            for start, target in zip(starts, targets, strict=True):
                audio.write_wav(target, samples[start:start + PIECE], RATE)
        return len(targets), ""
    except audio.AudioError as error:
        return 0, str(error)


def main(argv):
    """Prepares the corpus that the command line names."""
    config = parse_config(PrepareConfig, argv)
    require(config, "corpus", "data_folder", "output_folder")
    corpora = {**dict.fromkeys(SCANNERS, prepare_speakers), "musan": prepare_musan, "rirs": prepare_rirs}
    if config.corpus not in corpora:
        raise UserError(f"corpus: found {config.corpus!r}, expected one of {', '.join(corpora)}"
                        f"{nearest(config.corpus, corpora)}")
    if config.trials and config.corpus not in ("voxceleb", "librispeech", "an4", "tree"):
        raise UserError(f"trials: --corpus {config.corpus} makes its own lists; leave --trials out")
    if config.corpus != "mini" and not os.path.isdir(config.data_folder):
        raise UserError(f"{config.data_folder}: no such folder, expected the corpus; correct --data_folder")
    os.makedirs(config.output_folder, exist_ok=True)
    corpora[config.corpus](config)


if __name__ == "__main__":
    run(main, sys.argv[1:])
