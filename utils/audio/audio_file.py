"""Audio files to float32 arrays in [-1, 1], by seeking: a crop of an hour-long file costs a crop.

Whatever libsndfile reads is read (wav, flac, ogg, mp3, sph, ...), a file or a record of a packed corpus
(utils/audio/packed.py); several channels are averaged into one.
"""
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import soundfile
import soxr

from utils.audio.packed import find_record, is_packed, open_record
from utils.errors import ContentError
from utils.files import REMEDY, UNFINISHED, StrPath, whole_file
from utils.paths import walk_files

EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph")
LOSSLESS = (".wav", ".flac", ".sph")
SILENCE = 1e-5   # largest sample of a file that holds no speech: half a step of 16-bit PCM is 1.5e-5

Source = StrPath | np.ndarray   # a recording: a file, or samples (N,) or (N, channels) in [-1, 1]


class AudioError(ContentError):
    """A recording that cannot be used: missing, truncated, of another rate, empty, silent or not finite."""


@contextmanager
def _open(path: StrPath) -> Iterator[soundfile.SoundFile]:
    try:
        # soundfile takes open files too, which its annotation lacks
        with soundfile.SoundFile(open_record(path) if is_packed(path) else path) as file:   # pyright: ignore[reportArgumentType]
            # libsndfile shortens a cut wav without an error; only its log shows it
            if "(should be" in file.extra_info:
                raise AudioError(f"{path}: truncated, its header promises more samples than the {file.frames} found; "
                                 "copy the file again")
            yield file
    except (soundfile.LibsndfileError, FileNotFoundError) as error:
        record = find_record(path) if is_packed(path) else None
        if isinstance(error, FileNotFoundError) or not record and not os.path.exists(path):
            raise AudioError(f"{path}: no such audio file; check the list and the folder it is relative to") from None
        place = f", in {record[0]}" if record else ""
        raise AudioError(f"{path}: not readable as audio ({error.error_string}{place}); replace the file") from None


def header(path: StrPath) -> tuple[int, int]:
    """(samples, rate in Hz) as the file stands, without reading it."""
    with _open(path) as file:
        return file.frames, file.samplerate


def duration(path: StrPath, rate: int) -> int:
    """Length in samples at `rate` Hz, from the header alone."""
    frames, native = header(path)
    return frames * rate // native


def read(path: StrPath, rate: int, start: int = 0, length: int | None = None, resample: bool = False) -> np.ndarray:
    """Samples `start` to `start + length` at `rate` Hz, as float32 (length,), mean of the channels.

    `start` and `length` count samples at `rate`; `length=None` reads to the end. A file of another rate is an
    AudioError unless `resample`. So are fewer samples than asked for, and samples that are not finite.
    """
    with _open(path) as file:
        return _read(path, file, rate, start, length, resample)


def random_crop(path: StrPath, rate: int, length: int, generator: np.random.Generator,
                resample: bool = False) -> np.ndarray:
    """`length` samples from a random place, as `read`; a shorter file is repeated from its start until it fits."""
    with _open(path) as file:
        available = file.frames * rate // file.samplerate
        start = _start(available, length, generator)
        samples = _read(path, file, rate, start, min(length, available), resample)
    return samples if len(samples) == length else np.resize(samples, length)


def _start(available, length, generator):
    return int(generator.integers(0, max(1, available - length + 1)))


class Recordings:
    """Recordings that are cropped again and again, such as noise: as many in memory as `seconds` at `rate` Hz hold.

    The first to be asked for stay; none makes room for another, for where they do not all fit most would be gone again
    before they are wanted. Those of another rate and lossy ones are not kept: as a whole they are resampled or decoded
    to other last bits.
    """

    def __init__(self, rate: int, seconds: float):
        self.rate, self.room, self.kept = rate, seconds * rate, {}

    def random_crop(self, path: str, length: int, generator: np.random.Generator) -> np.ndarray:
        """As the function `random_crop` with `resample`, to the bit."""
        if path not in self.kept:
            frames, rate = header(path)
            fits = rate == self.rate and path.endswith(LOSSLESS) and frames <= self.room
            self.room -= frames if fits else 0
            self.kept[path] = read(path, rate) if fits else None
        samples = self.kept[path]
        if samples is None:
            return random_crop(path, self.rate, length, generator, resample=True)
        start = _start(len(samples), length, generator)
        return np.resize(samples[start:start + length], length)


def _read(path, file, rate, start, length, resample):
    if file.samplerate != rate and not resample:
        raise AudioError(f"{path}: {file.samplerate} Hz, expected {rate} Hz; resample the corpus "
                         "(prepare.py --resample true does)")
    scale = file.samplerate / rate
    first = int(start * scale)
    count = file.frames - first if length is None else min(int(np.ceil(length * scale)), file.frames - first)
    file.seek(min(first, file.frames))
    samples = file.read(max(count, 0), dtype="float32", always_2d=True)
    if count <= 0 or len(samples) < count or length is not None and count < int(length * scale):
        raise AudioError(f"{path}: {len(samples)} samples from sample {first}, expected more; "
                         "the file is empty or truncated, replace it")
    mono = _mono(samples, path)
    return mono if file.samplerate == rate else soxr.resample(mono, file.samplerate, rate)[:length]


def _mono(samples, name):
    """The mean of the channels, (N, channels) -> (N,); AudioError where it is not finite."""
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: samples that are NaN or infinite, expected numbers in [-1, 1]; decode it again")
    return mono


def from_array(samples: np.ndarray, native: int, rate: int, name: str = "recording") -> np.ndarray:
    """Samples (N,) or (N, channels) at `native` Hz -> (N',) float32 at `rate` Hz, mean of the channels.

    AudioError for what is no recording: whole numbers, another number of dimensions, nothing, or not finite.
    """
    if samples.dtype.kind != "f" or samples.ndim not in (1, 2) or not samples.size:
        raise AudioError(f"{name}: found {samples.dtype} of shape {samples.shape}, expected floating point in [-1, 1] "
                         "of shape (N,) or (N, channels); divide int16 by 32768")
    mono = _mono(samples.reshape(len(samples), -1).astype(np.float32), name)
    return mono if native == rate else soxr.resample(mono, native, rate)


def check(path: StrPath, rate: int, min_seconds: float = 0.0, resample: bool = False) -> int:
    """Reads the whole file; its length in samples at `rate`. AudioError when it is not fit for training."""
    samples = read(path, rate, resample=resample)
    if len(samples) < min_seconds * rate:
        raise AudioError(f"{path}: {len(samples) / rate:.2f} s, expected at least {min_seconds} s; leave the file out")
    if np.abs(samples).max() <= SILENCE:
        raise AudioError(f"{path}: silent, no sample above {SILENCE:g}; leave the file out")
    return len(samples)


def write_wav(path: StrPath, samples: np.ndarray, rate: int, remedy: str = REMEDY) -> None:
    """Writes samples (n,) as 16-bit PCM wav, whole or not at all. OutputError, with its `remedy`, where it cannot be.

    Not flushed: a corpus has a million, which can be made again.
    """
    with whole_file(path, flush=False, remedy=remedy, failures=(soundfile.LibsndfileError,)) as temporary:
        soundfile.write(temporary, samples, rate, format="WAV", subtype="PCM_16")


def mp3_round_trip(samples: np.ndarray, rate: int, compression: float) -> np.ndarray:
    """What is left of `samples` (n,) after MP3 at `compression` 0 to 0.8: (n,), not shifted.

    libsndfile's scale: at 16 kHz 0 is 160 kbit/s, 0.5 is 85, 0.8 is 40. Above 0.8 it writes no gapless header, and
    the decoder would return the signal shifted by the codec's delay.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III",
                    bitrate_mode="CONSTANT", compression_level=compression)
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    return decoded


def find_audio(folder: StrPath, extensions: tuple[str, ...] = EXTENSIONS) -> list[str]:
    """Paths of all audio files below `folder`, sorted, relative to it with forward slashes."""
    return sorted(path for path in walk_files(folder, UNFINISHED) if path.lower().endswith(extensions))
