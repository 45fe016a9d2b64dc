"""A trained network over whole utterances, batch by batch, with few shapes and so few compilations.

Letters: T frames, T' frames of 20 ms, K labels.
"""
import numpy as np
from mindspore import Tensor

from deepspeech2.src.dataset import padded_lengths
from deepspeech2.src.features import RATE, frame_count, spectrogram
from deepspeech2.src.manifest import utterance_length
from deepspeech2.src.model import DeepSpeech2
from utils.audio import audio_file
from utils.checkpoints.checkpoint import load_model
from utils.cpu_ops import fast

SHAPES = 4      # lengths that utterances are padded to


class Recogniser:
    """Log probabilities of the labels, frame by frame, of `batch` utterances at a time."""

    def __init__(self, model, config, batch=8):
        self.model, self.config, self.size = model, config, batch
        model.set_train(False)

    def files(self, utterances):
        """Yields (index, log probabilities (T', K) float32) of every Utterance, in an order of its own."""
        frames = np.array([frame_count(utterance_length(one)) for one in utterances])
        lengths, order = padded_lengths(frames, SHAPES), np.argsort(frames, kind="stable")
        for first in range(0, len(order), self.size):
            chosen = order[first:first + self.size]
            features = [spectrogram(audio_file.read(utterances[i].audio, RATE, resample=self.config.resample))
                        for i in chosen]
            longest = max(map(len, features))
            length = next((one for one in lengths if one >= longest), longest)
            yield from zip(chosen.tolist(), self.batch(features, length), strict=True)

    def batch(self, features, length):
        """Up to `size` features (T, F), padded to `length` frames -> [log probabilities (T', K)] of each."""
        padded = np.zeros((self.size, length, features[0].shape[1]), np.float32)
        frames = np.ones(self.size, np.int32)
        for i, one in enumerate(features):
            padded[i, :len(one)], frames[i] = one, len(one)
        log_probs, counts = self.model(Tensor(padded), Tensor(frames))
        log_probs, counts = log_probs.asnumpy(), counts.asnumpy()
        return [log_probs[:counts[i], i] for i in range(len(features))]


def load_recogniser(config):
    """The network of config.model_path, ready to listen."""
    model = fast(DeepSpeech2(config))
    load_model(config.model_path, model)
    return Recogniser(model, config)
