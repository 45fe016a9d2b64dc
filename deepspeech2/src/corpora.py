"""The corpora that prepare.py knows: which audio says what, found by the names each of them uses."""
import dataclasses
import os
import re
import unicodedata
from typing import NamedTuple

import numpy as np

from deepspeech2.src.features import RATE
from deepspeech2.src.manifest import read_samples, read_transcript
from utils.audio import audio_file
from utils.corpora import kaldi
from utils.corpora.corpus import parallel, wav_folder
from utils.corpora.settings import CorpusSettings
from utils.corpora.speakers import SCANNERS, aishell_folder, find, find_in, libri_speaker
from utils.errors import ContentError, NotFoundError
from utils.files import StrPath
from utils.paths import inside, walk_files
from utils.texts import open_lines, read_text


class Spoken(NamedTuple):
    """An utterance of a corpus: `path` in its folder, `where` its text was found; `speaker` "" where unknown."""

    speaker: str
    path: str
    text: str
    where: str


# Scanners take a config and give the folder of the corpus, {part: [Spoken]} and [reason a file is in no part].
Scanned = tuple[str, dict[str, list[Spoken]], list[str]]


def scan_an4(config: CorpusSettings) -> Scanned:
    """CMU AN4; audio and transcripts are matched by their id."""
    root = next((folder for folder in (config.data_folder, os.path.join(config.data_folder, "an4"))
                 if os.path.isfile(os.path.join(folder, "etc", "an4_train.fileids"))), None)
    if root is None:
        raise missing(config, "etc/an4_train.fileids", "the folder of AN4's etc/ and wav/")
    parts, reasons = {}, []
    for part in ("train", "test"):
        source = os.path.join(root, "etc", f"an4_{part}.transcription")
        texts, parts[part] = an4_texts(source), []
        for file in read_text(os.path.join(root, "etc", f"an4_{part}.fileids"), "AN4's ids", names=True).split():
            speaker, name = file.split("/")[-2:] if "/" in file else ("", file)
            path = next((f"wav/{file}{suffix}" for suffix in (".wav", ".flac", ".sph", ".raw")
                         if os.path.isfile(os.path.join(root, f"wav/{file}{suffix}"))), "")
            text = texts.pop(name, None)
            if path and text is not None:
                parts[part].append(Spoken(speaker, path, text, f"{source}: {name}"))
            else:
                reasons.append(f"{file}: no {'transcript in ' + source if path else f'audio in {root}/wav'}; "
                               "copy the corpus again")
        reasons += [f"{source}: {name}: no such id in an4_{part}.fileids; copy the corpus again" for name in texts]
    return *raw_as_wav(root, parts, config), reasons


def an4_texts(path: StrPath) -> dict[str, str]:
    """{id: text} of lines `<s> TEXT </s> (id)`."""
    texts = {}
    for number, line in enumerate(open_lines(path, "AN4's transcripts"), 1):
        match = re.fullmatch(r"\s*(?:<s>)?(.*?)(?:</s>)?\s*\(([^()\s]+)\)\s*", line)
        if not match and line.strip():
            raise ContentError(f"{path}: line {number} is {line[:80]!r}, expected `<s> TEXT </s> (id)`; correct it")
        if match:
            texts[match[2].rsplit("/", 1)[-1]] = match[1]
    return texts


def raw_as_wav(root: str, parts: dict[str, list[Spoken]],
               config: CorpusSettings) -> tuple[str, dict[str, list[Spoken]]]:
    """(folder, parts) where files without a header are wavs of the wav folder."""
    paths = [item.path for items in parts.values() for item in items]
    raw = [path for path in paths if path.endswith(".raw")]
    if not raw:
        return root, parts
    if len(raw) < len(paths):
        raise ContentError(f"{root}/wav: {len(raw)} of {len(paths)} files are .raw, expected one format; delete the "
                           ".raw")
    folder = wav_folder(config)
    jobs = [(os.path.join(root, path), os.path.join(folder, inside(stem(path)) + ".wav")) for path in raw]
    list(parallel(write_raw, jobs, config.workers, "convert"))
    return folder, {part: [item._replace(path=inside(stem(item.path)) + ".wav") for item in items]
                    for part, items in parts.items()}


def write_raw(job: tuple[str, str]) -> None:
    """A wav of 16-bit samples without a header at 16 kHz, of either of CMU's archives."""
    source, target = job
    if not os.path.exists(target) or os.path.getsize(target) != 44 + os.path.getsize(source):
        # bytes in the wrong order are noise, which changes more from sample to sample than any speech
        orders = [np.fromfile(source, order) for order in (">i2", "<i2")]
        samples = min(orders, key=lambda samples: np.abs(np.diff(samples.astype(np.int32))).sum())
        audio_file.write_wav(target, samples.astype(np.int16), RATE)


def scan_librispeech(config: CorpusSettings) -> Scanned:
    """LibriSpeech's splits: of the data folder, below it, or that folder itself."""
    parts, reasons, texts = {}, [], {}
    for source in sorted(path for path in walk_files(config.data_folder) if path.endswith(".trans.txt")):
        source = os.path.join(config.data_folder, source)
        lines = open_lines(source, "LibriSpeech's transcripts")
        texts |= {os.path.join(os.path.dirname(source), name): (text, source) for name, _, text in
                  (line.strip().partition(" ") for line in lines) if name}
    itself = os.path.basename(os.path.abspath(config.data_folder))
    for path in find(config):
        if not re.fullmatch(r"\d+-\d+-\d+\.\w+", os.path.basename(path)):
            continue
        split = next((name for name in path.split("/") if re.match("(train|dev|test)-", name)), itself)
        text, source = texts.pop(os.path.join(config.data_folder, stem(path)), (None, ""))
        items = parts.setdefault(split, [])
        if text is None:
            reasons.append(f"{path}: no line of it in a .trans.txt beside it; copy the chapter again")
        else:
            items.append(Spoken(libri_speaker(path), path, text, f"{source}: {stem(os.path.basename(path))}"))
    reasons += [f"{source}: {os.path.basename(place)}: no such audio beside it; copy the chapter again"
                for place, (_, source) in texts.items()]
    if not parts:
        raise missing(config, "speaker-chapter-number.flac", "the folder of LibriSpeech's splits")
    return config.data_folder, parts, reasons


def scan_librispeech_an4(config: CorpusSettings) -> Scanned:
    """AN4 below an4/; LibriSpeech's dev-clean, below librispeech/, is more to train on."""
    parts, reasons = {}, []
    for scan, folder, prefix in ((scan_an4, "an4", "an4-"), (scan_librispeech, "librispeech/dev-clean", "libri-")):
        if not os.path.isdir(os.path.join(config.data_folder, folder)):
            raise missing(config, f"{folder}/", "the folder of an4/ and librispeech/")
        root, scanned, some = scan(dataclasses.replace(config, data_folder=os.path.join(config.data_folder, folder)))
        reasons += some
        for part, items in scanned.items():
            parts.setdefault("train" if part == "dev-clean" else part, []).extend(
                item._replace(speaker=prefix + item.speaker, path=under(config.data_folder, root, item.path))
                for item in items)
    return config.data_folder, parts, reasons


def scan_deepspeech(config: CorpusSettings) -> Scanned:
    """The manifests of deepspeech.pytorch. Their paths may be those of the machine where they were written."""
    parts, reasons = {}, []
    for part, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        manifests = sorted(entry.path for entry in os.scandir(config.data_folder)
                           if re.search(rf"(^|_){name}_manifest\.(csv|json)$", entry.name))
        if len(manifests) > 1:
            raise ContentError(f"{config.data_folder}: {' and '.join(manifests)}, expected one manifest of the {part} "
                               "part; move the other")
        parts |= {part: []} if manifests else {}
        for sample in (sample for manifest in manifests for sample in read_samples(manifest)):
            sample = sample._replace(wav_path=moved(sample.wav_path, config.data_folder),
                                     transcript_path=moved(sample.transcript_path, config.data_folder))
            where = sample.transcript_path or sample.wav_path
            if sample.transcript is None and not os.path.isfile(where):
                reasons.append(f"{where}: no such transcript, named by {manifests[0]}; copy the corpus again")
            else:
                parts[part].append(Spoken("", sample.wav_path, read_transcript(sample, manifests[0]), where))
    if not parts:
        raise missing(config, "*_{train,val,test}_manifest.csv or .json", "deepspeech.pytorch's data folder")
    folders = [os.path.dirname(os.path.abspath(item.path)) for items in parts.values() for item in items]
    root = os.path.commonpath(folders) if folders else config.data_folder
    return root, {part: [item._replace(path=under(root, item.path)) for item in items]
                  for part, items in parts.items()}, reasons


def moved(path: str, folder: str) -> str:
    """`path`, or where `folder` holds its last parts: /old/data/an4_dataset/x.wav -> folder/an4_dataset/x.wav."""
    names = re.split(r"[\\/]", path)
    places = (os.path.join(folder, *names[start:]) for start in range(1, len(names)))
    return path if os.path.exists(path) else next((place for place in places if os.path.isfile(place)), path)


def scan_tree(config: CorpusSettings) -> Scanned:
    """Folders of audio, each with its text; the speaker is the first folder of a part."""
    parts, reasons = {}, []
    for part in ("train", "valid", "test"):
        for path in find_in(config, part):
            place = os.path.join(config.data_folder, part, stem(path) + ".txt")
            texts = [text for text in (place, re.sub(r"/wav/(?!.*/wav/)", "/txt/", place)) if os.path.isfile(text)]
            items = parts.setdefault(part, [])
            if texts:
                speaker = path.split("/")[0] if "/" in path else ""
                items.append(Spoken(speaker, f"{part}/{path}", read_text(texts[0], "a transcript"), texts[0]))
            else:
                reasons.append(f"{part}/{path}: no {os.path.basename(place)} beside it or in txt/; write what is said")
    if not parts:
        raise missing(config, "audio in train/, valid/ or test/", "the folder of these")
    return config.data_folder, parts, reasons


def scan_aishell(config: CorpusSettings) -> Scanned:
    """AISHELL-1, some of whose recordings have no transcript."""
    prefix = aishell_folder(config)
    root = os.path.join(config.data_folder, prefix)
    source = os.path.join(root, "transcript", "aishell_transcript_v0.8.txt")
    rows = (line.split(maxsplit=1) for line in open_lines(source, "AISHELL's transcripts") if line.strip())
    texts = {row[0]: unicodedata.normalize("NFKC", row[1] if row[1:] else "") for row in rows}   # wide Latin as plain
    parts, reasons = {}, []
    for part, items in SCANNERS["aishell"](config).items():
        parts[part] = []
        for speaker, path in items:
            text = texts.pop(stem(os.path.basename(path)), None)
            if text is None:
                reasons.append(f"{path}: no line of it in {source}, as of some recordings of the corpus")
            else:
                parts[part].append(Spoken(speaker, path, text, f"{source}: {stem(os.path.basename(path))}"))
    reasons += [f"{source}: {name}: no such audio in wav/; unpack all of wav/*.tar.gz" for name in texts]
    return config.data_folder, parts, reasons


def scan_kaldi(config: CorpusSettings) -> Scanned:
    """Data folders of Kaldi; dev and cv are the part to validate on."""
    corpus = kaldi.read_corpus(config, RATE)
    parts, reasons = {}, corpus.reasons
    for name, items in corpus.parts.items():
        part = "valid" if name in ("dev", "cv", "val") else name
        for item in items:
            if item.text is None:
                reasons.append(f"{item.path}: {item.key} of {name} has no line in text; complete it")
            else:
                where = f"{name}/text: {item.key}"
                parts.setdefault(part, []).append(Spoken(item.speaker, item.path, item.text, where))
    if not parts:
        raise ContentError(f"{config.data_folder}: no utterance has a line in text, the first: {reasons[0]}")
    return corpus.root, parts, reasons


def scan_mini(config: CorpusSettings) -> Scanned:
    """The synthetic corpus, made first where it is missing."""
    parts, source = SCANNERS["mini"](config), os.path.join(config.data_folder, "transcripts.tsv")
    lines = open_lines(source, "the mini corpus's transcripts")
    texts = {path: text for path, _, text in (line.partition("\t") for line in lines)}
    return config.data_folder, {part: [Spoken(speaker, path, texts.get(path, ""), f"{source}: {path}")
                                       for speaker, path in items] for part, items in parts.items()}, []


def missing(config: CorpusSettings, what: str, folder: str) -> NotFoundError:
    """The NotFoundError for a data folder without the corpus."""
    contents = ", ".join(sorted(os.listdir(config.data_folder))[:5]) or "nothing"
    return NotFoundError(f"{config.data_folder}: no {what} in it, found {contents} ("
                         f"{audio_file.describe_files(config.data_folder)}); name {folder} as --data_folder")


def under(root: str, *path: str) -> str:
    """The path below `root` of a file."""
    return os.path.relpath(os.path.join(*path), root).replace(os.sep, "/")


def stem(path: str) -> str:
    """`path` without its ending."""
    return os.path.splitext(path)[0]


CORPORA = {"an4": scan_an4, "librispeech": scan_librispeech,
           "librispeech_an4": scan_librispeech_an4, "deepspeech": scan_deepspeech, "tree": scan_tree,
           "aishell": scan_aishell, "kaldi": scan_kaldi, "mini": scan_mini}
