"""What a user did wrong, told in one line.

A `UserError` names the thing, what was found, what was expected and what to do. `run` is the last line of
every entry point: it prints that line without a traceback and ends with exit code 2. Anything else that is
raised is a defect of ours and keeps its traceback.
"""
import difflib
import sys
from contextlib import contextmanager


class UserError(Exception):
    """A mistake in a file, a flag or a value that the user can mend."""


def run(main, *args):
    """Calls `main(*args)` as a program: exit code 0, 2 for a `UserError`, 130 for Ctrl-C."""
    try:
        main(*args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@contextmanager
def skipping(path, files, failed):
    """Reports a user's mistake in one of several files and lets the others be done."""
    try:
        yield
    except UserError as error:
        if len(files) == 1:
            raise
        print(f"error: {error}", file=sys.stderr)
        failed.append(path)


def nearest(name, valid):
    """' (did you mean x?)' for the valid name most like `name`, or '' where none is near."""
    match = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" (did you mean {match[0]}?)" if match else ""
