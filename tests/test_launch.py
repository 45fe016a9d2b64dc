"""The launcher: what it starts, and what it does when a process fails.

Here a listening socket is the scheduler, which saves MindSpore's import. A real one: test_distributed.py,
test_*_train.py.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.documents import ROOT
from helpers.errors import assert_named, assert_refusal, refused
from helpers.programs import script
from helpers.rank_tables import ONE, TWO, table, write

from utils.errors import MismatchError, NotFoundError, SettingError
from utils.launching import cluster, jobs, watch

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
if kind == "leaves" and rank == "1":
    sys.exit(143)
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == "leaves":
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(3), print("saved late", flush=True), sys.exit(143)))
if kind == "saves":
    signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(143)))
if kind != "quick":
    time.sleep(60)
"""

# in the scheduler's place: it ends well as soon as its folder holds the file "left"
SCHEDULER = """
import os, pathlib, socket, time
with socket.create_server((os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"]))):
    while not pathlib.Path("left").exists():
        time.sleep(0.05)
"""

# the launcher with that scheduler and, for the loss of one, less patience
LAUNCHER = f"""
import sys
from utils import launch
from utils.errors import run
from utils.launching import jobs, watch
jobs.SCHEDULER, watch.PROBE, watch.LOST = {SCHEDULER!r}, 0.1, 1
run(launch.main, sys.argv[1:])
"""

# what the shell that calls us may have, none of which is ours
LEFTOVERS = ("SERVER_ID", "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_TOPO_TIMEOUT", "HCCL_CONNECT_TIMEOUT",
             "ASCEND_RT_VISIBLE_DEVICES", "OMP_NUM_THREADS", "GLOG_v")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in LEFTOVERS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    write(tmp_path / "table.json", ONE)
    return folder


def start(model, *flags, **environment):
    """The launcher as a process."""
    return subprocess.Popen([sys.executable, "-c", LAUNCHER, model, model.parent / "table.json", *flags],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
                            env=os.environ | {"DEVICE_TARGET": "Ascend", "PYTHONPATH": str(ROOT)} | environment)


def two_servers(folder):
    """A table of two servers that are both this one, of one device each."""
    content = table([(4, 0)], [(5, 1)])
    for number, server in enumerate(content["server_list"]):
        server["server_id"] = f"127.0.0.{1 + number}"
    return write(folder / "table.json", content)


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


def gone(folder):
    """Whether nothing works in `folder`, within the seconds that the system takes to stop what it has killed."""
    end = time.monotonic() + 10
    while running(folder) and time.monotonic() < end:
        time.sleep(0.05)
    return not running(folder)


def test_all_ranks_run_and_rank_0_is_shown(model):
    process = start(model, "quick", "--lr", "0.1")
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 0, output
    assert output == "rank 0 of 2 device 0 --distribute true quick --lr 0.1\n"
    assert (model / "train_parallel1" / "train.log").read_text().startswith("rank 1 of 2 device 1")
    assert not running(model)


def test_only_ranks_see_the_table(model):
    """The scheduler would renumber them by it. What the shell has of it reaches nobody."""
    process = start(model, "quick", RANK_TABLE_FILE="/elsewhere.json", RANK_ID="7", DEVICE_ID="7", MS_NODE_ID="7")
    assert process.wait(timeout=30) == 0
    scheduler, rank = [dict(line.split("=", 1) for line in (model / f"train_parallel{name}" / "env.log").read_text()
                            .splitlines() if "=" in line) for name in ("_scheduler", "1")]
    assert rank["RANK_TABLE_FILE"] == str(model.parent / "table.json")
    assert [rank[name] for name in ("MS_ROLE", "RANK_ID", "DEVICE_ID", "MS_NODE_ID")] == ["MS_WORKER", "1", "1", "1"]
    assert scheduler["MS_ROLE"] == "MS_SCHED"
    assert not {"RANK_TABLE_FILE", "RANK_ID", "DEVICE_ID", "MS_NODE_ID"} & set(scheduler)


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


def test_who_leaves_on_a_signal_leaves_the_others_time_to_save(model):
    """All ranks leave at the same step when one was told to; rank 0 alone saves, for longer than the rest of them."""
    process = start(model, "leaves")
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 143 and "error: rank 1 has ended on SIGTERM, the others are stopped" in output, output
    assert (model / "train_parallel0" / "train.log").read_text().endswith("saved late\n") and not running(model)


def test_a_process_that_does_not_end_is_killed(model, monkeypatch):
    monkeypatch.setattr(watch, "GRACE", 0.5)
    monkeypatch.setattr(jobs, "SCHEDULER", SCHEDULER)
    watcher = watch.Watch(jobs.make_jobs(model, model.parent / "table.json", "Ascend", ["stubborn"], False))
    watcher.processes = [watch.start(job) for job in watcher.jobs]
    wait_for(model, "rank 1")
    wait_for(model, "rank 0", rank=0)
    watcher._stop()
    assert [process.returncode for process in watcher.processes] == [-signal.SIGTERM] + [-signal.SIGKILL] * 2


def test_two_launches_at_once_have_logs_of_their_own(model):
    """As on the two halves of a server; before, the second would write into the logs of the first."""
    first = start(model, "saves")
    wait_for(model, "rank 1")
    log = (model / "train_parallel1" / "train.log").read_text()
    second = start(model, "quick")
    output = second.communicate(timeout=30)[0]
    assert second.returncode == 0 and f"{model / 'train_parallel0'}_{second.pid}" in output, output
    assert (model / f"train_parallel1_{second.pid}" / "train.log").read_text().startswith("rank 1 of")
    assert (model / "train_parallel1" / "train.log").read_text() == log
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=30)


def test_no_orphans_when_the_launcher_is_killed(model):
    process = start(model, "stubborn")
    wait_for(model, "rank 1")
    process.kill()
    process.wait()
    assert gone(model)


def test_servers_of_a_table_take_their_own_ranks(tmp_path, monkeypatch):
    """And the first the scheduler, which all know by its address and a fixed port."""
    path = write(tmp_path / "two.json", TWO)
    cluster = {"MS_SCHED_HOST": "10.0.0.1", "MS_SCHED_PORT": "8118", "MS_WORKER_NUM": "4", "MS_TOPO_TIMEOUT": "600",
               "HCCL_CONNECT_TIMEOUT": "600"}
    for server, devices in enumerate(((0, 1), (4, 5))):
        monkeypatch.setenv("SERVER_ID", str(server))
        started = jobs.make_jobs(tmp_path, path, "Ascend", [], False)
        if server == 0:
            scheduler = started.pop(0)
            assert scheduler.name == "scheduler"
            assert scheduler.environment == {"DEVICE_TARGET": "Ascend", "MS_ROLE": "MS_SCHED"} | cluster
        assert [job.name for job in started] == [f"rank {2 * server}", f"rank {2 * server + 1}"]
        for rank, (job, device) in enumerate(zip(started, devices, strict=True), 2 * server):
            assert job.environment == cluster | {
                "DEVICE_TARGET": "Ascend", "RANK_TABLE_FILE": str(path), "RANK_ID": str(rank), "RANK_SIZE": "4",
                "DEVICE_NUM": "4", "DEVICE_ID": str(device), "MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank)}
    for value in ("2", "", "first"):
        monkeypatch.setenv("SERVER_ID", value)
        with refused(SettingError, "SERVER_ID", repr(value), "0 to 1"):
            jobs.make_jobs(tmp_path, path, "Ascend", [], False)


def test_what_the_shell_sets_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVER_ID", "1")
    for name, value in {"MS_SCHED_PORT": "9000", "MS_SCHED_HOST": "10.0.0.9", "HCCL_CONNECT_TIMEOUT": "7200"}.items():
        monkeypatch.setenv(name, value)
    environment = jobs.make_jobs(tmp_path, write(tmp_path / "two.json", TWO), "Ascend", [], False)[0].environment
    assert environment["MS_SCHED_PORT"] == "9000" and environment["MS_SCHED_HOST"] == "10.0.0.9"
    assert "HCCL_CONNECT_TIMEOUT" not in environment
    for port in ("http", "80", "65536"):
        monkeypatch.setenv("MS_SCHED_PORT", port)
        with refused(SettingError, "MS_SCHED_PORT", repr(port), "1024 to 65535"):
            jobs.make_jobs(tmp_path, tmp_path / "two.json", "Ascend", [], False)


def test_server_0_is_known_by_its_address(tmp_path, monkeypatch):
    """host_ip before server_id; a name is looked up."""
    monkeypatch.setenv("SERVER_ID", "1")
    for server, address in (({"server_id": "10.0.0.1"}, "10.0.0.1"), ({"server_id": "fd00::1"}, "fd00::1"),
                            ({"server_id": "1", "host_ip": "172.16.0.100"}, "172.16.0.100"),
                            ({"server_id": "0.localhost", "host_ip": "localhost"}, "127.0.0.1")):
        content = table([(0, 0)], [(0, 1)])
        content["server_list"][0] |= server
        content["server_list"][1]["server_id"] = "node_1"
        path = write(tmp_path / "t.json", content)
        started = jobs.make_jobs(tmp_path, path, "Ascend", [], False)
        assert [job.environment["MS_SCHED_HOST"] for job in started] == [address]
    content["server_list"][0] = table([(0, 0)])["server_list"][0] | {"server_id": "node_0.invalid"}
    with refused(NotFoundError, "server 0", "'node_0.invalid'", "host_ip", "MS_SCHED_HOST"):
        jobs.make_jobs(tmp_path, write(path, content), "Ascend", [], False)


def test_devices_are_numbered_as_the_process_counts_them(tmp_path, monkeypatch):
    """Those of a table are physical; with ASCEND_RT_VISIBLE_DEVICES a process counts from 0."""
    path = write(tmp_path / "t.json", table([(5, 0), (7, 1)]))

    def devices(visible, target="Ascend"):
        monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", visible)
        return [job.environment["DEVICE_ID"] for job in jobs.make_jobs(tmp_path, path, target, [], False)[1:]]

    assert devices("") == devices("0,1,2,3,4,5,6,7") == devices("1,2", "CPU") == ["5", "7"]
    assert devices("4,5,6,7") == ["1", "3"] and devices("5,7") == ["0", "1"]
    with refused(MismatchError, "device 5", "ASCEND_RT_VISIBLE_DEVICES=6,7"):
        devices("6,7")
    for wrong in ("5, 7", "7,5", "5,5,7", "all"):
        with refused(SettingError, "ASCEND_RT_VISIBLE_DEVICES", repr(wrong), "4,5,6,7"):
            devices(wrong)


def test_a_cpu_takes_all_servers_or_one(tmp_path, monkeypatch):
    """Without SERVER_ID all ranks join here, at a port that is free; with it as the Ascends of that server do."""
    path = write(tmp_path / "two.json", TWO)
    scheduler, *ranks = jobs.make_jobs(tmp_path, path, "CPU", [], False)
    assert scheduler.environment["MS_ROLE"] == "MS_SCHED"
    assert [job.environment["MS_NODE_ID"] for job in ranks] == ["0", "1", "2", "3"]
    for job in (scheduler, *ranks):
        assert job.environment["MS_SCHED_HOST"] == "127.0.0.1"
        assert job.environment["MS_SCHED_PORT"] == scheduler.environment["MS_SCHED_PORT"]
    own = {"DEVICE_TARGET": "CPU", "GLOG_v": "3"}
    for server in ("0", "1"):
        monkeypatch.setenv("SERVER_ID", server)
        cpu, ascend = [jobs.make_jobs(tmp_path, path, target, ["--lr", "1"], False) for target in ("CPU", "Ascend")]
        for job, other in zip(cpu, ascend, strict=True):
            threads = job.environment.pop("OMP_NUM_THREADS")
            assert int(threads) >= 1 and job == other._replace(environment=other.environment | own)


def assert_refused(process, *names, waiting=()):
    """Ends with exit code 2 and that line alone, or after a line that names what it is `waiting` for."""
    output = process.communicate(timeout=30)[0]
    assert_refusal(process.returncode, output, *names)
    assert len(output.splitlines()) == (2 if waiting else 1), output
    assert_named(output.splitlines()[0], waiting)


def test_a_port_that_is_taken(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refused(start(model, "quick", MS_SCHED_PORT=str(port)), "MS_SCHED_PORT", port, "127.0.0.1")
    assert not list(model.glob("train_parallel*"))


def test_a_server_that_is_not_the_first(model):
    write(model.parent / "table.json", TWO)
    assert_refused(start(model, "quick", SERVER_ID="0"), "MS_SCHED_HOST", "10.0.0.1", "SERVER_ID")
    assert not list(model.glob("train_parallel*"))


def test_a_first_server_that_does_not_answer(model):
    two_servers(model.parent)
    port = str(cluster.free_port())
    scheduler = ["scheduler of server 0", f"127.0.0.1:{port}"]
    assert_refused(start(model, "quick", SERVER_ID="1", MS_SCHED_PORT=port, MS_TOPO_TIMEOUT="1"),
                   *scheduler, "1 s", "SERVER_ID=0", waiting=scheduler)
    assert not list(model.glob("train_parallel*"))


def test_the_scheduler_waits_for_the_ranks_of_other_servers(model):
    two_servers(model.parent)
    port = str(cluster.free_port())
    servers = [start(model, "quick", SERVER_ID=server, MS_SCHED_PORT=port) for server in ("1", "0")]
    wait_for(model, "rank 1")
    wait_for(model, "rank 0", rank=0)
    assert servers[0].communicate(timeout=30)[0].endswith("rank 1 of 2 device 5 --distribute true quick\n")
    assert servers[0].returncode == 0
    with pytest.raises(subprocess.TimeoutExpired):
        servers[1].wait(timeout=1)
    (model / "left").touch()
    assert servers[1].communicate(timeout=30)[0] == "rank 0 of 2 device 4 --distribute true quick\n"
    assert servers[1].returncode == 0 and not running(model)


def test_a_server_without_the_first_stops(model):
    """The first server's launcher is killed; ranks that wait for an NPU would not notice."""
    two_servers(model.parent)
    port = str(cluster.free_port())
    first, second = [start(model, "stubborn", SERVER_ID=server, MS_SCHED_PORT=port) for server in ("0", "1")]
    wait_for(model, "rank 1")
    first.kill()
    output = second.communicate(timeout=30)[0]
    assert second.returncode == 1 and gone(model)
    assert f"error: the scheduler of server 0, 127.0.0.1:{port}, has not answered for 1 s" in output


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(10)))
    assert [jobs.cores(place, 4) for place in range(4)] == ["0,1", "2,3", "4,5", "6,7"]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert [jobs.cores(place, 4) for place in range(4)] == ["3", "5", "3", "5"]


@pytest.mark.parametrize("name", MODELS)
def test_scripts_say_what_they_would_start(name, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK_TABLE_FILE", "/elsewhere.json")
    path = write(tmp_path / "table.json", ONE)
    code, output = script(name, "run_distribute_train_ascend.sh", path, "--dry_run", "--num_epochs", "3",
                          target="Ascend")
    assert code == 0
    scheduler, first, second = output.splitlines()
    assert re.match(r"scheduler: DEVICE_TARGET=Ascend MS_ROLE=MS_SCHED MS_SCHED_HOST=127.0.0.1 MS_SCHED_PORT=\d+ "
                    r"MS_WORKER_NUM=2 ", scheduler) and "RANK_TABLE_FILE" not in scheduler
    assert re.match(rf"rank 0: DEVICE_TARGET=Ascend RANK_TABLE_FILE={path} RANK_ID=0 RANK_SIZE=2 DEVICE_NUM=2 "
                    r"DEVICE_ID=0 MS_ROLE=MS_WORKER MS_NODE_ID=0 MS_SCHED_HOST=127.0.0.1 MS_SCHED_PORT=\d+ "
                    r"MS_WORKER_NUM=2 MS_TOPO_TIMEOUT=600 HCCL_CONNECT_TIMEOUT=600 "
                    r"\S+ train.py --distribute true --num_epochs 3 > .*/train_parallel0/train.log", first)
    assert second.startswith("rank 1: ") and " DEVICE_ID=1 MS_ROLE=MS_WORKER MS_NODE_ID=1 " in second
    write(path, TWO)
    for server, names in (("0", ["scheduler", "rank 0", "rank 1"]), ("1", ["rank 2", "rank 3"])):
        monkeypatch.setenv("SERVER_ID", server)
        code, output = script(name, "run_distribute_train_ascend.sh", path, "--dry_run", target="Ascend")
        assert code == 0 and [line.split(":")[0] for line in output.splitlines()] == names
        assert output.count(" MS_SCHED_HOST=10.0.0.1 MS_SCHED_PORT=8118 MS_WORKER_NUM=4 ") == len(names)
    code, output = script(name, "run_distribute_train_ascend.sh")
    assert_refusal(code, output, "RANK_TABLE_FILE", "run_distribute_train_ascend.sh")
    bad = write(tmp_path / "bad.json", ONE | {"status": "initializing"})
    code, output = script(name, "run_distribute_train_ascend.sh", bad)
    assert_refusal(code, output, bad, "status", "'initializing'")
    code, output = script(name, "run_distribute_train_msrun.sh", "many")
    assert_refusal(code, output, "WORKER_NUM", "'many'")


def test_msrun_gets_what_the_launcher_gives(tmp_path, monkeypatch):
    """A stand-in notes what it is called with."""
    stand_in = tmp_path / "msrun"
    stand_in.write_text("#!/bin/sh\n"
                        "echo $RANK_TABLE_FILE, $HCCL_CONNECT_TIMEOUT, $DEVICE_TARGET, $OMP_NUM_THREADS: $*\n")
    stand_in.chmod(0o755)
    for name, value in {"RANK_TABLE_FILE": "/elsewhere.json", "MS_SCHED_PORT": "9000"}.items():
        monkeypatch.setenv(name, value)
    environment = os.environ | {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def msrun(**differences):
        done = subprocess.run(["bash", ROOT / "deepspeech2/scripts/run_distribute_train_msrun.sh", "2", "--lr", "1"],
                              capture_output=True, text=True, check=False,
                              env=environment | {"DEVICE_TARGET": "Ascend"} | differences)
        return done.returncode, done.stdout + done.stderr

    assert msrun() == (0, ", 600, Ascend, : --worker_num=2 --local_worker_num=2 --master_port=9000 --log_dir="
                       "train_parallel --cluster_time_out=600 --join=True train.py --distribute true --lr 1\n")
    threads = jobs.cluster_jobs([], 2, "CPU", tmp_path)[1].environment["OMP_NUM_THREADS"]
    assert msrun(DEVICE_TARGET="CPU")[1].startswith(f", 600, CPU, {threads}: ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output = msrun(MS_SCHED_PORT=str(port))
    assert_refusal(code, output, "MS_SCHED_PORT", port)
    assert len(output.splitlines()) == 1


def test_the_documented_form_of_conv_tasnet(tmp_path):
    path = write(tmp_path / "table.json", ONE)
    code, output = script("conv_tasnet", "run_distribute_train.sh", "2", "true", path, "--dry_run", target="Ascend")
    assert code == 0 and len(output.splitlines()) == 3
    code, output = script("conv_tasnet", "run_distribute_train.sh", "8", "true", path, "--dry_run", target="Ascend")
    assert_refusal(code, output, "DEVICE_NUM", 8, path, "2 devices")
    assert json.loads(path.read_text()) == ONE
