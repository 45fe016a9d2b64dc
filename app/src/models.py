"""What the server's processes compute. MindSpore lives here, and nowhere else in the app.

`initialize` is called once in each process; a model is loaded when it is first asked for. A recording comes as the
bytes of a file of any format: it gets no name on the disk, so nothing of it is left, not even where the process is
killed.
"""
import io
import multiprocessing.connection
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

import conv_tasnet
import deepspeech2
import ecapatdnn
import meeting
from app.src.live import LiveTranscriber
from conv_tasnet.src.level import AUDIBLE, decibels
from meeting.src.checkpoints import CHECKPOINTS
from meeting.src.enrolment import unit_means
from meeting.src.turns import as_json
from utils.audio.audio_file import AudioError, header, read
from utils.errors import RunError

MINUTES = 10        # of the longest recording


class Upload(NamedTuple):
    """A recording as a client sent it."""

    name: str       # what an error calls it
    content: bytes


class Checkpoints(NamedTuple):
    """As the `load` of each model takes them; None: the one that ships."""

    ecapatdnn: str | None = None
    conv_tasnet: str | None = None
    deepspeech2: str | None = None
    live: str | None = None         # of DeepSpeech2, for live text; None: that of `deepspeech2`
    device_target: str = ""


_checkpoints = Checkpoints()
_sessions: dict[str, LiveTranscriber] = {}


def initialize(checkpoints: Checkpoints) -> None:
    """Says what this process works with. It ends when the server does, however that ends."""
    global _checkpoints
    _checkpoints = checkpoints
    # its own lock is shared between processes, and whoever is killed leaves one behind
    tqdm.set_lock(threading.RLock())
    if server := multiprocessing.parent_process():
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # Ctrl-C is for the server
        threading.Thread(target=_exit_with, args=(server.sentinel,), daemon=True).start()


def _exit_with(sentinel):
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@cache
def _verifier():
    return ecapatdnn.load(_checkpoints.ecapatdnn, _checkpoints.device_target)


@cache
def _separator(checkpoint):
    return conv_tasnet.load(checkpoint, _checkpoints.device_target)


def _separator_of_meetings():
    return _separator(_checkpoints.conv_tasnet or CHECKPOINTS["conv_tasnet"])


@cache
def _recognizer(checkpoint):
    return deepspeech2.load(checkpoint, _checkpoints.device_target)


def verify(first: Upload, second: Upload) -> dict:
    """Whether two recordings are of one speaker. AudioError for one that is unfit, as in all that follow."""
    with as_path(first) as first_path, as_path(second) as second_path:
        return _verifier().verify(first_path, second_path)._asdict()


def separate(upload: Upload) -> dict:
    """The voices of a recording, each as the bytes of a wav at the recording's rate, and how loud they are."""
    with as_path(upload) as path:
        _, rate = header(path)
        voices = _separator(_checkpoints.conv_tasnet).separate(path, rate)
        levels = decibels(read(path, rate), voices)
    loudest = max(1.0, float(np.abs(voices).max(initial=0)))     # all are turned down alike, so the levels stay
    return {"rate": rate, "seconds": voices.shape[1] / rate, "voices": [wav(voice / loudest, rate) for voice in voices],
            "levels": levels.tolist(), "audible": (levels > AUDIBLE).tolist()}


def transcribe(upload: Upload) -> dict:
    """What is said in a recording, with the times of words."""
    with as_path(upload) as path:
        transcript = _recognizer(_checkpoints.deepspeech2).transcribe(path, timestamps=True)
        seconds = float(np.divide(*header(path)))
    return {"seconds": seconds, "text": transcript.text, "words": [word._asdict() for word in transcript.words]}


def who_said_what(upload: Upload, num_speakers: int | None, enrolled: list[Upload]) -> dict:
    """Who said what in a recording; enrolled: a voice each, whose name is the file's without its extension."""
    voices: dict[str, list[np.ndarray]] = {}
    for voice in enrolled:
        with as_path(voice) as path:
            voices.setdefault(Path(voice.name).stem, []).append(_verifier().embed(path))
    transcriber = meeting.Transcriber(_verifier(), _separator_of_meetings(),
                                      _recognizer(_checkpoints.deepspeech2), unit_means(voices))
    with as_path(upload) as path:
        result = transcriber.transcribe(path, num_speakers=num_speakers)
    return as_json(result.turns) | {"seconds": result.seconds, "overlap_seconds": result.overlap_seconds,
                                    "real_time_factor": result.real_time_factor}


@contextmanager
def as_path(upload: Upload) -> Iterator[str]:
    """A path of a recording, within the block; errors about it call it by its name. AudioError for one too long."""
    with tempfile.TemporaryFile() as file:      # has no name in any folder
        file.write(upload.content)
        file.flush()
        path = f"/dev/fd/{file.fileno()}"
        try:
            samples, rate = header(path, MINUTES * 60)      # a day of Opus is not decoded to learn that it is one
            if samples > MINUTES * 60 * rate:
                raise AudioError(f"{path}: more than {MINUTES} minutes; cut it")
            yield path
        except AudioError as error:
            raise AudioError(str(error).replace(path, upload.name)) from None


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples (n,) in [-1, 1] as a wav of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, "PCM_16", format="WAV")
    return file.getvalue()


def live_begin(session: str, rate: int) -> None:
    """A client begins to stream samples at `rate` Hz."""
    recognizer = _recognizer(_checkpoints.live or _checkpoints.deepspeech2)
    _sessions[session] = LiveTranscriber(recognizer, rate)


def live_push(session: str, pcm: bytes) -> dict:
    """The next samples, 16 bits little-endian -> what has become final, and what may still change.

    RunError where another process, killed since, knew the session.
    """
    if session not in _sessions:
        raise RunError("the process that computes was killed (out of memory?); begin again")
    return _sessions[session].push(pcm)._asdict()


def live_end(session: str, whole: bool) -> dict:
    """The session is over, and forgotten; `whole`: the rest is asked for."""
    live = _sessions.pop(session, None)
    return live.finish()._asdict() if live and whole else {"final": "", "partial": ""}


def load_all() -> None:
    """Loads what recordings need."""
    _verifier()
    _separator(_checkpoints.conv_tasnet)
    _separator_of_meetings()
    _recognizer(_checkpoints.deepspeech2)


def load_live() -> None:
    """Loads the live recogniser and compiles what it needs, so that nobody waits for it while speaking."""
    live_begin("warm", 16000)
    noise = np.random.default_rng(1).normal(0, 1000, 16000).astype("<i2").tobytes()
    for _ in range(16):
        live_push("warm", noise)
    live_end("warm", True)
