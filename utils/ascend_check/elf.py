"""What shared libraries define, need and look up by name, read from the files themselves: a machine may lack nm.

Executable and Linkable Format, version 1.2 (TIS committee, 1995), its 64-bit kind; symbol versions: Drepper, "ELF
Symbol Versioning" (1999).
"""
import itertools
import re
import struct
from pathlib import Path
from typing import NamedTuple

from utils.errors import ContentError

DYNAMIC, SYMBOLS, VERSIONS = 6, 11, 0x6FFFFFFF      # types of sections
NEEDED, WEAK = 1, 2                                 # a tag of the dynamic section, a binding of symbols
UNVERSIONED = 2                                     # symbol versions below this are none


class Library(NamedTuple):
    """A shared library; names as the linker knows them."""

    defined: frozenset      # symbols that others find in it
    undefined: frozenset    # that it cannot do without and that no version ties to a library of the system
    needed: tuple           # file names of the libraries it is linked with


def read_library(path: Path) -> Library:
    """The library at `path`. ContentError where it is none."""
    data = path.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        raise ContentError(f"{path}: found no 64-bit ELF file, expected a shared library")
    sections = _sections(data)
    symbols, dynamic = sections[SYMBOLS], sections[DYNAMIC]
    names = symbols.strings
    defined, undefined = set(), set()
    versions = struct.iter_unpack("<H", sections[VERSIONS].content) if VERSIONS in sections else itertools.repeat((0,))
    for (version,), (name, info, _, section, _, _) in zip(versions, struct.iter_unpack("<IBBHQQ", symbols.content)):
        if name and section:
            defined.add(_text(names, name))
        elif name and info >> 4 != WEAK and version < UNVERSIONED:
            undefined.add(_text(names, name))
    needed = tuple(_text(dynamic.strings, value) for tag, value in struct.iter_unpack("<QQ", dynamic.content)
                   if tag == NEEDED)
    return Library(frozenset(defined), frozenset(undefined), needed)


def words(path: Path) -> frozenset:
    """The strings in the file at `path` that may name a symbol or, from a folder on, a library."""
    return frozenset(word.decode() for word in re.findall(rb"(?<=\0)[\w/]+(?:\.so[.\d]*)?(?=\0)", path.read_bytes()))


class _Section(NamedTuple):
    content: bytes
    strings: bytes      # of the section it is linked with


def _sections(data):
    """{type: _Section} of those that are read here; of each type there is one."""
    (start,), (size, count) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<HH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size) for i in range(count)]

    def content(header):
        return data[header[4]:header[4] + header[5]]

    return {section[1]: _Section(content(section), content(headers[section[6]])) for section in headers
            if section[1] in (DYNAMIC, SYMBOLS, VERSIONS)}


def _text(strings, start):
    return strings[start:strings.index(b"\0", start)].decode()
