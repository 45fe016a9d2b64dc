"""Who said what: voices are found, told apart and written down as they are, whatever surrounds them."""
import json

import numpy as np
import pytest
from helpers.errors import refused

from meeting.src import activity
from meeting.src.clustering import cluster, pair
from meeting.src.sound import CHUNK, RATE, Sound
from meeting.src.turns import Turn, Word, as_json, read_rttm, read_seglst, speakers_of, write_rttm, write_seglst
from utils.errors import ContentError

TURNS = [Turn(0.5, 3.25, "anna", "ONE TWO", (Word(0.6, 1.0, "ONE"), Word(1.5, 2.0, "TWO"))),
         Turn(2.75, 4.0, "Bo Li", "THREE", (Word(3.0, 3.5, "THREE"),)), Turn(6.0, 7.125, "anna", "")]


def test_rttm_has_start_and_length_and_is_read_back(tmp_path):
    write_rttm(tmp_path / "x.rttm", {"x": TURNS, "y z": TURNS[:1]})
    rows = [line.split() for line in (tmp_path / "x.rttm").read_text().splitlines()]
    assert [row[:3] for row in rows] == [["SPEAKER", "x", "1"]] * 3 + [["SPEAKER", "y_z", "1"]]
    assert [(float(row[3]), float(row[3]) + float(row[4]), row[7]) for row in rows[:3]] == [
        (0.5, 3.25, "anna"), (2.75, 4.0, "Bo_Li"), (6.0, 7.125, "anna")]
    assert [(turn.start, turn.end) for turn in read_rttm(tmp_path / "x.rttm")["x"]] == [
        (turn.start, turn.end) for turn in TURNS]
    (tmp_path / "x.rttm").write_text("SPEAKER x 1 half 2\n")
    with refused(ContentError, "x.rttm", 1):
        read_rttm(tmp_path / "x.rttm")


def test_seglst_is_a_list_of_segments_and_is_read_back(tmp_path):
    write_seglst(tmp_path / "x.json", {"x": TURNS})
    rows = json.loads((tmp_path / "x.json").read_text())
    assert rows[1] == {"session_id": "x", "speaker": "Bo Li", "start_time": 2.75, "end_time": 4.0, "words": "THREE"}
    assert read_seglst(tmp_path / "x.json") == rows
    (tmp_path / "x.json").write_text('{"words": 1}')
    with refused(ContentError, "x.json"):
        read_seglst(tmp_path / "x.json")


def test_json_holds_speakers_in_their_order_and_word_times():
    assert speakers_of(TURNS[::-1]) == ["anna", "Bo Li"]
    assert json.loads(json.dumps(as_json(TURNS)))["turns"][0]["words"][1] == {"start": 1.5, "end": 2.0, "text": "TWO"}


@pytest.fixture
def voices():
    """(embeddings (m, 32) of length 1 of pieces of four voices, whose each is (m,))."""
    rng = np.random.default_rng(0)
    whose = np.repeat([0, 1, 0, 2, 1, 3, 0], [8, 5, 9, 12, 7, 10, 3])
    embeddings = rng.normal(size=(4, 32))[whose] + 0.6 * rng.normal(size=(len(whose), 32))
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True), whose


@pytest.mark.parametrize("known", [None, 4])
def test_voices_are_told_apart_and_numbered_as_they_begin(voices, known):
    embeddings, whose = voices
    np.testing.assert_array_equal(cluster(embeddings, 0.65, known), whose)


def test_a_given_number_of_speakers_is_kept(voices):
    embeddings, whose = voices
    assert [len(np.unique(cluster(embeddings, 0.65, count))) for count in (1, 2, 3)] == [1, 2, 3]
    assert cluster(embeddings[whose == 2], 0.65).max() == 0     # one voice alone


def test_more_pieces_than_are_compared_get_the_same_speakers(voices, monkeypatch):
    embeddings, whose = voices
    monkeypatch.setattr("meeting.src.clustering.MOST", 27)
    np.testing.assert_array_equal(cluster(embeddings, 0.65), whose)


def test_two_voices_at_once_are_two_speakers():
    assert pair(np.array([[0.9, 0.8, 0.1], [0.85, 0.2, 0.1]])).tolist() == [1, 0]
    assert sorted(pair(np.array([[0.3], [0.7]])).tolist()) == [-1, 0]


def speech(seconds, rng):
    """Noise whose level goes up and down as that of syllables does."""
    moments = np.arange(int(seconds * RATE)) / RATE
    return (0.1 * (1.2 + np.sin(2 * np.pi * 4 * moments)) * rng.normal(size=len(moments))).astype(np.float32)


def test_speech_is_where_it_was_put_however_much_silence_surrounds_it():
    rng = np.random.default_rng(1)
    parts = [np.zeros(RATE, np.float32), speech(3, rng), np.zeros(RATE, np.float32), speech(2, rng)]
    samples = np.concatenate([*parts, np.zeros(RATE, np.float32)])
    active = activity.find_speech(activity.frame_powers([samples]))
    assert activity.runs(active) == pytest.approx(np.array([[100, 400], [500, 700]]), abs=15)
    padded = np.concatenate((np.zeros(30 * RATE, np.float32), samples, np.zeros(50 * RATE, np.float32)))
    moved = activity.find_speech(activity.frame_powers([padded]))[3000:3000 + len(active)]
    np.testing.assert_array_equal(moved, active)


def test_speech_is_found_in_noise():
    rng = np.random.default_rng(2)
    samples = 0.02 * rng.normal(size=20 * RATE).astype(np.float32)
    samples[5 * RATE:9 * RATE] += speech(4, rng)
    samples[12 * RATE:15 * RATE] += speech(3, rng)
    assert activity.runs(activity.find_speech(activity.frame_powers([samples]))) == pytest.approx(
        np.array([[500, 900], [1200, 1500]]), abs=20)


def test_levels_do_not_depend_on_the_blocks():
    samples = np.random.default_rng(3).normal(size=RATE + 77).astype(np.float32)
    np.testing.assert_array_equal(activity.frame_powers([samples]), activity.frame_powers(np.array_split(samples, 13)))


def ramp(seconds):
    return np.arange(int(seconds * RATE), dtype=np.float32)


def sound_of(samples, seen):
    def separate(chunk):
        seen.append(len(chunk))
        return np.stack([chunk, -chunk])
    return Sound(np.array_split(samples, max(1, len(samples) // RATE)), len(samples), separate)


@pytest.mark.parametrize("seconds", [3.3, 16, 16.1, 26, 50.7])
def test_the_voices_of_every_sample_are_those_of_its_chunk(seconds):
    samples, seen = ramp(seconds), []
    sound = sound_of(samples, seen)
    np.testing.assert_array_equal(sound.voices(0, len(samples)), [samples, -samples])
    assert set(seen) == {CHUNK * RATE} and len(seen) == sound.chunks
    places = activity.chunks_of(sound)
    assert places[0][0] == 0 and places[-1][1] == len(samples) and all(
        sound.chunk_around(first) == (first, last) == sound.chunk_around(last - 1) for first, last in places)


def test_an_hour_is_read_once_and_not_kept():
    samples = np.zeros(RATE, np.float32)
    sound = Sound((samples for _ in range(3600)), 3600 * RATE, lambda chunk: np.stack([chunk, chunk]))
    for second in range(0, 3600, 10):
        assert sound.voices(second * RATE, (second + 10) * RATE).shape == (2, 10 * RATE)
        assert len(sound.held) <= 100 * RATE and len(sound.separated) <= 6
    assert sound.mixture(3600 * RATE - 5, 3600 * RATE + 5).tolist() == [0] * 10


def test_two_speak_where_both_voices_are_loud_at_once():
    rng = np.random.default_rng(4)
    first, second = np.zeros((2, 12 * RATE), np.float32)
    first[RATE:7 * RATE], second[5 * RATE:11 * RATE] = speech(6, rng), speech(6, rng)
    sound = Sound([first + second], len(first), lambda chunk: np.pad(
        np.stack([first, second]), ((0, 0), (0, len(chunk) - len(first)))))
    talk = activity.find_speech(activity.frame_powers([first + second]))
    two = activity.find_overlap(sound, talk, lambda _: None)
    assert activity.runs(two) == pytest.approx(np.array([[500, 700]]), abs=45)
    voices = np.stack([first, second])
    assert activity.find_voices(voices[:, 5 * RATE:7 * RATE])[:, 20:-20].all()
    assert activity.find_voices(voices[:, 2 * RATE:4 * RATE]).all(axis=1).tolist() == [True, False]
