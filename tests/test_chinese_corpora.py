"""CN-Celeb and AISHELL-1 in miniature: their lists, the labels of Mandarin, and a network that is trained on them."""
import dataclasses
import json

import pytest
from helpers.corpora import lines, noise, put
from helpers.errors import assert_line, refused

import conv_tasnet.prepare
import deepspeech2.prepare
import ecapatdnn.prepare
from deepspeech2 import eval as evaluation
from deepspeech2 import lm, train
from deepspeech2.src.config import Config
from deepspeech2.src.text import Alphabet, collect_labels, read_labels
from ecapatdnn.src.metric import read_trials
from utils.config import load_config, parse_config
from utils.errors import ContentError, MismatchError, NotFoundError

RATE = 16000
SENTENCES = {"train": ["而 对 楼市 成交", "抑制 作用 最 大 的 限 购", "Ｔ恤 也 成交", "对 的"],
             "dev": ["成交 最 大", "对 楼市"], "test": ["抑制 楼市 吗", "对 的"]}


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def prepare(program, corpus, data, out, *flags):
    program.main([f"--corpus={corpus}", f"--data_folder={data}", f"--output_folder={out}", "--workers=1", *flags])


@pytest.fixture
def cnceleb(tmp_path):
    """CN-Celeb_flac and CN-Celeb2_flac as their archives unpack: two speakers each to train on, and two of trials."""
    first, second = tmp_path / "cn/CN-Celeb_flac", tmp_path / "cn/CN-Celeb2_flac"
    for seed, speaker in enumerate(("id00000", "id00001", "id00800", "id00801")):
        put(first / f"data/{speaker}/singing-01-001.flac", samples=noise(1.5, RATE, seed))
    for seed, speaker in enumerate(("id10000", "id10001")):
        put(second / f"data/{speaker}/vlog-01-001.flac", samples=noise(1.5, RATE, seed))
    for speaker in ("id00800", "id00801"):
        put(first / f"eval/enroll/{speaker}-enroll.flac", samples=noise(1.5, RATE))
        put(first / f"eval/test/{speaker}-speech-02-001.flac", samples=noise(0.5, RATE))
    write(first / "dev/dev.lst", "id00000", "id00001")
    write(second / "spk.lst", "id10000", "id10001")
    write(first / "eval/lists/enroll.lst", *(f"{s}-enroll enroll/{s}-enroll.wav" for s in ("id00800", "id00801")))
    write(first / "eval/lists/enroll.map", "id00800-enroll id00800/singing-01-001.wav")
    write(first / "eval/lists/trials.lst", "id00800-enroll test/id00800-speech-02-001.wav 1",
          "id00801-enroll test/id00800-speech-02-001.wav 0", "id00801-enroll test/id00801-speech-02-001.wav 1")
    return tmp_path / "cn"


def test_cnceleb_trains_on_its_dev_speakers_and_is_tested_on_its_trials(cnceleb, tmp_path):
    prepare(ecapatdnn.prepare, "cnceleb", cnceleb, tmp_path / "both")
    speakers = [line.split()[0] for line in lines(tmp_path / "both/train.txt")]
    assert speakers == ["id10000", "id10001", "id00000", "id00001"]
    trials = read_trials(tmp_path / "both/eval_trials.txt")
    assert trials.target.tolist() == [True, False, True]
    assert lines(tmp_path / "both/eval_trials.txt")[1] == (
        "0 CN-Celeb_flac/eval/enroll/id00801-enroll.flac CN-Celeb_flac/eval/test/id00800-speech-02-001.flac")
    prepare(ecapatdnn.prepare, "cnceleb", cnceleb / "CN-Celeb_flac", tmp_path / "one")
    assert lines(tmp_path / "one/train.txt") == [f"{s} data/{s}/singing-01-001.flac" for s in ("id00000", "id00001")]
    assert lines(tmp_path / "one/eval_trials.txt")[0].split()[1] == "eval/enroll/id00800-enroll.flac"
    prepare(ecapatdnn.prepare, "cnceleb", cnceleb / "CN-Celeb2_flac", tmp_path / "two")
    assert len(lines(tmp_path / "two/train.txt")) == 2 and not (tmp_path / "two/eval_trials.txt").exists()


def test_cnceleb_that_is_not_whole(cnceleb, tmp_path, capsys):
    trials = cnceleb / "CN-Celeb_flac/eval/lists/trials.lst"
    trials.write_text(trials.read_text() + "id00801-enroll test/id00809-speech-02-001.wav 0\n")
    prepare(ecapatdnn.prepare, "cnceleb", cnceleb, tmp_path / "out")
    assert_line(capsys.readouterr().out, "warning", "eval_trials.txt", "id00809-speech-02-001.flac")
    for row, facts in (("id00802-enroll test/x.wav 1", ["line 1", "id00802-enroll"]),
                       ("id00801-enroll x", ["columns"])):
        write(trials, row)
        with refused(ContentError, trials, *facts):
            prepare(ecapatdnn.prepare, "cnceleb", cnceleb, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with refused(NotFoundError, tmp_path / "empty", "cnceleb"):
        prepare(ecapatdnn.prepare, "cnceleb", tmp_path / "empty", tmp_path / "out")


@pytest.fixture
def aishell(tmp_path):
    """data_aishell of two speakers per part; one recording has no transcript, as some of the corpus."""
    rows, number = [], 0
    for part, texts in SENTENCES.items():
        for i, text in enumerate(texts):
            speaker = f"S{len(rows) // 2:04d}"
            for take in range(2):
                key = f"BAC009{speaker}W{number:04d}"
                put(tmp_path / f"data_aishell/wav/{part}/{speaker}/{key}.wav", samples=noise(1.5, RATE, number))
                number += 1
                if (part, i, take) != ("dev", 1, 1):
                    rows.append(f"{key} {text}")
    write(tmp_path / "data_aishell/transcript/aishell_transcript_v0.8.txt", *rows)
    return tmp_path / "data_aishell"


def test_aishell_has_speakers_to_verify_and_to_mix(aishell, tmp_path):
    prepare(ecapatdnn.prepare, "aishell", aishell.parent, tmp_path / "speakers")
    assert len(lines(tmp_path / "speakers/train.txt")) == 8
    assert lines(tmp_path / "speakers/train.txt")[0].startswith("S0000 data_aishell/wav/train/S0000/BAC009S0000W")
    for part in ("valid", "test"):
        assert sum(line[0] == "1" for line in lines(tmp_path / f"speakers/{part}_trials.txt")) == 2
    prepare(conv_tasnet.prepare, "aishell", aishell, tmp_path / "mixed", "--mixtures=3")
    assert [len(lines(tmp_path / f"mixed/{part}.csv")) for part in ("valid", "test")] == [4, 4]


def test_aishell_has_the_characters_of_its_training_transcripts_as_labels(aishell, tmp_path, capsys):
    prepare(deepspeech2.prepare, "aishell", aishell, tmp_path / "out", "--lm=2")
    labels = read_labels(str(tmp_path / "out/labels.json"))
    training = "".join(SENTENCES["train"]).replace(" ", "").replace("Ｔ", "T")
    assert labels == "_" + "".join(sorted(set(training))) and " " not in labels
    texts = {part: [row["transcript"] for row in json.loads((tmp_path / f"out/{part}.json").read_text())["samples"]]
             for part in ("train", "valid", "test")}
    assert texts["train"][:3:2] == ["而对楼市成交", "抑制作用最大的限购"] and "T恤也成交" in texts["train"]
    assert len(texts["valid"]) == 3 and len(lines(tmp_path / "out/rejected.txt")) == 1
    assert texts["test"][0] == "抑制楼市吗"       # with a character that is no label: an error, not a refusal
    assert_line(capsys.readouterr().out, "2 of 4", "test", "errors")
    assert "\t成 交\n" in (tmp_path / "out/lm.arpa").read_text()
    with refused(MismatchError, "吗", "--labels"):
        prepare(deepspeech2.prepare, "aishell", aishell, tmp_path / "again", f"--labels={tmp_path}/out/labels.json")


def test_aishell_that_is_not_unpacked(aishell, tmp_path):
    (aishell / "wav").rename(aishell / "packed")
    for program in (ecapatdnn.prepare, conv_tasnet.prepare, deepspeech2.prepare):
        with refused(NotFoundError, aishell, "tar.gz"):
            prepare(program, "aishell", aishell, tmp_path / "out")
        with refused(NotFoundError, tmp_path / "data_aishell/packed", "aishell_transcript_v0.8.txt"):
            prepare(program, "aishell", aishell / "packed", tmp_path / "out")


def test_labels_of_a_file_and_of_transcripts(tmp_path):
    path = write(tmp_path / "labels.json", json.dumps(["_", "你", "好"]))
    assert parse_config(Config, [f"--labels={path}"]).labels == "_你好"
    assert collect_labels(["don\u2019t", "Say"]) == "_'ADNOSTY " and collect_labels(["你 好", "OK"]) == "_KO你好"
    alphabet = Alphabet("_你好OK")
    assert alphabet.normalise(" 你 好ok ") == "你好OK" and alphabet.words("你好OK") == list("你好OK")
    assert alphabet.normalise_reference("你好，OK。") == "你好OK"
    for content in ('{"a": 1}', '["_", "ab"]', '["_", 3]', "[]", "你好"):
        with refused(ContentError, write(path, content)):
            read_labels(str(path))
    with refused(NotFoundError, tmp_path / "none.json"):
        parse_config(Config, [f"--labels={tmp_path / 'none.json'}"])
    for texts in ([], [" "], ["a_b"]):
        with refused(ContentError, "labels"):
            collect_labels(texts)
    many = Alphabet("_" + "".join(chr(0x4e00 + i) for i in range(4000)))
    with refused(MismatchError, "'A'", "3940 more") as record:
        many.encode("A")
    assert len(str(record.value)) < 400


def test_a_network_is_trained_and_scored_on_aishell(aishell, tmp_path, capsys):
    prepare(deepspeech2.prepare, "aishell", aishell, tmp_path / "lists", "--lm=2")
    config = parse_config(Config, [
        f"--labels={tmp_path}/lists/labels.json", f"--train_manifest={tmp_path}/lists/train.json",
        f"--val_manifest={tmp_path}/lists/valid.json", f"--test_manifest={tmp_path}/lists/test.json",
        f"--ckpt_save_dir={tmp_path}/run", "--conv_channels=2", "--hidden_size=8", "--hidden_layers=1", "--buckets=1",
        "--minibatch_size=4", "--num_epochs=1", "--num_workers=0", "--device_target=CPU"])
    train.main(config)
    saved = load_config(Config, tmp_path / "run/best.ckpt")
    assert saved.labels == read_labels(str(tmp_path / "lists/labels.json")) and len(saved.labels) > 15
    (tmp_path / "lists/labels.json").unlink()       # the run holds the characters
    saved = dataclasses.replace(saved, model_path=f"{tmp_path}/run/best.ckpt", save_log_probs=True)
    rates = evaluation.main(saved)
    assert rates["cer"] == rates["cer_no_spaces"] and rates["cer"] > 0
    assert_line(capsys.readouterr().out, "wav", "CER", "%")
    evaluation.main(dataclasses.replace(saved, lm_path=f"{tmp_path}/lists/lm.arpa", beam_width=8, save_log_probs=False))
    lm.main(["tune", f"--log_probs={tmp_path}/run/eval_test/log_probs.npz", f"--lm={tmp_path}/lists/lm.arpa",
             "--alpha_steps=2", "--beta_steps=2", "--workers=1"])
    assert_line(capsys.readouterr().out, "CER %", "beta")
