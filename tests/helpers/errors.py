"""What a refusal must be: the kind of error, one line, and the facts that it names.

The sentence around the facts is free; tests/test_errors.py holds how each kind reads.
"""
import re
from contextlib import contextmanager

import pytest

from utils.errors import UserError


@contextmanager
def refused(kind, *names):
    """The block raises a `kind` (or a subclass) in one line that names each of `names`, such as a file and values.

    Yields pytest's record of the error: `.value` is the error.
    """
    assert issubclass(kind, UserError) and kind is not UserError, "state the kind"
    with pytest.raises(kind) as record:
        yield record
    assert_named(str(record.value), names)


def assert_refusal(code, output, *names):
    """A program has ended with exit code 2, and its last line that begins with `error: ` names each of `names`."""
    assert code == UserError.exit_code and "Traceback" not in output, f"exit code {code}: {output}"
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert lines, output
    assert_named(lines[-1], names)


def assert_line(output, *names):
    """One line of the output names all of `names`."""
    assert any(not _missing(line, names) for line in output.splitlines()), f"no line names {names}: {output}"


def assert_named(message, names):
    """The message is one line and holds each of `names` as whole words: 4 is neither in 14 nor in 4.5."""
    assert message and len(message.splitlines()) == 1, message
    assert not _missing(message, names), f"{message!r} does not name {_missing(message, names)}"


def _missing(message, names):
    return [name for name in map(str, names) if not re.search(_whole(name), message)]


def _whole(name):
    """The pattern of `name` where no word or number goes on at its ends."""
    before = r"(?<!\w)(?<!\d\.)" if re.match(r"\w", name) else ""
    after = r"(?!\w)(?!\.\d)" if re.search(r"\w$", name) else ""
    return before + re.escape(name) + after
