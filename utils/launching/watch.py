"""Starts jobs and watches over them: when one fails or a signal comes, the others save and end."""
import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from utils.errors import OutputError, RunError
from utils.launching.cluster import check_free, listens
from utils.launching.jobs import TIMEOUTS, Job
from utils.locks import locked_folder

GRACE = 15          # seconds in which a process may save before it is killed
BRIEF = 2           # seconds it gets when another has failed: it waits for that one and cannot save
POLL = 0.1          # seconds
PROBE, LOST = 10, 60    # seconds between looks for the scheduler of another server, and until that is given up
SHOWN = 20          # last lines of a failed process's log
# A process gets these from us or not at all: the scheduler must not see a rank table, it would renumber ranks by it.
ROLES = ("MS_ROLE", "MS_NODE_ID", "RANK_TABLE_FILE", "RANK_ID", "DEVICE_ID")


class Watch:
    """Started jobs, until the last has ended or one has failed."""

    def __init__(self, jobs: list[Job]):
        self.processes, self.shown = [], 0
        self._take(jobs)
        cluster = jobs[0].environment
        self.host, self.port = cluster["MS_SCHED_HOST"], int(cluster["MS_SCHED_PORT"])
        self.elsewhere = int(cluster["MS_WORKER_NUM"]) - len(self.ranks)    # ranks of other servers
        self.received, self.grace = 0, GRACE

    def _take(self, jobs):
        self.jobs = jobs
        self.ranks = [job for job in jobs if job.environment["MS_ROLE"] == "MS_WORKER"]
        self.scheduler = [job for job in jobs if job not in self.ranks]     # none where another server has it

    def run(self) -> int:
        """Starts all, waits and stops what is left; the exit code."""
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked_folder(self.jobs[0].folder, "logs"))
            except OutputError:     # another launch writes there; this one has devices of its own
                self._take([job._replace(folder=Path(f"{job.folder}_{os.getpid()}")) for job in self.jobs])
                held.enter_context(locked_folder(self.jobs[0].folder, "logs"))
                print(f"another launch writes here: the logs of this one are in {self.ranks[0].folder} and beside it",
                      flush=True)
            return self._run()

    def _run(self):
        if self.scheduler:
            check_free(self.host, self.port)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)
        try:
            self.processes += map(start, self.scheduler)
            code = self._await_scheduler()
            if code is None:
                self.processes += map(start, self.ranks)
                code = self._wait()
            return code
        finally:
            self._stop()

    def _receive(self, number, _frame):
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
        while not listens(self.host, self.port):
            code = self._ended()
            if code is not None:
                return code
            if time.monotonic() > end:
                raise RunError(f"the scheduler of server 0, {self.host}:{self.port}, does not answer in {seconds} s; "
                               "start the launcher there, with SERVER_ID=0 and the same table, and open that port")
            time.sleep(POLL)
        return None

    def _wait(self):
        probed = answered = time.monotonic()
        while True:
            self._show()
            code = self._ended()
            if code is not None:
                return code
            now = time.monotonic()
            if not self.scheduler and now > probed + PROBE:
                probed = now
                if listens(self.host, self.port):
                    answered = now
                elif now > answered + LOST:    # ranks notice it too, unless the NPU waits for one that is gone
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


def start(job: Job) -> subprocess.Popen:
    """Starts a job in its own session; its environment and output are written to its folder."""
    job.folder.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in ROLES} | job.environment
    (job.folder / "env.log").write_text("".join(f"{name}={value}\n" for name, value in sorted(environment.items())),
                                        encoding="utf-8")
    with open(job.folder / "train.log", "w", encoding="utf-8") as log:
        return subprocess.Popen(job.command, cwd=job.folder.parent, env=environment, stdout=log,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                preexec_fn=functools.partial(die_with, os.getpid()))


def die_with(parent: int) -> None:
    """The kernel kills this process when `parent`, which started it, ends, or has ended already: no orphans."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
