"""The two decoders of recordings, alike from outside: libsndfile, and FFmpeg through PyAV.

libsndfile reads wav, flac, ogg, mp3, sph and more, and seeks in them. FFmpeg decodes the others (m4a, webm, amr, wma,
...) and what has its length only at its end, from the start, and several recordings in one file.
"""
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

Binary = BinaryIO | io.RawIOBase | io.BytesIO
NEAR = 600                  # seconds of MP3 that are read, not skipped: in a thousandth of them, and without prints
BLOCK = 2 ** 22             # values decoded at once: a damaged header may promise terabytes
# What damaged files make soundfile and PyAV raise is not only their own errors
ERRORS = (soundfile.LibsndfileError, ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError,
          ValueError)
# No playlist or script, which could name other files or addresses
DEMUXERS = ("mov,matroska,webm,aac,ac3,eac3,amr,amrnb,amrwb,asf,mp3,flac,ogg,wav,w64,aiff,caf,au,avi,flv,mpegts,mpeg,"
            "ape,wv,tta,tak,dsf,dts,truehd,mpc,mpc8,rm,oma,nut,voc,xwma,loas,nistsphere,shn")


class NoDecoder(ValueError):
    """A recording that this FFmpeg cannot decode; another may."""


class Decoder(Protocol):
    """What both can do. Their errors are ERRORS."""

    @property
    def rate(self) -> int:
        """Hz."""
        ...

    @property
    def channels(self) -> int:
        """Their number."""
        ...

    @property
    def exact(self) -> bool:
        """Whether samples are the same bits after seeking."""
        ...

    @property
    def frames(self) -> int | None:
        """Samples per channel; None: known when all is decoded."""

    def seek(self, frame: int) -> None:
        """Goes on from that sample."""

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 (n, channels); fewer than `count` at the end alone."""
        ...

    def close(self) -> None:
        """Ends the decoder, not the file."""


class _Sequential(soundfile.SoundFile):
    """A file that is not sought in after every read, as soundfile does: libmpg123 prints errors of its own then."""

    def seekable(self) -> bool:
        """Not for soundfile."""
        return False


class LibsndfileDecoder:
    """A file that libsndfile reads: open, or its descriptor."""

    def __init__(self, file: int | Binary):
        # soundfile takes open files too, which its annotation lacks
        self.file = _Sequential(file, closefd=False)    # pyright: ignore[reportArgumentType]
        self.rate, self.channels, self.frames = self.file.samplerate, self.file.channels, self.file.frames
        self.seekable, self.position = soundfile.SoundFile.seekable(self.file), 0

    @property
    def exact(self) -> bool:
        """Whether samples are the same bits after seeking."""
        return self.file.subtype not in ("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")

    def seek(self, frame: int) -> None:
        """Goes on from that sample. Sequential formats, such as GSM 6.10, are read up to it."""
        frame = min(frame, self.frames)
        near = self.file.subtype.startswith("MPEG") and 0 <= frame - self.position <= NEAR * self.rate
        if self.seekable and frame != self.position and not near:
            self.file.seek(frame)
            self.position = frame
        while self.position < frame and len(self.read(min(max(1, BLOCK // self.channels), frame - self.position))):
            pass

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 (n, channels)."""
        try:
            samples = self.file.read(min(count, self.frames - self.position), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ValueError(f"damaged or truncated: {error.error_string}") from None
        self.position += len(samples)
        return samples

    def close(self) -> None:
        """Ends the decoder."""
        self.file.close()


class FFmpegDecoder:
    """Open files that FFmpeg reads, one after the other.

    Decoded are as many samples as by the program ffmpeg, without the delay of an encoder. All get the rate and the
    channels of the first block.
    """

    frames, exact = None, True

    def __init__(self, files: Sequence[Binary]):
        self.rate = self.channels = self.position = 0
        self.layout = None
        self.blocks = itertools.chain.from_iterable(map(self._decode, files))
        self.left = next(self.blocks, None)
        if self.left is None:
            raise ValueError("nothing in it can be decoded")

    def _decode(self, file: Binary) -> Iterator[np.ndarray]:
        """Blocks (n, channels) of the stream with the most channels, as ffmpeg chooses."""
        import av  # libraries of 100 MB, which most files need not

        form, resampler = None, av.AudioResampler("flt")
        with _ffmpeg_errors(), av.open(file, "r", metadata_errors="ignore",
                                       options={"format_whitelist": DEMUXERS}) as container:
            if not container.streams.audio:
                raise ValueError("no audio stream in it")
            streams = [stream for stream in container.streams.audio if stream.codec_context]
            if not streams:
                raise NoDecoder("PyAV has no decoder for its codec")
            stream = max(streams, key=lambda stream: stream.codec_context.channels)
            for frame in self._frames(container, stream):
                if not self.rate:
                    self.rate, self.layout, self.channels = frame.sample_rate, frame.layout, frame.layout.nb_channels
                if form != (form := (frame.format.name, frame.layout.name, frame.sample_rate)):
                    yield from map(self._samples, resampler.resample(None))
                    resampler = av.AudioResampler("flt", self.layout, self.rate)    # a joined file may change
                yield from map(self._samples, resampler.resample(frame))
            yield from map(self._samples, resampler.resample(None))

    def _frames(self, container, stream):
        """The decoded frames; a ValueError for what cannot be decoded, which at the end is a truncated packet."""
        import av.error

        failure = None
        for packet in container.demux(stream):
            if failure and packet.size:
                raise failure
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                second = self.position / self.rate if self.rate else 0
                failure = failure or ValueError(f"damaged after {second:.1f} s: {error.strerror}")
        if failure:
            raise ValueError("truncated, its last packet is not whole")

    def _samples(self, frame):
        return frame.to_ndarray().reshape(-1, self.channels)

    def seek(self, frame: int) -> None:
        """Decodes up to that sample, which must be ahead."""
        while self.position < frame and len(self.read(min(max(1, BLOCK // self.channels), frame - self.position))):
            pass

    def read(self, count: int) -> np.ndarray:
        """The next samples, float32 (n, channels)."""
        blocks, wanted = [np.zeros((0, self.channels), np.float32)], count
        while wanted > 0 and self.left is not None:
            blocks.append(self.left[:wanted])
            wanted -= len(blocks[-1])
            self.left = self.left[len(blocks[-1]):]
            if not len(self.left):
                self.left = next(self.blocks, None)
        self.position += count - wanted
        return np.concatenate(blocks)

    def close(self) -> None:
        """Ends the decoder."""
        self.blocks = iter(())


@contextmanager
def _ffmpeg_errors():
    import av.error

    try:
        yield
    except EOFError:        # PyAV's is this too
        raise ValueError("truncated, it ends within its header") from None
    except av.error.FFmpegError as error:
        raise ValueError(error.strerror) from None


class Patched(io.RawIOBase):
    """A binary file with other bytes at one place."""

    def __init__(self, file: Binary, place: int, data: bytes):
        self.file, self.place, self.data = file, place, data

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: memoryview) -> int:
        start = self.file.tell()
        content = self.file.read(len(buffer)) or b""
        buffer[:len(content)] = content
        first, last = max(start, self.place), min(start + len(content), self.place + len(self.data))
        if first < last:
            buffer[first - start:last - start] = self.data[first - self.place:last - self.place]
        return len(content)
