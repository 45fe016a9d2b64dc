"""What a refusal must be: the kind of error, one line, and the facts that it names."""
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
    """A program has ended with exit code 2 and its error, the last line of `output`, names each of `names`."""
    assert code == UserError.exit_code, f"exit code {code}: {output}"
    assert "Traceback" not in output, output
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert lines, output
    assert_named(lines[-1], names)


def assert_named(message, names):
    """The message is one line and holds each of `names` as whole words: 4 is neither in 14 nor in 4.5."""
    assert message and len(message.splitlines()) == 1, message
    missing = [str(name) for name in names
               if not re.search(rf"(?<!\w)(?<!\d\.){re.escape(str(name))}(?!\w)(?!\.\d)", message)]
    assert not missing, f"{message!r} does not name {missing}"
