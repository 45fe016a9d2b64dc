"""Pickles as data: what they hold is built here, opcode by opcode, and nothing they name is ever imported or called.

The standard library's pickletools splits the stream. Globals, instances and calls become values of the classes below,
which do nothing; the caller says which names it knows and refuses the others. Keys of dicts are plain. `plain` gives
the settings that such values hold.
"""
import io
import pickletools
import struct
from collections.abc import Callable
from typing import Any

PLAIN = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
         "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING", "SHORT_BINSTRING",   # Python 2's
         "INT", "LONG", "FLOAT", "STRING", "UNICODE"}                                               # protocol 0's
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
DEPTH = 8           # of containers in settings


class Refused(ValueError):
    """A pickle that is damaged, or holds what data does not."""


class Name:
    """A class or function that a pickle names: never imported."""

    def __init__(self, module: str, name: str):
        self.path = f"{module}.{name}"


class Instance:
    """What a pickle would call or construct: the Name and the arguments, then what it would set."""

    def __init__(self, kind: Name, arguments: tuple = (), state: Any = None):
        self.kind, self.arguments, self.state = kind, arguments, state
        self.items: dict[Any, Any] = {}
        self.elements: list[Any] = []


def loads(data: bytes | io.BytesIO, known: Callable[[Name, tuple | None], Any],
          persistent: Callable[[Any], Any]) -> Any:
    """The value that the pickle `data` (bytes, or a stream at its start) describes. Refused for one that is not data.

    known(name, arguments): the value of a call of the Name, or None where it is to become an Instance; called with
    arguments None when the name is met, and raises Refused for a name that must not occur
    persistent(value): what a persistent identifier stands for
    """
    machine = _Machine(known, persistent)
    try:
        for opcode, argument, position in pickletools.genops(data):
            try:
                machine.run(opcode.name, argument)
            except (IndexError, KeyError, TypeError, AttributeError):
                raise Refused(f"damaged at byte {position} of its pickle") from None
        return machine.stack.pop()
    except (ValueError, IndexError, OverflowError, UnicodeError, struct.error) as error:
        raise error if isinstance(error, Refused) else Refused("damaged: its pickle ends early or is none") from None


class _Machine:
    """The stack, the marks on it and the memo of a pickle."""

    def __init__(self, known: Callable[[Name, tuple | None], Any], persistent: Callable[[Any], Any]):
        self.known, self.persistent = known, persistent
        self.stack, self.marks, self.memo = [], [], {}

    def run(self, name: str, argument: Any) -> None:
        """One opcode."""
        if name in PLAIN:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in TUPLES:
            self.stack.append(tuple(self.take(TUPLES[name])))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.stack.append(self.name(*(argument.split(" ", 1) if argument else self.take(2))))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("SETITEM", "SETITEMS"):
            self.set_items(self.take(2) if name == "SETITEM" else self.since_mark())
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            self.append(self.take(1) if name == "APPEND" else self.since_mark())
        elif name == "TUPLE":
            self.stack.append(tuple(self.since_mark()))
        elif name in ("LIST", "FROZENSET"):
            self.stack.append(self.since_mark())
        elif name == "DICT":
            values = self.since_mark()
            self.stack.append({})
            self.set_items(values)
        elif name in ("REDUCE", "NEWOBJ"):
            self.stack.append(self.call(*self.take(2)))
        elif name == "NEWOBJ_EX":
            self.stack.append(self.call(*self.take(3)[:2]))
        elif name == "BUILD":
            self.build(*self.take(1))
        elif name == "BINPERSID":
            self.stack.append(self.persistent(*self.take(1)))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise Refused(f"its pickle uses {name}, which data does not need")

    def take(self, count: int) -> list:
        """The topmost `count` values, removed."""
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < count:
            raise IndexError
        first = len(self.stack) - count
        values = self.stack[first:]
        del self.stack[first:]
        return values

    def since_mark(self) -> list:
        """The values above the last mark, removed with it."""
        first = self.marks.pop()
        values = self.stack[first:]
        del self.stack[first:]
        return values

    def name(self, module: str, name: str) -> Name:
        result = Name(module, name)
        self.known(result, None)
        return result

    def call(self, kind: Any, arguments: Any) -> Any:
        kind = kind.kind if isinstance(kind, Instance) else kind        # what a call has given is called
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise TypeError
        value = self.known(kind, arguments)
        return Instance(kind, arguments) if value is None else value

    def set_items(self, values: list) -> None:
        target = self.stack[-1].items if isinstance(self.stack[-1], Instance) else self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, (str, int, float, type(None), Name, Instance)):   # a deep tuple is hashed for ever
                raise Refused(f"its pickle has a {type(key).__name__} as the key of a dict")
            target[key] = value

    def append(self, values: list) -> None:
        target = self.stack[-1].elements if isinstance(self.stack[-1], Instance) else self.stack[-1]
        if not isinstance(target, list):
            raise TypeError
        target.extend(values)

    def build(self, state: Any) -> None:
        """Attributes of an Instance; those of a dict (PyTorch keeps versions of layers so) are not data."""
        if isinstance(self.stack[-1], Instance):
            self.stack[-1].state = state
        elif not isinstance(self.stack[-1], dict):
            raise TypeError


def plain(value: Any, depth: int = DEPTH) -> Any:
    """Settings without the objects around them: of omegaconf, enum, argparse, Lightning, dataclasses.

    A class is its dotted name, an object what it holds: its items, its attributes, or what it was made of.
    """
    return _plain(value, depth, {})


def _plain(value, depth, made):
    """As `plain`; `made` {(id of a container, depth): result}, since many may share one."""
    if isinstance(value, Name):
        return value.path
    if not isinstance(value, (Instance, dict, list, tuple)):
        return value
    if depth and (id(value), depth) not in made:
        if isinstance(value, Instance):
            result = _plain(_inside(value), depth - 1, made)
        elif isinstance(value, dict):
            result = {name: _plain(item, depth - 1, made) for name, item in value.items()}
        else:
            result = [_plain(item, depth - 1, made) for item in value]
        made[id(value), depth] = result
    return made.get((id(value), depth))


def _inside(instance):
    """What an object holds."""
    state = instance.state if isinstance(instance.state, dict) else {}
    for name in ("_content", "_val"):       # omegaconf's
        if name in state:
            return state[name]
    if instance.items or instance.elements:
        return instance.items or instance.elements
    if instance.arguments:      # a member of an enum is made of its value, or of the enum and its name
        return instance.arguments[-1 if instance.kind.path.endswith(".getattr") else 0]
    return state or None


def dumps(value: Any, persistent: Callable[[Any], bytes]) -> bytes:
    """`value` of dicts, lists, tuples, str, int, float, bool, None, Name and Instance as a pickle of protocol 2.

    persistent(value): the opcodes (bytes) of any other value.
    """
    return b"\x80\x02" + opcodes(value, persistent) + b"."


def opcodes(value: Any, persistent: Callable[[Any], bytes]) -> bytes:
    """As `dumps`, of a value within a pickle."""
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        size = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode()
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, dict):
        parts = [opcodes(part, persistent) for pair in value.items() for part in pair]
        return b"}(" + b"".join(parts) + b"u"
    if isinstance(value, (list, tuple)):
        parts = b"".join(opcodes(part, persistent) for part in value)
        return b"(" + parts + b"t" if isinstance(value, tuple) else b"](" + parts + b"e"
    if isinstance(value, Name):
        module, _, name = value.path.rpartition(".")
        return b"c" + f"{module}\n{name}\n".encode()
    if isinstance(value, Instance):     # with arguments it is called, without them made and given its attributes
        parts = [opcodes(part, persistent) for part in (value.kind, value.arguments)]
        state = b"" if value.state is None else opcodes(value.state, persistent) + b"b"
        return b"".join(parts) + (b"R" if value.arguments else b"\x81") + state
    return persistent(value)
