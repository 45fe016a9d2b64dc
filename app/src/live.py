"""Text that grows while somebody speaks.

A unidirectional network goes on from step to step. A bidirectional one needs the whole of an utterance, so what was
said since the last pause is transcribed again and again. Either way the words since the last cut are `partial`, for
more sound may change them, and become `final` at a pause; who speaks without one for LONGEST seconds is cut between two
words.
"""
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import soxr

import deepspeech2
from deepspeech2.src.features import RATE
from utils.audio.audio_file import AudioError

STEP = 0.5          # seconds between two looks for text
PAUSE = 1.2         # seconds after the last word that make it final
LONGEST = 14.0      # seconds that are held: the network is compiled for 1, 2, 4, 8 and 16
SILENT = 2.0        # seconds without a word that are forgotten, but for the last KEPT
KEPT = 0.5
LEAST_RMS = 0.003   # of the loudest twentieth of a second; below, nobody speaks
LEAST_RATIO = 3.0   # of its RMS to that of the quietest tenth; below, it is noise, of which words would be made


class Update(NamedTuple):
    """What is new in the text of a session. Each begins with the space that separates it from the text before."""

    final: str          # what has become final since the last update
    partial: str        # what follows it so far


class Word(Protocol):
    """A word of the recogniser's, with its times in seconds."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


class LiveTranscriber:
    """One client's speech, samples at `rate` Hz as they arrive."""

    def __init__(self, recognizer: "deepspeech2.Recognizer", rate: int):
        self.resampler = soxr.ResampleStream(rate, RATE, 1, dtype="float32")
        self.decoder = OfflineDecoder(recognizer) if recognizer.config.bidirectional else StreamingDecoder(recognizer)
        self.space = recognizer.alphabet.space
        self.has_final = False      # whether some text is final

    def push(self, pcm: bytes) -> Update:
        """The next samples, 16 bits little-endian."""
        self._add(pcm)
        words = self.decoder.words()
        cut = find_cut(words, self.decoder.seconds)
        if cut is None:
            return self._update([], words)
        count, seconds = cut
        self.decoder.drop(seconds)
        return self._update(words[:count], words[count:])

    def finish(self) -> Update:
        """Nothing follows: what was partial is final."""
        self._add(b"", last=True)
        self.decoder.finish()
        return self._update(self.decoder.words(), [])

    def _add(self, pcm, last=False):
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 2 ** 15
        self.decoder.add(self.resampler.resample_chunk(samples, last=last))

    def _update(self, final, partial):
        text = self._text(final)
        self.has_final = self.has_final or bool(final)
        return Update(text, self._text(partial))

    def _text(self, words):
        """Words as they follow what is final."""
        before = self.space if self.has_final and words else ""
        return before + self.space.join(word.text for word in words)


class OfflineDecoder:
    """Samples since the last cut, transcribed as a whole by a network that needs the whole."""

    def __init__(self, recognizer: "deepspeech2.Recognizer"):
        self.recognizer, self.samples = recognizer, np.zeros(0, np.float32)

    @property
    def seconds(self) -> float:
        """How much is held."""
        return len(self.samples) / RATE

    def add(self, samples: np.ndarray) -> None:
        """The next samples (n,)."""
        self.samples = np.concatenate((self.samples, samples))

    def words(self) -> Sequence[Word]:
        """What is said in it."""
        if len(self.samples) < self.recognizer.fewest or not has_speech(self.samples):
            return []
        try:
            return self.recognizer.transcribe(self.samples, RATE, timestamps=True).words
        except AudioError:      # silence
            return []

    def drop(self, seconds: float) -> None:
        """Forgets the beginning."""
        self.samples = self.samples[round(seconds * RATE):]

    def finish(self) -> None:
        """Nothing follows."""


class StreamingDecoder:
    """Labels since the last cut, from a network that goes on from step to step."""

    def __init__(self, recognizer: "deepspeech2.Recognizer"):
        self.recognizer = recognizer
        self.stepper = recognizer.stream(STEP).stepper
        self.frame = self.stepper.steps.length[1] / RATE        # seconds of a row
        self.labels: list[np.ndarray] = []

    @property
    def seconds(self) -> float:
        """How much is held."""
        return sum(map(len, self.labels)) * self.frame

    def add(self, samples: np.ndarray) -> None:
        """The next samples (n,)."""
        self.labels += [rows[:, 0] for rows in self.stepper.push(samples)]

    def words(self) -> Sequence[Word]:
        """What is said in it."""
        return [word for segment in self.recognizer.decode_pieces(self.labels, timestamps=True)
                for word in segment.words]

    def drop(self, seconds: float) -> None:
        """Forgets the beginning."""
        self.labels = [np.concatenate(self.labels)[round(seconds / self.frame):]]

    def finish(self) -> None:
        """Nothing follows: the last labels come."""
        self.labels += [rows[:, 0] for rows in self.stepper.flush()]


def has_speech(samples: np.ndarray) -> bool:
    """Whether somebody may speak in samples (n,): they are loud enough, and not always alike."""
    parts = samples[:len(samples) // 800 * 800].reshape(-1, 800)
    levels = np.sqrt(np.mean(parts ** 2, axis=1))
    return bool(len(levels)) and levels.max() > max(LEAST_RMS, LEAST_RATIO * np.quantile(levels, 0.1))


def find_cut(words: Sequence[Word], seconds: float) -> tuple[int, float] | None:
    """(how many words are final, seconds that are done with) of the `seconds` that are held; None: wait for more."""
    if not words:
        return (0, seconds - KEPT) if seconds > SILENT else None
    if seconds - words[-1].end >= PAUSE:
        return len(words), seconds - KEPT
    if seconds < LONGEST:
        return None
    gaps = [(after.start - before.end, count) for count, (before, after) in
            enumerate(zip(words[:-1], words[1:], strict=True), 1) if before.end > LONGEST / 3]
    if not gaps:
        return len(words), seconds
    count = max(gaps)[1]
    return count, (words[count - 1].end + words[count].start) / 2
