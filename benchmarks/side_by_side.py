"""Programs timed in turns, each in a process of its own that is bound to some of the cores."""
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RUNNER = ROOT / "ascend310_infer" / "build" / "main"     # which benchmarks/runner.py builds


class Times(NamedTuple):
    """Of a program: medians over its rounds of the median of a round, and the largest MiB."""

    seconds: float      # by the clock
    processor: float    # seconds of all cores together, which hold on a shared machine too
    mib: float


def print_machine():
    """Processor, instruction sets, kernels and what they reach."""
    sys.stdout.flush()
    subprocess.run([sys.executable, "-m", "utils.cpu_ops"], cwd=ROOT, check=True)
    print()


def cores():
    """Those this process may use."""
    return sorted(os.sched_getaffinity(0))


def available(programs):
    """`programs` without PyTorch's where it is not installed."""
    return [program for program in programs if "PyTorch" not in program or importlib.util.find_spec("torch")]


def call(arguments, bound_to, **environment):
    """What `python <this program> arguments` prints last, as JSON, of a process that is bound to some cores."""
    done = subprocess.run([sys.executable, sys.argv[0], *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                          check=True, env=os.environ | environment,
                          preexec_fn=lambda: os.sched_setaffinity(0, bound_to))
    return json.loads(done.stdout.splitlines()[-1])


def run_program(command, bound_to):
    """(its answer for `in_turns`, what it printed) of a whole program that is bound to some cores."""
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=errors, text=True,
                              env=os.environ | {"GLOG_v": "4"},
                              preexec_fn=lambda: os.sched_setaffinity(0, bound_to)) as process:
            output = process.stdout.read()
            used = wait_for(process)
        seconds = time.perf_counter() - started
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{errors.read()}")
    return {"seconds": [seconds], "processor": [used.ru_utime + used.ru_stime], "mib": used.ru_maxrss / 1024}, output


def wait_for(process):
    """What a process of Popen used until its end: of `resource.getrusage`."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used


def in_turns(programs, once, rounds):
    """{program: Times} of `once(program)` -> answer of `measure`."""
    answers = {program: [] for program in programs}
    for _ in range(rounds):
        for program in programs:
            answers[program].append(once(program))
    return {program: Times(*(statistics.median(statistics.median(row[kind]) for row in rows)
                             for kind in ("seconds", "processor")), max(row["mib"] for row in rows))
            for program, rows in answers.items()}


def measure(run, repeat, warm_up=5):
    """Prints the seconds of `repeat` calls of `run` after some that warm up, and the peak memory of this process."""
    for _ in range(warm_up):
        run()
    seconds, processor = [], []
    for _ in range(repeat):
        started, used = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    answer(seconds, processor)


def answer(seconds, processor):
    """Prints what `in_turns` reads."""
    print(json.dumps({"seconds": seconds, "processor": processor,
                      "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
