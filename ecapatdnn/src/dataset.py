"""Training batches of ECAPA-TDNN: list -> crop -> speed -> augmentation -> features.

Imports no MindSpore, so that worker processes start in no time.
"""
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecapatdnn.src.config import CropSettings
from ecapatdnn.src.features import RATE, filter_bank, get_front_end, sample_count
from utils.audio import audio_file, augment
from utils.audio.packed import load_index
from utils.corpora.lists import read_train_list
from utils.errors import MismatchError, SettingError
from utils.training.loader import Made, any_readable

# signal-to-noise ratios in dB, and how many recordings are added
NOISE = {"noise": (0, 15, 1, 1), "music": (5, 15, 1, 1), "babble": (13, 20, 3, 8)}
MUSAN_FOLDER = {"noise": "noise", "music": "music", "babble": "speech"}
PIECE = 20                      # frames of a piece, at least
FADE = RATE // 200              # 5 ms, so that joints are no clicks
FADING = np.sin(np.linspace(0, np.pi / 2, FADE, dtype=np.float32)) ** 2
KEPT_SECONDS = 1000             # of noise in memory, 64 MB a data worker
MP3_COMPRESSION = (0.5, 0.8)   # 85 to 40 kbit/s at 16 kHz


class TrainSet:
    """The crops of one epoch after another: (features (B, T, F) float32, speaker (B,) int32).

    Which crop, which augmentation: drawn from (seed, epoch, position), whatever the rank or worker. With several
    speeds, speaker s at speed k is class s + k * speakers.
    """

    def __init__(self, config: CropSettings, rank: int = 0, size: int = 1) -> None:
        self.config, self.rank, self.size = config, rank, size
        get_front_end(config.front_end)   # a wrong name ends the program now, not a worker
        load_index(config.train_path)
        self.paths, self.speaker, self.names = read_train_list(config.train_list)
        self.speeds = augment.read_speeds(config.speeds)
        self.augmenter = Augmenter(config, self._read_speech)
        most = max(1, config.crop // PIECE)
        if not 1 <= config.pieces <= most:
            raise SettingError(f"pieces: found {config.pieces}, expected 1 to {most}: of {PIECE} frames at least")
        self.files = len(self.paths)
        self.epoch: int | None = None           # the one whose order is kept
        self.files_of_epoch = np.zeros(0, np.int64)
        self.classes = check_classes(config, len(self.names), len(self.speeds))
        self.by_speaker = np.argsort(self.speaker, kind="stable")
        self.first = np.searchsorted(self.speaker[self.by_speaker], np.arange(len(self.names) + 1))
        self.steps = (config.crops_per_epoch or self.files) // (config.minibatch_size * size)
        if self.steps == 0:
            raise MismatchError(f"minibatch_size: {config.minibatch_size} on {size} device(s), but an epoch has only "
                                f"{config.crops_per_epoch or self.files} crops; lower minibatch_size")

    def describe(self) -> str:
        """One line for the log."""
        kinds = ", ".join(" + ".join(choice) or "none" for choice in self.augmenter.choices)
        return f"{self.files} files of {len(self.names)} speakers, {self.classes} classes, augmentation one of: {kinds}"

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the files of `epoch`, one for each crop."""
        generator = np.random.default_rng((self.config.seed, epoch))
        count = self.config.crops_per_epoch
        if not count:
            return generator.permutation(self.files)
        speakers = np.concatenate([generator.permutation(len(self.names))
                                   for _ in range(-(-count // len(self.names)))])[:count]
        first, last = self.first[speakers], self.first[speakers + 1]
        return self.by_speaker[first + (generator.random(count) * (last - first)).astype(np.int64)]

    def batch(self, epoch: int, index: int) -> Made:
        """Batch `index` of this rank, and the files that had to be left out of it."""
        size = self.config.minibatch_size
        start = (index * self.size + self.rank) * size
        if self.epoch != epoch:
            self.epoch, self.files_of_epoch = epoch, self.order(epoch)
        files, bad = self.files_of_epoch[start:start + size], {}
        crops = [self._crop_of_any(file, (self.config.seed, epoch, start + i), bad) for i, file in enumerate(files)]
        features, speakers = zip(*crops, strict=True)
        return (np.stack(features), np.array(speakers, np.int32)), bad

    def _crop_of_any(self, file, seed, bad):
        generator = np.random.default_rng(seed)
        return any_readable(lambda chosen: self._crop(chosen, generator), file, self.path, bad,
                            lambda: int(generator.integers(self.files)))

    def _crop(self, file, generator):
        config = self.config
        samples = sample_count(config.crop, config.front_end)
        k = int(generator.integers(len(self.speeds)))
        played = int(np.ceil(samples * self.speeds[k])) + 1
        x = self._speech(self.path(file), played, generator)
        x = augment.change_speed(x, self.speeds[k])[:samples]
        x = self.augmenter(x, generator)
        if generator.random() < config.mp3_probability:
            x = audio_file.mp3_round_trip(x, RATE, generator.uniform(*MP3_COMPRESSION))
        features = filter_bank(x, config.front_end, config.in_channels, generator)
        if config.spec_augment:
            features = augment.mask_features(features, generator)
        return features, self.speaker[file] + k * len(self.names)

    def _speech(self, path, length, generator):
        """`length` samples of a file from `pieces` random places, with FADE samples of fading at every joint."""
        sizes = [len(part) for part in np.array_split(np.empty(length), self.config.pieces)]
        parts = [audio_file.random_crop(path, RATE, size, generator, self.config.resample) for size in sizes]
        for before, after in itertools.pairwise(parts):
            before[-FADE:] *= FADING[::-1]
            after[:FADE] *= FADING
        return np.concatenate(parts)

    def path(self, file: int) -> str:
        """The path of a file of the list."""
        return f"{self.config.train_path}/{os.fsdecode(self.paths[file])}"

    def _read_speech(self, length, generator):
        return audio_file.random_crop(self.path(int(generator.integers(self.files))), RATE, length, generator,
                                 self.config.resample)


class Augmenter:
    """One of six at random, as far as the folders allow: nothing, reverberation, babble, music, noise, babble + music.

    Babble is made of MUSAN's speech where there is some, else of training utterances (`read_speech`).
    """

    def __init__(self, config: CropSettings, read_speech: Callable[[int, np.random.Generator], np.ndarray]) -> None:
        self.read_speech = read_speech
        self.recordings = find_noise(config.musan_path) if config.musan_path else {}
        self.responses = audio_file.find_recordings(config.rir_path, "rir_path") if config.rir_path else []
        self.kept = audio_file.Recordings(RATE, KEPT_SECONDS)
        self.choices: list[tuple[str, ...]] = [()]
        if self.responses:
            self.choices.append(("reverberation",))
        if self.recordings:
            kinds = [kind for kind in NOISE if kind == "babble" or kind in self.recordings]
            self.choices += [(kind,) for kind in kinds]
            if "music" in kinds:
                self.choices.append(("babble", "music"))

    def __call__(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Samples (N,) -> (N,)."""
        for kind in self.choices[int(generator.integers(len(self.choices)))]:
            if kind == "reverberation":
                x = augment.reverberate(x, augment.draw_readable(lambda: self._response(generator)))
            else:
                x = self._add(kind, x, generator)
        return x

    def _response(self, generator):
        return augment.read_response(self.responses[int(generator.integers(len(self.responses)))], RATE)

    def _add(self, kind, x, generator):
        low, high, fewest, most = NOISE[kind]
        noisy = x
        for _ in range(int(generator.integers(fewest, most + 1))):
            if kind in self.recordings:
                noise = augment.draw_noise(self.recordings[kind], self.kept, len(x), generator)
            else:
                noise = augment.draw_readable(lambda: self.read_speech(len(x), generator))
            noisy = noisy + augment.noise_at_snr(x, noise, generator.uniform(low, high))
        return noisy


def find_noise(folder: str) -> dict[str, list[str]]:
    """Noise recordings by kind, from MUSAN's folders, or all as "noise" where it has none of them."""
    kinds = {kind: audio_file.find_recordings(f"{folder}/{name}", "musan_path")
             for kind, name in MUSAN_FOLDER.items() if Path(folder, name).is_dir()}
    return kinds or {"noise": audio_file.find_recordings(folder, "musan_path")}


def check_classes(config: CropSettings, speakers: int, speeds: int) -> int:
    """Speakers times speeds, compared with class_num where that is given."""
    classes = speakers * speeds
    if config.class_num not in (0, classes):
        raise MismatchError(f"class_num: {config.class_num}, but {config.train_list} has {speakers} speakers at "
                            f"{speeds} speed(s), {classes} classes; leave class_num at 0 or mend the list (VoxCeleb2 "
                            "dev: 5994)")
    return classes
