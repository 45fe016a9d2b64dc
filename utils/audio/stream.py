"""Recordings of any format as streams of samples: the one way to open them, for all that read audio.

The bytes of a file decide how it is read, not its name; a record of a packed corpus is read as a file.
"""
import io
import os
import re
import stat
from collections.abc import Iterator

import numpy as np
import soundfile

from utils.audio.containers import Facts, examine
from utils.audio.decoders import BLOCK, ERRORS, Binary, Decoder, FFmpegDecoder, LibsndfileDecoder, NoDecoder, Patched
from utils.audio.packed import Window, find_record, is_packed, open_record
from utils.errors import ContentError
from utils.files import StrPath

LOWEST_RATE, HIGHEST_RATE = 1000, 768_000       # Hz; a header with another is damaged
HEADERLESS = (".raw", ".pcm")
HEAD = 1024                 # bytes that are read at once
KNOWN = 2 ** 18             # lengths that are remembered, in some 80 MB


class AudioError(ContentError):
    """A recording that cannot be used: missing, truncated, of another rate, empty, silent or not finite."""


class Stream:
    """An open recording, a context manager. Whatever a decoder raises becomes an AudioError that names the file."""

    def __init__(self, path: StrPath, source: "Source", decoder: Decoder, counted: bool):
        self.path, self.source, self.decoder, self.counted, self.position = path, source, decoder, counted, 0
        self.rate, self.channels = decoder.rate, decoder.channels
        # None: nobody has read all of it yet
        self.frames = decoder.frames if counted else _lengths.get(source.key) if source.key else None

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.decoder.close()
        self.source.close()

    def seek(self, frame: int) -> None:
        """Goes on from that sample, which must be ahead."""
        try:
            self.decoder.seek(frame)
        except ERRORS as error:
            raise unreadable(self.path, error) from None
        self.position = frame

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 (n, channels); fewer than `count` only at the end.

        AudioError where that comes before the length that the header promises.
        """
        piece = max(1, BLOCK // self.channels)
        try:
            samples = self.decoder.read(min(count, piece))
            if len(samples) == piece:
                pieces = [samples]
                while len(pieces[-1]) == piece:
                    pieces.append(self.decoder.read(min(count - piece * len(pieces), piece)))
                samples = np.concatenate(pieces)
        except ERRORS as error:
            raise unreadable(self.path, error) from None
        self.position += len(samples)
        if len(samples) < count:
            if self.frames is None:
                self.frames = self.position
                _remember(self.source.key, self.frames)
            elif self.position < self.frames and self.counted:
                raise AudioError(f"{self.path}: truncated, {self.position} samples found, its header promises "
                                 f"{self.frames}; copy the file again")
        return samples

    def read_all(self) -> np.ndarray:
        """What follows up to the end, float32 (n, channels)."""
        if self.frames is None:
            return np.concatenate([np.zeros((0, self.channels), np.float32), *self.blocks()])
        return self.read(self.frames - self.position + 1)

    def blocks(self) -> Iterator[np.ndarray]:
        """What follows, a second at a time: float32 (n, channels)."""
        while len(block := self.read(min(self.rate, max(1, BLOCK // self.channels)))):
            yield block


_lengths: dict[tuple, int] = {}     # samples of the files that had to be decoded for it


def _remember(key, frames):
    if len(_lengths) >= KNOWN:
        _lengths.clear()
    if key:
        _lengths[key] = frames


def open_audio(path: StrPath, whole: bool = False) -> Stream:
    """The Stream of a file, or of a record of a packed corpus, whatever its name. AudioError where it is not audio.

    `whole`: all of it is going to be read, so that what lies behind the end is looked for as well.
    """
    source = Source(path)
    try:
        facts = examine(source.peek, source.size, whole)
        if facts.problem:
            raise AudioError(f"{path}: {facts.problem}")
        decoder = _open_decoder(path, source, facts)
        if not LOWEST_RATE <= decoder.rate <= HIGHEST_RATE:
            raise AudioError(f"{path}: {decoder.rate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE}; its header is "
                             "damaged, decode the file again")
        return Stream(path, source, decoder, facts.counted and decoder.frames is not None)
    except BaseException:
        source.close()
        raise


def _open_decoder(path: StrPath, source: "Source", facts: Facts) -> Decoder:
    try:
        if facts.counted:
            try:
                return LibsndfileDecoder(Patched(source.open(), *facts.patch) if facts.patch else source.handle)
            except soundfile.LibsndfileError:
                if is_headerless(path):
                    raise
        if facts.patch:
            return FFmpegDecoder([Patched(source.open(), *facts.patch)])
        return FFmpegDecoder([source.open(*part) for part in facts.parts or ((0, source.size),)])
    except ImportError:
        raise AudioError(f"{path}: not readable as audio by libsndfile, and PyAV, which reads more, is not installed; "
                         f"pip install av, or convert it: ffmpeg -i {path} {_stem(path)}.wav") from None
    except ERRORS as error:
        if text := re.match(rb"\s*([\t -~]{8,40})[\t\r\n -~]*$", source.head):
            raise AudioError(f"{path}: not readable as audio, it is text that begins with {text[1].decode()!r}; "
                             "download the recording again") from None
        raise unreadable(path, error) from None


def unreadable(path: StrPath, error: BaseException) -> AudioError:
    """The AudioError for what a decoder raised."""
    if is_headerless(path):
        return AudioError(f"{path}: not readable as audio, it has no header that tells rate and format; write "
                          f"one, such as: sox -t raw -r 16000 -e signed -b 16 -c 1 {path} {_stem(path)}.wav")
    reason = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    record = find_record(path) if is_packed(path) else None
    place = f", in {record[0]}" if record else ""
    remedy = "replace the file"
    if isinstance(error, NoDecoder):
        remedy = f"convert it: ffmpeg -i {path} {_stem(path)}.wav"
    return AudioError(f"{path}: not readable as audio ({reason.rstrip('.')}{place}); {remedy}")


def is_headerless(path: StrPath) -> bool:
    """Whether a file is named as one of samples alone."""
    return str(path).lower().endswith(HEADERLESS)


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


class Source:
    """The bytes of a recording: a file, or a record of a packed corpus. AudioError where there is no such file."""

    file: io.BytesIO | Window | None = None        # of a record
    descriptor = -1                     # of a file
    key: tuple | None = None            # as long as it is the same, so are the bytes; None: others may come to the path

    def __init__(self, path: StrPath):
        try:
            if is_packed(path):
                self.file = open_record(path)
                self.size = self.file.seek(0, os.SEEK_END)
                self.file.seek(0)
                self.key = (os.fspath(path), self.size)
            else:
                # to wait for the writer of a pipe would be in vain
                self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                status = os.fstat(self.descriptor)
                self.size = status.st_size
                if not os.fspath(path).startswith(("/dev/", "/proc/")):    # the number of a descriptor is given again
                    self.key = (os.fspath(path), status.st_size, status.st_mtime_ns)
                self._require_file(path, status.st_mode)
            self.head = self._bytes(0, HEAD)
        except FileNotFoundError:
            name = os.fspath(path) or "''"
            raise AudioError(f"{name}: no such audio file; check its name and, of a list, its folder") from None
        except ValueError:      # of a name with a NUL in it
            raise AudioError(f"{os.fspath(path)!r}: no name that a file can have; correct it") from None
        except OSError as error:
            self.close()
            raise AudioError(f"{path}: not readable as audio ({error.strerror}); mend its permissions, or replace "
                             "it") from None

    def _require_file(self, path, mode):
        if stat.S_ISREG(mode) and self.size:
            return
        self.close()
        if stat.S_ISREG(mode):
            raise AudioError(f"{path}: not readable as audio, an empty file of 0 bytes; replace it")
        if stat.S_ISDIR(mode):
            raise AudioError(f"{path}: not readable as audio, it is a folder; expected a file")
        raise AudioError(f"{path}: not readable as audio, it is a pipe or a device, and recordings are read twice; "
                         f"write it to a file first: cat {path} > talk.wav")

    @property
    def handle(self) -> int | Binary:
        """What libsndfile opens fastest."""
        return self.descriptor if self.file is None else self.file

    def open(self, start: int = 0, size: int | None = None) -> Binary:
        """Its bytes from `start` on as a file of their own."""
        size = self.size - start if size is None else size
        if self.file is None:
            return Window(io.FileIO(self.descriptor, closefd=False), start, size)
        if isinstance(self.file, Window):
            return Window(self.file.file, self.file.start + start, size)
        return io.BytesIO(self.file.getvalue()[start:start + size])

    def peek(self, place: int, count: int) -> bytes:
        """Up to `count` bytes from `place` on."""
        if place + count <= len(self.head):
            return self.head[place:place + count]
        return self._bytes(place, count) if place < self.size else b""      # what a header names may be far beyond

    def _bytes(self, place, count):
        if self.file is None:
            return os.pread(self.descriptor, count, place)
        before = self.file.tell()
        self.file.seek(place)
        data = self.file.read(count)
        self.file.seek(before)
        return data

    def close(self) -> None:
        """Closes the file; what reads it is of no use then."""
        if self.file is not None:
            self.file.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
