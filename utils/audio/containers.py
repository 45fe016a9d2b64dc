"""What the structure of an audio file tells before it is decoded: is its length known, is all of it there, is it one.

A wav from a pipe does not know its length, an MP3 may tell it in its first frame, the last page of an Ogg is marked as
such. libsndfile and FFmpeg know all that, but both take a cut file for a shorter one, and of two files joined with cat
only the first.

Sources: Microsoft's RIFF, EBU Tech 3306 (RF64), Sony's W64, Apple's AIFF and CAF, Sun's au, NIST's SPHERE, RFC 9639
(FLAC), RFC 3533 (Ogg), RFC 9559 (Matroska), ISO 14496-12 (MP4), ISO 11172-3 and the Xing tag (MP3), Microsoft's ASF.
"""
import re
import struct
from collections.abc import Callable
from typing import NamedTuple

Peek = Callable[[int, int], bytes]      # (first byte, count) -> the bytes of a file that are there
LARGEST_32 = 2 ** 32 - 1
ZEROS = 2 ** 16             # bytes at the end of an MP3; more are what a download has not filled
WINDOW = 2 ** 20            # bytes of a long file that are looked at together
W64_GUID = bytes.fromhex("f3acd3118cd100c04f8edb8a")        # the end of all its names
PCM = (1, 3, 6, 7, 0xFFFE)  # encodings of a wav that lose nothing with a part of a sample
MPEG = (0x50, 0x55)         # encodings of a wav that holds MP3 or layer II
MOST_PARTS = 10_000         # of one file; each is opened for itself
KBITS = {   # bit rates of MPEG 1's and of MPEG 2's layers I to III
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)}
AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


class Facts(NamedTuple):
    """What is known of a file."""

    counted: bool = True                        # its samples are counted without decoding them
    patch: tuple[int, bytes] | None = None      # (place, bytes) to put there, for a decoder to read to the end
    parts: tuple[tuple[int, int], ...] = ()     # (first byte, bytes) of each of several files in one
    problem: str = ""                           # why it is not whole
    boundary: int = 0                           # where the file ends and another begins, of `examine` alone


COUNTED, UNCOUNTED = Facts(), Facts(counted=False)


def examine(peek: Peek, size: int, whole: bool = False) -> Facts:
    """The Facts of a file of `size` bytes; of what is no known kind there is nothing to tell.

    `whole`: all of it is going to be read, so it may be searched as well.
    """
    parts, start, facts = [], 0, _facts_of(peek, size)
    while facts.boundary and len(parts) < MOST_PARTS:
        parts.append((start, facts.boundary))
        start += facts.boundary
        facts = _facts_of(lambda place, count, start=start: peek(start + place, count), size - start)
    if len(parts) + max(1, len(facts.parts)) > MOST_PARTS:
        return Facts(problem=f"holds more than {MOST_PARTS} recordings in one; join recordings with sox or ffmpeg "
                             "instead of cat")
    if parts:
        rest = facts.parts or ((0, size - start),)
        return Facts(counted=False, problem=facts.problem,
                     parts=(*parts, *((start + place, length) for place, length in rest)))
    if whole and peek(0, 4) == b"fLaC" and (place := _find(peek, size, b"fLaC\0\0\0\x22")) > 0:
        return Facts(problem=f"holds a second recording from byte {place} on, which would be lost; join recordings "
                             "with sox or ffmpeg instead of cat")
    return facts


def _facts_of(peek, size):
    """The Facts of the first file in one; its `boundary` tells where another begins."""
    head = peek(0, 16)
    kind = _KINDS.get(head[:4]) or _KINDS.get(head[4:8]) or _KINDS.get(head[:3]) or _KINDS.get(head[:1])
    return kind(peek, size) if kind else Facts()


def is_unknown(length: int) -> bool:
    """Whether 32 bits of length say "to the end of the file", as ffmpeg, sox and arecord write it to a pipe."""
    return length == 0 or 0x7FFFF000 <= length <= 0x80000000 or length >= 0xFFFFF000


def _cut(name, promised, there):
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    return Facts(problem=f"truncated, its {name} has {there} of {promised} bytes; copy the file again")


def _find(peek, size, pattern, start=1):
    for place in range(start, size, WINDOW):
        if (found := peek(place, WINDOW + len(pattern)).find(pattern)) >= 0:
            return place + found
    return -1


def _joined_at(peek, size, end, start, alone=COUNTED):
    """Facts of a file that ends at `end`: `alone`, or those of a joined one where another begins with `start` there."""
    if 0 < end < size - len(start) and re.match(start, peek(end, len(start)), re.DOTALL):
        return Facts(boundary=end)
    return alone


def _riff(peek, size):
    """RIFF WAVE, RF64, and AVI, of which only the size is looked at."""
    order, large, field, align, encoding, place = ">" if peek(0, 4) == b"RIFX" else "<", 0, 0, 1, 0, 12
    if peek(8, 4) != b"WAVE":
        length = struct.unpack(order + "I", peek(4, 4))[0] if size >= 12 else 0
        if not is_unknown(length) and length > size - 8:
            return _cut("RIFF chunk", length, size - 8)
        return _joined_at(peek, size, 8 + length + length % 2, b"RIFF....AVI ", UNCOUNTED)
    while len(chunk := peek(place, 8)) == 8:
        name, length = struct.unpack(order + "4sI", chunk)
        place += 8
        if name == b"ds64" and len(sizes := peek(place, 16)) == 16:
            field, large = place + 8, struct.unpack("<Q", sizes[8:])[0]
        elif name == b"fmt " and len(form := peek(place, 14)) == 14:
            encoding, align = struct.unpack(order + "H10xH", form)
            align = align if encoding in PCM and align else 1
        elif name == b"data":
            there, known = size - place, not is_unknown(length) or not length and _are_chunks(peek, size, place, order)
            if length == LARGEST_32 and 0 < large < 2 ** 62:
                length, known = large, True
            if not known and (field or there < LARGEST_32):
                patch = (field, struct.pack("<Q", there)) if field else (place - 4, struct.pack(order + "I", there))
                return Facts(patch=patch, counted=encoding not in MPEG)
            if not known:
                return UNCOUNTED
            if length // align > there // align:
                return _cut("data chunk", length, there)
            for following in (place + length, place + length + length % 2) if there > length + 12 else ():
                if peek(following, 4) in (b"RIFF", b"RF64") and peek(following + 8, 4) == b"WAVE":
                    return Facts(boundary=following)
            return Facts(counted=encoding not in MPEG)
        elif name == bytes(4):
            return Facts(problem=f"damaged, at byte {place - 8} is no chunk of a wav; copy the file again")
        place += length
        if length % 2 and (_is_name(peek(place + 1, 4)) or not _is_name(peek(place, 4))):   # some do not pad
            place += 1
    return Facts()


def _are_chunks(peek, size, place, order):
    """Whether there are whole chunks from `place` to the end, and not samples."""
    while len(chunk := peek(place, 8)) == 8 and _is_name(chunk[:4]):
        length = struct.unpack(order + "4xI", chunk)[0]
        place += 8 + length + length % 2
    return place in (size, size + 1)


def _is_name(name):
    """Whether a chunk may be named so: a walk over zeros would take each eight of them for a chunk."""
    return all(32 <= byte < 127 for byte in name)


def _w64(peek, size):
    place = 40
    while len(chunk := peek(place, 24)) == 24 and chunk[4:16] == W64_GUID:
        length = struct.unpack("<Q", chunk[16:])[0]
        if chunk[:4] == b"data":
            known = 24 < length < 2 ** 62
            if known and length > size - place:
                return _cut("data chunk", length - 24, size - place - 24)
            return _joined_at(peek, size, place + length + -length % 8 if known else size, b"riff")
        place += max(24, length + -length % 8)
    return Facts()


def _iff(peek, size):
    """AIFF and 8SVX."""
    place = 12
    while len(chunk := peek(place, 8)) == 8:
        name, length = struct.unpack(">4sI", chunk)
        place += 8
        if name in (b"SSND", b"BODY"):      # sox writes 0x7f000000 and more to a pipe
            if not 8 < length < 0x7F000000:
                break
            if length > size - place:
                return _cut("sound chunk", length, size - place)
        if name == b"FORM":
            return Facts(boundary=place - 8)
        if not _is_name(name):
            break
        place += length + length % 2
    return Facts()


def _au(peek, size):
    if size < 24:
        return Facts()
    start, length = struct.unpack(">II", peek(4, 8))
    if is_unknown(length):
        return Facts()
    if length > size - start:
        return _cut("data", length, size - start)
    return _joined_at(peek, size, start + length, b".snd")


def _caf(peek, size):
    place = 8
    while len(chunk := peek(place, 12)) == 12:
        name, length = struct.unpack(">4sq", chunk)
        if name == b"caff":
            return Facts(boundary=place)
        place += 12
        if not _is_name(name):
            return Facts(problem=f"damaged, at byte {place - 12} is no chunk of a CAF; copy the file again")
        if length < 0:
            return UNCOUNTED
        if length > size - place:
            return _cut(f"{name.decode('latin-1')} chunk", length, size - place)
        place += length
    return Facts()


def _sphere(peek, size):
    text = peek(0, 1024).decode("latin-1")
    start = re.match(r"NIST_1A\s+(\d+)", text)
    count, channels, width = (re.search(rf"^{name} -\w+ (\d+)", text, re.MULTILINE)
                              for name in ("sample_count", "channel_count", "sample_n_bytes"))
    if not (start and count and width) or re.search(r"^sample_coding -s\d+ .*,", text, re.MULTILINE):
        return Facts()                      # compressed
    length = int(count[1]) * int(width[1]) * int(channels[1] if channels else 1)
    end = int(start[1]) + length
    return _cut("data", length, size - int(start[1])) if end > size else _joined_at(peek, size, end, b"NIST_1A")


def _flac(peek, size):
    info = peek(0, 26)
    return Facts(counted=len(info) == 26 and (info[21] & 15, *info[22:]) != (0, 0, 0, 0, 0))


def _ogg(peek, size):
    """A walk from page to page: (serial number) -> number of the last page, as long as the last page is to come."""
    place, start, window, offset, streams, boundaries = 0, 0, b"", 0, {}, []
    while place < size:
        if place + 27 + 255 > offset + len(window):
            window, offset = peek(place, WINDOW), place
        page = window[place - offset:place - offset + 27 + 255]
        if page[:4] != b"OggS":
            if not window[place - offset:].strip(b"\0") or page[:3] == b"TAG":
                break
            return Facts(problem=f"damaged, byte {place} is not the start of an Ogg page; copy the file again")
        if len(page) < 27 or len(page) < 27 + page[26]:
            return _cut("last page", 27 + 255, size - place)
        flags, serial, number = page[5], *struct.unpack("<II", page[14:22])
        length = 27 + page[26] + sum(page[27:27 + page[26]])
        if place + length > size:
            return _cut("last page", length, size - place)
        if flags & 2 and place and not streams:
            boundaries.append(place)        # the first page of another recording
        elif not flags & 2 and serial in streams and number > streams[serial] + 1:
            return Facts(problem=f"damaged, {number - streams[serial] - 1} pages are missing before byte {place}; copy "
                                 "the file again")
        if flags & 4:
            streams.pop(serial, None)
        else:
            streams[serial] = number
        place += length
    if streams:
        return Facts(problem="truncated, its last page is missing; copy the file again")
    starts = [start, *boundaries, size]
    parts = tuple((a, b - a) for a, b in zip(starts[:-1], starts[1:], strict=True))
    return Facts(counted=False, parts=parts) if boundaries else Facts()


def _mp4(peek, size):
    place, names = 0, []
    while len(box := peek(place, 16)) >= 8:
        length, name = struct.unpack(">I4s", box[:8])
        if length == 1 and len(box) == 16:
            length = struct.unpack(">Q", box[8:])[0]
        if name == b"ftyp" and b"moov" in names:
            return Facts(boundary=place)
        if length and place + length > size:
            return _cut(f"{name.decode('latin-1')} box", length, size - place)
        if name == b"moov" and re.search(rb"stsd.{12}(drms|enca)", peek(place, min(length, 16 * WINDOW)), re.DOTALL):
            return Facts(problem="protected (DRM), no program but its shop's can decode it; expected a free recording")
        names.append(name)
        if length < 8:
            break
        place += length
    if 0 < size - place < 8:
        return _cut("last box", 8, size - place)
    if not {b"moov", b"moof"} & {*names} and b"mdat" in names:
        return Facts(problem="truncated, it has no index (moov box), which is written last; record it again")
    return UNCOUNTED


def _matroska(peek, size):
    """A walk over the elements, into segments and clusters of unknown length, as browsers write them."""
    place, window, offset = 0, b"", 0
    while place < size:
        if place + 12 > offset + len(window):
            window, offset = peek(place, WINDOW), place
        head = window[place - offset:place - offset + 12]
        if not head or not head[0]:
            return UNCOUNTED
        width = 9 - head[0].bit_length()                # of the name, 1 to 4 bytes
        if len(head) < width + 1 or not head[width]:
            return UNCOUNTED if width > 4 else _cut("last element", 12, size - place)
        digits = 9 - head[width].bit_length()           # of the length, 1 to 8 bytes
        length = int.from_bytes(head[width:width + digits], "big") - (1 << 7 * digits)
        unknown = length == (1 << 7 * digits) - 1
        if width > 4 or unknown and head[:4] not in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
            return UNCOUNTED                            # FFmpeg may know better
        place += width + digits + (0 if unknown else length)
        if place > size:
            return _cut("last element", length, size - place + length)
    return UNCOUNTED


def _flv(peek, size):
    place = int.from_bytes(peek(5, 4), "big") + 4
    while 9 < place < size:
        if peek(place, 3) == b"FLV":
            return Facts(boundary=place)
        if peek(place, 1) not in (b"\x08", b"\x09", b"\x12"):
            break
        length = int.from_bytes(peek(place + 1, 3), "big") + 15
        if place + length > size:
            return _cut("last tag", length, size - place)
        place += length
    return UNCOUNTED


def _ac3(peek, size):
    """A walk over the frames of AC-3 and E-AC-3."""
    place = 0
    while place < size:
        head = peek(place, 6)
        if head[:2] != b"\x0b\x77" or len(head) < 6:
            return _cut("last frame", 6, len(head)) if len(head) < 6 else UNCOUNTED
        rate, code = head[4] >> 6, head[4] & 63
        if head[5] >> 3 > 10:
            length = 2 * ((head[2] & 7) << 8 | head[3]) + 2
        elif rate < 3 and code < 38:
            kbits = AC3_KBITS[code >> 1]
            length = (4 * kbits, (320 * kbits // 147 + code % 2) * 2, 6 * kbits)[rate]
        else:
            return UNCOUNTED
        if place + length > size:
            return _cut("last frame", length, size - place)
        place += length
    return UNCOUNTED


def _tta(peek, size):
    head = peek(0, 22)
    rate, count = struct.unpack("<II", head[10:18]) if len(head) == 22 else (0, 0)
    frames = -(-245 * count // (256 * rate)) if rate else 0
    table = peek(22, 4 * frames) if frames < size else b""
    if not frames or len(table) < 4 * frames:
        return UNCOUNTED
    end = 26 + len(table) + sum(struct.unpack(f"<{frames}I", table))
    if end > size:
        return _cut("sound", end, size)
    return _joined_at(peek, size, _skip_tags(peek, end), b"TTA1", UNCOUNTED)


def _mpegts(peek, size):
    if peek(188, 1) == b"\x47" and size % 188:
        return _cut("last packet", 188, size % 188)
    return UNCOUNTED


def _amr(peek, size):
    boundary = _find(peek, size, b"#!AMR")
    return Facts(boundary=boundary) if boundary > 0 else UNCOUNTED


def _asf(peek, size):
    place = 0
    while len(head := peek(place, 24)) == 24:
        length = struct.unpack("<Q", head[16:])[0]
        if place and head.startswith(b"\x30\x26\xb2\x75"):
            return Facts(boundary=place)
        if length > size - place:
            return _cut("last object", length, size - place)
        if length <= 50:
            break                                       # a broadcast
        place += length
    return UNCOUNTED


def _mp3(peek, size):
    """MP3, and layers I and II. The Xing tag of the first frame counts; without it, or with more behind, all do."""
    place = _skip_tags(peek, 0)
    frame = peek(place, 64)
    length = _frame_length(frame)
    if not length:
        return UNCOUNTED
    if tag := _xing(frame):
        flags, _, count = struct.unpack(">III", frame[tag + 4:tag + 16])
        if flags & 3 == 3:
            if count > size - place:
                return _cut("Xing tag's audio", count, size - place)
            if _skip_tags(peek, place + count) >= size:
                return Facts()
    return _mp3_parts(peek, size, place)


def _mp3_parts(peek, size, place):
    """A walk from frame to frame. Tags between them, or a frame that counts from its own place, part recordings."""
    parts, start, window, offset = [], place, b"", 0
    while True:
        if place + 64 > offset + len(window):
            window, offset = peek(place, WINDOW), place
        frame = window[place - offset:place - offset + 64]
        length = _frame_length(frame)
        if length and not (place > start and _xing(frame)):
            if place + length > size:
                return _cut("last frame", length, size - place)
            place += length
            continue
        if place > start:
            parts.append((start, place - start))
        following = place if length else _skip_tags(peek, place)
        if size - following < 4:
            if peek(following, 1) == b"\xff":
                return _cut("last frame", 4, size - following)
            if size - place > ZEROS and not peek(place, ZEROS).strip(b"\0"):
                return _cut("sound", size, place)
            break
        if following == place and not length:
            if _frames_follow(peek, place):
                return Facts(problem=f"damaged, byte {place} is not the start of an MP3 frame; copy the file again")
            break
        start = place = following
    return Facts(counted=False, parts=tuple(parts))


def _frames_follow(peek, place):
    """Whether two frames, one after the other, are near."""
    window = peek(place, WINDOW)
    for match in re.finditer(rb"\xff[\xe2-\xff]", window):
        following = match.start() + _frame_length(window[match.start():match.start() + 4])
        if following > match.start() and _frame_length(window[following:following + 4]):
            return True
    return False


def _frame_length(head):
    """Bytes of the frame of MPEG audio that begins with `head`; 0 for what is none, or tells no bit rate."""
    if len(head) < 4 or head[0] != 255 or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer, kbits, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or not 0 < kbits < 15 or rate == 3:
        return 0
    rate = (44100, 48000, 32000)[rate] >> (3 - version if version else 2)
    bits = 1000 * KBITS[1 if version == 3 else 2, layer][kbits - 1]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // rate + padding


def _xing(frame):
    """Where the Xing tag of a frame is; 0 for a frame of sound."""
    mono, first = frame[3] >> 6 == 3, frame[1] >> 3 & 3 == 3
    tag = 4 + ((17 if mono else 32) if first else (9 if mono else 17)) + (0 if frame[1] & 1 else 2)
    return tag if frame[tag:tag + 4] in (b"Xing", b"Info") and len(frame) >= tag + 16 else 0


def _skip_tags(peek, place):
    """The first byte from `place` on that is of no tag (ID3, APE, Lyrics3) and not zero."""
    while head := peek(place, 32):
        if head.startswith(b"ID3") and len(head) >= 10:
            length = sum((byte & 127) << 7 * power for power, byte in enumerate(reversed(head[6:10])))
            place += 10 + length + (10 if head[5] & 16 else 0)
        elif head.startswith(b"TAG"):
            place += 128
        elif head.startswith(b"APETAGEX") and len(head) == 32:      # its length has no header, which has a flag
            place += struct.unpack("<I", head[12:16])[0] + (32 if head[23] & 32 else 0)
        elif head.startswith(b"LYRICSBEGIN") and (end := peek(place, WINDOW).find(b"LYRICS200")) > 0:
            place += end + 9
        elif not head[0]:
            window = peek(place, WINDOW)
            place += len(window) - len(window.lstrip(b"\0"))
        else:
            break
    return place


_KINDS = {b"RIFF": _riff, b"RIFX": _riff, b"RF64": _riff, b"BW64": _riff, b"riff": _w64, b"FORM": _iff, b".snd": _au,
          b"caff": _caf, b"NIST": _sphere, b"fLaC": _flac, b"OggS": _ogg, b"#!AM": _amr, b"TTA1": _tta,
          b"FLV": _flv, b"G": _mpegts, b"\x0b": _ac3, b"ID3": _mp3, b"\xff": _mp3,
          b"ftyp": _mp4, b"moov": _mp4, b"mdat": _mp4, b"wide": _mp4, b"\x1a\x45\xdf\xa3": _matroska,
          b"\x30\x26\xb2\x75": _asf}
