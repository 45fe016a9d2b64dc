"""Text files, whoever has written them: the one place that opens a text for reading (a test holds that).

Taken are UTF-8, and UTF-16 as Notepad and PowerShell write it; byte order marks, also where files were joined; lines
that end as those of Windows (CR LF) and of old Macs (CR), or with the file; what is packed by gzip, whatever its name.
A NUL byte, another encoding and a packed file that is cut are refused, with the line.

The names of files are bytes, which need be no UTF-8. `names=True` keeps them: they come back, as everywhere in Python,
with surrogates for such bytes, which open() and os.fsencode take.
"""
import csv
import gzip
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from utils.errors import ContentError, NotFoundError
from utils.files import StrPath

GZIP = b"\x1f\x8b"                  # how such a file begins
MARK = "\ufeff"                     # byte order mark
DELIMITERS = ",;\t"                 # Excel takes the semicolon where numbers have a comma
SURROGATE = re.compile("[\ud800-\udfff]")


def open_lines(path: StrPath, expected: str, *, names: bool = False) -> Iterator[str]:
    """The lines of a text file without their ends, one at a time.

    `expected` says in errors what the file should be, and who writes it. NotFoundError where it cannot be opened,
    ContentError for what is no text.
    """
    return (line.removesuffix("\n") for line in _lines(path, expected, names))


def read_text(path: StrPath, expected: str, *, names: bool = False) -> str:
    """All of a text file, every line ending with a line feed. Otherwise as `open_lines`."""
    return "".join(_lines(path, expected, names))


def read_json(path: StrPath, expected: str, *, names: bool = False) -> Any:
    """What a JSON file holds. ContentError for another, otherwise as `open_lines`."""
    return parse_json(read_text(path, expected, names=names), path, expected)


def parse_json(text: str, path: StrPath, expected: str) -> Any:
    """As `read_json`, of a text that has been read from `path`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ContentError(f"{path}: not JSON ({error}), expected {expected}") from None


def read_rows(path: StrPath, expected: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each row of a CSV that is not empty. Cells may name files; blanks around them are dropped.

    They are separated by commas, semicolons or tabs, whichever makes the most cells of the first row; a row `sep=;`,
    which Excel knows, states it. ContentError for what is no CSV, otherwise as `open_lines`.
    """
    return parse_rows(open_lines(path, expected, names=True), path, expected)


def parse_rows(lines: Iterable[str], path: StrPath, expected: str) -> Iterator[tuple[int, list[str]]]:
    """As `read_rows`, of lines that have been read from `path`."""
    lines, head = iter(lines), []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    first = head[-1] if head else ""
    stated = re.fullmatch(r'"?sep=(.)"?', first)
    reader = csv.reader((line.rstrip(" ") for line in itertools.chain(head, lines)), skipinitialspace=True, strict=True,
                        delimiter=stated[1] if stated else _delimiter(first))
    number = 0
    try:
        for row in reader:
            number, cells = reader.line_num, [cell.strip() for cell in row]
            if any(cells) and not (stated and number == len(head)):
                yield number, cells
    except csv.Error as error:
        raise ContentError(f"{path}: line {number + 1}: not CSV ({error}), expected {expected}") from None


def split_columns(line: str, count: int, last_has_blanks: bool = False) -> list[bytes]:
    """The columns of a line, as bytes, which may name files: `count` of them, or another number where it has that.

    White space separates them, non-breaking and wide spaces only where the line has too few columns otherwise: they may
    stand in names. `last_has_blanks`: as in `speaker a file.wav`.
    """
    splits = count - 1 if last_has_blanks else -1
    if line.isascii():
        return [column.rstrip() for column in line.encode().split(maxsplit=splits)]
    columns = [column.strip() for column in re.split(r"[ \t]+", line.strip(), maxsplit=max(splits, 0))]
    if len(columns) < count or not all(columns):
        columns = line.split(maxsplit=splits)
    return list(map(os.fsencode, columns))


def is_unicode(text: str) -> bool:
    """Whether `text` is without bytes of other encodings, which names of files may hold."""
    return text.isascii() or not SURROGATE.search(text)


def _delimiter(row):
    """The separator that makes the most cells of a row, the first of equals."""
    return max(DELIMITERS, key=lambda sign: len(next(csv.reader([row], delimiter=sign), [])))


def _lines(path, expected, names):
    """The lines of a text file, each but the last of a file with a line feed at its end."""
    number = 0
    try:
        with open(path, "rb") as file:
            stream = gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP else file
            # the first character of a text is no NUL: where its bytes are shows the encoding, as JSON has it
            encoding = json.detect_encoding(stream.peek(4)[:4])
            for number, line in enumerate(io.TextIOWrapper(stream, encoding, "surrogateescape"), 1):
                _check(path, number, line, expected, names)
                yield line.replace(MARK, "")
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ContentError(f"{path}: cut or damaged behind line {number} ({error}), expected {expected}") from None
    except OSError as error:
        raise NotFoundError(f"{path or 'no file given'}: {error.strerror}, expected {expected}") from None


def _check(path, number, line, expected, names):
    if "\0" in line:
        raise ContentError(f"{path}: line {number} holds a NUL byte, as no text does, expected {expected}")
    if not names and not is_unicode(line):
        byte = ord(SURROGATE.findall(line)[0]) & 0xff
        raise ContentError(f"{path}: line {number} is not UTF-8 (byte 0x{byte:02x}), expected {expected}; save the "
                           "file as UTF-8, with iconv for example")
