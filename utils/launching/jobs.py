"""The processes that train together: the command, the environment and the folder of each.

The environment says what they are to MindSpore's cluster and to HCCL: role, rank, device, rank table.
"""
import os
import sys
from pathlib import Path
from typing import NamedTuple

from utils.errors import MismatchError, SettingError
from utils.launching.cluster import PORT, Scheduler, chosen_port, local_scheduler, scheduler_host
from utils.launching.rank_table import Process, read_rank_table, server_name
from utils.ranges import Range, environment

SCHEDULER = "from mindspore import communication; communication.init()"
# Seconds, where the environment has no others: for all to register with the scheduler, as msrun has it; and for the
# NPUs to connect, which each does once its graph is compiled: HCCL's 120 are few when one has to compile it again.
TIMEOUTS = {"MS_TOPO_TIMEOUT": "600", "HCCL_CONNECT_TIMEOUT": "600"}


class Job(NamedTuple):
    """A process to start."""

    name: str
    command: list[str]
    environment: dict[str, str]     # beyond that of the launcher
    folder: Path                    # of its logs


def make_jobs(model: Path, table: Path, target: str, flags: list[str], bind_cores: bool) -> list[Job]:
    """The jobs of this server: the scheduler, on server 0 of the table, then the ranks.

    With MS_ROLE and RANK_TABLE_FILE, as `msrun --rank_table_file` sets them too, HCCL connects the NPUs as the table
    says. With RANK_TABLE_FILE alone MindSpore would compile for its old graph engine whatever the jit_level.
    """
    processes = read_rank_table(table)
    server = this_server(processes, target)
    local = [process for process in processes if server in (None, process.server)]
    if len(local) == len(processes):
        scheduler = local_scheduler()
    else:
        scheduler = Scheduler(scheduler_host(server_name(table, 0)), chosen_port() or PORT, server == 0)
    if target != "CPU":
        local = [process._replace(device_id=logical_id(process.device_id)) for process in local]
    command = [sys.executable, "train.py", "--distribute", "true", *flags]
    return _jobs(command, local, len(processes), scheduler, target, model, bind_cores, {"RANK_TABLE_FILE": str(table)})


def cluster_jobs(command: list[str], size: int, target: str, folder: Path, bind_cores: bool = False) -> list[Job]:
    """A scheduler and `size` processes of `command` on the devices 0 to size - 1 of this server: no rank table."""
    local = [Process(0, rank, rank) for rank in range(size)]
    return _jobs(command, local, size, local_scheduler(), target, folder, bind_cores, {})


def _jobs(command, local, size, scheduler, target, folder, bind_cores, table):
    """The scheduler, if it is here, and the processes of this server, `local`, of the `size` in all."""
    defaults = dict(TIMEOUTS)
    if target == "CPU":
        share = max(1, len(os.sched_getaffinity(0)) // len(local))
        # as many threads as cores for each; of MindSpore's log the errors, its warnings hide everything else
        defaults |= {"OMP_NUM_THREADS": str(share), "GLOG_v": "3"}
    cluster = {"MS_SCHED_HOST": scheduler.host, "MS_SCHED_PORT": str(scheduler.port), "MS_WORKER_NUM": str(size)}
    cluster |= {name: value for name, value in defaults.items() if name not in os.environ}
    jobs = []
    if scheduler.here:
        environment = {"DEVICE_TARGET": target, "MS_ROLE": "MS_SCHED", **cluster}
        jobs.append(Job("scheduler", [sys.executable, "-c", SCHEDULER], environment,
                        folder / "train_parallel_scheduler"))
    for place, process in enumerate(local):
        rank = str(process.rank)
        environment = {"DEVICE_TARGET": target, **table, "RANK_ID": rank, "RANK_SIZE": str(size),
                       "DEVICE_NUM": str(size), "DEVICE_ID": str(process.device_id), "MS_ROLE": "MS_WORKER",
                       "MS_NODE_ID": rank, **cluster}
        jobs.append(Job(f"rank {rank}", binding(place, len(local), bind_cores) + command, environment,
                        folder / f"train_parallel{rank}"))
    return jobs


def binding(place: int, count: int, wanted: bool) -> list[str]:
    """What binds process `place` of `count` to its cores, in front of a command."""
    return ["taskset", "--cpu-list", cores(place, count)] if wanted else []


def cores(place: int, count: int) -> str:
    """The cores of process `place` of `count`, as taskset takes them: equal shares of those we may use."""
    usable = sorted(os.sched_getaffinity(0))
    share = max(1, len(usable) // count)
    first = place * share % len(usable)
    return ",".join(map(str, usable[first:first + share]))


def this_server(processes: list[Process], target: str) -> int | None:
    """The number of this server in the table, from SERVER_ID; None where all of the table's processes run here."""
    servers = 1 + max(process.server for process in processes)
    number = environment("SERVER_ID", Range(0, servers - 1))
    if number is None and servers > 1 and target != "CPU":
        raise SettingError(f"SERVER_ID: found '', expected 0 to {servers - 1}, this server's number in the table")
    return number


def logical_id(device: int) -> int:
    """What the physical `device` of a rank table is to a process: its place in ASCEND_RT_VISIBLE_DEVICES, where set."""
    text = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
    if not text:
        return device
    visible = text.split(",")
    # CANN ignores what follows a number that it cannot read or that is not larger than the one before
    if not all(number.isdecimal() for number in visible) or sorted(set(visible), key=int) != visible:
        raise SettingError(f"ASCEND_RT_VISIBLE_DEVICES: found {text!r}, expected rising device ids such as 4,5,6,7")
    if str(device) not in visible:
        raise MismatchError(f"device {device} of the rank table is not in ASCEND_RT_VISIBLE_DEVICES={text}; unset that "
                            "or write a table of those devices")
    return visible.index(str(device))
