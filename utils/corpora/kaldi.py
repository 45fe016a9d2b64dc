"""Data folders of Kaldi, which ESPnet, WeNet and wespeaker write as well: their recordings, speakers, texts and trials.

    wav.scp    recording path            or a command that writes it to a pipe, see `decoded_file`; none is ever run
    segments   utterance recording start end      optional, in seconds; without it each recording is an utterance
    utt2spk    utterance speaker         or spk2utt: speaker utterance utterance ...
    text       utterance words
    trials     utterance utterance target|nontarget        or a folder of such lists
"""
import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import soxr

from utils.audio import audio_file
from utils.audio.stream import open_audio
from utils.corpora.corpus import parallel, to_int16, wav_folder
from utils.corpora.settings import CorpusSettings
from utils.errors import ContentError, NotFoundError
from utils.files import StrPath, is_outdated
from utils.paths import inside, list_name
from utils.texts import open_lines

OVERSHOOT = 0.5     # seconds that a segment may end behind its recording, as Kaldi's extract-segments has it
LABELS = {"target": True, "nontarget": False, "1": True, "0": False}

# Programs that write the sound of one file to a pipe: the options that leave it what it is, as `option value`
PROGRAMS = {
    "cat": "",
    "flac": r"-[cds]+|--decode|--stdout|--silent|--totally-silent",
    "sph2pipe": r"-f (?:wav|rif)|-p|-c (?P<channel>[12])",
    "sox": r"-t \.?(?:wav|wavpcm|flac|sph|mp3)|-r \d+k?|-b 16|-e signed(?:-integer)?|-c 1|-G|-D|-V\d?|-"
           r"|remix (?P<channel>\d)",
    "ffmpeg": r"-i|-ar \d+k?|-ac 1|-f wav|-(?:acodec|c:a) pcm_s16le|-(?:v|loglevel) \w+|-nostdin|-hide_banner|-y|-vn"
              r"|-|pipe:1?",
}


class Recording(NamedTuple):
    """Where the sound of a recording is; `channel` counts from 1, 0: all of them."""

    path: str
    channel: int = 0


class Utterance(NamedTuple):
    """One utterance: `path` is relative to the root of the corpus; speaker "" and text None where none is given."""

    key: str
    speaker: str
    path: str
    text: str | None


class Corpus(NamedTuple):
    """Data folders: {name: utterances} relative to `root`, [reason an utterance is in none], {name: trials}.

    Trials are (target, path, path), of utterances of any of the folders.
    """

    root: str
    parts: dict[str, list[Utterance]]
    reasons: list[str]
    trials: dict[str, list[tuple[bool, str, str]]]


class Cut(NamedTuple):
    """A wav to make: `target` is `source` from `start` to `end` seconds (-1: to its end), one channel or all."""

    source: str
    channel: int
    start: float
    end: float
    target: str
    rate: int
    resample: bool
    list: str       # where its times stand


def read_corpus(config: CorpusSettings, rate: int) -> Corpus:
    """The data folder, or all data folders in it, with segments and single channels as wavs of the wav folder.

    These have `rate` Hz with config.resample, else the rate of their recording.
    """
    folders, cuts, reasons = find_folders(config.data_folder), {}, []
    parts = {name: _read_folder(name, folder, config, rate, cuts, reasons) for name, folder in folders.items()}
    paths = [item.path for items in parts.values() for item in items]
    if not paths:
        raise ContentError(f"{config.data_folder}: no utterance in its wav.scp" + (f"; {reasons[0]}" * bool(reasons)))
    root, failed = os.path.commonpath([os.path.dirname(path) for path in paths]), {}
    if cuts:
        failed = {job.target: reason for job, reason in
                  zip(cuts.values(), parallel(_cut, list(cuts.values()), config.workers, "cut"), strict=True) if reason}
    parts = {name: [item._replace(path=_below(root, item.path)) for item in items] for name, items in parts.items()}
    trials = _trials(folders, parts)
    failed_paths = {_below(root, path) for path in failed}
    parts = {name: [item for item in items if item.path not in failed_paths] for name, items in parts.items()}
    return Corpus(root, parts, [*reasons, *failed.values()], trials)


def speaker_parts(corpus: Corpus) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
    """({part: [(speaker, path)]}, [reason]): folders to train on together as train, others by their own name.

    To train on are those with train in their name, or else all without trials. An utterance without a speaker is used
    where there are trials only.
    """
    tested = {name for name in corpus.parts for trials in corpus.trials if trials.startswith(f"{name}_trials")}
    chosen = {name for name in corpus.parts if "train" in name.lower()} or corpus.parts.keys() - tested
    parts, reasons = {"train": []}, []
    for name, items in corpus.parts.items():
        part = parts.setdefault("train" if name in chosen else name, [])
        for item in items:
            if item.speaker or name in tested - chosen:
                part.append((item.speaker or item.key, item.path))
            else:
                reasons.append(f"{item.path}: {item.key} of {name} has no speaker in utt2spk; complete it")
    return parts, reasons


def find_folders(folder: str) -> dict[str, str]:
    """{name: folder} of a data folder, called train, or of the data folders in it. NotFoundError where none is."""
    if os.path.isfile(os.path.join(folder, "wav.scp")):
        return {"train": folder}
    names = [name for name in sorted(os.listdir(folder)) if os.path.isfile(os.path.join(folder, name, "wav.scp"))]
    if not names:
        contents = ", ".join(sorted(os.listdir(folder))[:5]) or "nothing"
        raise NotFoundError(f"{folder}: no wav.scp in it or in its folders, found {contents}; name a data folder of "
                            "Kaldi, or the folder of several, as --data_folder")
    return {name: os.path.join(folder, name) for name in names}


def decoded_file(command: str) -> Recording | None:
    """The file whose sound `command`, such as `flac -c -d -s FILE |`, writes to a pipe; None where it does more.

    The command is only read: its program and options have to be those of PROGRAMS, with one other word, the file.
    """
    try:
        words = shlex.split(command.strip().removesuffix("|"))
    except ValueError:
        return None
    options = PROGRAMS.get(os.path.basename(words[0]) if words else "")
    if options is None:
        return None
    files, channel, i = [], 0, 1
    while i < len(words):
        pair = re.fullmatch(options, " ".join(words[i:i + 2])) if i + 1 < len(words) else None
        match = pair or re.fullmatch(options, words[i])
        if match:
            channel = int(match.groupdict().get("channel") or channel)
        elif re.search(r"[|;&<>$`*?]|^-", words[i]):
            return None
        else:
            files.append(words[i])
        i += 2 if pair else 1
    return Recording(files[0], channel) if len(files) == 1 else None


def _read_folder(name, folder, config, rate, cuts, reasons):
    """The utterances of a data folder, their paths absolute; adds to `cuts` {target: Cut} and to `reasons`."""
    recordings, segments = _read_scp(os.path.join(folder, "wav.scp")), os.path.join(folder, "segments")
    speakers, texts, items = _read_speakers(folder), None, []
    if os.path.isfile(os.path.join(folder, "text")):
        texts = {key: words for _, key, words in _rows(os.path.join(folder, "text"), "utterance words", 1)}
    if os.path.isfile(segments):
        spans = list(_read_segments(segments, recordings, reasons))
    else:
        spans = [(key, recording, 0.0, -1.0) for key, recording in recordings.items()]
    for key, recording, start, end in spans:
        path = recording.path
        if recording.channel or start > 0 or end >= 0:
            path = os.path.abspath(os.path.join(wav_folder(config), inside(f"{name}/{key}.wav")))
            cuts[path] = Cut(recording.path, recording.channel, start, end, path, rate, config.resample,
                             segments if os.path.isfile(segments) else os.path.join(folder, "wav.scp"))
        items.append(Utterance(key, speakers.get(key, ""), path, texts.get(key) if texts is not None else None))
    return items


def _read_scp(path):
    """{recording: Recording} of a wav.scp. ContentError for a command that is not read, and for an archive."""
    recordings, commands, folder = {}, [], os.path.dirname(os.path.abspath(path))
    for number, key, value in _rows(path, "recording path"):
        recording = Recording(value)
        if value.endswith("|"):
            recording = decoded_file(value)
            commands.append(value)
            if recording is None:
                raise ContentError(f"{path}: line {number} is the command {value[:100]!r}, which is never run; "
                                   "expected a path, or cat, flac, sph2pipe, sox or ffmpeg that only decodes one "
                                   "file; write the recordings to files first, such as with wav-copy")
        elif re.search(r":\d+$", value) and not os.path.exists(value):
            raise ContentError(f"{path}: line {number} is {value[:100]!r}, a place in an archive, expected a path; "
                               "write the recordings to files first, such as with wav-copy")
        recordings[key] = recording._replace(path=_place(recording.path, folder))
    if commands:
        print(f"note: {path}: {len(commands)} of {len(recordings)} entries are commands such as {commands[0]!r}; none "
              "is run, the file in it is read")
    return recordings


def _place(path, folder):
    """The absolute path of a file that a list in `folder` names: recipes run in a folder above their data folders."""
    if os.path.isabs(path):
        return path
    above = folder
    while not os.path.exists(os.path.join(above, path)):
        if above == os.path.dirname(above):
            return os.path.abspath(path)
        above = os.path.dirname(above)
    return os.path.join(above, path)


def _read_speakers(folder):
    """{utterance: speaker} of utt2spk or spk2utt; none where neither is there."""
    path = os.path.join(folder, "utt2spk")
    if os.path.isfile(path):
        return {key: speaker.split()[0] for _, key, speaker in _rows(path, "utterance speaker")}
    path = os.path.join(folder, "spk2utt")
    if not os.path.isfile(path):
        return {}
    return {key: speaker for _, speaker, keys in _rows(path, "speaker utterance ...") for key in keys.split()}


def _read_segments(path, recordings, reasons):
    """Yields (utterance, Recording, start, end) of segments; adds to `reasons` those that wav.scp lacks."""
    expected = "utterance recording start end"
    for number, key, rest in _rows(path, expected):
        match = re.fullmatch(r"(\S+)\s+(\d+\.?\d*)\s+(-?\d+\.?\d*)(?:\s+([012]))?", rest)
        if not match or 0 <= float(match[3]) <= float(match[2]):
            line = f"{key} {rest}"[:100]
            raise ContentError(f"{path}: line {number} is {line!r}, expected `{expected}` in seconds, the end behind "
                               "the start or -1; correct it")
        if match[1] not in recordings:
            reasons.append(f"{path}: {key}: no recording {match[1]} in wav.scp; complete it")
            continue
        recording = recordings[match[1]]
        if match[4]:        # 0 is the first, as extract-segments counts
            recording = recording._replace(channel=int(match[4]) + 1)
        yield key, recording, float(match[2]), float(match[3])


def _rows(path: StrPath, expected: str, least: int = 2) -> Iterator[tuple[int, str, str]]:
    """Yields (line, first column, what follows) of a list. ContentError for fewer columns, and for a key twice."""
    seen = set()
    for number, line in enumerate(open_lines(path, f"lines `{expected}`", names=True), 1):
        if not line.strip():
            continue
        key, *rest = re.split(r"[ \t]+", line.strip(" \t"), maxsplit=1)
        if len(rest) + 1 < least:
            raise ContentError(f"{path}: line {number} is {line[:100]!r}, expected `{expected}`; correct it")
        if key in seen:
            raise ContentError(f"{path}: line {number}: {key} is there twice, expected each once; run Kaldi's "
                               "fix_data_dir.sh on the folder")
        seen.add(key)
        yield number, key, rest[0] if rest else ""


def _cut(job):
    """Writes one wav; the reason why it cannot be, or ""."""
    try:
        if not is_outdated(job.target, job.source, job.list):
            return ""
        native = audio_file.header(job.source)
        rate = job.rate if job.resample else native[1]
        start, length = round(job.start * rate), native[0] * rate // native[1]
        stop = length if job.end < 0 else round(job.end * rate)
        if stop > length + OVERSHOOT * rate or start >= length:
            raise audio_file.AudioError(f"{job.source}: {length / rate:.2f} s, but {job.list} has {job.start:g} to "
                                        f"{job.end:g} s of it; correct it")
        stop = min(stop, length)
        if job.channel:
            samples = _channel(job, start / rate, (stop - start) / rate, rate)
        else:
            samples = audio_file.read(job.source, rate, start, stop - start, resample=True)
        audio_file.write_wav(job.target, to_int16(samples), rate)
        return ""
    except audio_file.AudioError as error:
        return str(error)


def _channel(job, start, seconds, rate):
    """Samples (n,) of one channel from `start` seconds on."""
    with open_audio(job.source) as stream:
        if job.channel > stream.channels:
            raise audio_file.AudioError(f"{job.source}: {stream.channels} channels, but {job.list} takes channel "
                                        f"{job.channel}; correct it")
        stream.seek(round(start * stream.rate))
        samples = np.ascontiguousarray(stream.read(round(seconds * stream.rate))[:, job.channel - 1])
        return samples if stream.rate == rate else soxr.resample(samples, stream.rate, rate)


def _trials(folders, parts):
    """{folder_trials: [(target, path, path)]} of every list of trials."""
    paths = {item.key: item.path for items in parts.values() for item in items}
    by_speaker = {}
    for item in (item for items in parts.values() for item in items):
        by_speaker.setdefault(item.speaker, []).append(item.path)
    # in a folder of enrolment a trial names the speaker; that is a pair where there is one utterance
    paths = {speaker: found[0] for speaker, found in by_speaker.items() if speaker and len(found) == 1} | paths
    lists = {}
    for name, folder in folders.items():
        place = os.path.join(folder, "trials")
        if os.path.isdir(place):
            files = sorted(entry.path for entry in os.scandir(place) if entry.is_file())
            lists |= {f"{name}_trials_{list_name(file)}": _read_trials(file, paths, by_speaker) for file in files}
        elif os.path.isfile(place):
            lists[f"{name}_trials"] = _read_trials(place, paths, by_speaker)
    return lists


def _read_trials(path, paths, by_speaker):
    trials = []
    for number, line in enumerate(open_lines(path, "trials", names=True), 1):
        columns = line.split()
        if not columns:
            continue
        if len(columns) == 3 and columns[2] not in LABELS and columns[0] in LABELS:
            columns = [*columns[1:], columns[0]]
        if len(columns) != 3 or columns[2] not in LABELS:
            raise ContentError(f"{path}: line {number} is {line[:100]!r}, expected `utterance utterance target` or "
                               "nontarget; correct it")
        for key in columns[:2]:
            if key not in paths:
                several = f"; it is a speaker of {len(by_speaker[key])} utterances" if key in by_speaker else ""
                raise ContentError(f"{path}: line {number}: {key} is no utterance that can be used{several}; expected "
                                   "pairs of utterances of the wav.scp of these folders, see rejected.txt")
        trials.append((LABELS[columns[2]], paths[columns[0]], paths[columns[1]]))
    return trials


def _below(root, path):
    return os.path.relpath(path, os.path.abspath(root)).replace(os.sep, "/")
