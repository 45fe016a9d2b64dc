"""ecapatdnn/prepare.py on tiny trees made here, and on the real corpus where SPEECH_DATA names one."""
import itertools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile
from helpers.corpora import put, tone, tree
from helpers.errors import assert_refusal, refused

from ecapatdnn import prepare
from ecapatdnn.src import corpora
from utils.audio import audio_file
from utils.corpora import corpus
from utils.corpora.speakers import evenly_spaced, libri_speaker
from utils.errors import ContentError, MismatchError, NotFoundError, OutputError, SettingError

RATE = 16000
DATA = os.environ.get("SPEECH_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="SPEECH_DATA is not set: folder of librispeech/ and an4/")


def put_m4a(path, seconds=2.0, rate=48000, channels=2, faststart=False):
    av = pytest.importorskip("av")
    try:
        av.codec.Codec("aac", "w")
    except ValueError:
        pytest.skip("this PyAV has no AAC encoder")
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"} if faststart else {}) as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.tile(tone(seconds, rate), (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0     # without a time the muxer writes no edit list
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def prepare_corpus(corpus, data, out, *flags):
    prepare.main(["--corpus", corpus, "--data_folder", str(data), "--output_folder", str(out), "--workers=1", *flags])


def lines(path):
    return path.read_text().splitlines()


def count_trials(rows, speaker):
    """(targets, non-targets), after checking the labels with speaker(path) and that no pair is there twice."""
    pairs = [row.split() for row in rows]
    assert all((label == "1") == (speaker(a) == speaker(b)) for label, a, b in pairs)
    assert len({frozenset(pair[1:]) for pair in pairs}) == len(pairs) and all(a != b for _, a, b in pairs)
    targets = sum(label == "1" for label, _, _ in pairs)
    return targets, len(pairs) - targets


def expected_trials(sizes):
    """(targets, non-targets) of all pairs when the speakers have so many files."""
    targets = sum(n * (n - 1) // 2 for n in sizes)
    return targets, sum(sizes) * (sum(sizes) - 1) // 2 - targets


# ---- voxceleb

@pytest.fixture
def vox(tmp_path):
    for name in ("id00001/aaa/00001", "id00001/bbb/00001", "id00002/ccc/00001"):
        put_m4a(tmp_path / f"vox/{name}.m4a")
    put(tmp_path / "vox/id00003/ddd/00001.wav")
    put(tmp_path / "vox/notes/x/00001.wav")
    return tmp_path / "vox"


def test_voxceleb_list_and_wavs(vox, tmp_path, capsys):
    prepare_corpus("voxceleb", vox, tmp_path / "out", "--expect_speakers", "5994")
    assert lines(tmp_path / "out/train.txt") == [
        "id00001 id00001/aaa/00001.wav", "id00001 id00001/bbb/00001.wav",
        "id00002 id00002/ccc/00001.wav", "id00003 id00003/ddd/00001.wav"]
    found = soundfile.info(tmp_path / "out/wav/id00001/aaa/00001.wav")
    assert (found.samplerate, found.channels, found.subtype) == (RATE, 1, "PCM_16")
    assert abs(found.frames - 2 * RATE) <= 1024 * RATE / 48000    # at most an AAC frame of padding
    decoded, original = audio_file.read(tmp_path / "out/wav/id00001/aaa/00001.wav", RATE), tone(2.0, 48000)[::3]
    n = min(len(decoded), len(original))
    assert np.corrcoef(decoded[:n], original[:n])[0, 1] > 0.9     # not shifted by the codec's delay
    text = capsys.readouterr().out
    assert "3 speakers, 4 files" in text and "expected 5,994" in text and "1,092,009" in text


def test_second_run_decodes_and_reads_nothing(vox, tmp_path, monkeypatch):
    prepare_corpus("voxceleb", vox, tmp_path / "out")
    first = lines(tmp_path / "out/train.txt")
    (tmp_path / "out/wav/id00001/aaa/tmpx.part").write_bytes(b"half")
    monkeypatch.setattr(corpus, "inspect", None)
    prepare_corpus("voxceleb", vox, tmp_path / "out")
    assert lines(tmp_path / "out/train.txt") == first


def test_interrupted_run_goes_on(vox, tmp_path, monkeypatch):
    inspect, seen = corpus.inspect, []

    def stop_at_third(job):
        seen.append(job.path)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return inspect(job)

    monkeypatch.setattr(corpus, "inspect", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus("voxceleb", vox, tmp_path / "out")
    assert not (tmp_path / "out/train.txt").exists()
    with open(tmp_path / "out/verified.txt", "a") as log:
        log.write("id00002/ccc/0000")     # a line cut by the interruption
    prepare_corpus("voxceleb", vox, tmp_path / "out")
    assert len(seen) == 3 + 2 and seen[3] == seen[2] and seen[4] not in seen[:4]
    assert len(lines(tmp_path / "out/train.txt")) == 4
    (tmp_path / "out/wav" / seen[0]).unlink()      # a lost wav is made again although it was verified
    prepare_corpus("voxceleb", vox, tmp_path / "out")
    assert seen[5:] == [seen[0]] and (tmp_path / "out/wav" / seen[0]).exists()


def test_wavs_beside_the_m4a(vox, tmp_path):
    for _ in range(2):
        prepare_corpus("voxceleb", vox, tmp_path / "out", "--wav_folder", str(vox))
        assert len(lines(tmp_path / "out/train.txt")) == 4
    assert (vox / "id00001/aaa/00001.wav").exists()


def test_broken_m4a_is_rejected(vox, tmp_path, capsys):
    av = pytest.importorskip("av")
    cut = put_m4a(vox / "id00004/eee/00001.m4a", seconds=4, faststart=True)
    with av.open(str(cut)) as container:
        middle = [packet.pos for packet in container.demux() if packet.size][90]
    cut.write_bytes(cut.read_bytes()[:middle])      # between two packets: the decoder does not notice
    (vox / "id00004/eee/00002.m4a").write_bytes(b"")
    prepare_corpus("voxceleb", vox, tmp_path / "out")
    rejected = lines(tmp_path / "out/rejected.txt")
    assert len(rejected) == 2 and "00001.m4a" in rejected[0] and "00002.m4a" in rejected[1]
    assert "truncated" in rejected[0] and "not readable" in rejected[1]
    assert "id00004" not in (tmp_path / "out/train.txt").read_text()
    assert not (tmp_path / "out/wav/id00004").exists()
    assert "warning: 33.3 %" in capsys.readouterr().out


def test_trials_are_checked(vox, tmp_path):
    trials = tmp_path / "veri_test2.txt"
    good = ["1 id00001/aaa/00001.wav id00001/bbb/00001.wav", "0 id00001/aaa/00001.wav id00003/ddd/00001.wav"]
    trials.write_text("\n".join(good) + "\n")
    prepare_corpus("voxceleb", vox, tmp_path / "out", "--trials", str(trials))
    assert lines(tmp_path / "out/eval.txt") == good
    for text, kind, facts in (
            ("1 id9/x/1.wav id00001/aaa/00001.wav\n0 id8/x/1.wav id9/x/1.wav\n", MismatchError,
             ["2 of the files", "id8/x/1.wav", "--data_folder"]),
            (f"{good[0]}\n2 a b\n", ContentError, ["line 2", "'2 a b'"]), ("\n", ContentError, ["empty"]),
            (good[0], ContentError, ["1 of 1 trials", "targets"])):
        trials.write_text(text)
        with refused(kind, trials, *facts):
            prepare_corpus("voxceleb", vox, tmp_path / "out", "--trials", str(trials))
    with refused(NotFoundError, tmp_path / "none.txt"):
        prepare_corpus("voxceleb", vox, tmp_path / "out", "--trials", str(tmp_path / "none.txt"))


def test_trials_that_name_a_rejected_file(vox, tmp_path, capsys):
    put(vox / "id00003/ddd/00002.wav", samples=np.zeros(2 * RATE))
    (tmp_path / "t.txt").write_text("1 id00003/ddd/00001.wav id00003/ddd/00002.wav\n"
                                    "0 id00003/ddd/00001.wav id00001/aaa/00001.wav\n")
    prepare_corpus("voxceleb", vox, tmp_path / "out", "--trials", str(tmp_path / "t.txt"))
    assert "1 files that eval.txt names were rejected, such as id00003/ddd/00002.wav" in capsys.readouterr().out


# ---- verification

def test_every_kind_of_broken_file_is_named(tmp_path, capsys):
    data = tree(tmp_path / "data")
    cut = put(data / "bad/truncated.wav")
    cut.write_bytes(cut.read_bytes()[:20000])
    (data / "bad/empty.wav").write_bytes(b"")
    samples = tone(1.5)
    samples[100] = np.nan
    put(data / "bad/nan.wav", samples=samples, subtype="FLOAT")
    put(data / "bad/silent.wav", samples=np.zeros(2 * RATE))
    put(data / "bad/short.wav", seconds=0.9)
    put(data / "bad/telephone.wav", rate=8000)
    put(data / "bad/with space.wav")
    prepare_corpus("tree", data, tmp_path / "out")
    reasons = {line.split("bad/")[1].split(":")[0]: line for line in lines(tmp_path / "out/rejected.txt")}
    words = {"truncated.wav": "truncated", "empty.wav": "not readable", "nan.wav": "NaN", "silent.wav": "silent",
             "short.wav": "0.90 s", "telephone.wav": "8000 Hz", "with space.wav": "white space"}
    assert reasons.keys() == words.keys() and all(words[name] in reasons[name] for name in words)
    assert len(lines(tmp_path / "out/train.txt")) == 6 and "bad" not in (tmp_path / "out/train.txt").read_text()
    assert "rejected: 7 of 13" in capsys.readouterr().out


def test_workers_give_the_same_lists(tmp_path):
    data = tree(tmp_path / "data", files=4)
    put(data / "spk0/short.wav", seconds=0.1)
    prepare_corpus("tree", data, tmp_path / "one")
    prepare_corpus("tree", data, tmp_path / "two", "--workers", "2")
    for name in ("train.txt", "rejected.txt", "verified.txt"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_remembered_files_obey_a_new_limit_and_are_read_when_changed(tmp_path):
    data = tree(tmp_path / "data")
    put(data / "spk0/long.wav", seconds=3)
    prepare_corpus("tree", data, tmp_path / "out")
    put(data / "spk1/0.wav", samples=np.zeros(RATE))
    prepare_corpus("tree", data, tmp_path / "out")
    assert "spk1/0.wav: silent" in lines(tmp_path / "out/rejected.txt")[0]
    with refused(ContentError, data, "one speaker", "spk0"):
        prepare_corpus("tree", data, tmp_path / "out", "--min_seconds", "2")


def test_resample_writes_wavs_and_spares_the_corpus(tmp_path):
    data = tree(tmp_path / "data", rate=8000, seconds=2)
    put(data / "spk0/16k.flac", seed=5)
    prepare_corpus("tree", data, tmp_path / "out", "--resample", "true")
    assert len(lines(tmp_path / "out/train.txt")) == 7
    for row in lines(tmp_path / "out/train.txt"):
        assert soundfile.info(tmp_path / "out/wav" / row.split()[1]).samplerate == RATE
    assert soundfile.info(tmp_path / "out/wav/spk1/0.wav").frames == 2 * RATE
    copied, _ = soundfile.read(tmp_path / "out/wav/spk0/16k.wav", dtype="int16")
    assert (copied == soundfile.read(data / "spk0/16k.flac", dtype="int16")[0]).all()
    with refused(OutputError, "wav_folder", data):
        prepare_corpus("tree", data, tmp_path / "out", "--resample", "true", "--wav_folder", str(data))
    with refused(ContentError, tmp_path / "telephone", "all 6 files", "8000 Hz", "16000 Hz"):
        prepare_corpus("tree", tree(tmp_path / "telephone", rate=8000), tmp_path / "out2")


def test_resample_leaves_a_16_khz_corpus_where_it_is(tmp_path):
    prepare_corpus("tree", tree(tmp_path / "data"), tmp_path / "out", "--resample", "true")
    assert lines(tmp_path / "out/train.txt")[0] == "spk0 spk0/0.wav" and not (tmp_path / "out/wav").exists()


def test_output_inside_the_corpus_is_not_a_speaker(tmp_path):
    data = tree(tmp_path / "data", rate=8000, seconds=2)
    for _ in range(2):
        prepare_corpus("tree", data, data / "lists", "--resample", "true")
        assert len(lines(data / "lists/train.txt")) == 6


def test_full_disk_stops_the_run(tmp_path, monkeypatch):
    def full(*_, **settings):
        raise OSError(28, "No space left on device")

    data = tree(tmp_path / "data", rate=8000)
    monkeypatch.setattr(audio_file.soundfile, "write", full)
    with refused(OutputError, tmp_path / "out/wav/spk0/0.wav", "No space left", "--wav_folder"):
        prepare_corpus("tree", data, tmp_path / "out", "--resample", "true")


# ---- layouts

def test_librispeech_nested_flat_and_beside_test_splits(tmp_path, capsys):
    for s, c, n in ((84, 1, 0), (84, 2, 0), (91, 1, 0)):
        put(tmp_path / f"nested/{s}/{c}/{s}-{c}-{n:04d}.flac")
        put(tmp_path / f"flat/{s}-{c}-{n:04d}.flac")
        put(tmp_path / f"LibriSpeech/train-clean-100/{s}/{c}/{s}-{c}-{n:04d}.flac")
    put(tmp_path / "LibriSpeech/dev-clean/7/1/7-1-0000.flac")
    put(tmp_path / "flat/notes.wav")
    for name, first in (("nested", "84 84/1/84-1-0000.flac"), ("flat", "84 84-1-0000.flac"),
                        ("LibriSpeech", "84 train-clean-100/84/1/84-1-0000.flac")):
        prepare_corpus("librispeech", tmp_path / name, tmp_path / "out")
        assert lines(tmp_path / "out/train.txt")[0] == first
        assert [row.split()[0] for row in lines(tmp_path / "out/train.txt")] == ["84", "84", "91"]
    assert "1 files outside of train-*" in capsys.readouterr().out


def test_an4(tmp_path):
    for name in ("an4_clstk/fash", "an4_clstk/mblb", "an4test_clstk/fcaw", "an4test_clstk/marh"):
        put(tmp_path / f"an4/wav/{name}/an1.flac")
        put(tmp_path / f"an4/wav/{name}/an2.flac", seconds=0.6)     # "no" is a test utterance all the same
    prepare_corpus("an4", tmp_path / "an4", tmp_path / "out")
    assert lines(tmp_path / "out/train.txt") == ["fash wav/an4_clstk/fash/an1.flac", "mblb wav/an4_clstk/mblb/an1.flac"]
    rows = lines(tmp_path / "out/test_trials.txt")
    assert count_trials(rows, lambda path: path.split("/")[2]) == expected_trials([2, 2])


def test_hold_out_is_disjoint_even_and_complete(tmp_path):
    prepare_corpus("tree", tree(tmp_path / "data", speakers=7, files=3), tmp_path / "out", "--valid_speakers", "3")
    rows = lines(tmp_path / "out/valid_trials.txt")
    held = {path.split("/")[0] for row in rows for path in row.split()[1:]}
    assert held == {"spk0", "spk3", "spk6"}
    assert {row.split()[0] for row in lines(tmp_path / "out/train.txt")} == {"spk1", "spk2", "spk4", "spk5"}
    assert count_trials(rows, lambda path: path.split("/")[0]) == expected_trials([3, 3, 3])
    for count in ("1", "6"):
        with refused(MismatchError, "valid_speakers", count, "0 or 2 to 5", "7 speakers"):
            prepare_corpus("tree", tmp_path / "data", tmp_path / "out", "--valid_speakers", count)
    assert (tmp_path / "out/valid_trials.txt").exists()
    prepare_corpus("tree", tmp_path / "data", tmp_path / "out")     # trains on those speakers
    assert not (tmp_path / "out/valid_trials.txt").exists()


@pytest.fixture
def musan(tmp_path):
    for name, seconds in (("music/fma/m-0", 14.5), ("noise/free-sound/n-0", 5), ("noise/free-sound/n-1", 2),
                          ("speech/librivox/s-0", 8.01)):
        put(tmp_path / f"musan/{name}.wav", seconds=seconds)
    cut = put(tmp_path / "musan/noise/free-sound/n-2.wav", seconds=9)
    cut.write_bytes(cut.read_bytes()[:100000])
    return tmp_path


def test_musan_pieces(musan, monkeypatch, capsys):
    prepare_corpus("musan", musan, musan / "out")
    pieces = audio_file.find_audio(musan / "out/musan_split")
    assert pieces == [f"music/fma/m-0/{s:05d}.wav" for s in range(0, 15, 3) if s < 14.5 - 5] + [
        f"speech/librivox/s-0/{s:05d}.wav" for s in (0, 3)]
    whole, _ = soundfile.read(musan / "musan/music/fma/m-0.wav", dtype="int16")
    for start in (0, 3, 6, 9):
        piece, rate = soundfile.read(musan / f"out/musan_split/music/fma/m-0/{start:05d}.wav", dtype="int16")
        assert rate == RATE and (piece == whole[start * RATE:(start + 5) * RATE]).all()
    assert "truncated" in lines(musan / "out/rejected.txt")[0]
    assert "6 pieces" in capsys.readouterr().out
    os.unlink(musan / "out/musan_split/music/fma/m-0/00009.wav")
    written = []
    monkeypatch.setattr(audio_file, "write_wav", lambda path, *_: written.append(path))
    prepare_corpus("musan", musan / "musan", musan / "out")        # the folder itself may be named as well
    assert {os.path.dirname(path) for path in written} == {str(musan / "out/musan_split/music/fma/m-0")}


def test_rirs(tmp_path):
    rirs = tmp_path / "RIRS_NOISES/simulated_rirs"
    put(rirs / "smallroom/Room001/Room001-00001.wav", seconds=0.3)
    put(rirs / "smallroom/Room001/Room001-00002.wav", samples=np.zeros(100))
    prepare_corpus("rirs", tmp_path, tmp_path / "out")
    assert lines(tmp_path / "out/rirs.txt") == ["RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav"]
    prepare_corpus("rirs", rirs, tmp_path / "out")
    assert lines(tmp_path / "out/rirs.txt") == ["smallroom/Room001/Room001-00001.wav"]


def test_mini(tmp_path, monkeypatch):
    module = pytest.importorskip("utils.corpora.mini")

    def make(folder, seed=0):
        for part, count in (("train", 12), ("test", 3)):
            for s in range(count):
                for f in range(2):
                    put(tmp_path / f"mini/{part}/{part[0]}{s:02d}/{f}.wav", seed=s)
        (tmp_path / "mini/test_trials.txt").write_text("1 t00/0.wav t00/1.wav\n0 t00/0.wav t01/1.wav\n")
        return folder

    monkeypatch.setattr(module, "make_mini_corpus", make)
    prepare_corpus("mini", tmp_path / "mini", tmp_path / "out")
    train = lines(tmp_path / "out/train.txt")
    assert len(train) == 4 * 2 and train[0] == "t01 t01/0.wav"
    assert lines(tmp_path / "out/test_trials.txt") == lines(tmp_path / "mini/test_trials.txt")
    rows = lines(tmp_path / "out/valid_trials.txt")
    assert count_trials(rows, lambda path: path.split("/")[0]) == expected_trials([2] * 8)


# ---- trials

def test_all_pairs_counts():
    items = [(f"s{s}", f"s{s}/{f}.wav") for s, n in enumerate((5, 1, 3)) for f in range(n)]
    assert count_trials(corpora.all_pairs(items), lambda path: path.split("/")[0]) == expected_trials([5, 1, 3])


def test_cross_chapter_pairs_drop_targets_of_one_chapter_only():
    items = [(str(s), f"{s}-{c}-{n:04d}.mp3") for s in (1, 2) for c in (10, 11, 12) for n in range(2)]
    targets, others = count_trials(corpora.cross_chapter_pairs(items), libri_speaker)
    assert (targets, others) == (2 * (15 - 3), 36)


def test_random_pairs():
    items = [(f"s{s}", f"s{s}/{f}.wav") for s in range(20) for f in range(10)]
    rows = corpora.random_pairs(items, 1000, seed=1)
    assert count_trials(rows, lambda path: path.split("/")[0]) == (500, 500)
    assert rows == corpora.random_pairs(items, 1000, seed=1) != corpora.random_pairs(items, 1000, seed=2)
    assert count_trials(corpora.random_pairs(items, 10000, 0), lambda path: path.split("/")[0]) == (900, 5000)


def test_random_pairs_of_repeated_items_are_those_of_the_items():
    items = [(f"s{s}", f"s{s}/{f}.wav") for s in range(2) for f in range(2)]
    assert corpora.random_pairs([*items, *items], 100, seed=1) == corpora.random_pairs(items, 100, seed=1)
    assert len(corpora.random_pairs([*items, items[0]], 100, seed=1)) == 6


def test_evenly_spaced():
    assert evenly_spaced(list(range(59)), 30) == list(range(0, 59, 2))
    assert evenly_spaced([1, 2], 30) == [1, 2]
    assert [evenly_spaced([1, 2, 3], count) for count in (0, 1, 2)] == [[], [1], [1, 3]]
    assert len(set(evenly_spaced(list(range(37)), 30))) == 30


# ---- mistakes

def test_one_speaker_is_refused(tmp_path):
    with refused(ContentError, tmp_path / "data", "one speaker", "spk0"):
        prepare_corpus("tree", tree(tmp_path / "data", speakers=1), tmp_path / "out")


@pytest.mark.parametrize("corpus", ["voxceleb", "librispeech", "an4", "tree", "musan", "rirs", "librispeech_an4",
                                    "open_speech"])
def test_empty_corpus_is_refused(corpus, tmp_path):
    (tmp_path / "data/other").mkdir(parents=True)
    with refused(NotFoundError, tmp_path / "data"):
        prepare_corpus(corpus, tmp_path / "data", tmp_path / "out")


def test_unknown_corpus_names_the_nearest(tmp_path):
    with refused(SettingError, "corpus", "'voxcelep'", "voxceleb?"):
        prepare_corpus("voxcelep", tmp_path, tmp_path / "out")
    with refused(SettingError, "trials", "--corpus rirs", "--trials"):
        prepare_corpus("rirs", tmp_path, tmp_path / "out", "--trials", "x")


def test_missing_folder_ends_with_code_2(tmp_path):
    command = [sys.executable, prepare.__file__, "--corpus", "tree", "--data_folder", str(tmp_path / "none"),
               "--output_folder", str(tmp_path / "out")]
    root = os.path.dirname(os.path.dirname(prepare.__file__))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root})
    assert_refusal(done.returncode, done.stderr, tmp_path / "none", "--data_folder")
    assert done.stderr.count("\n") == 1


# ---- real data

@needs_data
def test_librispeech_an4(tmp_path):
    prepare_corpus("librispeech_an4", DATA, tmp_path, "--workers", "2")
    rows = {name: lines(tmp_path / f"{name}.txt")
            for name in ("train", "valid_trials", "dev_clean_all", "dev_clean_cross", "an4_test")}
    speakers = Counter(row.split()[0].split("-")[0] for row in {row.split()[0]: row for row in rows["train"]}.values())
    assert speakers == {"libri": 251, "an4": 74 - 14}
    an4 = {path.split("/")[-2] for row in rows["valid_trials"] for path in row.split()[1:]}
    assert len(an4) == 14 and not an4 & {row.split()[0].removeprefix("an4-") for row in rows["train"]}
    assert len(rows["dev_clean_all"]) == 600 * 599 // 2 == 179_700
    targets, others = count_trials(rows["dev_clean_all"], libri_speaker)
    cross, cross_others = count_trials(rows["dev_clean_cross"], libri_speaker)
    assert (targets, others) == expected_trials([30] * 20)
    assert 0 < cross < targets and cross_others == others
    files = Counter(path.split("/")[-2] for path in {p for row in rows["an4_test"] for p in row.split()[1:]})
    assert len(files) == 10 and files.total() == 130 and len(rows["an4_test"]) == 130 * 129 // 2
    named = {path for name in rows for row in rows[name] for path in row.split()[1:]}
    assert all(os.path.exists(os.path.join(DATA, path)) for path in named)
    train = {row.split()[1] for row in rows["train"]}
    assert not train & {path for name in rows if name != "train" for row in rows[name] for path in row.split()[1:]}


@needs_data
def test_open_speech():
    """Nobody is in two parts, and each corpus has its development speakers."""
    parts = corpora.scan_open_speech(prepare.PrepareConfig(corpus="open_speech", data_folder=DATA, output_folder="x"))
    speakers = {part: {speaker for speaker, _ in items} for part, items in parts.items()}
    assert {part: Counter(name.split("-")[0] for name in names) for part, names in speakers.items()} == {
        "train": {"libri": 251 - 6, "an4": 74 - 14, "ocean": 215 - 20, "commands": 193 - 20, "alnum": 32},
        "valid": {"libri": 6, "an4": 14, "ocean": 20, "commands": 20},
        "dev_clean": {"libri": 20}, "an4_test": {"an4": 10}}
    assert not any(speakers[one] & speakers[other] for one, other in itertools.combinations(speakers, 2))
    trials = [line.split()[1:] for line in corpora.pairs_within_corpora(parts["valid"])]
    assert {tuple(path.split("/")[0].removeprefix("mini_") for path in pair) for pair in trials} == {
        (name, name) for name in ("librispeech", "an4", "speechocean762", "speech_commands")}
