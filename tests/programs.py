"""Running a model's entry points as a user does: in processes of their own."""
import dataclasses
import subprocess
import sys
from pathlib import Path

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


def _run(*arguments):
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return done.returncode, done.stdout
