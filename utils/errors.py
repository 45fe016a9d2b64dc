"""Errors that the user can mend, each printed as one line.

The line names the thing (a file, a setting), what was found, what was expected and what to do. `run` is the last line
of every entry point: it prints the error without a traceback and ends with exit code 2. Any other exception ends with
a line as well (utils/defects.py).

Every raise takes one of these kinds; all end a program with exit code 2:

| kind               | raised where                                                             | remedy              |
|--------------------|--------------------------------------------------------------------------|---------------------|
| `NotFoundError`    | a file, folder, corpus or address is missing or cannot be opened         | correct the path    |
| `ContentError`     | what a file or folder holds is of another format, damaged, cut or empty  | replace the file    |
| `AudioError`       | a recording is missing, broken, cut, silent or of another rate           | leave it out        |
| `SettingError`     | a flag, YAML key or environment variable is unknown, missing or invalid  | correct it          |
| `MismatchError`    | settings, files, checkpoints, results or processes do not fit each other | change one of them  |
| `OutputError`      | an output cannot be written, or would overwrite something                | name another folder |
| `UnsupportedError` | the machine, a package, MindSpore or a runtime lacks what was asked for  | install it          |
| `RunError`         | work that began well cannot go on: not finite, a process or server lost  | mend it and resume  |
"""
import codecs
import contextlib
import difflib
import io
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from utils.defects import explained

_defects: list[str] = []    # files of a batch that a defect has failed


class UserError(Exception):
    """What all kinds have in common, for `except`; exit code 2. To raise, take the kind."""

    exit_code = 2


class NotFoundError(UserError):
    """A file, folder, corpus or network address is missing or cannot be opened. Exit code 2."""


class ContentError(UserError):
    """A file or folder is there, but holds another format, or is damaged, cut, empty or invalid. Exit code 2.

    Recordings have the subclass `utils.audio.stream.AudioError`: prepare.py rejects those files with a reason,
    training draws others in their place.
    """


class SettingError(UserError):
    """A flag, YAML key or environment variable is unknown, missing or invalid by itself or beside others. Exit code 2.

    The settings alone show it. Where one does not fit the files or the checkpoint, it is a `MismatchError`.
    """


class MismatchError(UserError):
    """Two things are valid and do not fit each other. Exit code 2.

    Such as a checkpoint and the network, a setting and a list, results and what they are compared with, the state of a
    run and the number of processes.
    """


class OutputError(UserError):
    """An output cannot be written (disk, permissions), or would overwrite what must stay. Exit code 2."""


class UnsupportedError(UserError):
    """This machine, an installed package, MindSpore or a runtime lacks what was asked for. Exit code 2."""


class RunError(UserError):
    """Work that began well cannot go on. Exit code 2.

    The numbers are no longer finite, a process or server is lost or does not answer, or some of many files failed.
    """


def run(main: Callable[..., object], *args: Any) -> None:
    """Calls `main(*args)` as a program, which ends with a line on stderr and no traceback, whatever happens.

    Exit code 0; that of a `UserError`, 2, also where the machine lacks memory or space; 1 for any other exception, a
    defect, whose line names the log to report; 130 for Ctrl-C; 141 where nobody reads the output any longer.
    """
    _defects.clear()
    _print_anything()
    try:
        try:
            with _ending_mindspore():
                main(*map(_at_home, args))
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except UserError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(1 if _defects else error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _unread():     # such as of `| head`
            sys.exit(128 + signal.SIGPIPE)
        line, is_defect = explained(error)
        print(f"error: {_one_line(line)}", file=sys.stderr)
        sys.exit(1 if is_defect else UserError.exit_code)


@contextlib.contextmanager
def _ending_mindspore():
    """Ctrl-C in the midst of MindSpore ends the program at once.

    An exception there crashes its import, and fills the screen and a folder `rank_0` with the graph that it compiles.
    """
    if threading.current_thread() is not threading.main_thread() or \
            signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(number, frame):
    package = getattr(sys.modules.get("mindspore"), "__file__", None)
    if not package or not any(caller.f_code.co_filename.startswith(os.path.join(os.path.dirname(package), ""))
                              for caller, _ in traceback.walk_stack(frame)):
        signal.default_int_handler(number, frame)
    print("interrupted", file=sys.stderr, flush=True)
    if callable(signal.getsignal(signal.SIGTERM)):      # that of utils/files.py removes what is unfinished
        signal.raise_signal(signal.SIGTERM)
    os._exit(128 + number)


def _at_home(words):
    """A command line with the user's folder in place of ~, also in --flag=~/run, where shells leave it."""
    if not isinstance(words, list):
        return words
    parts = [re.fullmatch(r"(--\w+=)?(~.*)", word, re.DOTALL) for word in words]
    return [f"{part[1] or ''}{os.path.expanduser(part[2])}" if part else word
            for part, word in zip(parts, words, strict=True)]


def _one_line(error):
    """Its message, where a file that it names may have a line feed in its name."""
    return str(error).replace("\n", "\\n").replace("\r", "\\r")


def _print_anything():
    """From now on what the encoding of the screen lacks is printed escaped: grep and terminals stumble over bytes."""
    codecs.register_error("speech", _encoded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="speech")


def _encoded(error):
    """Bytes of a name that is no UTF-8, and characters that an encoding lacks, as \\xe9 and \\u6a21."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start:error.end]
    return "".join(f"\\x{ord(sign) - 0xdc00:02x}" if "\udc80" <= sign <= "\udcff" else
                   sign.encode("ascii", "backslashreplace").decode() for sign in text), error.end


def _unread():
    """Whether nobody reads any longer what is printed; then it goes nowhere, as the interpreter would try it again."""
    unread = False
    for number in (1, 2):
        pipe = select.poll()
        pipe.register(number, 0)
        if any(event & select.POLLERR for _, event in pipe.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            unread = True
    return unread


@contextlib.contextmanager
def skipping(path: str, files: Sequence[str], failed: list[str]) -> Iterator[None]:
    """Prints any error about one of several files and adds `path` to `failed`; raises it for a single file."""
    try:
        yield
    except Exception as error:
        if len(files) == 1 or isinstance(error, BrokenPipeError):
            raise
        line, is_defect = (str(error), False) if isinstance(error, UserError) else explained(error)
        print(f"error: {_one_line(line if isinstance(error, UserError) else f'{path}: {line}')}", file=sys.stderr)
        failed.append(path)
        _defects.extend([path] if is_defect else [])


def nearest(name: str, valid: Iterable[str]) -> str:
    """' (did you mean x?)' for the valid name most like `name`, or '' where none is near."""
    match = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {match[0]}?)" if match else ""
