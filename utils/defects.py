"""Exceptions that are no `UserError`, in one line: out of memory, a full disk, or else a defect of the programs.

The traceback of a defect goes into a log, for a report. Whoever has a better place for it than the folder for temporary
files, such as a run, writes it there with `write_log` first.
"""
import errno
import os
import platform
import re
import shlex
import sys
import tempfile
import time
import traceback
from concurrent.futures import BrokenExecutor
from pathlib import Path

from utils.version import VERSION

TRACEBACK = "TRACEBACK"     # the environment variable that has tracebacks on the screen too
LONGEST = 200               # characters of a message that are shown
LOG = "_log"                # attribute of an exception: where its traceback stands
MEMORY = re.compile(r"out of memory|bad_alloc|unable to allocate|cannot allocate|alloc\w*( \w+)? memory failed|"
                    r"memory (is )?(not enough|isn't enough|insufficient)", re.IGNORECASE)
# what a machine may lack, whatever is asked of it
MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}


def explained(error: Exception) -> tuple[str, bool]:
    """(a line about `error`, whether it is a defect). The traceback of a defect is in the log that the line names."""
    message = next((line.strip(" -") for line in str(error).splitlines() if line.strip(" -")), "")[:LONGEST]
    text = f"{type(error).__name__}{': ' if message else ''}{message}"
    if isinstance(error, MemoryError) or MEMORY.search(str(error)):
        return (f"not enough memory ({text}); lower --minibatch_size, --num_workers, --beam_width or what else is "
                "large, or end other programs"), False
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed (out of memory?); lower the number of workers", False
    if isinstance(error, OSError) and error.errno in MACHINE:
        return f"{error.filename or 'an output'}: {error.strerror}; free some space, or mend the machine", False
    log = getattr(error, LOG, None) or write_log(error, _temporary())
    where = f"report it with the file {log}" if log else f"set {TRACEBACK}=1 and report what is printed then"
    return f"unexpected {text}; this is a defect of the program, please {where}", True


def write_log(error: Exception, path: Path) -> Path | None:
    """Appends the traceback of `error` to the file `path`; returns that, or None where it cannot be written."""
    lines = traceback.format_exception(error)
    if os.environ.get(TRACEBACK):
        print(*lines, sep="", end="", file=sys.stderr)
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{shlex.join(sys.argv)}\nmindspore-speech-zoo {VERSION}, {_versions()}\n{''.join(lines)}")
    except OSError:
        return None
    setattr(error, LOG, path)
    return path


def _temporary():
    """A file of this process alone."""
    program = re.sub(r"\W", "_", Path(sys.argv[0]).stem) or "python"
    return Path(tempfile.gettempdir(), f"speech_zoo-{program}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log")


def _versions():
    """Of Python, the system and what is loaded."""
    names = ("mindspore", "numpy", "soundfile", "av")
    loaded = {name: getattr(sys.modules.get(name), "__version__", "") for name in names}
    return ", ".join([f"Python {platform.python_version()}", platform.platform(),
                      *(f"{name} {version}" for name, version in loaded.items() if version)])
