"""Starts the processes that train together, one a device of an HCCL rank table, and watches over them.

    python utils/launch.py MODEL_FOLDER RANK_TABLE_FILE [--dry_run] [--bind_cores] [flags of train.py]

Each has a folder train_parallel<rank> with its environment, env.log, and what it prints, train.log; rank 0's is shown.
When one fails, the others are stopped and the end of its log is shown. Ctrl-C and SIGTERM stop all; they save first.
SERVER_ID   the number of this server in a table of several
DEVICE_TARGET=CPU   as many processes on this CPU, all of the table's, connected by MindSpore's own scheduler
"""
import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError, run
from utils.rank_table import read_rank_table

GRACE = 15          # seconds in which a process may save before it is killed
BRIEF = 2           # seconds it gets when another has failed: it waits for that one and cannot save
POLL = 0.1          # seconds
SHOWN = 20          # last lines of a failed process's log
SCHEDULER = "from mindspore import communication; communication.init()"
OPTIONS = ("--dry_run", "--bind_cores")


class Job(NamedTuple):
    """A process to start."""

    name: str
    command: list
    environment: dict   # what it gets beyond our own
    folder: Path        # of its logs


def main(argv):
    """Runs the jobs; the exit code of the first that failed."""
    options, rest = [one for one in argv if one in OPTIONS], [one for one in argv if one not in OPTIONS]
    if len(rest) < 2 or rest[1].startswith("-"):
        raise UserError("RANK_TABLE_FILE is missing; usage: bash scripts/run_distribute_train_ascend.sh "
                        "RANK_TABLE_FILE [--dry_run] [--bind_cores] [flags of train.py]")
    model, table, *flags = rest
    jobs = make_jobs(Path(model).resolve(), Path(table).resolve(), os.environ.get("DEVICE_TARGET") or "Ascend", flags,
                     "--bind_cores" in options)
    if "--dry_run" in options:
        for job in jobs:
            print(f"{job.name}: {' '.join(f'{name}={shlex.quote(value)}' for name, value in job.environment.items())} "
                  f"{shlex.join(job.command)} > {job.folder / 'train.log'}")
        return
    sys.exit(Watch(jobs).run())


def make_jobs(model, table, target, flags, bind_cores):
    """The jobs of this server; on a CPU those of the whole table, after that of the scheduler."""
    processes = read_rank_table(table)
    size = len(processes)
    command = [sys.executable, "train.py", "--distribute", "true", *flags]
    if target == "CPU":
        return cluster_jobs(command, size, target, model, bind_cores)
    local, jobs = [one for one in processes if one.server == this_server(processes)], []
    for place, one in enumerate(local):
        environment = {"DEVICE_TARGET": target, "RANK_TABLE_FILE": str(table), "RANK_ID": str(one.rank),
                       "RANK_SIZE": str(size), "DEVICE_NUM": str(size), "DEVICE_ID": str(one.device_id)}
        jobs.append(Job(f"rank {one.rank}", binding(place, len(local), bind_cores) + command, environment,
                        model / f"train_parallel{one.rank}"))
    return jobs


def cluster_jobs(command, size, target, folder, bind_cores=False):
    """`size` processes of `command` on this server, joined by a scheduler of MindSpore's: no rank table is needed."""
    cluster = {"DEVICE_TARGET": target, "MS_WORKER_NUM": str(size), "MS_SCHED_HOST": "127.0.0.1",
               "MS_SCHED_PORT": str(free_port()), "RANK_SIZE": str(size)}
    if target == "CPU":
        own = max(1, len(os.sched_getaffinity(0)) // size)
        # as many threads as cores for each; of MindSpore's log the errors, its warnings hide everything else
        cluster |= {name: value for name, value in (("OMP_NUM_THREADS", str(own)), ("GLOG_v", "3"))
                    if name not in os.environ}
    jobs = [Job("scheduler", [sys.executable, "-c", SCHEDULER], cluster | {"MS_ROLE": "MS_SCHED"},
                folder / "train_parallel_scheduler")]
    for rank in range(size):
        environment = cluster | {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank), "RANK_ID": str(rank)}
        if target != "CPU":
            environment["DEVICE_ID"] = str(rank)
        jobs.append(Job(f"rank {rank}", binding(rank, size, bind_cores) + command, environment,
                        folder / f"train_parallel{rank}"))
    return jobs


def binding(place, count, wanted):
    """What binds process `place` of `count` to its cores, in front of a command."""
    return ["taskset", "--cpu-list", cores(place, count)] if wanted else []


def this_server(processes):
    """The number of this server in the table, from SERVER_ID."""
    servers = 1 + max(one.server for one in processes)
    text = os.environ.get("SERVER_ID", "0" if servers == 1 else "")
    if not text.isdigit() or int(text) >= servers:
        raise UserError(f"SERVER_ID: found {text!r}, expected 0 to {servers - 1}, this server's number in the table")
    return int(text)


def cores(place, count):
    """The cores of process `place` of `count`, as taskset takes them: equal shares of those we may use."""
    own = sorted(os.sched_getaffinity(0))
    share = max(1, len(own) // count)
    first = place * share % len(own)
    return ",".join(map(str, own[first:first + share]))


def free_port():
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Watch:
    """Started jobs, until the last has ended or one has failed."""

    def __init__(self, jobs):
        self.jobs, self.processes, self.shown = jobs, [], 0
        self.received, self.grace = 0, GRACE

    def run(self):
        """Starts all, waits and stops what is left; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        try:
            for job in self.jobs:
                self.processes.append(start(job))
            return self._wait()
        finally:
            self._stop()

    def _note(self, number, _frame):
        self.received = number

    def _wait(self):
        while True:
            self._show()
            if self.received:
                print(f"{signal.Signals(self.received).name}: stopping all processes", flush=True)
                return 128 + self.received
            codes = [process.poll() for process in self.processes]
            for job, code in zip(self.jobs, codes, strict=True):
                if code:
                    self._tell(job, code)
                    self.grace = BRIEF
                    return code if code > 0 else 128 - code
            if all(code == 0 for job, code in zip(self.jobs, codes, strict=True) if job.name != "scheduler"):
                return 0
            time.sleep(POLL)

    def _show(self):
        """What rank 0, or the first rank here, has printed since."""
        job = next(one for one in self.jobs if one.name != "scheduler")
        with open(job.folder / "train.log", encoding="utf-8", errors="replace") as log:
            log.seek(self.shown)
            print(log.read(), end="", flush=True)
            self.shown = log.tell()

    def _tell(self, job, code):
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
        log = job.folder / "train.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
        print(f"error: {job.name} {how}, the others are stopped; the end of {log}:", *lines, sep="\n  ",
              file=sys.stderr, flush=True)

    def _stop(self):
        """Asks those that run to save and end, and kills them when they don't."""
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + self.grace
        while time.monotonic() < end and any(process.poll() is None for process in running):
            self._show()
            time.sleep(POLL)
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._show()


def start(job):
    """The process of a job, in a session of its own, its environment and output written to its folder."""
    job.folder.mkdir(parents=True, exist_ok=True)
    environment = os.environ | job.environment
    if "MS_ROLE" in job.environment:
        environment.pop("RANK_TABLE_FILE", None)
    (job.folder / "env.log").write_text("".join(f"{name}={value}\n" for name, value in sorted(environment.items())),
                                        encoding="utf-8")
    with open(job.folder / "train.log", "w", encoding="utf-8") as log:
        return subprocess.Popen(job.command, cwd=job.folder.parent, env=environment, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=die_with_parent)


def die_with_parent():
    """No orphans when the launcher is killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG


if __name__ == "__main__":
    run(main, sys.argv[1:])
