"""Manifests: which audio says what.

Read are the JSON of deepspeech.pytorch and its older CSV of lines `wav,txt`. Written is that JSON with two keys more a
sample, which spare opening every file at the start: `transcript`, the text itself, and `seconds`.

    {"root_path": "/data/an4", "samples": [
    {"wav_path": "wav/an251.wav", "transcript_path": "/lists/txt/an251.txt", "transcript": "YES", "seconds": 1.5}]}
"""
import json
import math
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from deepspeech2.src.features import RATE, WINDOW
from utils.audio import audio_file
from utils.audio.recording import inspect_header
from utils.audio.survey import require_files
from utils.errors import ContentError
from utils.files import StrPath, write_text
from utils.texts import is_unicode, parse_json, parse_rows, read_text

TOLERANCE = 0.02     # of a length: manifests round, and count what a decoder leaves out
EXPECTED = '{"root_path": ..., "samples": [{"wav_path": ..., "transcript_path": ...}, ...]}'


class Sample(NamedTuple):
    """One entry of a manifest, named as its keys; `transcript` is None where it stands in the file alone."""

    wav_path: str
    transcript_path: str = ""
    transcript: str | None = None
    seconds: float = 0.0


class Utterance(NamedTuple):
    """Audio and what is said in it; `seconds` is 0 where the manifest does not say."""

    audio: str
    text: str
    seconds: float


def utterance_length(utterance: Utterance) -> int:
    """Its length at 16 kHz: the manifest's, or else the header's."""
    return round(utterance.seconds * RATE) or audio_file.duration(utterance.audio, RATE)


def inspect_utterance(utterance: Utterance, resample: bool) -> None:
    """AudioError where a header shows that a file is unfit, or has another length than the manifest says."""
    require_seconds(utterance, inspect_header(utterance.audio, WINDOW, RATE, resample))


def require_seconds(utterance: Utterance, found: float) -> None:
    """AudioError where the manifest says something else than the seconds that were `found`: milliseconds, say."""
    if utterance.seconds and abs(utterance.seconds - found) > TOLERANCE * found + 0.1:
        raise audio_file.AudioError(f"{utterance.audio}: {found:.2f} s, but its manifest says {utterance.seconds:g} "
                                    "seconds; correct it or leave seconds out")


def read_manifest(path: StrPath, folder: str = "") -> list[Utterance]:
    """The utterances of a JSON or CSV manifest, every file of which is there: [Utterance].

    `folder`: what paths are relative to, instead of the manifest's root_path. UserError for a manifest that cannot be
    read, has other keys or no entry, and for missing audio and a transcript that is missing, empty or not UTF-8.
    """
    samples = read_samples(path, folder)
    require_files({sample.wav_path: sample.wav_path for sample in samples}, path,
                  "copy them there, or run prepare.py again")
    return [_utterance(sample, path) for sample in samples]


def _utterance(sample: Sample, manifest: StrPath) -> Utterance:
    text = read_transcript(sample, manifest)
    if not text:
        raise ContentError(f"{sample.transcript_path or sample.wav_path}: empty transcript in {manifest}, expected "
                           "words; correct it or take the utterance out")
    return Utterance(sample.wav_path, text, sample.seconds)


def read_transcript(sample: Sample, manifest: StrPath) -> str:
    """The text of a sample without white space around it; UserError for a file that is missing or not UTF-8."""
    if sample.transcript is None:
        return read_text(sample.transcript_path, f"a transcript that {manifest} names").strip()
    return sample.transcript.strip()


def read_samples(path: StrPath, folder: str = "") -> list[Sample]:
    """The entries of a manifest with `folder`, or its own root, before their paths: [Sample]. No file is looked for."""
    text = read_text(path, "a manifest; prepare.py writes them", names=True)
    is_json = re.search(r"\.json(\.gz)?$", str(path), re.IGNORECASE) or text.lstrip().startswith("{")
    root, samples = _json_samples(path, text) if is_json else ("", _csv_samples(path, text))
    if not samples:
        raise ContentError(f"{path}: empty manifest, expected utterances; prepare.py writes manifests")
    root = folder or os.path.join(os.path.dirname(path), root)
    return [sample._replace(wav_path=os.path.join(root, sample.wav_path),
                            transcript_path=sample.transcript_path and os.path.join(root, sample.transcript_path))
            for sample in samples]


def _json_samples(path: StrPath, text: str) -> tuple[str, list[Sample]]:
    manifest = parse_json(text, path, f"{EXPECTED}; write it again with prepare.py")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("samples"), list) \
            or not isinstance(manifest.get("root_path"), str):
        content = ", ".join(manifest) if isinstance(manifest, dict) else f"a {type(manifest).__name__}"
        raise ContentError(f"{path}: found {content[:80] or 'nothing'}, expected {EXPECTED}; write it again with "
                           "prepare.py")
    return manifest["root_path"], [_json_sample(path, number, values)
                                   for number, values in enumerate(manifest["samples"], 1)]


def _json_sample(path: StrPath, number: int, values: Any) -> Sample:
    known = {key: values[key] for key in Sample._fields if key in values} if isinstance(values, dict) else {}
    sample, seconds = Sample(**{"wav_path": "", **known}), known.get("seconds", 0.0)
    texts = (sample.wav_path, sample.transcript_path, sample.transcript or "")
    if not all(isinstance(text, str) for text in texts) or not sample.wav_path or sample.transcript is None \
            and not sample.transcript_path:
        raise ContentError(f"{path}: sample {number} is {json.dumps(values)[:80]}, expected wav_path, and "
                           "transcript_path or transcript; correct it")
    if not is_unicode(sample.transcript or ""):
        raise ContentError(f"{path}: sample {number}: its transcript is not UTF-8; correct it")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise ContentError(f"{path}: sample {number}: seconds is {seconds!r}, expected a number from 0; correct it")
    return sample._replace(seconds=float(seconds))


def _csv_samples(path: StrPath, text: str) -> list[Sample]:
    expected, samples = "`wav,txt`: two paths, in quotes where they hold a comma", []
    for line, row in parse_rows(text.split("\n"), path, expected):
        if len(row) != 2 or not all(row):
            raise ContentError(f"{path}: line {line} is {','.join(row)[:80]!r}, expected {expected}; correct it")
        audio, transcript = row
        samples.append(Sample(audio, transcript))
    return samples


def write_manifest(path: StrPath, root: StrPath, rows: Iterable[Sample]) -> None:
    """Writes `rows`, [Sample] with audio paths relative to the folder `root`, one per line; whole or not at all."""
    lines = ",\n".join(_json(row._asdict()) for row in rows)
    root = _json(os.path.abspath(root))
    write_text(path, f'{{"root_path": {root}, "samples": [\n{lines}]}}\n')


def _json(value):
    """As JSON that people can read; bytes of names that are no UTF-8 are escaped, which Python reads back."""
    return json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
