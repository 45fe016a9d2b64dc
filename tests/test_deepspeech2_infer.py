"""Long recordings: windows joined at pauses, text cut at pauses, memory."""
import numpy as np
import pytest
import soundfile
from helpers.errors import refused
from mindspore import Tensor

from deepspeech2.src.config import Config
from deepspeech2.src.decoder import greedy
from deepspeech2.src.features import BINS, HOP, RATE
from deepspeech2.src.inference import ROOM, BatchNetwork, Recognizer, batches
from deepspeech2.src.manifest import Utterance, inspect_utterance
from deepspeech2.src.text import Alphabet
from deepspeech2.src.windows import LONGEST, OVERLAP, PAUSE, SEGMENT, WINDOW, Windows, stretches, text_of
from utils.audio.audio_file import AudioError

ALPHABET = Alphabet(Config().labels)
BLANK_SURE = np.log(np.array([0.98, 0.01, 0.01], np.float32))


class Echo:
    """A network whose outputs tell which frame of which recording they are of: loudness, as a label."""

    def __init__(self):
        self.lengths = []

    def __call__(self, features, length):
        self.lengths.append(length)
        assert len(features) == 1 and len(features[0]) <= length and features[0].shape[1] == BINS
        return [features[0][::2, :3]]


def blocks_of(samples, size=RATE):
    return (samples[i:i + size] for i in range(0, len(samples), size))


@pytest.mark.parametrize("seconds", [0.5, 19.9, 20.0, 20.5, 36.0, 36.02, 61.3])
def test_windows_give_every_frame_once_at_one_shape(seconds):
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)
    echo = Echo()
    pieces = list(Windows(echo, len(samples)).run(blocks_of(samples)))
    assert sum(map(len, pieces)) == (len(samples) // HOP + 2) // 2
    assert len(set(echo.lengths)) == 1 and max(map(len, pieces)) <= WINDOW * 50 + 1
    assert len(echo.lengths) == max(1, 1 + -(-(len(samples) - WINDOW * RATE) // ((WINDOW - OVERLAP) * RATE)))


def test_windows_are_joined_where_both_hear_nothing():
    """The label is the second of speech; in the overlap all is uncertain but one frame."""
    class Seconds:
        def __init__(self):
            self.window = 0

        def __call__(self, features, length):
            first, frames = self.window * (WINDOW - OVERLAP) * 50, (len(features[0]) + 1) // 2
            self.window += 1
            log_probs = np.full((frames, 4), np.log(0.25), np.float32)
            log_probs[:, 3] = np.log(0.2 + 0.01 * self.window)             # whose output it is
            quiet = (WINDOW - OVERLAP) * 50 + 77 - first
            if 0 <= quiet < frames:
                log_probs[quiet, 0] = np.log(0.9)
            return [log_probs]

    samples = np.zeros(30 * RATE, np.float32)
    found = np.concatenate(list(Windows(Seconds(), len(samples)).run(blocks_of(samples))))
    change = np.flatnonzero(np.diff(found[:, 3]))
    assert change.tolist() == [(WINDOW - OVERLAP) * 50 + 77 - 1]


def test_text_is_cut_in_pauses_only_and_nothing_is_lost():
    generator = np.random.default_rng(0)
    log_probs = np.log(generator.dirichlet((1, 1, 1), 4000).astype(np.float32))
    log_probs[:, 0] = np.minimum(log_probs[:, 0], np.log(0.4))
    log_probs[700:700 + PAUSE] = log_probs[2500:2600] [:PAUSE] = BLANK_SURE
    pieces = [log_probs[i:i + 123] for i in range(0, 4000, 123)]
    found = list(stretches(pieces))
    assert [first for first, _ in found][1] == 700 + PAUSE - 1 - PAUSE // 2
    np.testing.assert_array_equal(np.concatenate([part for _, part in found]), log_probs)
    assert all(first == sum(len(part) for _, part in found[:i]) for i, (first, _) in enumerate(found))


def test_speech_without_a_pause_is_cut_after_a_minute():
    log_probs = np.full((3 * LONGEST, 3), np.log(1 / 3), np.float32)
    found = list(stretches(log_probs[i:i + 800] for i in range(0, len(log_probs), 800)))
    assert max(len(part) for _, part in found) <= LONGEST + 800 and min(len(part) for _, part in found[:-1]) >= SEGMENT
    assert sum(len(part) for _, part in found) == 3 * LONGEST


class ToneNetwork:
    """Hears A in a tone of 1 kHz and a space in one of 3 kHz; stands for a network."""

    def set_train(self, mode):
        assert not mode

    def __call__(self, features, frames):
        x = features.asnumpy()[:, ::2]
        label = np.where(x[..., 20] > 2, ALPHABET.number["A"], np.where(x[..., 60] > 2, ALPHABET.number[" "], 0))
        log_probs = np.log(np.where(label.T[..., None] == np.arange(len(ALPHABET)), 0.9, 0.1 / 28)).astype(np.float32)
        return Tensor(log_probs), Tensor((frames.asnumpy() + 1) // 2)


def tones(*times, seconds, rate=RATE):
    """A recording with a tone of 1 kHz in these seconds, each followed by a short one of 3 kHz."""
    time = np.arange(int(seconds * rate)) / rate
    samples = 1e-3 * np.random.default_rng(0).standard_normal(len(time))
    for start, stop in times:
        samples += 0.5 * np.sin(2 * np.pi * 1000 * time) * ((time >= start) & (time < stop))
        samples += 0.5 * np.sin(2 * np.pi * 3000 * time) * ((time >= stop + 0.1) & (time < stop + 0.3))
    return samples.astype(np.float32)


@pytest.mark.parametrize("seconds, rate", [(9, RATE), (9, 48000), (45, RATE)])
def test_words_of_a_recording_have_their_times(tmp_path, seconds, rate):
    times = [(start, start + 0.5) for start in range(1, seconds - 1, 3)]
    samples = tones(*times, seconds=seconds, rate=rate)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    recognizer = Recognizer(ToneNetwork(), Config(), lambda log_probs: greedy(log_probs, ALPHABET))
    transcript = recognizer.transcribe(samples, rate, timestamps=True)
    assert transcript == recognizer.transcribe(tmp_path / "a.wav", timestamps=True)
    assert transcript.text == " ".join("A" * len(times)) == " ".join(word.text for word in transcript.words)
    np.testing.assert_allclose([(word.start, word.end) for word in transcript.words], times, atol=0.05)
    starts, ends = zip(*[(segment.start, segment.end) for segment in transcript.segments], strict=True)
    assert starts[0] == 0 and starts[1:] == ends[:-1] and abs(ends[-1] - seconds) < 0.05
    assert recognizer.transcribe(samples, rate).words == []


def test_what_is_no_recording_is_not_transcribed():
    recognizer = Recognizer(ToneNetwork(), Config(), lambda log_probs: "")
    for unfit in (np.zeros(RATE, np.float32), np.ones(100, np.float32), np.ones(RATE, np.int32)):
        with refused(AudioError):
            recognizer.transcribe(unfit)


def written(folder, samples, rate=RATE, seconds=0.0):
    """The utterance of a file of these samples."""
    path = folder / f"{len(list(folder.iterdir()))}.wav"
    soundfile.write(path, samples, rate)
    return Utterance(str(path), "A", seconds)


def test_a_batch_holds_few_long_utterances_and_an_hour_is_run_by_windows(tmp_path):
    class Counting(ToneNetwork):
        def __call__(self, features, frames):
            shapes.append(features.shape[:2])
            return super().__call__(features, frames)

    shapes, batch = [], BatchNetwork(Counting(), Config())
    utterances = [written(tmp_path, tones((1, 1.5), seconds=seconds)) for seconds in (2, 70, 55, 2, 59)]
    found = dict(batch.run_files(utterances))
    assert sorted(found) == list(range(5)) and [len(found[i]) // 50 for i in range(5)] == [2, 70, 55, 2, 59]
    assert all("A" in greedy(found[i], ALPHABET) for i in range(5))
    assert max(size * length for size, length in shapes) <= ROOM and max(length for _, length in shapes) <= 6025
    windows = [shape for shape in shapes if shape[0] == 1]
    assert len(windows) == 5 and len(set(windows)) == 1 and windows[0][1] <= WINDOW * 100 + 1


def test_batches_are_as_large_as_their_room_and_lose_nothing():
    lengths = np.array([100] * 10 + [3000] * 9 + [6000] * 5)
    found = list(batches(lengths, 8))
    assert [first for first, _ in found] == np.cumsum([0] + [size for _, size in found])[:-1].tolist()
    assert sum(found[-1]) >= 24 and all(size * lengths[min(first + size, 24) - 1] <= ROOM for first, size in found)
    assert found[0] == (0, 8) and found[-1][1] == 4


@pytest.mark.parametrize("unfit", [np.zeros(RATE, np.float32), np.full(RATE, 0.25, np.float32)])
def test_what_holds_no_sound_is_not_scored(tmp_path, unfit):
    utterance = written(tmp_path, unfit)
    with refused(AudioError, utterance.audio):
        list(BatchNetwork(ToneNetwork(), Config()).run_files([utterance]))


def test_long_outputs_are_decoded_in_stretches_as_by_infer():
    log_probs = np.full((LONGEST, 3), np.log(1 / 3), np.float32)
    assert text_of(log_probs, lambda part: f" {len(part)} ", " ") == f" {LONGEST} "
    parts = text_of(np.tile(log_probs, (3, 1)), lambda part: f" {len(part)} ", " ").split()
    assert sum(map(int, parts)) == 3 * LONGEST and len(parts) >= 3
    assert text_of(np.tile(log_probs, (3, 1)), lambda part: "他" if len(part) else "", "") == "他" * len(parts)


@pytest.mark.parametrize("said", [9000.0, 0.15, 9.4])
def test_a_manifest_that_says_other_seconds_than_the_file_is_refused(tmp_path, said):
    utterance = written(tmp_path, tones((1, 2), seconds=9), seconds=said)
    with refused(AudioError, utterance.audio, "9.00 s", f"{said:g} seconds"):
        inspect_utterance(utterance, resample=False)
    for right in (0.0, 9.0, 9.2, 8.9):
        inspect_utterance(utterance._replace(seconds=right), resample=False)
