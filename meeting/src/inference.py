"""Who said what: the three models over one recording.

`load` is what infer.py, eval.py and other programs begin with. A recording is read three times, a minute of it in
memory: for the levels, from which follows when somebody speaks; with the separator, for when two do and whose voices
they are; and with the recogniser, for what each says. Where one speaks, all work on the recording as it is; only where
two do, on the separated voices.

Letters: n samples at RATE; C voices; T frames; m pieces; E embedding size; k speakers.
"""
import itertools
import time
from typing import Any, NamedTuple

import numpy as np
import soxr

import conv_tasnet
import deepspeech2
import ecapatdnn
from meeting.src.checkpoints import CHECKPOINTS
from meeting.src.clustering import cluster, means, pair
from meeting.src.enrolment import enrolled_voices
from meeting.src.overlap import find_overlap, find_voices
from meeting.src.sound import RATE, Sound
from meeting.src.turns import Turn, Word, speakers_of
from utils import ranges
from utils.audio import activity
from utils.audio.activity import FRAME, SAMPLES
from utils.audio.audio_file import Source
from utils.audio.fitness import FAINT
from utils.audio.recording import Recording, open_recording
from utils.errors import MismatchError
from utils.files import StrPath
from utils.progress import progress

PIECE, HOP = 1.5, 0.75      # seconds that an embedding is of, and from one to the next
SHORTEST = 0.5              # seconds: shorter stretches take the speaker of their neighbour
AROUND = 0.5                # seconds of the neighbourhood that short overlaps are embedded with
NEIGHBOUR = 0.1             # added to the cosine of a speaker who also speaks just before or after an overlap
DIFFERENT = -0.1            # how much less alike than each with its speaker two voices must be to be two
PAUSE = 0.5                 # seconds of silence that end a turn
BRIEFEST, LONGEST = 0.1, 30     # seconds of a turn: what is shorter is none, what is longer is cut
THRESHOLD = 0.6             # cosine of the means of two clusters from which on they are one speaker
BATCH = 16                  # pieces embedded together


class Stretch(NamedTuple):
    """Frames `first` to `last` in which one speaks, or two."""

    first: int
    last: int
    two: bool


class Pieces(NamedTuple):
    """What is known of the voices of a recording before they are compared."""

    speech: np.ndarray          # (T,) bool
    stretches: list[Stretch]
    places: np.ndarray          # (m, 2): first and last frame of each piece of one voice
    wide: np.ndarray            # (m, E) its embedding,
    narrow: np.ndarray          # (m, E) and of what the separator's rate leaves of it
    overlaps: dict[int, tuple[np.ndarray, np.ndarray]]      # by stretch: embeddings (C, E), who speaks when (C, T)


class Lane(NamedTuple):
    """Where a speaker is found."""

    alone: np.ndarray           # (T,) bool: in the mixture
    voice: np.ndarray           # (T,) the number of the separated voice, -1 where in none


class WhoSaidWhat(NamedTuple):
    """Who said what in a recording."""

    turns: list[Turn]           # in the order of their beginnings
    seconds: float              # of the recording
    speech_seconds: float       # of it in which somebody speaks,
    overlap_seconds: float      # and in which two do
    elapsed: float              # seconds that it took

    @property
    def speakers(self) -> list[str]:
        """In the order in which they begin."""
        return speakers_of(self.turns)

    @property
    def real_time_factor(self) -> float:
        """How long it took per second of the recording."""
        return self.elapsed / self.seconds


class Transcriber:
    """Who said what, by three trained networks. MismatchError for a separator of fewer than two speakers."""

    rate = RATE     # Hz

    def __init__(self, verifier: ecapatdnn.Verifier, separator: conv_tasnet.Separator,
                 recognizer: deepspeech2.Recognizer, voices: dict[str, np.ndarray] | None = None):
        if separator.config.C < 2:
            raise MismatchError(f"separator: its network gives {separator.config.C} speaker, expected two or more, for "
                                "overlaps; name another checkpoint")
        self.verifier, self.separator, self.recognizer = verifier, separator, recognizer
        self.voices = voices or {}      # {name: embedding (E,)}
        self.fewest = round(SHORTEST * RATE)

    def transcribe(self, source: Source | Recording, rate: int = RATE, num_speakers: int | None = None,
                   separate: bool = True) -> WhoSaidWhat:
        """Who said what in a recording: a file, or samples (n,) or (n, channels) in [-1, 1] at `rate` Hz.

        num_speakers: 1 to 100, None where it is unknown. separate: False leaves overlaps to one speaker.
        AudioError for a recording that is unfit, SettingError for another number.
        """
        started = time.monotonic()
        count = None if num_speakers is None else int(ranges.number("num_speakers", ranges.SPEAKERS, int)(num_speakers))
        recording = source if isinstance(source, Recording) else self.open(source, rate)
        pieces = self.pieces(recording, separate)
        lanes = self.lanes(pieces, count)
        turns = self.turns(recording, lanes)
        overlap = sum(stretch.last - stretch.first for stretch in pieces.stretches if stretch.two) * FRAME
        return WhoSaidWhat(turns, recording.samples / recording.rate, float(pieces.speech.sum()) * FRAME, overlap,
                           time.monotonic() - started)

    def open(self, source: Source, rate: int = RATE) -> Recording:
        """A recording as for `transcribe`, measured."""
        return open_recording(source, rate, self.fewest, RATE)

    def pieces(self, recording: Recording, separate: bool = True) -> Pieces:
        """The stretches of speech of a recording, and the embeddings of their pieces."""
        speech = activity.find_speech(activity.frame_powers(recording.blocks(RATE)))
        two = np.zeros(len(speech), bool)
        if separate:
            with _bar("overlap", recording) as bar:
                two = find_overlap(self._sound(recording), speech, bar.update)
        return self.embedded(recording, speech, two)

    def embedded(self, recording: Recording, speech: np.ndarray, two: np.ndarray) -> Pieces:
        """The pieces of a recording of which is known where somebody speaks, and where two do: (T,) bool."""
        sound = self._sound(recording)
        stretches = _stretches(speech, two, {edge // SAMPLES for edge in sound.edges})
        with _bar("voices", recording) as bar:
            return self._embedded(sound, speech, stretches, bar)

    def _embedded(self, sound, speech, stretches, bar):
        places, overlaps, waiting = [], {}, []
        wide, narrow = ([np.zeros((0, self.verifier.config.emb_size), np.float32)] for _ in range(2))
        any_two = any(stretch.two for stretch in stretches)

        def embed_waiting():
            if waiting:
                wide.append(self.verifier.embed(waiting, RATE))
                if any_two:
                    narrow.append(self.verifier.embed([self._narrowed(samples) for samples in waiting], RATE))
                waiting.clear()

        for number, stretch in enumerate(stretches):
            if stretch.two:
                overlaps[number] = self._embedded_voices(sound, stretch, speech)
            for place in [] if stretch.two else _places(stretch):
                samples = sound.mixture(place[0] * SAMPLES, place[1] * SAMPLES)
                if np.abs(samples).max() > FAINT:
                    places.append(place)
                    waiting.append(samples)
                if len(waiting) == BATCH:
                    embed_waiting()
            bar.update(int(stretch.last * FRAME) - bar.n)
        embed_waiting()
        return Pieces(speech, stretches, np.array(places, int).reshape(-1, 2), np.concatenate(wide),
                      np.concatenate(narrow), overlaps)

    def _embedded_voices(self, sound, stretch, speech):
        """(embeddings (C, E), who speaks when (C, T)) of a stretch where two speak; 0 for a voice without sound."""
        first, last = stretch.first, stretch.last
        if last - first < PIECE / FRAME:        # short: with its neighbourhood, where the same voices go on
            begin, end = sound.chunk_around(first * SAMPLES)
            first = max(begin // SAMPLES, first - round(AROUND / FRAME))
            last = min(end // SAMPLES, len(speech), last + round(AROUND / FRAME))
        voices = sound.voices(first * SAMPLES, last * SAMPLES)
        heard = [voice if np.abs(voice).max() > FAINT else None for voice in voices]
        embeddings = np.zeros((len(voices), self.verifier.config.emb_size), np.float32)
        for row, voice in zip(embeddings, heard, strict=True):
            if voice is not None:
                row[:] = self.verifier.embed(voice, RATE)
        inside = slice((stretch.first - first) * SAMPLES, (stretch.last - first) * SAMPLES)
        return embeddings, find_voices(voices[:, inside])

    def lanes(self, pieces: Pieces, num_speakers: int | None = None) -> dict[str, Lane]:
        """{name: where that speaker is found}, in the order in which they begin."""
        if not len(pieces.places):
            return {}
        labels = cluster(pieces.wide, THRESHOLD, num_speakers)
        count = labels.max() + 1
        groups = [labels == label for label in range(count)]
        frames = len(pieces.speech)
        alone, voice = np.zeros((count, frames), bool), np.full((count, frames), -1, np.int8)
        centres = pieces.places.mean(axis=1)
        for stretch in pieces.stretches:
            if not stretch.two:
                here = np.arange(stretch.first, stretch.last)
                alone[labels[_nearest(centres, here)], here] = True
        narrow = means(pieces.narrow if len(pieces.narrow) else pieces.wide, groups)
        for number, (embeddings, active) in pieces.overlaps.items():
            stretch = pieces.stretches[number]
            here = slice(stretch.first, stretch.last)
            scores = embeddings @ narrow.T
            if not _are_two(embeddings, scores):
                frames_here = np.arange(stretch.first, stretch.last)
                alone[labels[_nearest(centres, frames_here)], frames_here] = True
                continue
            for frame in (stretch.first - 1, stretch.last):
                if 0 <= frame < frames:
                    scores[:, alone[:, frame]] += NEIGHBOUR
            for which, speaker in enumerate(pair(scores)):
                if speaker >= 0:
                    by_itself = active[which] & (active.sum(axis=0) == 1)
                    alone[speaker, here] |= by_itself
                    voice[speaker, here][active[which] & ~by_itself] = which
        names = self._names(means(pieces.wide, groups))
        return {name: Lane(*lane) for name, lane in zip(names, zip(alone, voice, strict=True), strict=True)}

    def _names(self, centroids):
        """Of each speaker, from the mean embeddings (k, E): that of an enrolled voice, or a number that none has."""
        free = (name for number in itertools.count(1) if (name := f"speaker{number}") not in self.voices)
        names = list(itertools.islice(free, len(centroids)))
        if self.voices:
            scores = centroids @ np.stack(list(self.voices.values())).T
            for speaker, voice in enumerate(pair(scores)):
                if voice >= 0 and scores[speaker, voice] >= self.verifier.threshold:
                    names[speaker] = list(self.voices)[voice]
        return names

    def turns(self, recording: Recording, lanes: dict[str, Lane]) -> list[Turn]:
        """What each of the `lanes` of a recording says, turn by turn."""
        found = sorted((first, last, name) for name, lane in lanes.items()
                       for first, last in _turns(lane.alone | (lane.voice >= 0)))
        sound, turns, bar = self._sound(recording), [], _bar("words", recording)
        for first, last, name in found:
            bar.update(max(0, int(first * FRAME) - bar.n))
            samples = _turn_samples(sound, lanes, name, first, last)
            text, words = "", []
            if np.abs(samples).max() > FAINT:
                transcript = self.recognizer.transcribe(samples, RATE, timestamps=True)
                text, words = transcript.text, transcript.words
            start = first * FRAME
            turns.append(Turn(round(start, 2), round(last * FRAME, 2), name, text, tuple(
                Word(round(start + word.start, 2), round(start + word.end, 2), word.text) for word in words)))
        bar.close()
        return turns

    def _narrowed(self, samples):
        """Samples (n,) without the frequencies that the separator takes away."""
        if self.separator.rate >= RATE:
            return samples
        return soxr.resample(soxr.resample(samples, RATE, self.separator.rate), self.separator.rate, RATE)

    def _sound(self, recording):
        return Sound(recording.blocks(RATE), recording.length(RATE),
                     lambda samples: self.separator.separate(samples, RATE))


def _bar(title, recording):
    """A progress bar over the seconds of a recording, where they are many."""
    seconds = round(recording.samples / recording.rate)
    return progress(title=title, unit="s", total=seconds, disable=seconds < 60)


def _are_two(embeddings, scores):
    """Whether the voices (C, E) of an overlap are two speakers, by their scores (C, k) with all.

    Of one speaker in noise or a room the separator may make two voices: they are more alike than each is to a speaker.
    """
    speakers = pair(scores)
    if scores.shape[1] < 2:
        return False
    paired = min(float(scores[which, speaker]) for which, speaker in enumerate(speakers) if speaker >= 0)
    alike = max(float(first @ second) for i, first in enumerate(embeddings) for second in embeddings[i + 1:])
    return paired - alike > DIFFERENT


def _stretches(speech, two, edges):
    """The stretches of speech, cut where one voice becomes two, and where another chunk is separated."""
    state = np.where(two & speech, 2, speech.astype(int))
    changes = set(np.flatnonzero(np.diff(state)) + 1) | {edge for edge in edges if edge < len(two) and two[edge]}
    bounds = [0, *sorted(changes), len(state)]
    return [Stretch(int(first), int(last), state[first] == 2)
            for first, last in zip(bounds[:-1], bounds[1:], strict=True) if last > first and state[first]]


def _places(stretch):
    """(first frame, last) of the pieces of a stretch, which overlap by half; [] of a short one."""
    length, size = stretch.last - stretch.first, round(PIECE / FRAME)
    if length < SHORTEST / FRAME:
        return []
    count = max(1, 1 + round((length - size) / (HOP / FRAME)))
    starts = np.linspace(stretch.first, max(stretch.first, stretch.last - size), count).astype(int)
    return [(int(start), int(min(stretch.last, start + size))) for start in starts]


def _nearest(centres, frames):
    """The piece whose centre, of ascending `centres` (m,), is nearest to each of `frames`."""
    after = np.searchsorted(centres, frames).clip(1, max(1, len(centres) - 1))
    before = after - 1
    after = np.minimum(after, len(centres) - 1)
    return np.where(frames - centres[before] <= centres[after] - frames, before, after)


def _turns(active):
    """(first frame, last) of the turns of one speaker, who is `active` (T,)."""
    for first, last in activity.runs(activity.without_short(activity.filled(active, PAUSE), BRIEFEST)):
        parts = -(-(last - first) // round(LONGEST / FRAME))
        bounds = np.linspace(first, last, parts + 1).astype(int)
        yield from zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)


def _turn_samples(sound, lanes, name, first, last):
    """The sound of one speaker from frame `first` to `last`: the mixture, or a separated voice where two speak."""
    here = slice(first, last)
    lane = lanes[name]
    others = np.any([(other.alone | (other.voice >= 0))[here] for key, other in lanes.items() if key != name], axis=0) \
        if len(lanes) > 1 else np.zeros(last - first, bool)
    voice = lane.voice[here]
    samples = _weights(lane.alone[here] | (voice < 0) & ~others) * sound.mixture(first * SAMPLES, last * SAMPLES)
    for start, stop in activity.runs(voice >= 0):
        voices = sound.voices((first + start) * SAMPLES, (first + stop) * SAMPLES)
        inside = slice(start * SAMPLES, stop * SAMPLES)
        for which in np.unique(voice[start:stop]):
            samples[inside] += _weights(voice[start:stop] == which) * voices[which]
    return samples


def _weights(active):
    """1 in the samples of `active` frames (T,), 0 in others, and a short slope between them."""
    edges = np.arange(len(active)) + 0.5
    return np.interp(np.arange(len(active) * SAMPLES) / SAMPLES, edges, active).astype(np.float32)


def load(verifier: StrPath | None = None, separator: StrPath | None = CHECKPOINTS["conv_tasnet"],
         recognizer: StrPath | None = None, device_target: str = "", enrolled: StrPath | None = None,
         **settings: Any) -> Transcriber:
    """A Transcriber, ready to work.

    `verifier`, `separator`, `recognizer`: checkpoints, as the `load` of ecapatdnn, conv_tasnet and deepspeech2 takes
    them; None for those of no name that ship. `enrolled`: voices whose names are known, see enrolment.py. `settings`:
    of the recogniser, such as lm_path="lm.arpa". UserError where one of them does not fit.

        transcriber = meeting.load()
        for turn in transcriber.transcribe("meeting.wav").turns:
            print(turn.start, turn.speaker, turn.text)
    """
    models = ecapatdnn.load(verifier, device_target), conv_tasnet.load(separator, device_target), \
        deepspeech2.load(recognizer, device_target, **settings)
    return Transcriber(*models, enrolled_voices(enrolled, models[0]) if enrolled else None)
