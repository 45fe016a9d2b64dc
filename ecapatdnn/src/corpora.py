"""The corpora of speaker verification on disk: who speaks in which file, and which pairs make trials."""
import itertools
import os
import random
import re

from utils import audio
from utils.corpus import wav_folder
from utils.errors import UserError

MAX_TRIALS = 200_000   # validation is run every few epochs: more trials are sampled down to this
PER_SPEAKER = 30       # utterances of a dev-clean speaker in the trials


# Scanners: config -> {part: [(speaker, path relative to the data folder)]}

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
