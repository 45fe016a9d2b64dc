"""Training batches of DeepSpeech2: utterances of similar length, padded to one of a few shapes.

Imports no MindSpore, so that worker processes start in no time.
"""
import bisect
import os
from collections.abc import Callable, Sequence

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.features import HOP, RATE, frame_count, spectrogram
from deepspeech2.src.manifest import Utterance, read_manifest, require_seconds, utterance_length
from deepspeech2.src.text import Alphabet, frames_needed
from utils.audio import activity, audio_file, augment
from utils.corpora.lists import read_noises, read_rooms
from utils.errors import MismatchError
from utils.training.loader import Made, any_readable

STRIPES = 2     # of SpecAugment in each direction
JITTER = 0.06   # by which lengths count as longer or shorter in shuffling: other neighbours in every epoch
KEPT_SECONDS = 1000     # of noise in memory, 64 MB a data worker
LEFT = -0.1, 0.2        # seconds before and behind the speech that a trimmed utterance keeps, at least and at most
ROUND = 25      # frames to which padded lengths are rounded up


class TrainSet:
    """The batches of one epoch after another.

    (features (B, T, F) float32, frames (B,) int32, labels (B, S) int32, counts (B,) int32). T is one of `lengths`,
    so a graph is compiled for each of them; S is the same for all. The first epoch goes from short to long
    ("SortaGrad"), later ones are shuffled. What an item is made of is drawn from (seed, epoch, position).
    """

    def __init__(self, config: Config, rank: int = 0, size: int = 1) -> None:
        self.config, self.rank, self.size = config, rank, size
        self.alphabet, self.speeds = Alphabet(config.labels), augment.read_speeds(config.speeds)
        self.noises, self.kept = find_noises(config), audio_file.Recordings(RATE, KEPT_SECONDS)
        self.rooms = read_rooms(config.room_list, config.scene_path)
        self.paths, self.frames, self.labels, self.dropped = self._select(
            read_manifest(config.train_manifest, config.data_folder))
        self.widest = self.labels.counts.max()
        self.files = len(self.paths)
        self.lengths = padded_lengths(self.frames, config.buckets)
        self.steps = self.files // (config.minibatch_size * size)
        if self.steps == 0:
            raise MismatchError(f"minibatch_size: {config.minibatch_size} on {size} device(s), but only {self.files} "
                                f"utterances can be trained on; lower minibatch_size")
        self.epoch: int | None = None           # the one whose plan is kept
        self.batches = np.zeros((0, config.minibatch_size), np.int64)

    def describe(self) -> str:
        """One line for the log."""
        return (f"{self.files} utterances of {self.frames.sum() * HOP / RATE / 3600:.2f} hours, padded to "
                f"{', '.join(f'{length * HOP / RATE:g}' for length in self.lengths)} s"
                + (f"; noise of {len(self.noises)} recordings" if self.noises else "")
                + (f"; {len(self.rooms)} rooms" if self.rooms else "")
                + "".join(f"; {len(keys)} left out, {reason}: {keys[0]}" for reason, keys in self.dropped.items()
                          if keys))

    def batch(self, epoch: int, index: int) -> Made:
        """Batch `index` of this rank, and {path: reason} of the files that had to be left out of it."""
        if self.epoch != epoch:
            self.epoch, self.batches = epoch, self.plan(epoch)
        items, bad = self.batches[index * self.size + self.rank], {}
        made = [any_readable(lambda item: self._make(item, epoch), item, self.path, bad, self._another(item, epoch))
                for item in items]
        features, labels = zip(*made, strict=True)
        length = self.lengths[bisect.bisect_left(self.lengths, max(map(len, features)))]
        return (np.stack([np.pad(frames, ((0, length - len(frames)), (0, 0))) for frames in features]),
                np.array([len(frames) for frames in features], np.int32),
                np.stack([np.pad(text, (0, self.widest - len(text))) for text in labels]),
                np.array([len(text) for text in labels], np.int32)), bad

    def path(self, item: int) -> str:
        """The file of an utterance."""
        return os.fsdecode(self.paths[item])

    def plan(self, epoch: int) -> np.ndarray:
        """The items of every batch of an epoch. All have the full size; what is left over sits this epoch out."""
        generator, size = np.random.default_rng((self.config.seed, epoch)), self.config.minibatch_size
        left_out = generator.permutation(self.files)[:self.files - self.steps * size * self.size]
        order = np.delete(np.arange(self.files), left_out)
        jitter = 0 if epoch == 1 else generator.uniform(-JITTER, JITTER, len(order))
        order = order[np.argsort(np.log(self.frames[order]) + jitter, kind="stable")]
        steps = order.reshape(self.steps, self.size, size)      # all ranks of a step have one length
        return (steps if epoch == 1 else generator.permutation(steps)).reshape(-1, size)

    def _another(self, item: int, epoch: int) -> Callable[[], int]:
        """A function that draws an utterance no longer than `item`, to stand in for it."""
        def draw():     # nothing of this is done before the first is asked for
            generator = np.random.default_rng((self.config.seed, epoch, item, 1))
            shorter = np.flatnonzero(self.frames <= self.frames[item])
            while True:
                yield int(generator.choice(shorter))

        return draw().__next__

    def _make(self, item, epoch):
        """(features, labels) of an utterance, augmented."""
        generator = np.random.default_rng((self.config.seed, epoch, item))
        samples = audio_file.read(self.path(item), RATE, resample=self.config.resample)
        require_seconds(Utterance(self.path(item), "", float(self.frames[item] * HOP / RATE)), len(samples) / RATE)
        if self.config.trim_share and generator.random() < self.config.trim_share:
            samples = self._trim(samples, item, generator)
        samples = self._distort(samples, generator, self._speed(item, len(samples), generator))
        features = spectrogram(samples)[:self.lengths[-1]]      # a file may be a little longer than its manifest says
        if self.config.mask_from and epoch >= self.config.mask_from:
            for _ in range(STRIPES):
                features = augment.mask_features(features, generator, min(self.config.mask_frames, len(features) // 5),
                                                 self.config.mask_bins)
        return features, self.labels[item]

    def _trim(self, samples, item, generator):
        """The speech, and what is left at random of the sound before and behind it; as much as its labels need."""
        first, last = activity.ends(samples)
        before, behind = (generator.uniform(*LEFT, 2) * RATE).astype(int)
        trimmed = samples[max(0, first - before):max(0, last + behind)]
        return trimmed if self._holds(frame_count(len(trimmed)), item) else samples

    def _holds(self, frames, item):
        """Whether so many frames hold the labels of the utterance."""
        return (frames - 2) / 2 >= frames_needed(self.labels[item])

    def _speed(self, item, count, generator):
        """One of the speeds at which `count` samples of the utterance fit the longest batch and hold its labels."""
        frames = min(self.frames[item], frame_count(count)) / np.array(self.speeds)
        fits = (frames + 1 < self.lengths[-1]) & self._holds(frames, item)
        return float(generator.choice(np.array(self.speeds)[fits])) if fits.any() else 1.0

    def _distort(self, samples, generator, speed):
        samples = augment.change_speed(samples, speed)
        if self.config.gain_range:
            samples = samples * np.float32(10 ** (generator.uniform(-1, 1) * self.config.gain_range / 20))
        if self.rooms and generator.random() < self.config.room_share:
            samples = augment.reverberate(samples, augment.draw_readable(lambda: self._response(generator)))
        if self.noises and generator.random() < self.config.noise_prob:
            noise = augment.draw_noise(self.noises, self.kept, len(samples), generator)
            amplitude = generator.uniform(0, self.config.noise_max) + 1e-4
            samples = samples + augment.noise_at_snr(samples, noise, -20 * np.log10(amplitude))
        return samples

    def _response(self, generator):
        """The response (M,) of a place in a room."""
        room = self.rooms[int(generator.integers(len(self.rooms)))]
        return augment.read_response(room[int(generator.integers(len(room)))], RATE)

    def _select(self, utterances: Sequence[Utterance]) -> tuple[np.ndarray, np.ndarray, "Labels", dict[str, list[str]]]:
        """(paths, frames, Labels) of the utterances that can be trained on, {reason: paths} of the others."""
        kept, too_long, too_dense = [], [], []
        for utterance in utterances:
            frames = frame_count(utterance_length(utterance))
            labels = self.alphabet.encode(self.alphabet.normalise(utterance.text), utterance.audio)
            if frames * HOP > self.config.max_seconds * RATE:
                too_long.append(utterance)
            elif (frames + 1) // 2 < frames_needed(labels):
                too_dense.append(utterance)
            else:
                kept.append((os.fsencode(utterance.audio), frames, labels.astype(self.alphabet.kind)))
        for utterance in too_long[:1] + too_dense[:1]:          # or are the seconds of the manifest wrong?
            require_seconds(utterance, audio_file.duration(utterance.audio, RATE) / RATE)
        dropped = {f"longer than {self.config.max_seconds:g} s": [utterance.audio for utterance in too_long],
                   "too few frames for their labels": [utterance.audio for utterance in too_dense]}
        if not kept:
            raise MismatchError(f"{self.config.train_manifest}: none of {len(utterances)} utterances can be trained "
                                f"on, {len(too_long)} are {list(dropped)[0]} (max_seconds), {len(too_dense)} have "
                                f"{list(dropped)[1]}")
        paths, frames, labels = zip(*kept, strict=True)
        return np.array(paths), np.array(frames), Labels(labels), dropped


class Labels:
    """Labels of n utterances in one array, which forked workers share; each would copy a million small ones."""

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self.counts = np.fromiter(map(len, parts), np.int32, len(parts))
        self.ends, self.all = np.cumsum(self.counts, dtype=np.int64), np.concatenate(parts)

    def __getitem__(self, item: int) -> np.ndarray:
        """Those of one utterance: (counts[item],) int32."""
        return self.all[self.ends[item] - self.counts[item]:self.ends[item]].astype(np.int32)


def padded_lengths(frames: np.ndarray, buckets: int) -> Sequence[int]:
    """At most `buckets` lengths, ascending, to which utterances of `frames` (n,) are padded with the least padding."""
    steps, counts = np.unique(-(-frames // ROUND), return_counts=True)
    below = np.concatenate(([0], np.cumsum(counts)))            # utterances up to each step
    cost = np.where(below, np.inf, 0.0)                         # of the best lengths for those utterances
    chosen: list[tuple[int, ...]] = [() for _ in below]         # those lengths
    for _ in range(buckets):
        for stop in range(len(steps), 0, -1):
            totals = cost[:stop] + (below[stop] - below[:stop]) * steps[stop - 1]
            start = int(np.argmin(totals))
            if totals[start] < cost[stop]:
                cost[stop], chosen[stop] = totals[start], (*chosen[start], int(steps[stop - 1]) * ROUND)
    return chosen[-1]


def find_noises(config: Config) -> list[str]:
    """The recordings of noise_dir and noise_list, none where both are empty.

    NotFoundError for a folder without, and for a list that names files which are not there.
    """
    found = audio_file.find_recordings(config.noise_dir, "noise_dir") if config.noise_dir else []
    return found + read_noises(config.noise_list, config.scene_path)
