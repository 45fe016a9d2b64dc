"""Running a model's entry points as a user does: in processes of their own."""
import contextlib
import dataclasses
import io
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.documents import ROOT
from utils.checkpoints.checkpoint import load_checkpoint
from utils.errors import run
from utils.training.loop import Loop

# train.py, which sends itself signal {number} in the moment it has saved the state of batch 3 of epoch {epoch}
INTERRUPTED = """
import os, runpy, sys
from utils.training.loop import Loop
save = Loop.save
def save_and_signal(loop):
    save(loop)
    if (loop.progress.epoch, loop.progress.step) == ({epoch}, 3):
        os.kill(os.getpid(), {number})
Loop.save = save_and_signal
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def flags(config):
    """The command line that differs from the defaults as `config` does."""
    return [text for field in dataclasses.fields(config) if getattr(config, field.name) != field.default
            for text in (f"--{field.name}", str(getattr(config, field.name)))]


def program(model, name, *arguments):
    """(exit code, what it printed) of python <model>/<name> with `arguments`."""
    return _run(str(ROOT / model / name), *arguments)


def interrupted(model, epoch, number, *arguments):
    """As `program`, of a train.py that signal `number` interrupts after batch 3 of `epoch` (save_steps must be 1)."""
    return _run("-c", INTERRUPTED.format(epoch=epoch, number=int(number)), str(ROOT / model / "train.py"), *arguments)


def script(model, name, *arguments, target="CPU", folder=None, tree=ROOT):
    """(exit code, what it printed) of bash <model>/scripts/<name> with `arguments` on the device `target`.

    `tree`: the copy of the repository whose scripts they are, for those that write beside themselves.
    """
    return _run(tree / model / "scripts" / name, *arguments, program="bash", cwd=folder, env=_environment(target))


def assert_resumes_by_script(model, trained, cut, tree):
    """The documented script, with the CPU instead of an Ascend, goes on from where train.py was killed.

    trained: the config of a finished run of 2 epochs of 6 batches; cut: the folder of the same run, killed.
    """
    code, output = interrupted(model, 1, signal.SIGKILL, *flags(dataclasses.replace(trained, ckpt_save_dir=str(cut))))
    assert code == -signal.SIGKILL, output
    code, output = script(model, "run_standalone_train_ascend.sh", "0", "--resume", cut, tree=tree)
    assert code == 0 and f"resumed from {cut / 'last' / 'state.ckpt'} at epoch 1, batch 3 of 6" in output, output
    assert_same_end(cut, trained.ckpt_save_dir, weights=1e-5, numbers=1e-5)


def run_runner(program, graph, inputs, outputs, *flags, **environment):
    """(exit code, what it printed) of the C++ runner `program` over a folder, on this CPU."""
    return _run("--mindir_path", graph, "--input_path", inputs, "--output_path", outputs, "--device_target", "CPU",
                *flags, program=program, env=os.environ | {"GLOG_v": "4"} | environment)


def recorded(model, name, *arguments, place, inside=False):
    """(exit code, what it printed, [what it called]) of a copy of the script in the folder `place`.

    There `python`, .venv's too, is a stand-in that notes its folder, its environment and its arguments; only its -c is
    the real one.
    `inside`: called from scripts/ by its bare name, else as scripts/<name> from the model's folder.
    """
    copy, calls, stand_in = Path(place, model), Path(place, "calls"), Path(place, ".venv", "bin", "python")
    shutil.copytree(ROOT / model / "scripts", copy / "scripts", dirs_exist_ok=True)
    if not Path(place, "utils").exists():
        Path(place, "utils").symlink_to(ROOT / "utils")
    stand_in.parent.mkdir(parents=True, exist_ok=True)
    stand_in.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exec {sys.executable} "$@"; fi\n'
                        f'echo "$PWD: $DEVICE_TARGET $DEVICE_ID: $*" >> {calls}\n')
    stand_in.chmod(0o755)
    calls.write_text("")
    environment = os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    environment.pop("DEVICE_TARGET", None)
    code, output = _run(name if inside else f"scripts/{name}", *arguments, program="bash", env=environment,
                        cwd=copy / "scripts" if inside else copy)
    return code, output, calls.read_text().replace(f"{copy}", model).splitlines()


def started(model, name, *arguments):
    """As `program`, but in this process."""
    previous, printed = sys.argv, io.StringIO()
    sys.argv = [name, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            runpy.run_path(str(ROOT / model / name), run_name="__main__")
    except SystemExit as ended:
        return ended.code, printed.getvalue()
    finally:
        sys.argv = previous
    return 0, printed.getvalue()


@contextlib.contextmanager
def copied_at(epoch, step, run, copy):
    """Whoever trains within it saves the run folder `run`; `copy` is how it was after this batch (save_steps is 1)."""
    save = Loop.save

    def save_and_copy(loop):
        save(loop)
        if (loop.progress.epoch, loop.progress.step) == (epoch, step):
            shutil.copytree(run, copy)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "save", save_and_copy)
        yield


def called(main, *arguments):
    """As `program`, of the function `main` of a program's command line, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        try:
            run(main, [str(argument) for argument in arguments])
        except SystemExit as ended:
            return ended.code, printed.getvalue()
    return 0, printed.getvalue()


def rank_table(folder, count=2):
    """A table of `count` devices of one server, for run_distribute_train_ascend.sh."""
    devices = [{"device_id": str(i), "device_ip": f"192.168.100.10{i}", "rank_id": str(i)} for i in range(count)]
    path = Path(folder, "table.json")
    path.write_text(json.dumps({"version": "1.0", "server_count": "1", "status": "completed",
                                "server_list": [{"server_id": "10.0.0.1", "device": devices}]}))
    return path


def killed(model, victim, moment, table, *arguments, after=None, tree=ROOT):
    """As `script` of run_distribute_train_ascend.sh, where `victim`, "job" or "rank 1", is killed.

    That happens up to `moment` seconds after the start, or after the file `after` has been written.
    """
    written = _written(after)
    process = subprocess.Popen(["bash", tree / model / "scripts" / "run_distribute_train_ascend.sh", table, *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment("CPU"))
    while after and _written(after) == written and process.poll() is None:
        time.sleep(0.02)
    time.sleep(random.uniform(0, moment))
    pids = [process.pid] if victim == "job" else []
    while not pids and process.poll() is None:
        pids = _children(process.pid, f"RANK_ID={victim.split()[1]}")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return process.wait(timeout=60), process.stdout.read()


def using(config, **differences):
    """The config of a finished run, for programs that take its best checkpoint."""
    return dataclasses.replace(config, model_path=f"{config.ckpt_save_dir}/best.ckpt", **differences)


def assert_same_end(actual, expected, weights, numbers, epochs=2):
    """Two run folders of so many epochs end with the same weights and metrics, to these relative tolerances."""
    found_weights, expected_weights = [load_checkpoint(f"{run}/checkpoints/epoch_{epochs:04d}.ckpt")[0]
                                       for run in (actual, expected)]
    for name, value in expected_weights.items():
        np.testing.assert_allclose(found_weights[name].asnumpy(), value.asnumpy(), rtol=weights, atol=weights / 100,
                                   err_msg=name)
    tables = [np.genfromtxt(Path(run, "metrics.csv"), delimiter=",", names=True) for run in (actual, expected)]
    assert tables[0].dtype == tables[1].dtype and len(tables[0]) == len(tables[1]) == epochs
    for name in set(tables[0].dtype.names) - {"minutes"}:
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=numbers, err_msg=name)


def _children(parent, variable):
    """The processes that `parent` has started with `variable`, NAME=VALUE, in their environment."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in pids if variable.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")]


def _written(path):
    """When the file was written, 0 where there is none."""
    return path.stat().st_mtime_ns if path and path.exists() else 0


def _environment(target):
    return os.environ | {"DEVICE_TARGET": target, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def _run(*arguments, program=sys.executable, env=os.environ, cwd=None):
    # os.environ as it was when this process began: MindSpore has set OMP_NUM_THREADS since, on which rounding depends
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, env=env, cwd=cwd)
    return done.returncode, done.stdout
