"""The launcher: what it starts, and what it does when a process fails. Real trainings: test_*_train.py."""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import ROOT, script
from test_rank_table import ONE, TWO, write

from utils import launch
from utils.errors import UserError

MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")

# train.py of a model that takes its part by its rank, as the environment has it
TRAIN = """
import os, signal, sys, time
rank, kind = os.environ["RANK_ID"], sys.argv[3]
print("rank", rank, "of", os.environ["RANK_SIZE"], "device", os.environ["DEVICE_ID"], *sys.argv[1:], flush=True)
if kind == "fail" and rank == "1":
    print("the reason why", flush=True)
    sys.exit(3)
if kind == "killed" and rank == "1":
    os.kill(os.getpid(), signal.SIGKILL)
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == "saves":
    signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
if kind != "quick":
    time.sleep(60)
"""


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    write(tmp_path / "table.json", ONE)
    return folder


def start(model, *flags):
    """The launcher as a process."""
    return subprocess.Popen([sys.executable, ROOT / "utils" / "launch.py", model, model.parent / "table.json", *flags],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
                            env=os.environ | {"DEVICE_TARGET": "Ascend", "PYTHONPATH": str(ROOT)})


def wait_for(model, text, rank=1):
    log = model / f"train_parallel{rank}" / "train.log"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if log.is_file() and text in log.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{text!r} is not in {log}")


def running(folder):
    """Processes that work in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(folder):
                found.append(process.name)
        except OSError:
            pass
    return found


def test_all_ranks_run_and_rank_0_is_shown(model):
    process = start(model, "quick", "--lr", "0.1")
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0, output
    assert output == "rank 0 of 2 device 0 --distribute true quick --lr 0.1\n"
    assert (model / "train_parallel1" / "train.log").read_text().startswith("rank 1 of 2 device 1")
    assert "RANK_TABLE_FILE=" + str(model.parent / "table.json") in (model / "train_parallel1" / "env.log").read_text()


@pytest.mark.parametrize(("kind", "code", "message"), [("fail", 3, "rank 1 failed with exit code 3"),
                                                       ("killed", 137, "rank 1 was ended by SIGKILL")])
def test_a_failed_rank_stops_the_others(model, kind, code, message):
    started = time.monotonic()
    process = start(model, kind)
    output = process.communicate(timeout=30)[0]
    assert time.monotonic() - started < 10 and not running(model)
    assert process.returncode == code and f"error: {message}, the others are stopped" in output, output
    assert kind != "fail" or "  the reason why" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_all_after_they_saved(model, number):
    process = start(model, "saves")
    wait_for(model, "rank 1")
    wait_for(model, "rank 0", rank=0)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 128 + number and f"{number.name}: stopping all processes" in output
    assert (model / "train_parallel1" / "train.log").read_text().endswith("saved\n") and not running(model)


def test_a_process_that_does_not_end_is_killed(model, monkeypatch):
    monkeypatch.setattr(launch, "GRACE", 0.5)
    monkeypatch.setenv("DEVICE_TARGET", "Ascend")
    watch = launch.Watch(launch.make_jobs(model, model.parent / "table.json", "Ascend", ["stubborn"], False))
    watch.processes = [launch.start(job) for job in watch.jobs]
    wait_for(model, "rank 1")
    wait_for(model, "rank 0", rank=0)
    watch._stop()
    assert [process.returncode for process in watch.processes] == [-signal.SIGKILL] * 2


def test_no_orphans_when_the_launcher_is_killed(model):
    process = start(model, "stubborn")
    wait_for(model, "rank 1")
    process.kill()
    process.wait()
    end = time.monotonic() + 10
    while running(model) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(model)


def test_servers_of_a_table_take_their_own_ranks(tmp_path, monkeypatch):
    table = write(tmp_path / "two.json", TWO)
    monkeypatch.setenv("SERVER_ID", "1")
    jobs = launch.make_jobs(tmp_path, table, "Ascend", [], False)
    assert [(job.environment["RANK_ID"], job.environment["DEVICE_ID"], job.environment["RANK_SIZE"]) for job in jobs] \
        == [("2", "4", "4"), ("3", "5", "4")]
    for value in ("2", "", "first"):
        monkeypatch.setenv("SERVER_ID", value)
        with pytest.raises(UserError, match="SERVER_ID: found '.*', expected 0 to 1"):
            launch.make_jobs(tmp_path, table, "Ascend", [], False)


def test_cpu_processes_get_a_scheduler_and_no_rank_table(tmp_path, monkeypatch):
    monkeypatch.delenv("SERVER_ID", raising=False)
    scheduler, *workers = launch.make_jobs(tmp_path, write(tmp_path / "two.json", TWO), "CPU", [], False)
    assert scheduler.environment["MS_ROLE"] == "MS_SCHED" and len(workers) == 4
    port = scheduler.environment["MS_SCHED_PORT"]
    assert port.isdigit() and all(job.environment["MS_SCHED_PORT"] == port for job in workers)
    assert [job.environment["MS_NODE_ID"] for job in workers] == ["0", "1", "2", "3"]
    assert not any("RANK_TABLE_FILE" in job.environment for job in workers)


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(10)))
    assert [launch.cores(place, 4) for place in range(4)] == ["0,1", "2,3", "4,5", "6,7"]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert [launch.cores(place, 4) for place in range(4)] == ["3", "5", "3", "5"]


@pytest.mark.parametrize("name", MODELS)
def test_scripts_say_what_they_would_start(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK_TABLE_FILE", "/elsewhere.json")
    table = write(tmp_path / "table.json", ONE)
    code, output = script(name, "run_distribute_train_ascend.sh", table, "--dry_run", "--num_epochs", "3",
                          target="Ascend")
    assert code == 0 and len(output.splitlines()) == 2
    assert re.match(rf"rank 0: DEVICE_TARGET=Ascend RANK_TABLE_FILE={table} RANK_ID=0 RANK_SIZE=2 DEVICE_NUM=2 "
                    r"DEVICE_ID=0 \S+ train.py --distribute true --num_epochs 3 > .*/train_parallel0/train.log", output)
    code, output = script(name, "run_distribute_train_ascend.sh")
    assert code == 2 and output.startswith("error: RANK_TABLE_FILE is missing")
    bad = write(tmp_path / "bad.json", ONE | {"status": "initializing"})
    code, output = script(name, "run_distribute_train_ascend.sh", bad)
    assert code == 2 and "bad.json: no valid rank table: status: found 'initializing'" in output
    code, output = script(name, "run_distribute_train_msrun.sh", "many")
    assert code == 2 and "WORKER_NUM: found 'many', expected a number" in output


def test_the_documented_form_of_conv_tasnet(tmp_path):
    table = write(tmp_path / "table.json", ONE)
    code, output = script("conv_tasnet", "run_distribute_train.sh", "2", "true", table, "--dry_run", target="Ascend")
    assert code == 0 and len(output.splitlines()) == 2
    code, output = script("conv_tasnet", "run_distribute_train.sh", "8", "true", table, "--dry_run", target="Ascend")
    assert code == 2 and f"DEVICE_NUM: found 8, but {table} has 2 devices" in output
    assert json.loads(table.read_text()) == ONE
