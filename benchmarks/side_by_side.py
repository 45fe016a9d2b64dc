"""Programs timed in turns, each in a process of its own that is bound to some of the cores."""
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def cores():
    """Those this process may use."""
    return sorted(os.sched_getaffinity(0))


def available(programs):
    """`programs` without PyTorch where it is not installed."""
    return [program for program in programs if program != "PyTorch" or importlib.util.find_spec("torch")]


def call(arguments, bound_to, **environment):
    """What `python <this program> arguments` prints last, as JSON, of a process that is bound to some cores."""
    done = subprocess.run([sys.executable, sys.argv[0], *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                          check=True, env=os.environ | environment,
                          preexec_fn=lambda: os.sched_setaffinity(0, bound_to))
    return json.loads(done.stdout.splitlines()[-1])


def in_turns(programs, once, rounds):
    """{program: (median of its medians of seconds, largest MiB)} of `once(program)` -> answer of `measure`."""
    answers = {program: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            answers[program].append(once(program))
    return {program: (statistics.median(statistics.median(row["seconds"]) for row in rows),
                      max(row["mib"] for row in rows)) for program, rows in answers.items()}


def measure(run, repeat, warm_up=5):
    """Prints the seconds of `repeat` calls of `run` after some that warm up, and the peak memory of this process."""
    for _ in range(warm_up):
        run()
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    answer(seconds)


def answer(seconds):
    """Prints what `in_turns` reads."""
    print(json.dumps({"seconds": seconds, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
