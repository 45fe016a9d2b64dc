"""A unidirectional network as samples arrive: its labels follow half a second after the speech.

From step to step go the states of the recurrent layers, the features that the convolutions reach back to, and the
frames that the lookahead waits for. Letters: N samples, T frames of 10 ms, n frames of 20 ms a step, K labels.
"""
from collections.abc import Iterable, Iterator

import numpy as np
from mindspore import Tensor, nn

from deepspeech2.src.config import Config
from deepspeech2.src.features import BINS, HOP, WINDOW, frames, log_magnitude, normalise
from deepspeech2.src.model import AFTER, BEFORE, DeepSpeech2
from utils.errors import MismatchError

HALF = WINDOW // 2


class Spectrogram:
    """Log magnitudes of a recording that arrives in blocks, frame for frame those of the whole."""

    def __init__(self):
        self.waiting = np.zeros(0, np.float32)      # from the next frame's first sample on
        self.tail = np.zeros(0, np.float32)         # the last HALF + 1 samples, which the end is reflected from
        self.started = False

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Samples (N,) -> the frames they fill, (T, F)."""
        self.tail = np.concatenate((self.tail, samples))
        self.waiting = np.concatenate((self.waiting, samples))
        if not self.started and len(self.tail) > HALF:
            self.waiting, self.started = np.concatenate((self.waiting[HALF:0:-1], self.waiting)), True
        if self.started:
            self.tail = self.tail[-HALF - 1:]
        return self._full()

    def flush(self) -> np.ndarray:
        """The frames at the end, (T, F)."""
        if not self.started:
            return log_magnitude(self.tail) if len(self.tail) else np.zeros((0, BINS), np.float32)
        self.waiting = np.concatenate((self.waiting, self.tail[-2::-1]))
        return self._full()

    def _full(self):
        count = (len(self.waiting) - WINDOW) // HOP + 1
        if not self.started or count < 1:
            return np.zeros((0, BINS), np.float32)
        full, self.waiting = frames(self.waiting[:(count - 1) * HOP + WINDOW]), self.waiting[count * HOP:]
        return full


class Moments:
    """Mean and unbiased standard deviation of features that arrive in parts."""

    def __init__(self):
        self.sums = np.zeros(3)     # count, sum, sum of squares

    def add(self, features: np.ndarray) -> "Moments":
        """More features, any shape."""
        self.sums += features.size, features.sum(dtype=np.float64), np.square(features, dtype=np.float64).sum()
        return self

    def values(self) -> tuple[float, float]:
        """(mean, deviation) of the features so far."""
        count, total, squares = self.sums
        return total / count, np.sqrt(max(0.0, squares - total ** 2 / count) / max(1, count - 1))


def moments(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """Mean and standard deviation of the log magnitudes of a recording, blocks (N,)."""
    spectrogram, statistics = Spectrogram(), Moments()
    for block in blocks:
        statistics.add(spectrogram.push(block))
    return statistics.add(spectrogram.flush()).values()


class Stream:
    """Runs a unidirectional network step by step, compiled once; blocks of samples may have any size.

    Where `reset` is given the `moments` of the recording, what `push` and `flush` return is, end to end, what the
    network gives for the whole. Without them, as with a microphone, those of the samples so far take their place.
    UserError for a bidirectional network.
    """

    def __init__(self, model: DeepSpeech2, config: Config, seconds: float = 1.0):
        if config.bidirectional:
            raise MismatchError("stream: the network is bidirectional, it needs the whole recording; train one with "
                                "--bidirectional false, or transcribe without --stream")
        self.size = max(1, round(seconds * 50))
        self.reach, self.delay = BEFORE + 2 * self.size + AFTER, config.lookahead_context - 1
        self.step, self.begin = _Step(model).set_train(False), model.start()
        self.reset()

    def reset(self, known: tuple[float, float] | None = None) -> None:
        """Forgets what was pushed: another recording begins, whose `moments` may be known."""
        self.spectrogram, self.moments, self.known = Spectrogram(), Moments(), known
        self.features = np.zeros((0, BINS), np.float32)             # from `first` on, not normalised
        self.first, self.done, self.state = 0, 0, self.begin        # `done`: frames of 20 ms stepped over

    def push(self, samples: np.ndarray) -> np.ndarray:
        """The next samples (N,) of the recording -> log probabilities (any number, K) of what is ready."""
        self.add_features(self.spectrogram.push(np.asarray(samples, np.float32)))
        ready = []
        while self.first + len(self.features) >= 2 * (self.done + self.size) + AFTER:
            ready.append(self.advance(None))
        return np.concatenate([np.zeros((0, self.step.labels), np.float32), *ready])

    def flush(self) -> np.ndarray:
        """Log probabilities up to the end of the recording; then begins another one."""
        self.add_features(self.spectrogram.flush())
        total = (self.first + len(self.features) + 1) // 2
        ready = []
        while total and self.done < total + self.delay:
            ready.append(self.advance(total))
        self.reset()
        return np.concatenate([np.zeros((0, self.step.labels), np.float32), *ready])

    def add_features(self, features: np.ndarray) -> None:
        """Adds features (T, F)."""
        self.moments.add(features)
        self.features = np.concatenate((self.features, features))

    def advance(self, total: int | None) -> np.ndarray:
        """One step; `total`: frames of 20 ms of the recording, once that is known. Log probabilities (up to n, K)."""
        start = 2 * self.done - BEFORE
        self.features, self.first = self.features[max(0, start - self.first):], max(0, start)
        before = self.first - start
        features = normalise(self.features[:self.reach - before], *self.known or self.moments.values())
        features = np.pad(features, ((before, self.reach - before - len(features)), (0, 0)))
        frame = np.arange(self.done - 5, self.done + self.size + 5)
        inside = (frame >= 0) & (frame < (np.inf if total is None else total))
        log_probs, self.state = self.step(Tensor(features[None]), Tensor(inside[None].astype(np.float32)),
                                          Tensor(inside[5:-5].astype(np.float32)), *self.state)
        place = np.arange(self.done - self.delay, self.done - self.delay + self.size)
        self.done += self.size
        return log_probs.asnumpy()[(place >= 0) & (place < (np.inf if total is None else total)), 0]

    def run(self, blocks: Iterable[np.ndarray], known: tuple[float, float] | None = None) -> Iterator[np.ndarray]:
        """Blocks (N,) of a recording, perhaps its `moments` -> log probabilities (any number, K), piece by piece."""
        self.reset(known)
        for block in blocks:
            yield self.push(block)
        yield self.flush()


class _Step(nn.Cell):
    """The model's `stream`, to be compiled. The parameters keep their names."""

    def __init__(self, model: DeepSpeech2):
        super().__init__(auto_prefix=False)
        self.model, self.labels = model, model.output.out_channels

    def construct(self, features, inside, mask, *state):
        return self.model.stream(features, inside, mask, *state)
