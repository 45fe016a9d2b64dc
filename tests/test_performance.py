"""Performance mode: exactly max_steps steps, and their speed; the documents' scripts test/*.sh that use it."""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused
from helpers.points import Points, config, rows, train
from helpers.programs import rank_table

from utils.errors import SettingError
from utils.training.loop import Loop
from utils.training.run_folder import RunFolder
from utils.training.step_clock import WARM_UP, StepClock


class Halved(Points):
    """Batches of which those from the 13th of an epoch on are half as long: another graph is compiled."""

    steps = 20

    def batch(self, epoch, index):
        arrays, bad = super().batch(epoch, index)
        return (tuple(array[:4] for array in arrays) if index >= 12 else arrays), bad


def log(folder):
    return (folder / "train.log").read_text()


def test_speed_is_that_of_the_steps_that_count():
    """10 steps of 5 s, then of 1, 2 and 4 s with 16 utterances, and one of 50 s that compiles; 100 s in between."""
    now = 0.0
    clock = StepClock(WARM_UP + 4, lambda: now)
    for step, (seconds, compiled) in enumerate([(5, True)] + [(5, False)] * 9 + [(1, False), (50, True), (2, False),
                                                                                (4, False)], 1):
        if step in (1, 12):
            now += 100          # validation, for example
            clock.start()
        assert not clock.over
        now += seconds
        clock.stop(16, compiled)
    assert clock.over
    assert clock.report() == f"FPS: {3 * 16 / 7:.2f} (14 steps, the first 10 and 1 more, which compiled, left out)"


def test_speed_without_later_graphs():
    clock = StepClock(12, iter(range(100)).__next__)
    for step in range(12):
        clock.stop(8, step == 0)
    assert clock.report() == "FPS: 8.00 (12 steps, the first 10 left out)"


def test_no_limit_is_never_over():
    clock = StepClock(0)
    clock.stop(8, False)
    assert not clock.over


@pytest.mark.parametrize("steps", [-1, 1, WARM_UP])
def test_too_few_steps_are_refused_before_anything_is_written(tmp_path, steps):
    with refused(SettingError, "max_steps", steps, WARM_UP + 1):
        RunFolder(config(tmp_path / "run", max_steps=steps))
    assert not (tmp_path / "run").exists()


def test_steps_that_all_compiled_are_no_speed():
    clock = StepClock(11)
    for _ in range(11):
        clock.stop(8, True)
    with refused(SettingError, "max_steps", 11, "first 10", "1 more"):
        clock.report()


@pytest.mark.parametrize(("steps", "epochs", "place"), [(20, 1, (4, 2)), (12, 9, (2, 6))])
def test_a_run_takes_exactly_so_many_steps(tmp_path, steps, epochs, place):
    """More or fewer than num_epochs of 6 steps; it ends as finished and says where it stands."""
    progress, _ = train(tmp_path, max_steps=steps, num_epochs=epochs)
    assert (progress.batches, progress.updates) == (steps, steps) and (progress.epoch, progress.step) == place
    assert re.search(rf" FPS: \d+\.\d\d \({steps} steps, the first 10 left out\)\n.* finished: ", log(tmp_path))
    assert len(rows(tmp_path)) == place[0] - 1


def test_saving_is_no_part_of_the_time(tmp_path, monkeypatch):
    """8 points in 2 s, by a clock that goes on by 2 s when it is read and by 100 s when the state is saved."""
    now = 0.0

    def passes(seconds):
        nonlocal now
        now += seconds
        return now

    save = Loop.save
    monkeypatch.setattr(Loop, "save", lambda loop: (save(loop), passes(100)))
    monkeypatch.setattr("utils.training.loop.StepClock", lambda steps: StepClock(steps, lambda: passes(2)))
    train(tmp_path, max_steps=15, save_steps=1)
    assert " FPS: 4.00 (15 steps, " in log(tmp_path)


def test_first_steps_of_later_shapes_do_not_count(tmp_path):
    """Batches 13, 14, ... are half as long; two batches make an update, each by a graph of its own."""
    train(tmp_path, Halved(), max_steps=18, accumulate=2)
    assert "(18 steps, the first 10 and 2 more, which compiled, left out)" in log(tmp_path)


def test_a_run_goes_on_from_where_max_steps_ended_it(tmp_path):
    """Resumed without a limit it ends as one that never had one; there is a best.ckpt from the first."""
    _, expected = train(tmp_path / "whole")
    train(tmp_path / "cut", max_steps=11, num_epochs=3)
    assert (tmp_path / "cut" / "best.ckpt").is_file()
    _, actual = train(tmp_path / "cut", resume=str(tmp_path / "cut"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def test_a_finished_run_can_be_timed_without_harm_to_its_best(tmp_path):
    best = iter([3.0, 1.0, 2.0, 5.0, 6.0])
    options = {"validate": lambda: {"error": next(best)}}
    train(tmp_path, **options)
    before = (tmp_path / "best.ckpt").read_bytes()
    progress, _ = train(tmp_path, resume=str(tmp_path), max_steps=13, **options)
    assert progress.batches == 18 + 13 and progress.best == 1.0 and (tmp_path / "best.ckpt").read_bytes() == before
    assert "FPS: " in log(tmp_path)


# ---- test/train_{full,performance}_{1p,8p}.sh

# `python` that writes down how it is called instead of training; a launcher does a dry run, a table is made indeed
STUB = """#!/usr/bin/env bash
case $1 in
  *hccl_tools.py) exec {python} "$@" ;;
  *launch.py) {python} "$@" --dry_run || exit ;;
esac
echo "$*" >> {folder}/calls
case $1 in
  train.py | *launch.py) echo "2026-01-01 00:00:00 FPS: 8.25 (60 steps, the first 10 left out)"
    echo "2026-01-01 00:00:00 finished: best epoch 3, runs/it/best.ckpt"
    exit "${{STUB_CODE:-0}}" ;;
  speaker_id.py) echo "FPS: 43.86 (60 steps)"; echo "Epoch loaded: 5 - test loss: 0.41, test error: 9.38e-02" ;;
  eval.py) echo "Average WER 9.444 Average CER 5.723"; echo "Average SISNR improvement: 12.59"; echo "and more" ;;
esac
"""


@pytest.fixture
def stubbed(tmp_path):
    """A function that runs <model>/test/<name>.sh with the stub: (exit code, what it printed, calls of python)."""
    for path in ROOT.glob("*/test/*.sh"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "utils").symlink_to(ROOT / "utils")
    (tmp_path / "data").mkdir()
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "python"
    stub.write_text(STUB.format(python=sys.executable, folder=tmp_path))
    stub.chmod(0o755)

    def run(model, name, *arguments, target="CPU", **environment):
        (tmp_path / "calls").write_text("")
        done = subprocess.run(
            ["bash", f"./test/{name}.sh", *map(str, arguments)], cwd=tmp_path / model, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
                              "DEVICE_TARGET": target} | environment)
        calls = (tmp_path / "calls").read_text().replace(str(tmp_path), "").splitlines()
        return done.returncode, done.stdout, calls

    return run


LIBRIMIX = ["prepare.py --corpus librimix --data_folder /data --output_folder lists/test_librimix --resample false",
            "train.py --config configs/librimix.yaml --train_dir lists/test_librimix/train-100.csv --train_path /data "
            "--valid_dir lists/test_librimix/dev.csv --valid_path /data --eval_dir lists/test_librimix/test.csv "
            "--eval_path /data --ckpt_save_dir runs/{name}"]
AN4 = ["prepare.py --corpus deepspeech --data_folder /data --output_folder lists/an4_document",
       "train.py --config configs/an4_full.yaml --train_manifest lists/an4_document/train.json --val_manifest "
       "lists/an4_document/valid.json --test_manifest lists/an4_document/test.json --minibatch_size 10 "
       "--ckpt_save_dir runs/{name} --learning_rate 1.4e-4"]
IDENTIFY = ["speaker_id.py --config configs/speaker_id.yaml --data_folder /data"]


@pytest.mark.parametrize(("model", "commands", "fast", "score", "end"), [
    ("deepspeech2", AN4, " --max_steps 60 --val_manifest=", ["eval.py --checkpoint_path runs/it/best.ckpt"],
     "Average WER 9.444 Average CER 5.723"),
    ("conv_tasnet", LIBRIMIX, " --max_steps 60 --valid_dir=", ["eval.py --checkpoint_path runs/it/best.ckpt"],
     "Average SISNR improvement: 12.59"),
    ("ecapatdnn", IDENTIFY, " --max_steps 60 --output_folder results/speaker_id/train_performance_1p", [],
     "Epoch loaded: 5 - test loss: 0.41, test error: 9.38e-02")])
def test_scripts_of_one_device(stubbed, tmp_path, model, commands, fast, score, end):
    """What they run, with flags of one's own last; the log is what was printed and ends with the result."""
    def expected(name, more=""):
        return [command.format(name=name) for command in commands[:-1]] + [commands[-1].format(name=name) + more]

    code, output, calls = stubbed(model, "train_full_1p", "--data_path=../data/", "--seed", "3")
    assert code == 0 and calls == expected("train_full_1p", " --seed 3") + score, output
    log = (tmp_path / model / "test" / "output" / "train_full_1p.log").read_text()
    assert log == output and log.splitlines()[-1] == end
    code, output, calls = stubbed(model, "train_performance_1p", "--data_path=../data/")
    assert code == 0 and calls == expected("train_performance_1p", fast), output
    log = (tmp_path / model / "test" / "output" / "train_performance_1p.log").read_text()
    assert log == output and re.match(r"FPS: \d+\.\d\d \(60 steps", log.splitlines()[-1])


@pytest.mark.parametrize("arguments", [["--data_path", "../data"], ["--data_folder=../data"],
                                       ["--data_folder", "../data"]])
def test_the_data_folder_in_every_form(stubbed, arguments):
    code, output, calls = stubbed("deepspeech2", "train_performance_1p", *arguments)
    assert code == 0 and calls[0] == AN4[0], output


@pytest.mark.parametrize("arguments", [["--rank_size=2"], ["--rank_size", "2"]])
def test_scripts_of_several_devices_on_a_cpu(stubbed, arguments):
    """Two processes: by the launcher, or by a program that starts its own."""
    code, output, calls = stubbed("deepspeech2", "train_full_8p", "--data_path=../data", *arguments)
    table = "/deepspeech2/test/output/hccl_2p_01_127.0.0.1.json"
    assert code == 0 and calls[1].startswith(f"../utils/launch.py /deepspeech2 {table} --config configs/an4_full.yaml")
    assert calls[1].endswith(" --learning_rate 2e-4") and calls[2].startswith("eval.py ")
    assert len(re.findall(r"^rank [01]: DEVICE_TARGET=CPU .*train.py --distribute true", output, re.M)) == 2
    code, output, calls = stubbed("ecapatdnn", "train_full_8p", "--data_folder=../data", *arguments)
    assert code == 0 and calls == [IDENTIFY[0] + " --rank_size 2"], output


@pytest.mark.parametrize(("cores", "processes"), [(1, 2), (2, 2), (6, 4), (40, 8)])
def test_number_of_processes_on_a_cpu(stubbed, tmp_path, cores, processes):
    nproc = tmp_path / "bin" / "nproc"
    nproc.write_text(f"#!/bin/sh\necho {cores}\n")
    nproc.chmod(0o755)
    code, output, calls = stubbed("ecapatdnn", "train_performance_8p", "--data_folder=../data")
    assert code == 0 and calls[0].endswith(f" --rank_size {processes}"), output


def test_scripts_of_several_devices_on_ascend(stubbed, tmp_path):
    """With the table of RANK_TABLE_FILE or of the flag; without one it is made, of what this server must tell."""
    table = rank_table(tmp_path, 8)
    for arguments, environment in (([], {"RANK_TABLE_FILE": str(table)}), ([f"--rank_table={table}"], {})):
        code, output, calls = stubbed("deepspeech2", "train_performance_8p", "--data_path=../data", *arguments,
                                      target="Ascend", **environment)
        assert code == 0, output
        assert calls[1].endswith("--learning_rate 8e-4 --amp_level O2 --max_steps 60 --val_manifest=")
        assert len(re.findall(rf"^rank \d: DEVICE_TARGET=Ascend RANK_TABLE_FILE={table}", output, re.M)) == 8
    code, output, calls = stubbed("conv_tasnet", "train_full_8p", "--data_path=../data", target="Ascend")
    assert not calls
    assert_refusal(code, output, "device 0")
    code, output, calls = stubbed("ecapatdnn", "train_full_8p", "--data_folder=../data", target="Ascend")
    assert code == 0 and calls == [IDENTIFY[0] + " --rank_size 8"], output


def test_a_training_that_fails_fails_the_script(stubbed, tmp_path):
    for name in ("train_full_1p", "train_performance_1p", "train_full_8p"):
        code, output, calls = stubbed("deepspeech2", name, "--data_path=../data", STUB_CODE="3")
        assert code == 3 and len(calls) == 2, output
        assert "finished" in (tmp_path / "deepspeech2" / "test" / "output" / f"{name}.log").read_text()


@pytest.mark.parametrize(("name", "arguments", "facts"), [
    ("train_full_1p", [], ["data_path: not set", "train_full_1p.sh --data_path=DIR"]),
    ("train_full_1p", ["--data_path"], ["--data_path", "usage"]),
    ("train_full_1p", ["--data_path=nowhere"], ["data_path: nowhere", "usage"]),
    ("train_full_1p", ["--data_path=../data", "--rank_size=2"], ["rank_size", 2, 1, "train_full_8p.sh"]),
    ("train_full_8p", ["--data_path=../data", "--rank_size=two"], ["rank_size", "two"]),
    ("train_full_8p", ["--data_path=../data", "--rank_size=17"], ["device_num", "device 16", "0 to 15"]),
    ("train_full_8p", ["--data_path=../data", "--rank_table=none.json"], ["none.json"]),
])
def test_mistakes_of_the_scripts(stubbed, name, arguments, facts):
    code, output, calls = stubbed("deepspeech2", name, *arguments)
    assert not calls and len(output.splitlines()) == 1, output
    assert_refusal(code, output, *facts)


@pytest.fixture
def model(tmp_path, mini_corpus):
    """A function that runs deepspeech2/test/<name>.sh with a small network on 12 utterances of the mini corpus."""
    for path in (ROOT / "deepspeech2").iterdir():
        if path.suffix == ".py" or path.name in ("configs", "src"):
            link = tmp_path / "deepspeech2" / path.name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
    (tmp_path / "utils").symlink_to(ROOT / "utils")
    shutil.copytree(ROOT / "deepspeech2" / "test", tmp_path / "deepspeech2" / "test",
                    ignore=shutil.ignore_patterns("output"))
    (tmp_path / "data").mkdir()
    said = [line.split("\t") for line in (mini_corpus / "transcripts.tsv").read_text().splitlines()]
    for part in ("train", "val", "test"):
        rows = []
        for path, text in [row for row in said if row[0].startswith("train/")][:12]:
            transcript = tmp_path / "data" / f"{path.replace('/', '_')}.txt"
            transcript.write_text(text)
            rows.append(f"{mini_corpus / path},{transcript.name}")
        (tmp_path / "data" / f"an4_{part}_manifest.csv").write_text("\n".join(rows) + "\n")

    def run(name, *arguments):
        small = ("--conv_channels=2", "--hidden_size=16", "--hidden_layers=2", "--minibatch_size=2", "--buckets=1")
        done = subprocess.run(
            ["bash", f"./test/{name}.sh", "--data_path=../data/", *small, *arguments], cwd=tmp_path / "deepspeech2",
            text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | {"DEVICE_TARGET": "CPU", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})
        log = tmp_path / "deepspeech2" / "test" / "output" / f"{name}.log"
        assert done.returncode == 0 and log.read_text() == done.stdout, done.stdout
        return done.stdout

    return run


def test_performance_of_one_device(model):
    output = model("train_performance_1p", "--max_steps", "12")
    assert re.search(r"^FPS: \d+\.\d\d \(12 steps, the first 10 left out\)\n\Z", output, re.M), output
    assert "valid_wer" not in output


@pytest.mark.slow
def test_accuracy_of_one_device(model):
    output = model("train_full_1p", "--training.epochs", "2")
    assert "epoch 2 " in output and re.search(r"^Average WER \d+\.\d{3} Average CER .*\n\Z", output, re.M), output


@pytest.mark.slow
def test_two_processes_stop_together_and_tell_the_speed_of_both(model):
    """As many utterances in a step as two devices take; rank 0 alone says so."""
    output = model("train_performance_8p", "--rank_size", "2", "--max_steps", "12")
    assert "3 batches of 2 an epoch, O0 on 2 x CPU" in output and output.count("FPS: ") == 2, output
    assert "12 steps, state saved at epoch 4, batch 3" in output
