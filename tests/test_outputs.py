"""Outputs that exist already, folders in use, and what was made of files that have changed since."""
import fcntl
import gc
import json
import os
import resource
import shutil
import sys

import mindspore as ms
import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused
from helpers.programs import script
from mindspore import Tensor, nn

from conv_tasnet import infer as separate
from deepspeech2 import lm
from deepspeech2.src import download
from ecapatdnn import infer as verify
from ecapatdnn import prepare
from utils import average, publish
from utils.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from utils.corpora import mini
from utils.errors import NotFoundError, OutputError
from utils.export import graph, runner
from utils.files import is_outdated, write_arrays
from utils.locks import locked_folder
from utils.training.settings import ModelSettings


def checkpoint(path, value, **record):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, {"weight": Tensor(np.full(3, value, np.float32))}, **record)
    return path


@pytest.fixture
def run(tmp_path):
    for epoch in (1, 2):
        checkpoint(tmp_path / "run" / "checkpoints" / f"epoch_{epoch:04d}.ckpt", epoch)
    checkpoint(tmp_path / "run" / "best.ckpt", 2)
    (tmp_path / "run" / "config.yaml").write_text("channels: 3\n")
    return tmp_path / "run"


def test_an_average_replaces_an_average_only(run):
    for num, expected in ((2, 1.5), (1, 2.0)):
        path = average.main([str(run), "--num", str(num)])
        assert load_checkpoint(path)[0]["weight"].asnumpy()[0] == expected
    for name in ("best.ckpt", "checkpoints/epoch_0001.ckpt"):
        before = (run / name).read_bytes()
        with refused(OutputError, run / name, "output"):
            average.main([str(run), "--num", "2", "--output", str(run / name)])
        assert (run / name).read_bytes() == before


def test_a_publication_replaces_a_publication_only(run, tmp_path):
    for _ in range(2):
        path = publish.main([str(run / "best.ckpt"), str(tmp_path / "shipped")])
        assert load_checkpoint(path)[0]["weight"].dtype == ms.float16
    with refused(OutputError, run / "best.ckpt", "output"):
        publish.main([str(tmp_path / "shipped" / "best.ckpt"), str(run)])
    assert load_checkpoint(run / "best.ckpt")[0]["weight"].dtype == ms.float32


def test_a_language_model_replaces_a_language_model_only(tmp_path):
    (tmp_path / "texts.txt").write_text("YES NO\nNO YES\n")
    argv = ["estimate", "--texts", str(tmp_path / "texts.txt"), "--order", "2", "--output"]
    for _ in range(2):
        lm.main([*argv, str(tmp_path / "lm.arpa")])
    with refused(OutputError, tmp_path / "texts.txt", "output"):
        lm.main([*argv, str(tmp_path / "texts.txt")])
    assert (tmp_path / "texts.txt").read_text() == "YES NO\nNO YES\n"


@pytest.mark.parametrize("place", ["/dev/full", "folder"])
def test_what_is_no_file_is_not_read_before_it_is_refused_as_an_output(place, run, tmp_path):
    (tmp_path / "folder").mkdir()
    output = str(tmp_path / place)
    for program, argv in ((lm, ["estimate", "--texts", "none.txt"]), (average, [str(run), "--num", "1"])):
        with refused(OutputError, output, "is no file", "--output"):
            program.main([*argv, "--output", output])


def test_an_empty_name_is_no_place_for_results(tmp_path, monkeypatch):
    """Such as of an unset variable. Who said what is printed, and written nowhere then, as its --help says."""
    monkeypatch.chdir(tmp_path)
    for program, argv, flag in ((verify, ["--embed", "a.wav"], "--output"), (separate, ["a.wav"], "--output_dir")):
        with refused(OutputError, "''", flag):
            program.main([*argv, flag, ""])
    assert not list(tmp_path.iterdir())


def test_inputs_of_the_runner_are_of_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with runner.new_inputs():
        runner.write_inputs("a", np.ones(3))
        with refused(OutputError, runner.INPUTS, f"process {os.getpid()}"), runner.new_inputs():
            pass
    assert [path.name for path in tmp_path.iterdir()] == [str(runner.INPUTS)]


def test_the_script_of_the_runner_is_at_work_once_in_a_folder(tmp_path):
    """Whole: preprocess.py, the runner and postprocess.py."""
    (tmp_path / "net.mindir").write_text("")
    handle = os.open(ROOT / "ecapatdnn", os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        code, output = script("ecapatdnn", "run_infer_310.sh", tmp_path / "net.mindir", tmp_path, "n")
    finally:
        os.close(handle)
    assert_refusal(code, output, "ecapatdnn", "preprocess_Result")


def put(path, seconds, rate=16000, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, 0.1 * noise.clip(-4, 4), rate)


def prepared(data, out, *flags):
    folders = ["--data_folder", str(data), "--output_folder", str(out)]
    prepare.main(["--corpus", "tree", *folders, "--workers", "1", *flags])


@pytest.fixture
def tree(tmp_path):
    for speaker in "ab":
        for number in range(2):
            put(tmp_path / "data" / speaker / f"{number}.wav", 2, seed=number)
    return tmp_path / "data"


def test_two_prepares_in_one_folder(tree, tmp_path):
    with locked_folder(tmp_path / "out", "output_folder"), \
            refused(OutputError, "output_folder", tmp_path / "out", f"process {os.getpid()}"):
        prepared(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    prepared(tree, tmp_path / "out")
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_prepare_that_is_refused_leaves_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    with refused(NotFoundError, tmp_path / "data"):
        prepared(tmp_path / "data", tmp_path / "out" / "lists")
    assert not (tmp_path / "out").exists()


def test_prepare_reads_what_has_changed(tree, tmp_path, capsys):
    """Of the same size, or with the time of an older file; and reads nothing else again."""
    seen = []
    inspect = prepare.verify.__globals__["inspect"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(prepare.verify.__globals__, "inspect", lambda job: seen.append(job.path) or inspect(job))
        prepared(tree, tmp_path / "out")
        assert len(seen) == 4
        put(tree / "a" / "0.wav", 2, seed=7)
        prepared(tree, tmp_path / "out")
        assert seen[4:] == ["a/0.wav"]
        prepared(tree, tmp_path / "out")
    assert len(seen) == 5
    assert "before" not in capsys.readouterr().out
    shutil.copytree(tree, tmp_path / "other")
    prepared(tmp_path / "other", tmp_path / "out")
    assert f"prepared from {tree}" in capsys.readouterr().out


def test_converted_files_follow_their_sources(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for speaker in "ab":
        for number in range(2):
            put(data / speaker / f"{number}.wav", 2, rate=8000, seed=number)
    for seconds in (2, 3, 1.5):
        put(tmp_path / "new.wav", seconds, rate=8000, seed=3)
        os.utime(tmp_path / "new.wav", (1e9, 1e9))      # older than what was made of the one before
        os.replace(tmp_path / "new.wav", data / "a" / "0.wav")
        prepared(data, out, "--resample", "true")
        assert soundfile.info(out / "wav" / "a" / "0.wav").duration == seconds


def test_pieces_of_noise_follow_their_source(tmp_path):
    for seconds, count in ((20, 5), (12, 3), (30, 9)):
        put(tmp_path / "musan" / "noise" / "free" / "n.wav", seconds)
        prepare.main(["--corpus", "musan", "--data_folder", str(tmp_path / "musan"), "--output_folder",
                      str(tmp_path / "out"), "--workers", "1"])
        assert len(list((tmp_path / "out" / "musan_split" / "noise" / "free" / "n").iterdir())) == count


def test_what_is_outdated(tmp_path):
    source, made = tmp_path / "source", tmp_path / "made"
    source.write_text("a")
    assert is_outdated(made, source)
    made.write_text("a")
    assert not is_outdated(made, source) and not is_outdated(made)
    (tmp_path / "older").write_text("b")
    os.utime(tmp_path / "older", (1e9, 1e9))
    os.replace(tmp_path / "older", source)      # it was there before, but not under this name
    assert is_outdated(made, source)


def test_a_file_lost_of_the_mini_corpus_is_made_again(tmp_path, monkeypatch):
    made = []

    def make(root, wanted, _seed):
        made.append(root)
        (root / "train").mkdir(exist_ok=True)
        (root / "train" / "a.wav").write_text("audio")
        (root / mini.MARKER).write_text(json.dumps(wanted | mini._measure(root)))

    monkeypatch.setattr(mini, "_make", make)
    monkeypatch.setattr(mini, "_espeak_files", list)
    for count, damage in ((1, None), (1, lambda path: path.unlink()), (2, lambda path: path.write_text("longer audio")),
                          (3, None)):
        mini.make_mini_corpus(tmp_path / "mini")
        assert len(made) == count
        if damage:
            damage(tmp_path / "mini" / "train" / "a.wav")
    with locked_folder(tmp_path / "mini", "x", name=mini.LOCK), refused(OutputError, f"process {os.getpid()}"):
        mini.make_mini_corpus(tmp_path / "mini", seed=1)


def test_one_download_of_an_archive_at_a_time(tmp_path):
    with locked_folder(tmp_path, "x", name=".dev-clean.tar.gz.lock"), \
            refused(OutputError, tmp_path, f"process {os.getpid()}"):
        download.download_librispeech(str(tmp_path), ["dev-clean"], "http://localhost:1")


def test_arrays_on_a_full_disk_are_refused_in_a_line(tmp_path, monkeypatch):
    """zipfile, which np.savez writes by, would print more when it is deleted."""
    printed, limits = [], resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(sys, "unraisablehook", printed.append)
    write_arrays(tmp_path / "a.npz", x=np.ones(3))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        with refused(OutputError, tmp_path / "a.npz"):
            write_arrays(tmp_path / "a.npz", x=np.random.default_rng(0).random(10000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    assert not printed and np.load(tmp_path / "a.npz")["x"].tolist() == [1, 1, 1]


def test_an_export_is_refused_before_it_is_computed(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(graph, "_export_mindir", lambda *_: pytest.fail("computed"))
    settings = ModelSettings(file_name=str(tmp_path / "file" / "net"))
    with refused(OutputError, tmp_path / "file", "--file_name"):
        graph.export_model(nn.Dense(3, 3), settings, [graph.Port("x", "float32", (1, 3))],
                           [graph.Port("y", "float32", (1, 3))], "net")
