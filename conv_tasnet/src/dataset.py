"""Training batches of Conv-TasNet: segments of fixed mixtures, or speakers mixed at random ("dynamic mixing").

Imports no MindSpore, so that worker processes start in no time.
"""
import contextlib
import os
from typing import Protocol

import numpy as np

from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import Mixture, Silent, load_mixture, mixture_length, read_mixtures
from conv_tasnet.src.scenes import FADE, Scenes
from utils.audio import audio_file, augment
from utils.audio.fitness import is_silent
from utils.audio.packed import load_index
from utils.corpora.lists import read_train_list
from utils.errors import MismatchError, SettingError
from utils.training.loader import Made, any_readable

LEVEL = -29.0   # dB of full scale, of every source before its gain: the middle of LibriMix's -33 to -25 LUFS


class TrainSet:
    """The batches of one epoch after another.

    (mixture (B, T) float32, sources (B, C, T) float32, lengths (B,) int32); what follows `lengths` samples is padding.
    What an item is made of is drawn from (seed, epoch, position), whatever the rank or worker.
    """

    def __init__(self, config: Config, rank: int = 0, size: int = 1) -> None:
        self.config, self.rank, self.size = config, rank, size
        load_index(config.train_path)
        self.items: Items = SpeakerMixer(config) if str(config.train_dir).endswith(".txt") else Segments(config)
        self.files = self.items.files
        self.steps = self.items.count // (config.minibatch_size * size)
        if self.steps == 0:
            raise MismatchError(f"minibatch_size: {config.minibatch_size} on {size} device(s), but an epoch has only "
                                f"{self.items.count} mixtures; lower minibatch_size")

    def describe(self) -> str:
        """One line for the log."""
        return f"{self.items.describe()}, segments of {self.config.segment:g} s"

    def batch(self, epoch: int, index: int) -> Made:
        """Batch `index` of this rank, and {path: reason} of the files that had to be left out of it."""
        count, seed, bad = self.config.minibatch_size, self.config.seed, {}
        first = (index * self.size + self.rank) * count
        made = [self.items.make(epoch, position, np.random.default_rng((seed, epoch, position)), bad)
                for position in range(first, first + count)]
        mixtures, sources, lengths = zip(*made, strict=True)
        return (np.stack(mixtures), np.stack(sources), np.array(lengths, np.int32)), bad


class Items(Protocol):
    """What an epoch consists of."""

    count: int      # in an epoch
    files: int      # how many they are made of

    def describe(self) -> str:
        """The line about it in the log."""
        ...

    def make(self, epoch: int, position: int, generator: np.random.Generator,
             bad: dict[str, str]) -> tuple[np.ndarray, np.ndarray, int]:
        """(mixture (T,), sources (C, T), length); `bad` gets {path: reason} of files that cannot be read."""
        ...


class Segments:
    """A segment from a random place of every fixed mixture; shorter mixtures are padded with zeros."""

    def __init__(self, config: Config) -> None:
        self.config, self.samples = config, segment_samples(config)
        # a file that is missing is replaced and reported, as any bad one
        self.mixtures = read_mixtures(config.train_dir, config.train_path, config, check_files=False)
        self.count = self.files = len(self.mixtures)
        self.epoch: int | None = None           # the one whose order is kept
        self.order = np.zeros(0, np.int64)

    def describe(self) -> str:
        """The line about it in the log."""
        kind = "generated" if self.mixtures[0].mixture else "made of utterances and gains"
        return f"{self.files} fixed mixtures of {self.config.C}, {kind}"

    def make(self, epoch: int, position: int, generator: np.random.Generator,
             bad: dict[str, str]) -> tuple[np.ndarray, np.ndarray, int]:
        """(mixture (T,), sources (C, T), length) of the mixture whose turn it is, or of another for a bad one."""
        if self.epoch != epoch:
            self.epoch = epoch
            self.order = np.random.default_rng((self.config.seed, epoch)).permutation(self.files)
        return any_readable(lambda index: self._segment(self.mixtures[index], generator), int(self.order[position]),
                            lambda index: self.mixtures[index].key, bad, lambda: int(generator.integers(self.files)))

    def _segment(self, item: Mixture, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        length = mixture_length(item, self.config)
        starts = generator.integers(max(0, length - self.samples) + 1, size=augment.DRAWS)
        for start in starts.tolist():
            with contextlib.suppress(Silent):       # a speaker may pause for a whole segment
                return self._load(item, start)
        # in LibriMix's "max" mode all speak at the start, few at the end
        return self._load(item, 0)

    def _load(self, item, start):
        return self._padded(*load_mixture(item, self.config, start, self.samples, self.config.loss == "snr"))

    def _padded(self, mixture: np.ndarray, sources: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        padding = self.samples - len(mixture)
        return np.pad(mixture, (0, padding)), np.pad(sources, ((0, 0), (0, padding))), len(mixture)


class SpeakerMixer:
    """C different speakers for every mixture: a crop of each, at a random speed and level, summed.

    A speaker with less than a segment to say starts at a random time in it. All of a segment is real: `length` is T.
    Pauses, silent sources, rooms and noise: scenes.py.
    """

    def __init__(self, config: Config) -> None:
        self.config, self.samples = config, segment_samples(config)
        self.paths, speaker, self.names = read_train_list(config.train_dir)
        if len(self.names) < config.C:
            raise MismatchError(f"{config.train_dir}: {len(self.names)} speakers, but C is {config.C}; add speakers")
        self.corpus = self._corpora() if config.one_corpus else None
        self.speeds = augment.read_speeds(config.speeds)
        self.scenes = Scenes(config)
        self.by_speaker = np.argsort(speaker, kind="stable")
        self.first = np.searchsorted(speaker[self.by_speaker], np.arange(len(self.names) + 1))
        self.files = len(self.paths)
        self.count = config.mixtures_per_epoch or self.files

    def describe(self) -> str:
        """The line about it in the log."""
        speeds = ", ".join(f"{speed:g}" for speed in self.speeds)
        return ", ".join([f"{self.count} mixtures an epoch, mixed on the fly, of {self.config.C} of {len(self.names)} "
                          f"speakers ({self.files} files), levels +-{self.config.gain_range:g} dB, speeds {speeds}",
                          *self.scenes.describe()])

    def make(self, epoch: int, position: int, generator: np.random.Generator,
             bad: dict[str, str]) -> tuple[np.ndarray, np.ndarray, int]:
        """(mixture (T,), sources (C, T), T); the mixture is the sum of the sources, and noise, none beyond 1."""
        scene = self.scenes.draw(self.samples, generator)
        speakers = generator.permutation(len(self.names))
        if self.corpus is not None:
            speakers = speakers[self.corpus[speakers] == self.corpus[speakers[0]]]
        sources = np.zeros((self.config.C, self.samples), np.float32)
        for i, length in enumerate(scene.lengths):
            sources[i] = self._source(speakers, i, length, generator, bad)
        return *self.scenes.mix(scene, sources, generator), self.samples

    def path(self, file: int) -> str:
        """The path of a file of the list."""
        return f"{self.config.train_path}/{os.fsdecode(self.paths[file])}"

    def _corpora(self):
        """The number of the corpus of each speaker."""
        names, corpus, counts = np.unique([os.fsdecode(name).partition("-")[0] for name in self.names],
                                          return_inverse=True, return_counts=True)
        if (counts < self.config.C).any():
            name, count = names[counts.argmin()], counts.min()
            raise MismatchError(f"one_corpus: {self.config.train_dir} has {count} speaker(s) named {name}-..., but C "
                                f"is {self.config.C}; name speakers corpus-speaker, or leave one_corpus out")
        return corpus

    def _source(self, speakers, i, length, generator, bad):
        """(T,), `length` of it sound, of the speaker speakers[i], or where the file cannot be read of one left over."""
        def another():
            j = int(generator.choice([i, *range(self.config.C, len(speakers))]))
            speakers[i], speakers[j] = speakers[j], speakers[i]
            return self._file_of(speakers[i], generator)

        return any_readable(lambda file: self._crop(self.path(file), length, generator),
                            self._file_of(speakers[i], generator), self.path, bad, another)

    def _file_of(self, speaker: int, generator: np.random.Generator) -> int:
        return int(self.by_speaker[generator.integers(self.first[speaker], self.first[speaker + 1])])

    def _crop(self, path, length, generator):
        rate, speed = self.config.sample_rate, self.speeds[int(generator.integers(len(self.speeds)))]
        available, played = audio_file.duration(path, rate), int(np.ceil(length * speed)) + 1

        def somewhere():
            start = int(generator.integers(max(0, available - played) + 1))
            return audio_file.read(path, rate, start, min(played, available), self.config.resample)

        crop = augment.draw_sound(somewhere)
        if is_silent(crop):
            raise Silent(f"{path}: silent in {augment.DRAWS} places of {self.config.segment:g} s; leave the file out")
        crop = augment.change_speed(crop, speed)[:length]
        if length < self.samples:
            crop = augment.fade_ends(crop, round(FADE * rate))
        level = LEVEL + generator.uniform(-1, 1) * self.config.gain_range
        placed = np.zeros(self.samples, np.float32)
        offset = int(generator.integers(self.samples - len(crop) + 1))
        placed[offset:offset + len(crop)] = crop * np.float32(10 ** ((level - augment.power_db(crop)) / 20))
        return placed


def segment_samples(config: Config) -> int:
    """T, samples of a training segment."""
    samples = round(config.segment * config.sample_rate)
    if samples < config.L:
        raise SettingError(f"segment: {config.segment} s, expected at least the {config.L} samples of a filter")
    return samples
