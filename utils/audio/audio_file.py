"""Audio files to float32 arrays in [-1, 1], by seeking: a crop of an hour-long file costs a crop.

Whatever libsndfile or FFmpeg reads is read (utils/audio/stream.py), a file or a record of a packed corpus; several
channels are averaged into one, unless they cancel each other (utils/audio/fitness.py).
"""
import io
import os
from collections import Counter
from typing import Any, Protocol

import numpy as np
import soundfile
import soxr

from utils.audio.fitness import fault_of_range, measured, to_mono
from utils.audio.stream import AudioError, open_audio
from utils.errors import NotFoundError
from utils.files import REMEDY, UNFINISHED, StrPath, whole_file
from utils.paths import encoded, walk_files

# What a tree of recordings is searched for. The first are read by seeking, prepare.py decodes the others to wav
DIRECT = (".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".sph", ".aif", ".aiff", ".aifc", ".au", ".snd",
          ".caf", ".w64", ".rf64", ".bwf", ".mp2")
ENCODED = (".m4a", ".m4b", ".m4p", ".mp4", ".mov", ".3gp", ".3gpp", ".3g2", ".aac", ".webm", ".weba", ".mka", ".mkv",
           ".amr", ".awb", ".ac3", ".eac3", ".dts", ".wma", ".asf", ".wv", ".wv1", ".wv2", ".ape", ".tta", ".mpc",
           ".spx", ".flv", ".avi", ".mpg", ".mpeg")
EXTENSIONS = DIRECT + ENCODED
# What lies beside recordings and is worth no word
COMPANIONS = ("", ".txt", ".trn", ".lab", ".phn", ".wrd", ".textgrid", ".ctm", ".stm", ".srt", ".vtt", ".lrc", ".xml",
              ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".lst", ".list", ".scp", ".fileids", ".transcription",
              ".dic", ".arpa", ".lm", ".gz", ".zip", ".tar", ".tgz", ".md", ".rst", ".html", ".pdf", ".log", ".py",
              ".sh", ".jpg", ".jpeg", ".png", ".gif", ".md5", ".mindrecord", ".db", ".part")


class Array(Protocol):
    """What NumPy makes an array of: its own, or a tensor of MindSpore or PyTorch."""

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray: ...


Source = StrPath | Array    # a recording: a file, or samples (N,) or (N, channels) in [-1, 1] or int16


def header(path: StrPath, longest: float | None = None) -> tuple[int, int]:
    """(samples, rate in Hz) as the file stands, without reading it; once decoded where the header does not tell.

    Of a recording of more than `longest` seconds that has to be decoded it is any number of samples above them.
    """
    with open_audio(path) as stream:
        return _frames(stream, longest), stream.rate


def duration(path: StrPath, rate: int) -> int:
    """Length in samples at `rate` Hz, as `header`."""
    frames, native = header(path)
    return frames * rate // native


def read(path: StrPath, rate: int, start: int = 0, length: int | None = None, resample: bool = False) -> np.ndarray:
    """Samples `start` to `start + length` at `rate` Hz, as float32 (length,).

    Of several channels it is their mean, or the loudest where they cancel each other in this part.
    `start` and `length` count samples at `rate`; `length=None` reads to the end. A file of another rate is an
    AudioError unless `resample`. So are fewer samples than asked for, and numbers that are no samples.
    """
    with open_audio(path, whole=length is None) as stream:
        return _read(path, stream, rate, start, length, resample)


def random_crop(path: StrPath, rate: int, length: int, generator: np.random.Generator,
                resample: bool = False) -> np.ndarray:
    """`length` samples from a random place, as `read`; a shorter file is repeated from its start until it fits."""
    with open_audio(path) as stream:
        frames = header(path)[0] if stream.frames is None else stream.frames
        available = frames * rate // stream.rate
        start = _start(available, length, generator)
        samples = _read(path, stream, rate, start, min(length, available), resample)
    return samples if len(samples) == length else np.resize(samples, length)


def _start(available, length, generator):
    return int(generator.integers(0, max(1, available - length + 1)))


def _frames(stream, longest=None):
    """All samples of a stream, which are read where its header does not tell their number, up to `longest` seconds."""
    if stream.frames is None:
        for _ in stream.blocks():
            if longest is not None and stream.position > longest * stream.rate:
                return stream.position
    return stream.frames or 0


class Recordings:
    """Recordings that are cropped again and again, such as noise: as many in memory as `seconds` at `rate` Hz hold.

    The first to be asked for stay; none makes room for another, for where they do not all fit most would be gone again
    before they are wanted. Those of another rate, and those in which to seek gives other last bits, are not kept.
    """

    def __init__(self, rate: int, seconds: float):
        self.rate, self.room, self.kept = rate, seconds * rate, {}

    def random_crop(self, path: str, length: int, generator: np.random.Generator) -> np.ndarray:
        """As the function `random_crop` with `resample`, to the bit."""
        if path not in self.kept:
            with open_audio(path) as stream:
                frames = _frames(stream)
                fits = stream.rate == self.rate and stream.decoder.exact and frames <= self.room
            self.kept[path] = read(path, self.rate) if fits else None
            self.room -= frames if fits else 0
        samples = self.kept[path]
        if samples is None:
            return random_crop(path, self.rate, length, generator, resample=True)
        start = _start(len(samples), length, generator)
        return np.resize(samples[start:start + length], length)


def _read(path, stream, rate, start, length, resample):
    if not resample:
        require_rate(path, stream.rate, rate)
    scale = stream.rate / rate
    first = int(start * scale)
    stream.seek(first)
    if length is None:
        samples, fewest = stream.read_all(), 1
    else:
        fewest = max(1, int(length * scale))
        samples = stream.read(max(fewest, int(np.ceil(length * scale))))
    if len(samples) < fewest:
        raise AudioError(f"{path}: {len(samples)} samples from sample {first}, expected more; "
                         "the file is empty or truncated, replace it")
    mono = _mono(samples, path)
    return mono if stream.rate == rate else soxr.resample(mono, stream.rate, rate)[:length]


def require_rate(path: StrPath, found: int, rate: int) -> None:
    """AudioError where the file has another rate than `rate` Hz, for programs that were not told to resample."""
    if found != rate:
        raise AudioError(f"{path}: {found} Hz, expected {rate} Hz; resample the corpus (prepare.py --resample true "
                         "does)")


def _mono(samples, name):
    """The sound of the channels, (n, M) -> (n,); AudioError for numbers that are no samples."""
    if samples.shape[1] == 1:       # a meter of channels would take a third of the time of a crop
        channel, fault = 0, fault_of_range(samples.min(), samples.max())
    else:
        meter = measured(samples)
        channel, fault = meter.channel, meter.fault_of_numbers()
    if fault:
        raise AudioError(f"{name}: {fault}")
    return to_mono(samples, channel)


def write_wav(path: StrPath, samples: np.ndarray, rate: int, remedy: str = REMEDY) -> None:
    """Writes samples (n,) as 16-bit PCM wav, whole or not at all. OutputError, with its `remedy`, where it cannot be.

    Not flushed: a corpus has a million, which can be made again.
    """
    with whole_file(path, flush=False, remedy=remedy, failures=(soundfile.LibsndfileError,)) as temporary:
        soundfile.write(encoded(temporary), samples, rate, format="WAV", subtype="PCM_16")


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


def find_audio(folder: StrPath, extensions: tuple[str, ...] = EXTENSIONS,
               others: Counter[str] | None = None) -> list[str]:
    """Paths of all audio files below `folder`, sorted, relative to it with forward slashes.

    `others` gets the number of files of every other ending, such as .txt.
    """
    paths = []
    for path in walk_files(folder, UNFINISHED):
        name = os.path.basename(path)
        if name.startswith("._"):       # what a Mac writes beside each file on disks of others
            continue
        ending = os.path.splitext(name)[1].lower()
        if ending in extensions:
            paths.append(path)
        elif others is not None:
            others[ending] += 1
    return sorted(paths)


def find_recordings(folder: StrPath, setting: str) -> list[str]:
    """All audio files below the folder that `setting` names, with it; NotFoundError where there is none."""
    paths = [f"{folder}/{path}" for path in find_audio(folder)]
    if not paths:
        raise NotFoundError(f"{setting}: {folder} holds no audio, found {describe_files(folder)}; name another folder, "
                            f"or leave {setting} empty to do without")
    return paths


def describe_files(folder: StrPath) -> str:
    """What a folder holds that should hold audio: "4 .xyz, 2 .txt", or "no files"."""
    others = Counter()
    others["audio"] = len(find_audio(folder, others=others))
    return _counts(others) or "no files"


def describe_others(others: Counter[str]) -> str:
    """As that, of files that may be meant as audio: not of texts, tables and what else lies beside it."""
    return _counts(Counter({ending: count for ending, count in others.items() if ending not in COMPANIONS}))


def _counts(endings):
    return ", ".join(f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(9) if count)
