"""A trained network behind its front-end: recordings in, embeddings and scores out.

`load` is what eval.py, infer.py and other programs begin with. Nothing here prints but progress bars; mistakes
are exceptions, kinds of utils.errors.UserError.

Letters: N samples, T frames, F mel bands, B utterances, E embedding size, m files, k speakers of a cohort.
"""
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from ecapatdnn.src.calibration import Calibration, joint_seconds, of_record
from ecapatdnn.src.config import Config
from ecapatdnn.src.embedding_cache import EmbeddingCache, Kept
from ecapatdnn.src.features import MIN_FRAMES, RATE, filter_bank, sample_count
from ecapatdnn.src.metric import Trials
from ecapatdnn.src.model import make_network
from ecapatdnn.src.scoring import cosine_scores, speaker_means, unit
from ecapatdnn.src.speaker_id_config import SpeakerIdConfig
from ecapatdnn.src.torch_layout import ORIGINALS, shapes
from utils.audio.activity import without_pauses
from utils.audio.audio_file import AudioError, Source
from utils.audio.recording import Recording, inspect_header, listed, open_recording
from utils.audio.survey import Stamp, require_all, stamp, survey
from utils.corpora.lists import read_train_list
from utils.cpu_ops import BF16, fast
from utils.errors import ContentError
from utils.files import StrPath
from utils.progress import progress
from utils.ranges import THRESHOLD, number
from utils.results import why_not_writable
from utils.trained import Kind, find

SCORE_CROP = 300    # frames of the crops that TaoRuijie averages over
LONGEST = 300       # seconds embedded at once: all of a recording's layers are in memory together
BATCH = 16          # recordings embedded together, at most
SAVE_SECONDS = 30   # of embedding that are lost at most where the process is killed
KIND = Kind(Config, Path(__file__).parents[1], ORIGINALS, shapes)
PAIR = Trials(np.array([True]), np.array([0]), np.array([1]), np.array([b"first", b"second"]))


class UtteranceNetwork:
    """Runs a network with one output per utterance over recordings of any length, compiled once for all lengths.

    `network` takes features (B, T, F) as config.front_end computes them, and gives (B, E).
    """

    rate = RATE     # Hz

    def __init__(self, network: nn.Cell, config: Config | SpeakerIdConfig):
        self.network, self.config, self.padded = network, config, None
        self.fewest = sample_count(MIN_FRAMES, config.front_end)    # samples of the shortest recording
        network.set_train(False)
        network.set_inputs(Tensor(shape=(None, None, config.in_channels), dtype=ms.float32))

    def run(self, source: Source, rate: int = RATE) -> np.ndarray:
        """The output for a recording at its own level: (1, E). Of more than LONGEST seconds the mean over equal parts.

        `source`: a file, or samples (N,) or (N, channels) in [-1, 1] at `rate` Hz; arrays of another rate than 16 kHz
        are resampled, files where config.resample is set. AudioError for one that is too short or unfit.
        """
        return self.run_samples(self.samples(self.open(source, rate).as_it_is()))

    def open(self, source: Source, rate: int = RATE) -> Recording:
        """A recording as for `run`, measured."""
        resample = self.config.resample or not isinstance(source, (str, os.PathLike))
        return open_recording(source, rate, self.fewest, RATE, resample)

    def samples(self, recording: Recording) -> np.ndarray:
        """What of a recording goes into the network: samples (N,) at 16 kHz."""
        return recording.whole(RATE)

    def run_samples(self, samples: np.ndarray) -> np.ndarray:
        """As `run`, of samples (N,) at 16 kHz."""
        parts = np.array_split(samples, -(-len(samples) // (LONGEST * RATE)))
        return np.sum([self.outputs(self.features(part)[None]) for part in parts], axis=0) / len(parts)

    def features(self, samples: np.ndarray) -> np.ndarray:
        """(N,) -> (T, F)."""
        return filter_bank(samples, self.config.front_end, self.config.in_channels)

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """(B, T, F) -> (B, E)."""
        return self.network(Tensor(features)).asnumpy()

    def padded_outputs(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """B features (T, F) of any lengths -> (B, E), each as it is alone."""
        if self.padded is None:
            self.padded = _Padded(self.network).set_train(False)
            self.padded.set_inputs(Tensor(shape=(None, None, self.config.in_channels), dtype=ms.float32),
                                   Tensor(shape=(None,), dtype=ms.int32))
        lengths = np.array([len(item) for item in features], np.int32)
        batch = np.zeros((len(features), lengths.max(), self.config.in_channels), np.float32)
        for row, item in zip(batch, features, strict=True):
            row[:len(item)] = item
        return self.padded(Tensor(batch), Tensor(lengths)).asnumpy()


class _Padded(nn.Cell):
    """A network over padded features, to be compiled separately. Parameters keep their names."""

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, features, lengths):
        return self.network(features, lengths)


class Verdict(NamedTuple):
    """Whether two recordings are of one speaker."""

    score: float                # -1 to 1
    threshold: float            # the least score of one speaker
    same: bool
    llr: float | None = None    # log-likelihood ratio; None: the checkpoint is not calibrated


class Verifier(UtteranceNetwork):
    """Speaker verification: embeddings of length 1, and how alike two recordings are.

    `run` gives (1 + score_crops, E): the embedding of the whole recording, then those of its crops.
    """

    def __init__(self, network: nn.Cell, config: Config, cache: EmbeddingCache | None = None,
                 threshold: float | None = None, calibration: Calibration | None = None):
        super().__init__(network, config)
        self.checkpoint, self.score_crops = config.model_path, config.score_crops
        self.voice_activity = config.voice_activity
        self.cache, self.saved_threshold, self.calibration = cache, threshold, calibration

    @property
    def threshold(self) -> float:
        """The score from which on two recordings are of one speaker.

        That whose log-likelihood ratio is 0 where both have five seconds of speech; of a checkpoint that is not
        calibrated, that of the EER of its validation.
        """
        if self.calibration:
            return self.calibration.threshold()
        if self.saved_threshold is None:
            raise ContentError(f"{self.checkpoint}: was trained without validation trials and holds no "
                               "threshold; pass --threshold")
        return self.saved_threshold

    @overload
    def embed(self, source: Source | Recording, rate: int = RATE) -> np.ndarray: ...
    @overload
    def embed(self, source: Sequence[Source | Recording], rate: int = RATE) -> np.ndarray: ...

    def embed(self, source: Source | Recording | Sequence[Source | Recording], rate: int = RATE) -> np.ndarray:
        """The embedding of a recording, as for `run` but raised where it is quiet: (E,) float32 of length 1.

        Of a list of m recordings (m, E): computed together, each as it is alone.
        """
        if (several := listed(source)) is not None:
            return self._embed_together([self._opened(item, rate) for item in several])
        return self.run_samples(self._speech(source, rate))[0]

    def score(self, first: Source | Recording, second: Source | Recording, rate: int = RATE) -> float:
        """How alike the speakers of two recordings, as for `embed`, are: the cosine, from -1 to 1."""
        return self._score([self._speech(source, rate) for source in (first, second)])

    def verify(self, first: Source | Recording, second: Source | Recording, rate: int = RATE,
               threshold: float | None = None) -> Verdict:
        """Whether two recordings, as for `embed`, are of one speaker.

        `threshold`: by default the checkpoint's own; of a calibrated one the score whose log-likelihood ratio is 0,
        which depends on how much speech there is.
        """
        given = None if threshold is None else number("threshold", THRESHOLD)(threshold)
        sounds = [self._speech(source, rate) for source in (first, second)]
        score = self._score(sounds)
        if self.calibration is None:
            threshold = self.threshold if given is None else given
            return Verdict(score, threshold, score >= threshold)
        seconds = joint_seconds(*(len(samples) / RATE for samples in sounds))
        threshold = self.calibration.threshold(seconds) if given is None else given
        return Verdict(score, threshold, score >= threshold, float(self.calibration.llr(np.array(score), seconds)))

    def samples(self, recording: Recording) -> np.ndarray:
        """As of any network, but without long pauses where the config says so and enough is left."""
        samples = super().samples(recording)
        speech = without_pauses(samples) if self.voice_activity else samples
        return speech if len(speech) >= self.fewest else samples

    def seconds(self, path: StrPath) -> float:
        """How much of a file goes into the network; by its header where that is all of it. AudioError as for `run`."""
        if not self.voice_activity:
            return inspect_header(path, 1, RATE, self.config.resample)
        return len(self.samples(self.open(path).as_it_is())) / RATE

    def _score(self, sounds):
        """The cosine of two recordings (N,)."""
        return float(cosine_scores(np.stack([self.run_samples(samples) for samples in sounds]), PAIR)[0])

    def _opened(self, source, rate):
        return source if isinstance(source, Recording) else self.open(source, rate)

    def _speech(self, source, rate):
        return self.samples(self._opened(source, rate))

    def _embed_together(self, recordings):
        """[recording] -> (m, E), from the shortest to the longest, those of a batch padded."""
        embeddings = np.zeros((len(recordings), self.config.emb_size), np.float32)
        lengths = np.array([recording.length(RATE) for recording in recordings])
        order = np.argsort(lengths, kind="stable")
        while len(order):
            fits = np.arange(1, min(BATCH, len(order)) + 1) * lengths[order[:BATCH]] <= LONGEST * RATE
            here, order = np.split(order, [max(1, int(fits.sum()))])
            samples = [self.samples(recordings[i]) for i in here]
            embeddings[here] = self.padded_outputs([self.features(one) for one in samples]) if len(here) > 1 \
                else unit(super().run_samples(samples[0]))
        return embeddings

    def embed_files(self, files: Sequence[bytes] | np.ndarray, folder: str | Path,
                    label: str = "embeddings") -> np.ndarray:
        """Embeddings (m, 1 + score_crops, E) of `files` (m,) below `folder`; those in the cache are not computed.

        The cache gets what is done also where the work is interrupted, or a file turns out to be unfit: AudioError, in
        the end, for all of those.
        """
        kept = self.cache.load(folder) if self.cache else {}
        stamps = survey_files(files, folder, self.config, kept)
        missing = [file for file in files if kept.get(file, (None,))[0] != stamps[file]]
        saved, done, unfit = time.monotonic(), 0, []
        try:
            for file in progress(missing, label):
                try:
                    kept[file] = stamps[file], self.run(os.path.join(folder, os.fsdecode(file)))
                    done += 1
                except AudioError as error:
                    unfit.append(str(error))
                if self.cache and done and time.monotonic() > saved + SAVE_SECONDS:
                    self.cache.save(folder, kept)
                    saved, done = time.monotonic(), 0
        finally:
            if self.cache and done:
                self.cache.save(folder, kept)
        require_all(unfit, len(files))
        return np.stack([kept[file][1] for file in files])

    def embed_speakers(self, path: str | Path, folder: str | Path, utterances: int) -> np.ndarray:
        """Unit mean embeddings (k, E) of the speakers of a list of `speaker path`, each of its first `utterances`."""
        paths, speaker = first_utterances(path, utterances)
        return speaker_means(self.embed_files(paths, folder, label="cohort")[:, 0], speaker)

    def run_samples(self, samples: np.ndarray) -> np.ndarray:
        """As `run`, of samples (N,) at 16 kHz."""
        whole = unit(super().run_samples(samples))
        if not self.score_crops:
            return whole
        length = sample_count(SCORE_CROP, self.config.front_end)
        repeated = np.resize(samples, max(length, len(samples)))
        starts = np.linspace(0, len(repeated) - length, self.score_crops).astype(int)
        crops = np.stack([self.features(repeated[start:start + length]) for start in starts])
        return np.concatenate((whole, self.outputs(crops)))

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """(B, T, F) -> (B, E) of length 1."""
        return unit(super().outputs(features))

    def padded_outputs(self, features: Sequence[np.ndarray]) -> np.ndarray:
        """As `outputs`, of features (T, F) of any lengths."""
        return unit(super().padded_outputs(features))


def survey_files(files: Sequence[bytes] | np.ndarray, folder: str | Path,
                 config: Config | SpeakerIdConfig, kept: Kept | None = None) -> dict[bytes, Stamp]:
    """The Stamps of `files` (m,) below `folder`. AudioError for all that are missing or, by their headers, unfit.

    Headers are not read where embeddings of the file, as it is, are `kept`.
    """
    kept, least = kept or {}, sample_count(MIN_FRAMES, config.front_end)

    def look(file: bytes) -> Stamp:
        path = os.path.join(folder, os.fsdecode(file))
        found = stamp(path)
        if file not in kept or kept[file][0] != found:
            inspect_header(path, least, RATE, config.resample)
        return found

    return survey(list(files), look)


def first_utterances(path: str | Path, utterances: int) -> tuple[np.ndarray, np.ndarray]:
    """(files (m,), the number of the speaker of each (m,)) of a list of `speaker path`: the first of each speaker."""
    paths, speaker, _ = read_train_list(path)
    order = np.argsort(speaker, kind="stable")
    first = np.searchsorted(speaker[order], speaker[order])
    chosen = order[np.arange(len(order)) - first < utterances]
    return paths[chosen], speaker[chosen]


def load(checkpoint: Config | StrPath | None = None, device_target: str = "", **settings: Any) -> Verifier:
    """A Verifier, ready to work.

    `checkpoint`: None for the one that ships, a run folder, a .ckpt of one, a file of one of the originals of
    docs/weights.md, or a Config whose model_path is a checkpoint. SpeechBrain's files and 3D-Speaker's have the same
    tensors: `front_end="3dspeaker"` says that it is one of the latter. `device_target`: Ascend, GPU, CPU; "" for what
    there is. `settings`: of src/config.py, in place of those saved with the checkpoint, such as `amp_level="bf16"`.

    UserError where checkpoint and settings do not fit each other, or the device is not there.

        verifier = ecapatdnn.load()
        verifier.verify("a.wav", "b.wav").same
    """
    if not isinstance(checkpoint, Config):
        settings = {"resample": True, "score_crops": 0, "subtract_mean": False, "voice_activity": True} | settings
    trained = find(KIND, checkpoint, device_target, settings)
    config, network = trained.config, make_network(trained.config)
    trained.fill(network)
    elsewhere = config.output_folder and why_not_writable(Path(config.model_path).parent) and config.output_folder
    cache = EmbeddingCache(config.model_path, config.front_end, config.score_crops, config.resample, config.amp_level,
                           config.voice_activity, folder=elsewhere)
    return Verifier(fast(network, config.amp_level == BF16), config, cache, trained.record.get("threshold"),
                    of_record(trained.record, config))
