"""Starts the processes that train together, one a device of an HCCL rank table, and watches over them.

    python utils/launch.py MODEL_FOLDER RANK_TABLE_FILE [--dry_run] [--bind_cores] [flags of train.py]

On an Ascend as on a CPU they are a dynamic cluster of MindSpore's: a scheduler on server 0 of the table joins them.
Each has a folder train_parallel<rank> with its environment, env.log, and what it prints, train.log; rank 0's is shown.
When one fails, the others are stopped and the end of its log is shown. Ctrl-C and SIGTERM stop all; they save first.
SERVER_ID       the number of this server in a table of several
MS_SCHED_HOST   the address of server 0, where the table doesn't have it or the servers know it by another
MS_SCHED_PORT   the scheduler's port there, the same on all servers: 8118; where all processes run here, a free one
DEVICE_TARGET=CPU   processes on this CPU instead: the server's with SERVER_ID, without it all of the table's
"""
import ctypes
import errno
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
from utils.launching.rank_table import Process, read_rank_table, server_name

GRACE = 15          # seconds in which a process may save before it is killed
BRIEF = 2           # seconds it gets when another has failed: it waits for that one and cannot save
POLL = 0.1          # seconds
PROBE, LOST = 10, 60    # seconds between looks for the scheduler of another server, and until that is given up
SHOWN = 20          # last lines of a failed process's log
SCHEDULER = "from mindspore import communication; communication.init()"
LOOPBACK, PORT = "127.0.0.1", 8118      # msrun's, too
OPTIONS = ("--dry_run", "--bind_cores")
# A process gets these from us or not at all: the scheduler must not see a rank table, it would renumber ranks by it.
ROLES = ("MS_ROLE", "MS_NODE_ID", "RANK_TABLE_FILE", "RANK_ID", "DEVICE_ID")
# Seconds, where the environment has no others: for all to register with the scheduler, as msrun has it; and for the
# NPUs to connect, which each does once its graph is compiled: HCCL's 120 are few when one has to compile it anew.
TIMEOUTS = {"MS_TOPO_TIMEOUT": "600", "HCCL_CONNECT_TIMEOUT": "600"}


class Job(NamedTuple):
    """A process to start."""

    name: str
    command: list
    environment: dict   # what it gets beyond our own
    folder: Path        # of its logs


class Scheduler(NamedTuple):
    """Where MindSpore's scheduler listens, and whether that is this server."""

    host: str
    port: int
    here: bool = True


def main(argv: list[str]) -> None:
    """Runs the jobs; the exit code of the first that failed."""
    options, rest = [text for text in argv if text in OPTIONS], [text for text in argv if text not in OPTIONS]
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


def make_jobs(model: Path, table: Path, target: str, flags: list[str], bind_cores: bool) -> list[Job]:
    """The jobs of this server: the scheduler, on server 0 of the table, then the ranks.

    With MS_ROLE and RANK_TABLE_FILE, as `msrun --rank_table_file` sets them too, HCCL connects the NPUs as the table
    says. With RANK_TABLE_FILE alone MindSpore would compile for its old graph engine whatever the jit_level.
    """
    processes = read_rank_table(table)
    server = this_server(processes, target)
    own = [process for process in processes if server in (None, process.server)]
    if len(own) == len(processes):
        scheduler = local_scheduler()
    else:
        scheduler = Scheduler(scheduler_host(server_name(table, 0)), chosen_port() or PORT, server == 0)
    if target != "CPU":
        own = [process._replace(device_id=logical_id(process.device_id)) for process in own]
    command = [sys.executable, "train.py", "--distribute", "true", *flags]
    return _jobs(command, own, len(processes), scheduler, target, model, bind_cores, {"RANK_TABLE_FILE": str(table)})


def cluster_jobs(command: list[str], size: int, target: str, folder: Path, bind_cores: bool = False) -> list[Job]:
    """A scheduler and `size` processes of `command` on the devices 0 to size - 1 of this server: no rank table."""
    own = [Process(0, rank, rank) for rank in range(size)]
    return _jobs(command, own, size, local_scheduler(), target, folder, bind_cores, {})


def _jobs(command, own, size, scheduler, target, folder, bind_cores, table):
    """The scheduler, if it is here, and the processes `own` of the `size` in all."""
    defaults = dict(TIMEOUTS)
    if target == "CPU":
        share = max(1, len(os.sched_getaffinity(0)) // len(own))
        # as many threads as cores for each; of MindSpore's log the errors, its warnings hide everything else
        defaults |= {"OMP_NUM_THREADS": str(share), "GLOG_v": "3"}
    cluster = {"MS_SCHED_HOST": scheduler.host, "MS_SCHED_PORT": str(scheduler.port), "MS_WORKER_NUM": str(size)}
    cluster |= {name: value for name, value in defaults.items() if name not in os.environ}
    jobs = []
    if scheduler.here:
        environment = {"DEVICE_TARGET": target, "MS_ROLE": "MS_SCHED", **cluster}
        jobs.append(Job("scheduler", [sys.executable, "-c", SCHEDULER], environment,
                        folder / "train_parallel_scheduler"))
    for place, process in enumerate(own):
        rank = str(process.rank)
        environment = {"DEVICE_TARGET": target, **table, "RANK_ID": rank, "RANK_SIZE": str(size),
                       "DEVICE_NUM": str(size), "DEVICE_ID": str(process.device_id), "MS_ROLE": "MS_WORKER",
                       "MS_NODE_ID": rank, **cluster}
        jobs.append(Job(f"rank {rank}", binding(place, len(own), bind_cores) + command, environment,
                        folder / f"train_parallel{rank}"))
    return jobs


def binding(place, count, wanted):
    """What binds process `place` of `count` to its cores, in front of a command."""
    return ["taskset", "--cpu-list", cores(place, count)] if wanted else []


def this_server(processes: list[Process], target: str) -> int | None:
    """The number of this server in the table, from SERVER_ID; None where all of the table's processes run here."""
    servers = 1 + max(process.server for process in processes)
    text = os.environ.get("SERVER_ID", "")
    if not text and (servers == 1 or target == "CPU"):
        return None
    if not text.isdigit() or int(text) >= servers:
        raise UserError(f"SERVER_ID: found {text!r}, expected 0 to {servers - 1}, this server's number in the table")
    return int(text)


def logical_id(device: int) -> int:
    """What the physical `device` of a rank table is to a process: its place in ASCEND_RT_VISIBLE_DEVICES, where set."""
    text = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
    if not text:
        return device
    visible = text.split(",")
    # CANN ignores what follows a number that it cannot read or that is not larger than the one before
    if not all(number.isdigit() for number in visible) or sorted(set(visible), key=int) != visible:
        raise UserError(f"ASCEND_RT_VISIBLE_DEVICES: found {text!r}, expected rising device ids such as 4,5,6,7")
    if str(device) not in visible:
        raise UserError(f"device {device} of the rank table is not in ASCEND_RT_VISIBLE_DEVICES={text}; unset that or "
                        "write a table of those devices")
    return visible.index(str(device))


def cores(place, count):
    """The cores of process `place` of `count`, as taskset takes them: equal shares of those we may use."""
    own = sorted(os.sched_getaffinity(0))
    share = max(1, len(own) // count)
    first = place * share % len(own)
    return ",".join(map(str, own[first:first + share]))


def local_scheduler() -> Scheduler:
    """One for processes that all run here."""
    return Scheduler(scheduler_host(LOOPBACK), chosen_port() or free_port())


def scheduler_host(name: str) -> str:
    """The IP address of MS_SCHED_HOST, else of the host `name`."""
    name = os.environ.get("MS_SCHED_HOST") or name
    try:
        *_, address = min(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))     # IPv4 before IPv6
    except OSError as error:
        raise UserError(f"server 0 of the table: {name!r} has no address ({error.strerror}); write its host_ip into "
                        "the table or set MS_SCHED_HOST, on all servers") from None
    return address[0]


def chosen_port() -> int | None:
    """MS_SCHED_PORT, None where it is not set."""
    text = os.environ.get("MS_SCHED_PORT", "")
    if text and not (text.isdigit() and 1024 <= int(text) <= 65535):
        raise UserError(f"MS_SCHED_PORT: found {text!r}, expected a port, 1024 to 65535")
    return int(text) if text else None


def free_port():
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return listener.getsockname()[1]


def check_free(host: str, port: int) -> None:
    """UserError where a scheduler cannot listen at `host` and `port`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0]) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(found[4])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"MS_SCHED_PORT: {port} is taken at {host}, by another training?; set a free one, the same "
                            "on all servers") from None
        raise UserError(f"MS_SCHED_HOST: {host} is no address of this server ({error.strerror}), where the scheduler "
                        "must run; see SERVER_ID and server 0 of the table") from None


def answers(host: str, port: int) -> bool:
    """Whether somebody listens at `host` and `port`."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


class Watch:
    """Started jobs, until the last has ended or one has failed."""

    def __init__(self, jobs: list[Job]):
        self.jobs, self.processes, self.shown = jobs, [], 0
        self.ranks = [job for job in jobs if job.environment["MS_ROLE"] == "MS_WORKER"]
        self.scheduler = [job for job in jobs if job not in self.ranks]     # none where another server has it
        cluster = jobs[0].environment
        self.host, self.port = cluster["MS_SCHED_HOST"], int(cluster["MS_SCHED_PORT"])
        self.elsewhere = int(cluster["MS_WORKER_NUM"]) - len(self.ranks)    # ranks of other servers
        self.received, self.grace = 0, GRACE

    def run(self) -> int:
        """Starts all, waits and stops what is left; the exit code."""
        if self.scheduler:
            check_free(self.host, self.port)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)
        try:
            self.processes += map(start, self.scheduler)
            code = self._await_scheduler()
            if code is None:
                self.processes += map(start, self.ranks)
                code = self._wait()
            return code
        finally:
            self._stop()

    def _note(self, number, _frame):
        self.received = number

    def _await_scheduler(self):
        """None once the scheduler answers, an exit code if the run ends before.

        A rank that calls too early may not get through for a minute.
        """
        if not self.scheduler:
            print(f"waiting for the scheduler of server 0, {self.host}:{self.port}", flush=True)
        text = os.environ.get("MS_TOPO_TIMEOUT", "")
        seconds = int(text if text.isdigit() else TIMEOUTS["MS_TOPO_TIMEOUT"])
        end = time.monotonic() + seconds
        while not answers(self.host, self.port):
            code = self._ended()
            if code is not None:
                return code
            if time.monotonic() > end:
                raise UserError(f"the scheduler of server 0, {self.host}:{self.port}, does not answer in {seconds} s; "
                                "start the launcher there, with SERVER_ID=0 and the same table, and open that port")
            time.sleep(POLL)
        return None

    def _wait(self):
        looked = heard = time.monotonic()
        while True:
            self._show()
            code = self._ended()
            if code is not None:
                return code
            now = time.monotonic()
            if not self.scheduler and now > looked + PROBE:
                looked = now
                if answers(self.host, self.port):
                    heard = now
                elif now > heard + LOST:    # ranks notice it too, unless the NPU waits for one that is gone
                    print(f"error: the scheduler of server 0, {self.host}:{self.port}, has not answered for {LOST} s, "
                          "all processes are stopped", file=sys.stderr, flush=True)
                    self.grace = BRIEF
                    return 1
            time.sleep(POLL)

    def _ended(self):
        """The exit code where one has failed, a signal has come or all are done, else None."""
        if self.received:
            print(f"{signal.Signals(self.received).name}: stopping all processes", flush=True)
            return 128 + self.received
        codes = [process.poll() for process in self.processes]
        for job, code in zip(self.jobs, codes):
            if code:
                self._report(job, code)
                return code if code > 0 else 128 - code
        # the scheduler serves the ranks of other servers until the last has left, and ends by itself then
        needed = codes if self.elsewhere else codes[-len(self.ranks):]
        return 0 if len(codes) == len(self.jobs) and all(code == 0 for code in needed) else None

    def _show(self):
        """What rank 0, or the first rank here, has printed since."""
        if len(self.processes) < len(self.jobs):
            return      # the logs are those of the run before
        with open(self.ranks[0].folder / "train.log", encoding="utf-8", errors="replace") as log:
            log.seek(self.shown)
            print(log.read(), end="", flush=True)
            self.shown = log.tell()

    def _report(self, job, code):
        """What a failed process has printed last."""
        if code - 128 in (signal.SIGINT, signal.SIGTERM):     # all leave together, and rank 0 has a state to save
            how = f"has ended on {signal.Signals(code - 128).name}"
        else:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
            self.grace = BRIEF
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
    environment = {name: value for name, value in os.environ.items() if name not in ROLES} | job.environment
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
