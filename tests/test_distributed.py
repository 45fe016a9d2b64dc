"""Two processes on this CPU: what they share, agree on and keep alike; what stops one stops all. Two servers likewise.

A small network here; the models through their scripts: test_<model>_train.py.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.points import Points, rows, train
from helpers.rank_tables import ONE, table, write

from utils.checkpoints.checkpoint import load_checkpoint
from utils.device import setup_device
from utils.errors import run
from utils.launching.cluster import free_port

# train.py of a model: the function of this file that the second flag names
PROGRAM = """
import sys
import test_distributed
test_distributed.main(sys.argv[3], sys.argv[4])
"""


class Share(Points):
    """This rank's half of the batches of Points, so that both together see what one process sees."""

    def __init__(self, device, signalled=None, **faults):
        super().__init__(**faults)
        self.rank, self.size, self.signalled = device.rank, device.size, signalled

    def batch(self, epoch, index):
        if (epoch, index) == self.signalled and self.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        arrays, bad = super().batch(epoch, index)
        return tuple(np.split(array, self.size)[self.rank] for array in arrays), bad


class Halves(Points):
    """The halves of each batch, one after the other."""

    steps = 2 * Points.steps

    def batch(self, epoch, index):
        arrays, bad = super().batch(epoch, index // 2)
        return tuple(np.split(array, 2)[index % 2] for array in arrays), bad


def main(function, folder):
    """One process of the launcher."""
    run({"facts": facts, "lost_worker": lost_worker, "plain": plain, "endless": endless}[function],
        setup_device("CPU", True), Path(folder))


def facts(device, folder):
    """Trains in several ways; each rank writes what it ends with."""
    found = {"gathered": device.gather([device.rank, 5]).tolist(),
             "mean": [one.tolist() for one in device.mean([np.full(2, device.rank), np.ones((1, 1))])],
             "shared": [device.share_out(count, lambda indices: indices[:, None] * [1.0, 10.0]).tolist()
                        for count in (1, 4, 5)],
             "objects": device.gather_objects({"rank": device.rank, "long": "é" * device.rank * 2 ** 20}),
             "texts": [device.share_out_objects(count, lambda indices: ["é" * i for i in indices])
                       for count in (1, 4, 5)]}
    weights = {}

    def ends(name, dataset=None, **options):
        progress, weights[name] = train(folder / name, dataset or Share(device), device=device, **options)
        found[name] = [progress.updates, progress.batches, progress.factor]

    ends("plain", norm=False)
    ends("norm")
    ends("scaled", Share(device, nan=(2, 3)), loss_scale=128.0, accumulate=4)     # not a number for rank 0 alone
    try:
        ends("resumed", Share(device, signalled=(2, 4)))            # rank 1 alone gets it
    except SystemExit as left:
        found["left"] = left.code
    ends("resumed", resume=str(folder / "resumed"))
    np.savez(folder / f"rank{device.rank}.npz", **{f"{run}/{name}": value for run, values in weights.items()
                                                   for name, value in values.items()})
    (folder / f"rank{device.rank}.json").write_text(json.dumps(found))


def plain(device, folder):
    """Trains as `facts` does first; each rank writes what it ends with."""
    _, weights = train(folder / "plain", Share(device), device=device, norm=False)
    np.savez(folder / f"rank{device.rank}.npz", **weights)


def endless(device, folder):
    """Trains until it is stopped."""
    train(folder / "run", Share(device), device=device, num_epochs=10 ** 6)


def lost_worker(device, folder):
    """Kills the data worker of rank 1."""
    train(folder / "run", Share(device, kill=2 if device.rank else None), device=device, workers=1)


def launch(folder, function):
    """(exit code, what the launcher printed) of two processes of this file's `function`."""
    (folder / "model").mkdir()
    (folder / "model" / "train.py").write_text(PROGRAM)
    path = write(folder / "table.json", ONE)
    done = subprocess.run([sys.executable, ROOT / "utils" / "launch.py", folder / "model", path, function, folder],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=200,
                          env=os.environ | {"DEVICE_TARGET": "CPU", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"})
    return done.returncode, done.stdout


# "$@" on both servers of a table, 10.9.9.1 and .2: this network namespace and that of the process $second
SERVERS = """
ip link set lo up
unshare --net sleep 300 & second=$!
until ! [ /proc/self/ns/net -ef /proc/$second/ns/net ]; do sleep 0.01; done
ip link add left type veth peer name right netns $second
ip addr add 10.9.9.1/24 dev left && ip link set left up
nsenter --target $second --net sh -c 'ip addr add 10.9.9.2/24 dev right && ip link set right up && ip link set lo up'
SERVER_ID=1 nsenter --target $second --net timeout 120 "$@" > 1.log 2>&1 & other=$!
code=0
SERVER_ID=0 timeout 120 "$@" > 0.log 2>&1 || code=$?
wait $other || code=$?
kill $second
exit $code
"""
NAMESPACES = ["unshare", "--user", "--map-root-user", "--net", "bash", "-eu", "-c"]


def two_servers(folder, function, *addresses):
    """(command of the launcher, its environment) for this file's `function` on either server of a table."""
    (folder / "model").mkdir()
    (folder / "model" / "train.py").write_text(PROGRAM)
    content = table([(4, 0)], [(5, 1)])
    for server, address in zip(content["server_list"], addresses, strict=True):
        server["server_id"] = address
    command = [sys.executable, str(ROOT / "utils" / "launch.py"), str(folder / "model"),
               str(write(folder / "table.json", content)), function, str(folder)]
    return command, os.environ | {"DEVICE_TARGET": "CPU", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """(folder, what each rank found, [weights of each rank])."""
    folder = tmp_path_factory.mktemp("two")
    code, output = launch(folder, "facts")
    assert code == 0, output
    found = [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    return folder, found, [dict(np.load(folder / f"rank{rank}.npz")) for rank in (0, 1)]


def test_what_each_rank_knows_all_know(two):
    for found in two[1]:
        assert found["gathered"] == [[0, 5], [1, 5]]
        assert found["mean"] == [[0.5, 0.5], [[1]]]
        assert found["shared"] == [[[i, 10 * i] for i in range(count)] for count in (1, 4, 5)]
        assert found["objects"] == [{"rank": 0, "long": ""}, {"rank": 1, "long": "é" * 2 ** 20}]
        assert found["texts"] == [["é" * i for i in range(count)] for count in (1, 4, 5)]


def test_ranks_keep_equal_weights_and_statistics(two):
    first, second = two[2]
    assert len(first) == 4 + 3 * 8 and any("moving_mean" in name for name in first)
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value, err_msg=name)
    assert two[1][0]["plain"] == two[1][1]["plain"] == [18, 18, 1.0]


def test_two_halves_of_a_batch_train_as_one_process_does(two, tmp_path):
    """To 1e-5: with the whole batch without BatchNorm, else as one that takes a half after the other.

    Against whole batches, of 8 instead of 4, BatchNorm makes the first epoch's loss differ by less than a quarter.
    """
    for name, options in (("plain", {"norm": False}), ("norm", {"dataset": Halves(), "accumulate": 2})):
        _, expected = train(tmp_path / name, **options)
        for found, one in zip(rows(two[0] / name), rows(tmp_path / name), strict=True):
            assert {key: float(value) for key, value in found.items()} == pytest.approx(
                {key: float(value) for key, value in one.items()}, rel=1e-5)
        for weight, value in expected.items():
            if "moving" not in weight:      # one after the other, the second half counts for more
                np.testing.assert_allclose(two[2][0][f"{name}/{weight}"], value, atol=1e-5, err_msg=weight)
    train(tmp_path / "whole", num_epochs=1)
    found, one = (float(rows(folder)[0]["loss"]) for folder in (two[0] / "norm", tmp_path / "whole"))
    assert found != one and found == pytest.approx(one, rel=0.25)


def test_a_batch_that_one_rank_cannot_use_is_skipped_by_all(two):
    weights = {name: value for name, value in two[2][0].items() if name.startswith("scaled/")}
    assert weights and all(np.isfinite(value).all() for value in weights.values())
    assert "1 steps skipped for overflow" in (two[0] / "scaled" / "train.log").read_text()


def test_all_leave_at_the_step_at_which_one_is_told_to_and_resume_exactly(two):
    assert [found["left"] for found in two[1]] == [128 + signal.SIGTERM] * 2
    for name, value in two[2][0].items():
        kind, weight = name.split("/")
        if kind == "resumed":     # statistics are averaged once more than undisturbed: another rounding
            np.testing.assert_allclose(value, two[2][0][f"norm/{weight}"], rtol=1e-5, atol=1e-6, err_msg=name)
    assert "SIGTERM: state saved at epoch 2, batch" in (two[0] / "resumed" / "train.log").read_text()


def test_rank_0_alone_writes(two):
    assert not list(two[0].glob("model/train_parallel1/**/*.ckpt"))
    log = (two[0] / "model" / "train_parallel1" / "train.log").read_text()
    assert "epoch 1" not in log, log
    assert load_checkpoint(two[0] / "norm" / "last" / "state.ckpt")[1]["devices"] == 2


def test_a_lost_worker_of_one_rank_stops_all_and_is_told(tmp_path):
    started = time.monotonic()
    code, output = launch(tmp_path, "lost_worker")
    assert code == 2 and time.monotonic() - started < 120
    assert "error: rank 1 failed with exit code 2, the others are stopped" in output
    assert "error: a data worker was killed (out of memory?)" in output


@pytest.mark.slow
def test_two_servers_train_as_one_does(two, tmp_path):
    """Each in a network of its own, joined by a cable: the first has the scheduler, the other finds it by the table."""
    cable = "ip link add left type veth peer name right"
    if subprocess.run([*NAMESPACES, cable], check=False, capture_output=True).returncode:
        pytest.skip("this machine gives no network namespaces")
    command, environment = two_servers(tmp_path, "plain", "10.9.9.1", "10.9.9.2")
    done = subprocess.run([*NAMESPACES, SERVERS, "servers", *command], cwd=tmp_path, env=environment, check=False)
    printed = [(tmp_path / f"{server}.log").read_text() for server in (0, 1)]
    assert done.returncode == 0, printed
    assert printed[1].startswith("waiting for the scheduler of server 0, 10.9.9.1:8118\n")
    for rank in (0, 1):
        for name, value in np.load(tmp_path / f"rank{rank}.npz").items():
            np.testing.assert_array_equal(value, two[2][0][f"plain/{name}"], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_server_stops_the_other(tmp_path, victim):
    """Its launcher is killed with all it started; MindSpore misses its heartbeat."""
    command, environment = two_servers(tmp_path, "endless", "127.0.0.1", "127.0.0.2")
    environment |= {"MS_SCHED_PORT": str(free_port()), "MS_NODE_TIMEOUT": "6"}
    servers = [subprocess.Popen(command, env=environment | {"SERVER_ID": str(server)}, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True) for server in (0, 1)]
    end = time.monotonic() + 100
    while not (tmp_path / "run" / "metrics.csv").exists() and time.monotonic() < end:
        time.sleep(0.1)
    servers[victim].kill()
    output = servers[1 - victim].communicate(timeout=100)[0]
    assert servers[1 - victim].returncode not in (0, None)
    assert re.search(r"error: (rank \d|scheduler) .*, the others are stopped|has not answered for 60 s", output), output
