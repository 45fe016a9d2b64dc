"""From audio files to trial scores: embeddings, cosine, crops, adaptive score normalisation.

Letters: n trials, m files, E embedding size, k cohort speakers.
"""
import hashlib
import os
import zipfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ecapatdnn.src.features import RATE, filter_bank, sample_count
from utils.audio import audio_file
from utils.errors import SettingError
from utils.progress import progress

SCORE_CROP = 300    # frames of the crops that TaoRuijie averages over
LONGEST = 300       # seconds embedded at once: all of a recording's layers are in memory together
MIN_FRAMES = 25     # a shorter recording, a quarter of a second, is no utterance
CHUNK = 2048        # files whose cohort scores are held at once
TRIALS_AT_ONCE = 65536


class WholeFiles:
    """Runs a network over files, compiled once for any length."""

    def __init__(self, model, config):
        self.config = config
        self.net = nn.Identity()
        model.set_train(False)
        model.set_inputs(Tensor(shape=(None, None, config.in_channels), dtype=ms.float32))
        self.net = model

    def file(self, path):
        """What the network gives for one file: (1, E)."""
        return self.samples(audio_file.read(path, RATE, resample=self.config.resample), path)

    def samples(self, samples, name="recording"):
        """As `file`, of samples (N,) at 16 kHz; for more than LONGEST the mean over equal parts."""
        fewest = sample_count(MIN_FRAMES, self.config.front_end)
        if len(samples) < fewest:
            raise audio_file.AudioError(f"{name}: {len(samples) / RATE:.2f} s, expected at least {fewest / RATE:.2f} s")
        parts = np.array_split(samples, -(-len(samples) // (LONGEST * RATE)))
        return sum(self.outputs(self.features(part)[None]) for part in parts) / len(parts)

    def features(self, samples):
        return filter_bank(samples, self.config.front_end, self.config.in_channels)

    def outputs(self, features):
        """(B, T, F) -> (B, E)."""
        return self.net(Tensor(features)).asnumpy()


class Embedder(WholeFiles):
    """The embeddings of a trained network, of length 1: (1 + score_crops, E) a file; the first of the whole file."""

    def samples(self, samples, name="recording"):
        whole = unit(super().samples(samples, name))
        if not self.config.score_crops:
            return whole
        length = sample_count(SCORE_CROP, self.config.front_end)
        long = np.resize(samples, max(length, len(samples)))
        starts = np.linspace(0, len(long) - length, self.config.score_crops).astype(int)
        return np.concatenate((whole, self.outputs(np.stack([self.features(long[s:s + length]) for s in starts]))))

    def outputs(self, features):
        return unit(super().outputs(features))


def embed_files(embedder, folder, files, cache=None, label="embeddings"):
    """Embeddings (m, 1 + score_crops, E) of `files` (m,) bytes below `folder`; those in `cache` are not computed."""
    known = cache.load(folder) if cache else {}
    missing = [file for file in files if file not in known]
    for file in progress(missing, label):
        known[file] = embedder.file(os.path.join(folder, file.decode()))
    if cache and missing:
        cache.save(folder, known)
    return np.stack([known[file] for file in files])


class Cache:
    """Embeddings kept beside a checkpoint under its hash: another checkpoint, or front-end, never meets stale ones."""

    def __init__(self, checkpoint, config):
        digest = hashlib.sha256(Path(checkpoint).read_bytes())
        digest.update(f"{config.front_end} {config.score_crops} {config.resample}".encode())
        self.folder, self.key = Path(checkpoint).parent / "embeddings", digest.hexdigest()[:16]

    def load(self, folder):
        path = self._path(folder)
        if not path.is_file():
            return {}
        try:
            with np.load(path, allow_pickle=False) as data:
                return dict(zip(data["files"], data["embeddings"], strict=True))
        except (OSError, KeyError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
            return {}       # damaged, or not ours: computed anew

    def save(self, folder, known):
        path = self._path(folder)
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".part")
        with open(temporary, "wb") as file:
            np.savez(file, files=np.array(list(known)), embeddings=np.stack(list(known.values())))
        os.replace(temporary, path)

    def _path(self, folder):
        place = hashlib.sha256(str(Path(folder).resolve()).encode()).hexdigest()[:8]
        return self.folder / f"{self.key}-{place}.npz"


def unit(x):
    """Rows of length 1: (m, E) -> same."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cosine_scores(embeddings, trials):
    """Cosine of every trial (n,), from unit embeddings (m, 1 + crops, E).

    With crops, TaoRuijie's score: the mean of the whole-file cosine and of the mean over all pairs of crops.
    """
    whole = _products(embeddings[:, 0], trials)
    if embeddings.shape[1] == 1:
        return whole
    return (whole + _products(embeddings[:, 1:].mean(axis=1), trials)) / 2   # a mean of products is one of means


def _products(x, trials):
    """Inner product of the two sides of every trial: (m, E) -> (n,); in pieces, to bound the memory."""
    pieces = [slice(start, start + TRIALS_AT_ONCE) for start in range(0, len(trials.left), TRIALS_AT_ONCE)]
    return np.concatenate([np.einsum("ne,ne->n", x[trials.left[piece]], x[trials.right[piece]]) for piece in pieces])


def speaker_means(embeddings, speaker):
    """Unit mean embedding of each speaker: (u, E), (u,) -> (k, E)."""
    sums = np.zeros((speaker.max() + 1, embeddings.shape[1]), embeddings.dtype)
    np.add.at(sums, speaker, embeddings)
    return unit(sums)


def as_norm(scores, embeddings, cohort, trials, top_n):
    """Adaptive symmetric normalisation (Matejka et al., Interspeech 2017), with each side's `top_n` nearest cohort.

    scores (n,), unit embeddings (m, E) of the trials' files, unit cohort (k, E) -> (n,).
    """
    if top_n < 2:
        raise SettingError(f"top_n: found {top_n}, expected at least 2: a deviation is taken over the nearest speakers")
    top_n = min(top_n, len(cohort))
    mean, deviation = np.empty(len(embeddings)), np.empty(len(embeddings))
    for start in range(0, len(embeddings), CHUNK):
        near = embeddings[start:start + CHUNK] @ cohort.T
        near = np.partition(near, len(cohort) - top_n, axis=1)[:, -top_n:]
        mean[start:start + CHUNK], deviation[start:start + CHUNK] = near.mean(axis=1), near.std(axis=1)
    left, right = trials.left, trials.right
    return ((scores - mean[left]) / deviation[left] + (scores - mean[right]) / deviation[right]) / 2
