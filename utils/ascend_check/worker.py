"""The process that compiles graphs, started in the environment of runs.py.

Everything goes into the log that the task names: MindSpore writes the kernels it chooses there, and this process marks
which graph they are of. It ends at the first graph that cannot be compiled, for nobody knows what such a process is
still good for.
"""
import ctypes
import importlib
import os
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from utils.ascend_check.log import mark
from utils.launching.watch import die_with
from utils.texts import read_json

if TYPE_CHECKING:       # MindSpore is imported once `main` has set its environment
    from utils.ascend_check.graphs import Graph
    from utils.device import Device

CHIPS = {"910a": ("ascend910", "Ascend910A"), "910b": ("ascend910b", "Ascend910B2")}    # MindSpore's names, CANN's
SIMULATION = "1"        # compile everything, launch nothing
# what MindSpore says once a graph for any length is compiled and would have to run to know its sizes
ENOUGH = "The dry run mode can not support dynamic shape graph"
WAIT = 3600             # seconds that the other ranks wait for rank 0


def main(path: Path) -> None:
    """Compiles the graphs of the task at `path`."""
    task = read_json(path, "a task")
    if not task["distribute"]:
        die_with(os.getppid())      # else that is a launcher
    rank, is_scheduler = int(os.environ.get("RANK_ID") or 0), os.environ.get("MS_ROLE") == "MS_SCHED"
    if not is_scheduler:
        os.environ["MS_SIMULATION_LEVEL"] = SIMULATION
    log = os.open(task["log"] if rank == 0 and not is_scheduler else os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)

    from utils.device import setup_device

    ctypes.CDLL(task["chip_library"]).set_chip(*(name.encode() for name in CHIPS[task["chip"]]))
    device = setup_device("Ascend", task["distribute"])
    done = Path(f"{task['log']}.done")
    if rank:
        wait_for(done)
        return
    try:
        graphs = importlib.import_module(task["module"])
        for name in task["graphs"]:
            if not compile_graph(name, chosen(graphs, name, task["config"]), device):
                break
    finally:
        done.touch()


def chosen(module: ModuleType, name: str, config: str) -> "Graph":
    """The Graph `name` of a model's module; with the path of a `config` that of this network."""
    from utils.ascend_check.runs import graphs_of

    return graphs_of(module, config)[name]


def compile_graph(name: str, graph: "Graph", device: "Device") -> bool:
    """Compiles a Graph, with marks in the log; whether it can be."""
    write(mark("begin", name))
    try:
        calls = graph.run(graph.config, device)
        write(mark("compile" if calls else "absent", name))
        for call in calls:
            try:
                call()
            except RuntimeError as error:
                if ENOUGH not in str(error):
                    raise
    except Exception:   # whatever stops a graph is its verdict
        write(mark("error", name, traceback.format_exc()))
        return False
    write(mark("end", name))
    return True


def write(text: str) -> None:
    """Into the log, in one piece between the lines of MindSpore's threads."""
    os.write(2, text.encode())


def wait_for(path: Path) -> None:
    """Returns when there is a file at `path`."""
    end = time.monotonic() + WAIT
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.1)
