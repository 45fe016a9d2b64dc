"""Who said what: voices are found, told apart and written down as they are, whatever surrounds them."""
import json
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from helpers.sounds import speech

import meeting
from meeting import eval as score_meetings
from meeting import infer, prepare
from meeting.src import corpora, evaluation, overlap
from meeting.src.clustering import cluster, pair
from meeting.src.enrolment import enrolled_voices
from meeting.src.evaluation import diarization_times, word_errors
from meeting.src.inference import Pieces, Stretch
from meeting.src.sessions import read_sessions
from meeting.src.simulation import Utterance, simulate, speech_of
from meeting.src.sound import CHUNK, RATE, Sound
from meeting.src.turns import Turn, Word, as_json, read_rttm, read_seglst, seglst, speakers_of, write_rttm, write_seglst
from utils.audio import activity
from utils.audio.audio_file import AudioError, read, write_wav
from utils.errors import ContentError, MismatchError, NotFoundError, OutputError, SettingError

SAMPLE = ROOT / "meeting" / "samples" / "meeting.flac"

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


def small_transcriber(voices, separated=2):
    """Knows `voices`; its networks do nothing."""
    verifier, separator = SimpleNamespace(threshold=0.5), SimpleNamespace(config=SimpleNamespace(C=separated))
    return meeting.Transcriber(verifier, separator, None, voices)


def test_a_number_is_nobodys_name():
    """Where a voice is enrolled as speaker1, whether it is heard or not, all speakers are there, and only it is so."""
    axes = np.eye(4, 8, dtype=np.float32)
    embeddings = axes[[0] * 5 + [1] * 5]
    pieces = Pieces(np.ones(1000, bool), [Stretch(0, 1000, False)],
                    np.array([[100 * i, 100 * i + 100] for i in range(10)]), embeddings, embeddings[:0], {})
    for enrolled, expected in [({"speaker1": axes[1], "speaker3": axes[3]}, ["speaker2", "speaker1"]),
                               ({"speaker1": axes[3]}, ["speaker2", "speaker3"]), ({}, ["speaker1", "speaker2"])]:
        lanes = small_transcriber(enrolled).lanes(pieces, 2)
        assert list(lanes) == expected
        assert [lane.alone.sum() for lane in lanes.values()] == pytest.approx([500, 500], abs=10)


@pytest.mark.parametrize("count", [0, 1.5, 101, "two"])
def test_what_is_no_number_of_speakers_is_refused_as_by_the_program(count):
    with refused(SettingError, "num_speakers", repr(count), "1 to 100"):
        small_transcriber({}).transcribe(np.ones(RATE, np.float32), num_speakers=count)


def test_a_separator_of_one_voice_is_refused():
    with refused(MismatchError, "separator", "1 speaker"):
        small_transcriber({}, separated=1)


def test_two_voices_at_once_are_two_speakers():
    assert pair(np.array([[0.9, 0.8, 0.1], [0.85, 0.2, 0.1]])).tolist() == [1, 0]
    assert sorted(pair(np.array([[0.3], [0.7]])).tolist()) == [-1, 0]


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
    places = overlap.chunks_of(sound)
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
    two = overlap.find_overlap(sound, talk, lambda _: None)
    assert activity.runs(two) == pytest.approx(np.array([[500, 700]]), abs=45)
    longer = Sound([first + second], len(first) + 1, lambda chunk: np.pad(      # as where it is resampled
        np.stack([first, second]), ((0, 0), (0, len(chunk) - len(first)))))
    np.testing.assert_array_equal(overlap.find_overlap(longer, talk, lambda _: None), two)
    voices = np.stack([first, second])
    assert overlap.find_voices(voices[:, 5 * RATE:7 * RATE])[:, 20:-20].all()
    assert overlap.find_voices(voices[:, 2 * RATE:4 * RATE]).all(axis=1).tolist() == [True, False]


def utterances(rng, speakers, count):
    return {name: [Utterance(name, "A B", speech(rng.uniform(1.5, 4), rng)) for _ in range(count)] for name in speakers}


@pytest.mark.parametrize("overlap", [0, 0.2, 0.4])
def test_a_simulated_meeting_has_the_overlap_and_is_the_same_again(overlap):
    def make():
        rng = np.random.default_rng(5)
        return simulate(utterances(rng, "abc", 12), overlap, 50, np.random.default_rng(6))
    made, again = make(), make()
    np.testing.assert_array_equal(made.samples, again.samples)
    speaking = np.sum([np.abs(source) > 0 for source in made.sources.values()], axis=0)
    assert speaking.max() <= 2 and abs((speaking > 1).sum() / (speaking > 0).sum() - overlap) < 0.03
    np.testing.assert_allclose(made.samples, np.sum(list(made.sources.values()), axis=0), atol=1e-6)
    for turn in made.activity:
        source = made.sources[turn.speaker]
        assert np.abs(source[int(turn.start * RATE):int(turn.end * RATE)]).mean() > 0.005
    assert {turn.speaker for turn in made.spoken} == set("abc") and all(
        first.speaker != second.speaker for first, second in zip(made.spoken, made.spoken[1:], strict=False))


def test_noise_of_a_meeting_lies_as_far_under_the_speech_as_was_asked():
    noise = np.random.default_rng(7).normal(size=RATE).astype(np.float32)
    clean, noisy = [simulate(utterances(np.random.default_rng(8), "ab", 9), 0, 30, np.random.default_rng(9), sound, 10)
                    for sound in (None, noise)]
    spoken = sum(turn.end - turn.start for turn in clean.spoken)
    level = np.square(clean.samples).sum() / spoken / RATE
    difference = noisy.samples * np.abs(clean.samples).max() / np.abs(noisy.sources["a"] + noisy.sources["b"]).max() \
        - clean.samples
    assert 10 * np.log10(level / np.square(difference).mean()) == pytest.approx(10, abs=0.3)


def test_a_long_pause_is_no_speech_of_an_utterance():
    rng = np.random.default_rng(10)
    samples = np.concatenate([speech(1, rng), np.zeros(RATE // 5, np.float32), speech(1, rng),
                              np.zeros(RATE, np.float32), speech(1, rng)])
    np.testing.assert_allclose(np.array(speech_of(samples)) / RATE, [[0, 2.2], [3.2, 4.2]], atol=0.05)


def write_corpus(folder):
    """speechocean762 of five speakers, of each two utterances of different lengths."""
    rows, rng = ["file\tspeaker\tsex\tage\tseconds\ttext\n"], np.random.default_rng(11)
    for speaker in "abcde":
        for number in (1, 2):
            name = f"{speaker}{number}"
            write_wav(str(folder / "speechocean762" / f"{name}.wav"), speech(number + 1, rng), RATE)
            rows.append(f"{name}.wav\t{speaker}\tf\t20\t-\tONE {name}\n")
    (folder / "speechocean762" / "transcripts.tsv").write_text("".join(rows))
    write_wav(str(folder / "noise" / "wind.wav"), rng.normal(0, 0.1, RATE), RATE)


def test_columns_of_a_table_go_by_their_names(tmp_path):
    table = tmp_path / "speechocean762" / "transcripts.tsv"
    table.parent.mkdir()
    table.write_text("age\ttext\tspeaker\tfile\n20\tONE\ta\ta1.wav\n9\tTWO\tb\tb1.wav\n")
    assert corpora.speechocean(str(tmp_path)) == {"a": [(str(table.with_name("a1.wav")), "ONE")]}
    table.write_text("file\tspeaker\ttext\na1.wav\ta\tONE\n")
    with refused(ContentError, table, "line 1", "3 columns", "expected 4", "age"):
        corpora.speechocean(str(tmp_path))


@pytest.fixture
def prepared(tmp_path):
    """A function that makes meetings in tmp_path / "meetings"; flags may follow."""
    write_corpus(tmp_path)
    return lambda *flags: prepare.main(["--data_folder", str(tmp_path), "--corpora", "speechocean", "--seconds", "10",
                                        "--output_folder", str(tmp_path / "meetings"), *flags])


def test_meetings_and_references_are_of_one_run(prepared, tmp_path, monkeypatch):
    folder = tmp_path / "meetings"
    prepared("--noise_folder", str(tmp_path / "noise"))
    assert len(read_sessions(folder)) == 18
    (folder / "mine.flac").touch()
    prepared()
    found = read_sessions(folder)
    assert [session.file.name for session in found] == sorted(path.name for path in folder.glob("speech*.flac"))
    assert {session.kind for session in found} == {("speechocean", count, share, "clean") for count in (2, 3, 4)
                                                   for share in (0, 20, 40)}
    assert all({row["speaker"] for row in session.words} == set(speakers_of(session.activity)) for session in found)
    monkeypatch.setattr(prepare, "simulate", lambda *_: 1 / 0)      # an interruption
    with pytest.raises(ZeroDivisionError):
        prepared()
    assert [path.name for path in folder.iterdir()] == ["mine.flac"]
    with refused(ContentError, folder, "reference.rttm"):
        read_sessions(folder)


def test_a_reference_that_does_not_fit_the_recordings_is_refused(tmp_path):
    name = "an4_2_0_clean"
    (tmp_path / f"{name}.flac").touch()
    for sessions, missing, facts in [({name: TURNS, "talk": TURNS}, {}, ["talk"]), ({}, {}, ["reference.rttm"]),
                                     ({name: TURNS, "an4_3_0_clean": TURNS}, {}, ["an4_3_0_clean.flac"]),
                                     ({name: TURNS}, {name}, ["reference.json", name])]:
        write_rttm(tmp_path / "reference.rttm", sessions)
        write_seglst(tmp_path / "reference.json", {key: turns for key, turns in sessions.items() if key not in missing})
        with refused(ContentError, tmp_path, *facts):
            read_sessions(tmp_path)


def test_scores_with_and_without_the_number_of_speakers_lie_side_by_side(prepared, tmp_path, monkeypatch):
    prepared()
    monkeypatch.setattr(evaluation, "require_scorers", lambda: None)
    monkeypatch.setattr(evaluation, "score", lambda _, session, known: [
        {"meeting": session.kind.name, **session.kind._asdict(), "system": "ours", "known": known}])
    monkeypatch.setattr(evaluation, "table", lambda _: "")
    monkeypatch.setattr(meeting, "load", lambda *_: None, raising=False)
    folders = ["--meetings", str(tmp_path / "meetings"), "--output_folder", str(tmp_path / "out")]
    for flags in (folders, [*folders, "--known"]):
        score_meetings.main(flags)
    for name, known in (("scores.csv", "False"), ("scores_known.csv", "True")):
        rows = (tmp_path / "out" / name).read_text().splitlines()
        assert len(rows) == 10 and all(row.endswith(f",{known}") for row in rows[1:])


def test_scores_of_a_perfect_system_are_0_and_a_lost_speaker_is_missed():
    pytest.importorskip("meeteval")
    pytest.importorskip("spyder")
    renamed = [turn._replace(speaker=f"x{turn.speaker}") for turn in TURNS]
    assert diarization_times(TURNS, renamed)["wrong"] == diarization_times(TURNS, renamed)["overlapped wrong"] == 0
    alone = diarization_times(TURNS, [turn for turn in renamed if turn.speaker == "xanna"])
    assert alone["overlapped wrong"] == pytest.approx(0.5) and alone["overlapped scored"] == pytest.approx(1.0)
    words = seglst({"x": TURNS})
    assert word_errors(words, seglst({"x": renamed})) == {"words": 3, "errors": 0}
    assert word_errors(words, []) == {"words": 3, "errors": 3}


@pytest.fixture(scope="module")
def transcriber():
    return meeting.load()


@pytest.fixture(scope="module")
def answer(transcriber):
    return transcriber.transcribe(SAMPLE)


def frames_of(turns, count):
    """Who speaks in each of `count` frames of 10 ms: {speaker: (count,) bool}."""
    active = {name: np.zeros(count, bool) for name in speakers_of(turns)}
    for turn in turns:
        active[turn.speaker][round(turn.start * 100):round(turn.end * 100)] = True
    return active


def test_the_sample_says_who_said_what(answer):
    """Three speakers; boundaries included, a quarter of the time is wrong at most; most of the words are right."""
    reference = read_rttm(SAMPLE.with_suffix(".rttm"))["meeting"]
    count = round(answer.seconds * 100)
    true, found = frames_of(reference, count), frames_of(answer.turns, count)
    assert len(true) == len(found) == 3
    same = {name: max(found, key=lambda other: (found[other] & active).sum()) for name, active in true.items()}
    assert len(set(same.values())) == 3
    wrong = sum((active ^ found[same[name]]).sum() for name, active in true.items())
    assert wrong < 0.25 * sum(active.sum() for active in true.values())
    two = np.sum(list(true.values()), axis=0) > 1
    assert (np.sum(list(found.values()), axis=0) > 1)[two].mean() > 0.5
    said = {same[row["speaker"]]: "" for row in read_seglst(SAMPLE.with_suffix(".json"))}
    for row in read_seglst(SAMPLE.with_suffix(".json")):
        said[same[row["speaker"]]] += f" {row['words']}"
    heard = {name: " ".join(turn.text for turn in answer.turns if turn.speaker == name) for name in found}
    assert all(len(set(said[name].split()) & set(heard[name].split())) > 0.6 * len(set(said[name].split()))
               for name in said)


def test_words_lie_within_their_turns(answer):
    assert all(turn.start - 0.01 <= word.start <= word.end <= turn.end + 0.1 for turn in answer.turns
               for word in turn.words)
    assert [turn.start for turn in answer.turns] == sorted(turn.start for turn in answer.turns)
    assert all(" ".join(word.text for word in turn.words) == turn.text for turn in answer.turns)


def test_silence_around_a_meeting_changes_nothing_but_the_times(transcriber, answer):
    samples = read(SAMPLE, RATE)
    padded = np.concatenate((np.zeros(12 * RATE, np.float32), samples, np.zeros(5 * RATE, np.float32)))
    turns = transcriber.transcribe(padded).turns
    assert len(speakers_of(turns)) == 3
    true, found = (list(frames_of(items, 3000).values()) for items in (
        answer.turns, [turn._replace(start=turn.start - 12, end=turn.end - 12) for turn in turns]))
    assert sum((one ^ other).sum() for one, other in zip(true, found, strict=True)) < 0.1 * np.sum(true)


def test_a_program_writes_what_it_prints(transcriber, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(meeting, "load", lambda *_, **__: transcriber, raising=False)
    infer.main([str(SAMPLE), "--json", "--output_dir", str(tmp_path)])
    printed = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meeting.json", "meeting.png", "meeting.rttm"]
    assert [row["words"] for row in read_seglst(tmp_path / "meeting.json")] == [turn["text"] for turn in
                                                                                 printed["turns"]]
    assert len(read_rttm(tmp_path / "meeting.rttm")["meeting"]) == len(printed["turns"])


def test_enrolled_voices_get_their_names(transcriber, answer, tmp_path):
    """From a folder of recordings, and from a file of the C++ runner."""
    verifier = transcriber.verifier
    voices = tmp_path / "voices"
    (voices / "miry").mkdir(parents=True)
    for letter in "ab":
        (voices / "miry" / f"{letter}.wav").write_bytes(
            (ROOT / "ecapatdnn" / "samples" / f"speaker1_{letter}.wav").read_bytes())
    from_folder = enrolled_voices(voices, verifier)
    embeddings = [verifier.embed(str(path)).tolist() for path in sorted((voices / "miry").iterdir())]
    (tmp_path / "voices.json").write_text(json.dumps({"format": 1, "voices": {"miry": embeddings}}))
    np.testing.assert_allclose(from_folder["miry"], enrolled_voices(tmp_path / "voices.json", verifier)["miry"],
                               atol=1e-5)
    transcriber.voices = from_folder
    try:
        turns = transcriber.transcribe(SAMPLE).turns
    finally:
        transcriber.voices = {}
    assert [turn.start for turn in turns if turn.speaker == "miry"] == [
        turn.start for turn in answer.turns if turn.speaker == "speaker2"]


@pytest.mark.parametrize(("content", "kind"), [
    ('{"format": 2, "voices": {"a": [[1]]}}', ContentError), ('{"format": 1}', ContentError),
    ('{"format": 1, "voices": {"a": [[3, 4]]}}', ContentError), ('{"format": 1, "voices": {"a": [[1, 0]]}}',
                                                                  MismatchError)])
def test_a_file_of_other_voices_is_refused(transcriber, tmp_path, content, kind):
    (tmp_path / "voices.json").write_text(content)
    with refused(kind, "voices.json"):
        enrolled_voices(tmp_path / "voices.json", transcriber.verifier)


def test_mistakes_of_users_get_a_line(transcriber, tmp_path):
    with refused(NotFoundError, "nobody"):
        enrolled_voices(tmp_path / "nobody", transcriber.verifier)
    with refused(NotFoundError, tmp_path, "an4"):
        corpora.an4(str(tmp_path))
    with refused(AudioError, "0.50"):
        transcriber.transcribe(np.ones(100, np.float32))
    with refused(OutputError, "talk"):
        infer.require_output(["a/talk.wav", "b/talk.flac"], str(tmp_path))


def test_a_recording_in_which_nobody_can_be_told_apart_has_no_turns_or_one_speaker(transcriber):
    click = np.zeros(2 * RATE, np.float32)
    click[RATE:RATE + 50] = 0.5
    assert len(transcriber.transcribe(click).speakers) <= 1
