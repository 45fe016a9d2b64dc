"""Starts the processes that train together, one per device of an HCCL rank table, and watches over them.

    python utils/launch.py MODEL_FOLDER RANK_TABLE_FILE [--dry_run] [--bind_cores] [flags of train.py]

On an Ascend as on a CPU they are a dynamic cluster of MindSpore's: a scheduler on server 0 of the table joins them.
Each has a folder train_parallel<rank> with its environment, env.log, and what it prints, train.log; rank 0's is shown.
When one fails, the others are stopped and the end of its log is shown. Ctrl-C and SIGTERM stop all; they save first.
SERVER_ID       the number of this server in a table of several
MS_SCHED_HOST   the address of server 0, where the table doesn't have it or the servers know it by another
MS_SCHED_PORT   the scheduler's port there, the same on all servers: 8118; where all processes run here, a free one
DEVICE_TARGET=CPU   processes on this CPU instead: the server's with SERVER_ID, without it all of the table's
"""
import os
import shlex
import sys
from pathlib import Path

from utils.errors import SettingError, run
from utils.launching.jobs import make_jobs
from utils.launching.watch import Watch

OPTIONS = ("--dry_run", "--bind_cores")


def main(argv: list[str]) -> None:
    """Runs the jobs; the exit code of the first that failed."""
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return
    options, rest = [text for text in argv if text in OPTIONS], [text for text in argv if text not in OPTIONS]
    if len(rest) < 2 or rest[1].startswith("-"):
        raise SettingError("RANK_TABLE_FILE is missing; usage: bash scripts/run_distribute_train_ascend.sh "
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


if __name__ == "__main__":
    run(main, sys.argv[1:])
