"""A folder of simulated meetings: NAME.flac of each, and what is true of all, which is written last.

reference.rttm (who speaks when) and reference.json (SegLST: who said what) name the sessions that belong together.
"""
import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

from meeting.src.corpora import CORPORA
from meeting.src.turns import Turn, read_rttm, read_seglst
from utils.errors import ContentError
from utils.files import StrPath

RTTM, SEGLST = "reference.rttm", "reference.json"
SPEAKERS, OVERLAPS = (2, 3, 4), (0, 20, 40)     # in a meeting; % of the speech
CONDITIONS = ("clean", "noisy")
NAME = re.compile(r"([^_]+)_(\d+)_(\d+)_([^_]+)")
REMEDY = "make the meetings again with meeting/prepare.py"


class Kind(NamedTuple):
    """What a meeting is made of."""

    corpus: str
    speakers: int
    overlap: int        # % of the speech
    condition: str

    @property
    def name(self) -> str:
        """That of its session."""
        return "_".join(map(str, self))


class Session(NamedTuple):
    """A meeting and its reference."""

    kind: Kind
    file: Path
    activity: list[Turn]            # who speaks when
    words: list[dict[str, Any]]     # SegLST


def remove_meetings(folder: StrPath) -> None:
    """Removes those of an earlier run: the references first, so that they never stand beside other recordings."""
    earlier = itertools.starmap(Kind, itertools.product(CORPORA, SPEAKERS, OVERLAPS, CONDITIONS))
    for name in (RTTM, SEGLST, *(f"{kind.name}.flac" for kind in earlier)):
        Path(folder, name).unlink(missing_ok=True)


def read_sessions(folder: StrPath) -> list[Session]:
    """The sessions of the references in `folder`; recordings that these do not name are none.

    ContentError where there are none, where one lacks its recording or its words, or has another name than prepare.py
    gives.
    """
    if not Path(folder, RTTM).is_file():
        raise ContentError(f"{folder}: holds no {RTTM}, so no meetings; {REMEDY}")
    activity, words = read_rttm(Path(folder, RTTM)), read_seglst(Path(folder, SEGLST))
    if not activity:
        raise ContentError(f"{Path(folder, RTTM)}: names no session; {REMEDY}")
    sessions = [Session(_kind_of(name, folder), Path(folder, f"{name}.flac"), activity[name],
                        [row for row in words if row["session_id"] == name]) for name in sorted(activity)]
    for session in sessions:
        if not session.file.is_file():
            raise ContentError(f"{session.file}: is not there, but {RTTM} names it; {REMEDY}")
        if not session.words:
            raise ContentError(f"{Path(folder, SEGLST)}: no words of {session.kind.name}, which {RTTM} names; {REMEDY}")
    return sessions


def _kind_of(name, folder):
    if match := NAME.fullmatch(name):
        return Kind(match[1], int(match[2]), int(match[3]), match[4])
    raise ContentError(f"{Path(folder, RTTM)}: session {name}, expected CORPUS_SPEAKERS_OVERLAP_CONDITION as "
                       "meeting/prepare.py names them; rename it")
