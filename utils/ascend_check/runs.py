"""Starts the processes that compile graphs, alone or several that train together, and gathers what their logs say."""
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from utils.ascend_check.graphs import ALONE, MSRUN, RANKS, TABLE, Graph, distributed
from utils.ascend_check.log import LEVELS, Record, read_log
from utils.config import parse_config
from utils.launching.cluster import free_port

ROOT = Path(__file__).parents[2]
# takes the place of a model's train.py, so that the launchers start what they always do
PROGRAM = """from pathlib import Path
from utils.ascend_check.worker import main
main(Path(__file__).with_name("task.json"))
"""
TIMEOUT, POLL = 1800, 0.1       # seconds: of a process, between looks at it
BATCH = 6           # graphs of a process: a few share the import of MindSpore, and several processes run at a time
LAST = 15           # lines of a log that are kept where a process has died


class Task(NamedTuple):
    """Graphs of one model that one process compiles, one after the other."""

    module: str     # the model's, see graphs.py
    names: tuple
    chip: str
    start: str = ALONE
    config: str = ""    # path of a YAML file; "": the small networks


def graphs_of(module: ModuleType, config: str = "") -> dict[str, Graph]:
    """{name: Graph} of a model's module; with the path of a `config` one of each kind, of that network."""
    if not config:
        return module.GRAPHS
    settings = parse_config(module.CONFIG, ["--config", config])
    graphs = {kind: Graph(run, settings) for kind, run in module.KINDS.items()}
    return graphs | distributed(module.KINDS["train"], settings)


def make_tasks(module_name: str, graphs: dict[str, Graph], chips: Iterable[str], config: str = "") -> list[Task]:
    """The tasks for `graphs`: of each chip and way to start, up to BATCH to a task."""
    module = importlib.import_module(module_name)
    tasks = []
    for chip in chips:
        for start in (ALONE, TABLE, MSRUN):
            names = [name for name, graph in graphs.items() if graph.start == start]
            count = -(-len(names) // BATCH)
            tasks += [Task(module.__name__, tuple(names[i::count]), chip, start, config) for i in range(count)]
    return tasks


def run_tasks(tasks: list[Task], stubs: Path, show: Callable[[Task, str, Record], None],
              parallel: int) -> dict[tuple[str, str, str], Record]:
    """{(module, chip, name): Record}, `parallel` tasks at a time; show(task, name, Record) as each is known."""
    records, lock, stop = {}, threading.Lock(), threading.Event()

    def run(task):
        def note(name, record):
            with lock:
                records[task.module, task.chip, name] = record
                show(task, name, record)
        run_task(task, stubs, note, stop)

    pool = ThreadPoolExecutor(parallel)
    try:
        done, _ = wait([pool.submit(run, task) for task in tasks], return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    finally:        # of Ctrl-C too: then what runs is ended
        stop.set()
        pool.shutdown(cancel_futures=True)
    return records


def run_task(task: Task, stubs: Path, note: Callable[[str, Record], None], stop: threading.Event) -> None:
    """Compiles the graphs of a task: note(name, Record) of each. A process that dies is followed by a fresh one."""
    left = list(task.names)
    while left:
        records, last = run_process(task._replace(names=tuple(left)), stubs, stop)
        if stop.is_set():
            return
        begun = [name for name in left if name in records] or left[:1]
        for name in begun:
            record = records.get(name, Record())
            if not record.ended and not record.error:
                record.error = f"the process died:\n{last}"
            note(name, record)
        left = [name for name in left if name not in begun]


def run_process(task: Task, stubs: Path, stop: threading.Event) -> tuple[dict[str, Record], str]:
    """{name: Record} of the graphs that a process came to before its end or `stop`, and the last that was written."""
    with tempfile.TemporaryDirectory(prefix="ascend_check-") as folder:
        folder, log = Path(folder), Path(folder, "log")
        log.touch()
        (folder / "task.json").write_text(json.dumps({
            "module": task.module, "graphs": task.names, "chip": task.chip, "config": task.config, "log": str(log),
            "chip_library": str(stubs / "libchip.so"), "distribute": task.start != ALONE}), encoding="utf-8")
        (folder / "train.py").write_text(PROGRAM, encoding="utf-8")
        (folder / "table.json").write_text(json.dumps(rank_table(RANKS)), encoding="utf-8")
        command = {
            ALONE: [sys.executable, "train.py"],
            TABLE: [sys.executable, str(ROOT / "utils/launch.py"), str(folder), str(folder / "table.json")],
            MSRUN: ["bash", str(ROOT / "utils/msrun.sh"), str(folder), str(RANKS)]}[task.start]
        variables = environment(stubs) | ({"RANK_ID": "0", "RANK_SIZE": "1"} if task.start == ALONE else
                                          {"MASTER_PORT": str(free_port())})
        printed = _finish(command, folder, variables, stop)
        with open(log, encoding="utf-8", errors="replace") as lines:
            records = read_log(lines)
        with open(log, encoding="utf-8", errors="replace") as lines:
            written = [line.rstrip() for line in lines if not line.startswith(("[INFO]", "[WARNING]"))]
        return records, "\n".join([line for line in [*written, *printed.splitlines()] if line][-LAST:])


def _finish(command, folder, variables, stop):
    """Runs a command to its end, or to `stop`; what it printed."""
    with open(folder / "printed", "w+", encoding="utf-8", errors="replace") as printed:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=printed,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + TIMEOUT
        try:
            while process.poll() is None and not stop.is_set() and time.monotonic() < end:
                stop.wait(POLL)
            code = process.poll()
        finally:
            _stop(process)
        printed.seek(0)
        return printed.read() + (f"no end after {TIMEOUT} s" if code is None else f"exit code {code}" if code else "")


def _stop(process):
    """Ends a process, and what it has started in its own session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                continue


def environment(stubs: Path) -> dict[str, str]:
    """That of a machine with CANN, which is in the folder `stubs`."""
    lost = ("RANK_TABLE_FILE", "RANK_ID", "RANK_SIZE", "DEVICE_ID", "DEVICE_NUM", "SERVER_ID", "MS_ROLE", "MS_NODE_ID",
            "MS_SCHED_HOST", "MS_SCHED_PORT", "MS_WORKER_NUM", "ASCEND_RT_VISIBLE_DEVICES")
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    paths = [str(stubs / "python"), str(ROOT), *given]
    return {name: value for name, value in os.environ.items() if name not in lost} | LEVELS | {
        "LD_LIBRARY_PATH": str(stubs / "cann/lib64"), "ASCEND_HOME_PATH": str(stubs / "cann"),
        "ASCEND_OPP_PATH": str(stubs / "cann/opp"), "PYTHONPATH": os.pathsep.join(paths), "DEVICE_TARGET": "Ascend",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}", "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1"}


def rank_table(size: int) -> dict:
    """The table of `size` Ascends of one server."""
    devices = [{"device_id": str(i), "device_ip": f"192.168.100.{100 + i}", "rank_id": str(i)} for i in range(size)]
    return {"version": "1.0", "server_count": "1", "status": "completed",
            "server_list": [{"server_id": "127.0.0.1", "host_nic_ip": "reserve", "device": devices}]}
