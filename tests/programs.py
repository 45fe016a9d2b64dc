"""Running a model's entry points as a user does: in processes of their own."""
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from utils.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parent.parent

# train.py, which sends itself signal {number} in the moment it has saved the state of batch 3 of epoch {epoch}
INTERRUPTED = """
import os, runpy, sys
from utils.trainer import Loop
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


def script(model, name, *arguments, target="CPU", folder=None):
    """(exit code, what it printed) of bash <model>/scripts/<name> with `arguments` on the device `target`."""
    return _run(ROOT / model / "scripts" / name, *arguments, program="bash", cwd=folder, env=os.environ | {
        "DEVICE_TARGET": target, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"})


def using(config, **differences):
    """The config of a finished run, for programs that take its best checkpoint."""
    return dataclasses.replace(config, model_path=f"{config.ckpt_save_dir}/best.ckpt", **differences)


def assert_same_end(found, expected, weights, numbers):
    """Two run folders of 2 epochs end with the same weights and metrics, to these relative tolerances."""
    found_weights, expected_weights = [load_checkpoint(f"{run}/checkpoints/epoch_0002.ckpt")[0]
                                       for run in (found, expected)]
    for name, value in expected_weights.items():
        np.testing.assert_allclose(found_weights[name].asnumpy(), value.asnumpy(), rtol=weights, atol=weights / 100,
                                   err_msg=name)
    rows = [np.loadtxt(Path(run, "metrics.csv"), delimiter=",", skiprows=1)[:, :-1]     # without the minutes
            for run in (found, expected)]
    np.testing.assert_allclose(*rows, rtol=numbers)


def _run(*arguments, program=sys.executable, env=None, cwd=None):
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, env=env, cwd=cwd)
    return done.returncode, done.stdout
