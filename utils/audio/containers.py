"""What the first bytes of an audio file promise: how long it is, and whether all of it is there.

A wav that was written to a pipe does not know its length, an MP3 may tell it in its first frame, an Ogg file marks its
last page. libsndfile and FFmpeg read all of these, but both take a cut file for a shorter one.

Sources: Microsoft's RIFF, EBU Tech 3306 (RF64), Sony's W64, Apple's AIFF and CAF, Sun's au, RFC 3533 (Ogg), RFC 9559
(Matroska), ISO 14496-12 (MP4), the Xing and LAME tags of MP3.
"""
import struct
from collections.abc import Callable
from typing import NamedTuple

Peek = Callable[[int, int], bytes]      # (first byte, count) -> the bytes of a file that are there
LARGEST_32 = 2 ** 32 - 1


class Facts(NamedTuple):
    """What a header says of a file."""

    counted: bool = True                    # its number of samples is known without decoding
    patch: tuple[int, bytes] | None = None  # (place, bytes) to put there, so that a decoder reads to the end
    problem: str = ""                       # why it is not whole


def examine(peek: Peek, size: int) -> Facts:
    """The Facts of a file of `size` bytes; those of an unknown kind for whatever is not audio."""
    head = peek(0, 16)
    kind = _KINDS.get(head[:4]) or _KINDS.get(head[:3]) or _KINDS.get(head[:1])
    return kind(peek, size) if kind else Facts()


def is_unknown(length: int) -> bool:
    """Whether 32 bits of length say "to the end of the file": ffmpeg's, sox's and arecord's ways to write to a pipe."""
    return length == 0 or 0x7FFFF000 <= length <= 0x80000000 or length >= 0xFFFFF000


def _shorter(name, promised, there):
    return f"truncated, its {name} has {there} of {promised} bytes; copy the file again"


def _riff(peek, size):
    order, large = ">" if peek(0, 4) == b"RIFX" else "<", None
    place, align = 12, 1
    while len(chunk := peek(place, 8)) == 8:
        name, length = struct.unpack(order + "4sI", chunk)
        place += 8
        if name == b"ds64" and len(sizes := peek(place, 16)) == 16:
            large = struct.unpack("<Q", sizes[8:])[0]
        elif name == b"fmt " and len(form := peek(place, 14)) == 14:
            align = max(1, struct.unpack(order + "H", form[12:])[0])
        elif name == b"data":
            if length == LARGEST_32 and large and large < 2 ** 63 - 2 ** 32:
                return _data(peek, place, large, size, align, None)
            return _data(peek, place, 0 if is_unknown(length) else length, size, align, (place - 4, order + "I"))
        place += length + length % 2
    return Facts()


def _data(peek, place, length, size, align, field):
    """Facts of `length` bytes of samples from `place` on, 0: up to the end; `field`: (place, format) of the length."""
    there = size - place
    if length:
        if length // align > there // align:
            return Facts(problem=_shorter("data chunk", length, there))
        following = peek(place + length, 5).lstrip(b"\0")
        if following.startswith((b"RIFF", b"RF64", b"RIFX")):
            return Facts(problem=f"holds a second file from byte {place + length} on, which would be lost; join "
                                 "recordings with sox or ffmpeg instead of cat")
        return Facts()
    if there >= LARGEST_32 or field is None:
        return Facts(counted=False)
    return Facts(patch=(field[0], struct.pack(field[1], there)))


def _flac(peek, size):
    info = peek(0, 26)
    return Facts(counted=len(info) == 26 and (info[21] & 15, *info[22:]) != (0, 0, 0, 0, 0))


def _mp3(peek, size):
    place = 0
    while (tag := peek(place, 10))[:3] == b"ID3" and len(tag) == 10:
        length = sum((byte & 127) << 7 * power for power, byte in enumerate(tag[:5:-1]))
        place += 10 + length + (10 if tag[5] & 16 else 0)
    head = peek(place, 64)
    if len(head) < 64 or head[0] != 255 or head[1] & 0xE0 != 0xE0:
        return Facts(counted=False)
    mono, first = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3         # MPEG 1, or 2 and 2.5 of low rates
    tag = 4 + ((17 if mono else 32) if first else (9 if mono else 17)) + (0 if head[1] & 1 else 2)
    flags, _, length = struct.unpack(">III", head[tag + 4:tag + 16])
    if head[tag:tag + 4] not in (b"Xing", b"Info") or flags & 3 != 3:
        return Facts(counted=False)
    there = size - place
    if there < length:
        return Facts(problem=_shorter("first frame", length, there))
    following = peek(place + length, 8)
    return Facts(counted=not following.strip(b"\0") or following.startswith((b"TAG", b"APETAGEX", b"LYRICS")))


_KINDS = {b"RIFF": _riff, b"RIFX": _riff, b"RF64": _riff, b"BW64": _riff, b"fLaC": _flac, b"ID3": _mp3, b"\xff": _mp3}
