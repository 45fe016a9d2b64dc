"""How well it is known who said what: the error rates of three systems on a meeting of which all is known.

Letters: T frames, k speakers.
"""
import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from meeting.src.clustering import means, pair
from meeting.src.inference import Lane, Transcriber
from meeting.src.sessions import Session
from meeting.src.turns import Turn, seglst, speakers_of
from utils.audio.activity import FRAME
from utils.audio.recording import Recording
from utils.errors import UnsupportedError

COLLAR = 0.25       # seconds on either side of a boundary of the reference that are not scored
SYSTEMS = ("ours", "no separation", "oracle segments")


def require_scorers() -> None:
    """UnsupportedError where meeteval or spy-der is missing."""
    missing = [name for name in ("meeteval", "spyder") if importlib.util.find_spec(name) is None]
    if missing:
        raise UnsupportedError(f"{' and '.join(missing)}: not installed, the scores are computed by it; "
                               'pip install "mindspore-speech-zoo[meeting]", or pip install meeteval spy-der')


def score(transcriber: Transcriber, session: Session, known: bool) -> list[dict[str, Any]]:
    """The scores of each of SYSTEMS on a meeting. known: the systems are told how many speak."""
    recording, activity, name = transcriber.open(session.file), session.activity, session.kind.name
    count = len(speakers_of(activity)) if known else None
    rows = []
    for system in SYSTEMS:
        if system == "oracle segments":
            turns = transcriber.turns(recording, oracle_lanes(transcriber, recording, activity))
        else:
            turns = transcriber.transcribe(recording, num_speakers=count, separate=system == "ours").turns
        rows.append({"meeting": name, **session.kind._asdict(), "system": system, "found": len(speakers_of(turns)),
                     **diarization_times(activity, turns), **word_errors(session.words, seglst({name: turns}))})
    return rows


def diarization_times(reference: Sequence[Turn], turns: Sequence[Turn]) -> dict[str, float]:
    """Seconds that are scored, and wrong: `scored`, `wrong`; and `overlapped ...` where the reference has two."""
    import spyder  # pyright: ignore[reportMissingImports]: an extra

    result = {}
    for name, regions in (("", "all"), ("overlapped ", "overlap")):
        # what surrounds a boundary is a good part of an overlap, which is short: it counts there
        rates = spyder.DER([(turn.speaker, turn.start, turn.end) for turn in reference],
                           [(turn.speaker, turn.start, turn.end) for turn in turns], regions=regions,
                           collar=0.0 if name else COLLAR)
        wrong = rates.duration * rates.der if rates.duration else 0.0
        result |= {f"{name}scored": rates.duration, f"{name}wrong": wrong}
    return result


def word_errors(reference: list[dict], segments: list[dict]) -> dict[str, int]:
    """The words of the reference, and how many are wrong with the speakers paired as fits best (cpWER)."""
    import meeteval  # pyright: ignore[reportMissingImports]: an extra

    session = reference[0]["session_id"]
    silent = [{"session_id": session, "speaker": "nobody", "start_time": 0, "end_time": 0.01, "words": ""}]
    errors = meeteval.wer.cpwer(meeteval.io.SegLST(reference), meeteval.io.SegLST(segments or silent))[session]
    return {"words": errors.length, "errors": errors.errors}


def oracle_lanes(transcriber: Transcriber, recording: Recording, activity: Sequence[Turn]) -> dict[str, Lane]:
    """The lanes where each speaker is known to speak; of an overlap the separator's voices, by their embeddings."""
    names = speakers_of(activity)
    active = np.zeros((len(names), round(max(turn.end for turn in activity) / FRAME) + 1), bool)
    for turn in activity:
        active[names.index(turn.speaker), round(turn.start / FRAME):round(turn.end / FRAME)] = True
    two = active.sum(axis=0) > 1
    pieces = transcriber.embedded(recording, active.any(axis=0), two)
    labels = np.array([active[:, first:last].sum(axis=1).argmax() for first, last in pieces.places])
    there = [number for number in range(len(names)) if (labels == number).any()]
    centres = means(pieces.narrow, [labels == number for number in there]) if len(pieces.narrow) else np.zeros((0, 0))
    voice = np.full(active.shape, -1, np.int8)
    for number, (embeddings, _) in pieces.overlaps.items():
        stretch = pieces.stretches[number]
        here = slice(stretch.first, stretch.last)
        speaking = np.flatnonzero(active[:, here].any(axis=1))
        scores = np.array([[float(row @ centres[there.index(name)]) if name in there else 0.0 for row in embeddings]
                           for name in speaking])
        for name, which in zip(speaking, pair(scores), strict=True):
            voice[name, here] = np.where(active[name, here], which, -1)
    return {name: Lane(active[number] & ~two, voice[number]) for number, name in enumerate(names)}


def rates(rows: Iterable[dict[str, Any]]) -> tuple[float, float, float]:
    """DER, DER of the overlapped time, and cpWER, in %, of all `rows` together; NaN where nothing is scored."""
    rows = list(rows)

    def share(part, total):
        whole = sum(row[total] for row in rows)
        return 100 * sum(row[part] for row in rows) / whole if whole else float("nan")

    return share("wrong", "scored"), share("overlapped wrong", "overlapped scored"), share("errors", "words")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table of corpus, condition and overlap: DER, that of the overlapped time, and cpWER of each system."""
    lines = ["| corpus | | overlap | " + " | ".join(f"{system}: DER | overlapped | cpWER" for system in SYSTEMS) + " |",
             "|" + "---|" * (3 + 3 * len(SYSTEMS))]
    groups = list(dict.fromkeys((row["corpus"], row["condition"], row["overlap"]) for row in rows))
    for corpus, condition, overlap in [*groups, *dict.fromkeys((corpus, "all", -1) for corpus, _, _ in groups)]:
        cells = []
        for system in SYSTEMS:
            here = [row for row in rows if row["system"] == system and row["corpus"] == corpus and (
                overlap < 0 or (row["condition"], row["overlap"]) == (condition, overlap))]
            cells += ["-" if np.isnan(value) else f"{value:.1f}" for value in rates(here)]
        lines.append(f"| {corpus} | {condition} | {'' if overlap < 0 else f'{overlap} %'} | {' | '.join(cells)} |")
    return "\n".join(lines)
