"""Who speaks when, and what is said: turns, and the files that hold them.

RTTM is NIST's format of speakers and times (Rich Transcription evaluation plan, 2009), SegLST the JSON of segments
with words that CHiME-7 and meeteval read.
"""
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from utils.errors import ContentError
from utils.files import StrPath, write_text
from utils.texts import open_lines, read_json

UNSAFE = re.compile(r"\s+")     # fields of RTTM are separated by spaces


class Word(NamedTuple):
    """A word and when it is said, in seconds of the recording."""

    start: float
    end: float
    text: str


class Turn(NamedTuple):
    """What one speaker says without a long pause; times in seconds of the recording."""

    start: float
    end: float
    speaker: str
    text: str = ""
    words: tuple[Word, ...] = ()


def speakers_of(turns: Iterable[Turn]) -> list[str]:
    """The speakers in the order in which they begin."""
    return list(dict.fromkeys(turn.speaker for turn in sorted(turns, key=lambda turn: turn.start)))


def lines_of(turns: Sequence[Turn]) -> list[str]:
    """A line of each turn: start, end, speaker and text."""
    width = max((len(turn.speaker) for turn in turns), default=0)
    return [f"{turn.start:8.2f} {turn.end:8.2f}  {turn.speaker:{width}}  {turn.text}".rstrip() for turn in turns]


def as_json(turns: Sequence[Turn]) -> dict:
    """The speakers, and each turn with its words."""
    return {"speakers": speakers_of(turns), "turns": [
        {**turn._asdict(), "words": [word._asdict() for word in turn.words]} for turn in turns]}


def write_rttm(path: StrPath, sessions: dict[str, Sequence[Turn]]) -> None:
    """Writes the times of each session's speakers as RTTM."""
    lines = [f"SPEAKER {_field(name)} 1 {turn.start:.3f} {turn.end - turn.start:.3f} <NA> <NA> "
             f"{_field(turn.speaker)} <NA> <NA>\n" for name, turns in sessions.items() for turn in turns]
    write_text(path, "".join(lines))


def read_rttm(path: StrPath) -> dict[str, list[Turn]]:
    """{session: turns without words} of an RTTM file. ContentError for what is none."""
    sessions: dict[str, list[Turn]] = {}
    for number, line in enumerate(open_lines(path, "RTTM"), 1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start, seconds = float(fields[3]), float(fields[4])
            sessions.setdefault(fields[1], []).append(Turn(start, start + seconds, fields[7]))
        except (IndexError, ValueError):
            raise ContentError(f"{path}: line {number} is {line[:80]!r}, expected `SPEAKER session 1 start seconds "
                               "<NA> <NA> speaker <NA> <NA>`; correct it") from None
    return sessions


def seglst(sessions: dict[str, Sequence[Turn]]) -> list[dict]:
    """The segments of each session as SegLST has them."""
    return [{"session_id": name, "speaker": turn.speaker, "start_time": round(turn.start, 3),
             "end_time": round(turn.end, 3), "words": turn.text} for name, turns in sessions.items() for turn in turns]


def write_seglst(path: StrPath, sessions: dict[str, Sequence[Turn]]) -> None:
    """Writes the turns of each session as SegLST."""
    write_text(path, json.dumps(seglst(sessions), indent=1, ensure_ascii=False) + "\n")


def read_seglst(path: StrPath) -> list[dict]:
    """The segments of a SegLST file. ContentError for what is none."""
    segments = read_json(path, "SegLST")
    needed = ("session_id", "speaker", "start_time", "end_time", "words")
    if not isinstance(segments, list) or not all(
            isinstance(row, dict) and set(needed) <= set(row) for row in segments):
        raise ContentError(f"{path}: no SegLST; expected a JSON list of segments with {', '.join(needed)}")
    return segments


def _field(text):
    return UNSAFE.sub("_", text) or "_"
