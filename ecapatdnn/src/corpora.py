"""The corpora of speaker verification on disk: who speaks in which file, and which pairs make trials."""
import itertools
import os
import random
import re
from collections.abc import Iterable, Sequence

from ecapatdnn.src.metric import read_trials
from utils.corpora import open_speech
from utils.corpora.corpus import Parts
from utils.corpora.open_speech import Items
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import evenly_spaced, find, find_in, libri_speaker, speaker_tree
from utils.errors import ContentError, MismatchError
from utils.texts import open_lines, read_text

MAX_TRIALS = 200_000   # validation is run every few epochs: more trials are sampled down to this
PER_SPEAKER = 30       # utterances of a dev-clean speaker in the trials


Pairs = dict[str, list[tuple[bool, str, str]]]      # {list: its trials (target, path, path)}
CN_LISTS = "eval/lists"


# Scanners: config -> {part: [(speaker, path relative to the data folder)]}

def scan_voxceleb(config: CorpusSettings) -> Parts:
    """A VoxCeleb tree; an m4a stands before a wav of the same name."""
    paths = [path for path in find(config, (".m4a", ".wav")) if re.fullmatch(r"id[^/]*/[^/]+/[^/]+", path)]
    return {"train": [(path.split("/")[0], path) for path in paths]}


def scan_cnceleb(config: CorpusSettings) -> tuple[Parts, Pairs]:
    """CN-Celeb1, CN-Celeb2 or a folder of both: all speakers but those of the trials, and the trials of CN-Celeb1.

    Its enrolment is one recording per speaker, of all utterances that enroll.map names (CNC-Eval-Concat).
    """
    parts, pairs = {"train": []}, {}
    for prefix in ("", *(f"{name}/" for name in sorted(os.listdir(config.data_folder)))):
        folder = os.path.join(config.data_folder, prefix)
        if not os.path.isdir(os.path.join(folder, "data")):
            continue
        items = speaker_tree(config, f"{prefix}data")
        listed = os.path.join(folder, "dev/dev.lst")
        if os.path.isfile(listed):
            chosen = set(read_text(listed, "CN-Celeb's speakers to train on").split())
            items = [item for item in items if item[0] in chosen]
        if os.path.isdir(os.path.join(folder, CN_LISTS)):
            trials = _cnceleb_trials(config, prefix)
            tested = sorted({path for _, *paths in trials for path in paths})
            parts["test"] = [(_cnceleb_speaker(path), path) for path in tested]
            speakers = {speaker for speaker, _ in parts["test"]}
            items = [item for item in items if item[0] not in speakers]
            pairs["eval_trials.txt"] = trials
        parts["train"] += items
    return parts, pairs


def _cnceleb_trials(config, prefix):
    """The official trials; the lists name wavs, the archives hold FLAC."""
    enroll, trials = (os.path.join(config.data_folder, prefix, CN_LISTS, name) for name in ("enroll.lst", "trials.lst"))
    models = dict(_cnceleb_rows(enroll, 2))
    places: dict[str, str] = {}
    for number, (model, name, label) in enumerate(_cnceleb_rows(trials, 3), 1):
        if model not in models or label not in ("0", "1"):
            raise ContentError(f"{trials}: line {number} is {f'{model} {name} {label}'[:100]!r}, expected `model path "
                               f"1|0` with a model of {enroll}; unpack CN-Celeb again")
        for file in (models[model], name):
            if file not in places:
                path = f"{prefix}eval/{file}"
                there = os.path.isfile(os.path.join(config.data_folder, path))
                places[file] = path if there else os.path.splitext(path)[0] + ".flac"
    return [(label == "1", places[models[model]], places[name]) for model, name, label in _cnceleb_rows(trials, 3)]


def _cnceleb_rows(path, count):
    """The lines of one of its lists, each of `count` columns."""
    for number, line in enumerate(open_lines(path, "one of CN-Celeb's lists", names=True), 1):
        columns = line.split()
        if len(columns) != count:
            raise ContentError(f"{path}: line {number} is {line[:100]!r}, expected {count} columns; unpack CN-Celeb "
                               "again")
        yield columns


def _cnceleb_speaker(path):
    """`id00800` of eval/test/id00800-singing-01-001.flac and of eval/enroll/id00800-enroll.flac."""
    return os.path.basename(path).split("-")[0]


def scan_librispeech_an4(config: CorpusSettings) -> Parts:
    """251 LibriSpeech and 74 AN4 speakers for training, 600 files of dev-clean and AN4's test part for trials."""
    libri = _libri(config, "librispeech/train-251spk")
    return {"train": libri + speaker_tree(config, "an4/wav/an4_clstk", "an4-"), **_test_parts(config)}


def scan_open_speech(config: CorpusSettings) -> Parts:
    """All of utils/corpora/open_speech.py for training; the test parts of librispeech_an4."""
    train, development = open_speech.scan(config)
    return {"train": train, "valid": at_most(PER_SPEAKER, development), **_test_parts(config)}


def _libri(config, folder):
    return [(f"libri-{libri_speaker(path)}", f"{folder}/{path}") for path in find_in(config, folder)]


def _test_parts(config):
    return {"dev_clean": at_most(PER_SPEAKER, _libri(config, "librispeech/dev-clean")),
            "an4_test": speaker_tree(config, "an4/wav/an4test_clstk", "an4-")}


def at_most(count: int, items: Items) -> Items:
    """Up to `count` utterances of each speaker, from the first to the last."""
    speakers = itertools.groupby(sorted(items), key=lambda item: item[0])
    return [item for _, some in speakers for item in evenly_spaced(list(some), count)]


def all_pairs(items: Sequence[tuple[str, str]]) -> list[str]:
    """Trial lines of every unordered pair of [(speaker, path)]."""
    return [f"{int(a[0] == b[0])} {a[1]} {b[1]}" for a, b in itertools.combinations(items, 2)]


def pairs_within_corpora(items: Sequence[tuple[str, str]]) -> list[str]:
    """Trial lines of every pair of one corpus of open speech, across chapters: others are told apart by the sound."""
    corpora = itertools.groupby(items, key=open_speech.corpus_of)
    return [line for _, some in corpora for line in cross_chapter_pairs(list(some))]


def cross_chapter_pairs(items: Sequence[tuple[str, str]]) -> list[str]:
    """All pairs of LibriSpeech files, except those of one speaker within one chapter: they share the recording."""
    def chapter(line, column):
        return line.split()[column].rsplit("/", 1)[-1].split("-")[:2]

    return [line for line in all_pairs(items) if line[0] == "0" or chapter(line, 1) != chapter(line, 2)]


def random_pairs(items: Sequence[tuple[str, str]], count: int, seed: int) -> list[str]:
    """Up to `count` trial lines, half of them targets, or as many as there are; repeated items count once."""
    rng, speakers = random.Random(seed), {}
    items = list(dict.fromkeys(items))
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


def validation_trials(items: Sequence[tuple[str, str]], seed: int) -> list[str]:
    """All pairs, or a sample where those are too many to score again and again."""
    if len(items) * (len(items) - 1) // 2 <= MAX_TRIALS:
        return all_pairs(items)
    return random_pairs(items, MAX_TRIALS, seed)


def corpus_trials(file: str, paths: Iterable[str]) -> list[str]:
    """The lines of a trial list, see `read_trials`. MismatchError unless all files it names are in `paths`."""
    trials = read_trials(file)
    names = [os.fsdecode(name) for name in trials.files]
    if missing := sorted(set(names) - set(paths)):
        raise MismatchError(f"{file}: {len(missing)} of the files it names are not in the corpus, the first: "
                            f"{missing[0]}; name the folder that its paths are relative to as --data_folder")
    return [f"{int(target)} {names[left]} {names[right]}"
            for target, left, right in zip(trials.target, trials.left, trials.right, strict=True)]
