"""A trained network behind its front-end and a decoder: recordings in, text and the times of words out.

`load` is what eval.py, infer.py and other programs begin with. Nothing here prints; mistakes are exceptions,
kinds of utils.errors.UserError.

Letters: T frames of 10 ms, T' frames of 20 ms, F frequency bins, K labels.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from mindspore import Tensor, nn

from deepspeech2.src.alignment import Word, word_times
from deepspeech2.src.config import Config
from deepspeech2.src.dataset import padded_lengths
from deepspeech2.src.decoder import make_decoder
from deepspeech2.src.features import HOP, RATE, WINDOW, frame_count, spectrogram
from deepspeech2.src.manifest import Utterance, utterance_length
from deepspeech2.src.model import DeepSpeech2
from deepspeech2.src.streaming import Stream
from deepspeech2.src.text import Alphabet
from deepspeech2.src.torch_layout import ORIGINALS, shapes
from deepspeech2.src.windows import FRAME, Windows, stretches
from utils.audio import audio_file
from utils.audio.recording import Recording, arriving, by_length, inspect, listed, open_recording, whole_up_to
from utils.cpu_ops import BF16, fast
from utils.errors import SettingError
from utils.files import StrPath
from utils.trained import Kind, find

SHAPES = 4      # lengths that utterances are padded to
WHOLE = 60 * RATE // HOP            # frames of the longest utterance that is run whole
ROOM = 8 * 30 * RATE // HOP         # frames of a batch
KIND = Kind(Config, Path(__file__).parents[1], ORIGINALS, shapes)


class BatchNetwork:
    """Runs a network over `size` utterances at a time, with few shapes and so few compilations."""

    def __init__(self, network: nn.Cell, config: Config, size: int = 8):
        self.network, self.config, self.size = network, config, size
        network.set_train(False)

    def run(self, features: Sequence[np.ndarray], length: int, size: int = 0) -> list[np.ndarray]:
        """Up to `size` features (T, F), padded to `length` frames -> log probabilities (T', K) of each."""
        size = size or self.size
        padded = np.zeros((size, length, features[0].shape[1]), np.float32)
        frames = np.ones(size, np.int32)
        for i, utterance in enumerate(features):
            padded[i, :len(utterance)], frames[i] = utterance, len(utterance)
        log_probs, counts = self.network(Tensor(padded), Tensor(frames))
        log_probs, counts = log_probs.asnumpy(), counts.asnumpy()
        return [log_probs[:counts[i], i] for i in range(len(features))]

    def run_files(self, utterances: Sequence[Utterance],
                  unfit: dict[int, str] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(index, log probabilities (T', K) float32) of every utterance, from the shortest to the longest.

        Those of more than a minute are run by windows. AudioError for a file that cannot be used; with `unfit`
        {index: reason} it is noted there and left out.
        """
        frames = np.array([frame_count(utterance_length(utterance)) for utterance in utterances])
        order = np.argsort(frames, kind="stable")
        whole, long = order[frames[order] <= WHOLE], order[frames[order] > WHOLE]
        lengths = np.array(padded_lengths(frames[whole], SHAPES))
        padded = lengths[np.searchsorted(lengths, frames[whole])] if len(whole) else lengths
        for first, size in batches(padded, self.size):
            features = {i: spectrogram(recording.whole(RATE))
                        for i, recording in self.opened(whole[first:first + size], utterances, unfit)}
            if features:
                length = max(padded[first:first + size].max(), *map(len, features.values()))
                yield from zip(features, self.run(list(features.values()), int(length), size), strict=True)
        for i, recording in self.opened(long, utterances, unfit):
            windows = Windows(lambda features, length: self.run(features, length, 1), recording.length(RATE))
            yield i, np.concatenate(list(windows.run(recording.blocks(RATE))))

    def opened(self, indices: Iterable[int], utterances: Sequence[Utterance],
               unfit: dict[int, str] | None) -> Iterator[tuple[int, Recording]]:
        """(index, recording at its own level) of each utterance; `unfit` as in `run_files`."""
        for i in indices:
            try:
                yield int(i), inspect(utterances[i].audio, WINDOW, RATE, self.config.resample).as_it_is()
            except audio_file.AudioError as error:
                if unfit is None:
                    raise
                unfit[int(i)] = str(error)


def batches(lengths: Sequence[int] | np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """(first, size) of batches of utterances padded to ascending `lengths` (frames), none larger than ROOM in all."""
    first = 0
    while first < len(lengths):
        fits = size
        while fits > 1 and fits * lengths[min(first + fits, len(lengths)) - 1] > ROOM:
            fits //= 2
        yield first, fits
        first += fits


class Segment(NamedTuple):
    """What is said in a recording between two pauses."""

    start: float                # seconds
    end: float
    text: str
    words: list[Word]           # [] unless they were asked for


class Transcript(NamedTuple):
    """What is said in a recording."""

    segments: list[Segment]
    space: str = " "            # between segments: "" of Mandarin

    @property
    def text(self) -> str:
        """All of it."""
        return self.space.join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> list[Word]:
        """Each word with its start and end in seconds; [] unless they were asked for."""
        return [word for segment in self.segments for word in segment.words]


class Recognizer:
    """Speech recognition: utterances, and recordings of any rate and length.

    decode: log probabilities (T', K) -> text, see `make_decoder`.
    """

    rate, fewest = RATE, WINDOW     # Hz, samples of the shortest recording

    def __init__(self, network: DeepSpeech2, config: Config, decode: Callable[[np.ndarray], str]):
        self.network, self.config, self.decode = network, config, decode
        self.alphabet = Alphabet(config.labels)
        self._stream = cache(lambda seconds: Stream(network, config, seconds))

    def run_files(self, utterances: Sequence[Utterance],
                  unfit: dict[int, str] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """As that of BatchNetwork. With config.streaming one by one, by steps, as live use hears them.

        MismatchError for that of a bidirectional network.
        """
        batch = BatchNetwork(self.network, self.config)
        if not self.config.streaming:
            return batch.run_files(utterances, unfit)
        stream = self.stream(self.config.stream_step)
        return ((i, np.concatenate(list(stream.run(recording.blocks(RATE)))))
                for i, recording in batch.opened(range(len(utterances)), utterances, unfit))

    @overload
    def transcribe(self, recording: audio_file.Source, rate: int = RATE, timestamps: bool = False) -> Transcript: ...
    @overload
    def transcribe(self, recording: Sequence[audio_file.Source], rate: int = RATE,
                   timestamps: bool = False) -> list[Transcript]: ...

    def transcribe(self, recording: audio_file.Source | Sequence[audio_file.Source], rate: int = RATE,
                   timestamps: bool = False) -> Transcript | list[Transcript]:
        """What is said in a recording: a file, or samples (n,) or (n, channels) in [-1, 1] at `rate` Hz.

        Of a list of recordings a list: computed together, each as it is alone. `timestamps`: with the times of words.
        AudioError for a recording that is unfit.
        """
        if (several := listed(recording)) is not None:
            return self._transcribe_together([open_recording(item, rate, WINDOW, RATE) for item in several], timestamps)
        opened = open_recording(recording, rate, WINDOW, RATE)
        return self._transcript(self.segments(opened, self.windows(opened.rounded_length(RATE)), timestamps))

    def transcribe_stream(self, blocks: Iterable[np.ndarray], rate: int = RATE, seconds: float = 1.0,
                          timestamps: bool = False) -> Iterator[Segment]:
        """What is said in a recording while it arrives: blocks (n,) at `rate` Hz -> segments, each after its pause.

        A segment has 10 seconds at least. `seconds`: of a step. MismatchError for a bidirectional network, AudioError
        for what is no block.
        """
        return self.decode_pieces(self.stream(seconds).run(arriving(blocks, rate, RATE)), timestamps)

    def _transcript(self, segments):
        return Transcript(list(segments), self.alphabet.space)

    def _transcribe_together(self, recordings, timestamps):
        """[recording] -> [transcript]: from the shortest to the longest; those longer than a window run by windows."""
        results: dict[int, Transcript] = {}
        batch = BatchNetwork(self.network, self.config)
        for here, longest in by_length(recordings, RATE, batch.size):
            windows = self.windows(longest)
            sounds = whole_up_to(windows.size, recordings, here, RATE)
            if sounds:
                log_probs = batch.run([spectrogram(samples) for samples in sounds.values()], frame_count(windows.size),
                                      2 ** (len(sounds) - 1).bit_length())
                for i, piece in zip(sounds, log_probs, strict=True):
                    results[i] = self._transcript(self.decode_pieces([piece], timestamps))
            for i in here:
                if i not in results:
                    results[i] = self._transcript(self.segments(recordings[i], windows, timestamps))
        return [results[i] for i in range(len(recordings))]

    def windows(self, longest: int) -> Windows:
        """What runs the network over recordings of up to `longest` samples, of any length, by windows that overlap."""
        return Windows(BatchNetwork(self.network, self.config, size=1).run, longest)

    def stream(self, seconds: float = 1.0) -> Stream:
        """What runs the network over samples as they arrive, in steps of `seconds`; several may run at the same time.

        Steps of a length are compiled once. MismatchError for a bidirectional network.
        """
        return self._stream(seconds).another()

    def segments(self, recording: Recording, method: Windows | Stream, timestamps: bool = False) -> Iterator[Segment]:
        """What is said in a recording, segment by segment as it is recognised. `method`: of `windows` or `stream`."""
        return self.decode_pieces(method.run(recording.blocks(RATE)), timestamps)

    def decode_pieces(self, pieces: Iterable[np.ndarray], timestamps: bool = False) -> Iterator[Segment]:
        """Log probabilities (any number, K), piece by piece -> what they say, segment by segment."""
        seconds = FRAME / RATE      # of a frame, 0.02: the times are rounded to two places, which hold them whole
        for first, log_probs in stretches(pieces):
            text, words = " ".join(self.decode(log_probs).split()), []
            if timestamps:
                words = [Word(word, round(first * seconds + start, 2), round(first * seconds + end, 2))
                         for word, start, end in word_times(log_probs, text, self.alphabet, seconds)]
            yield Segment(round(first * seconds, 2), round((first + len(log_probs)) * seconds, 2), text, words)


def load(checkpoint: Config | StrPath | None = None, device_target: str = "", **settings: Any) -> Recognizer:
    """A Recognizer, ready to work.

    `checkpoint`: None for the one that ships, a run folder, a .ckpt of one, a file of deepspeech.pytorch's, or a Config
    whose model_path is a checkpoint. `device_target`: Ascend, GPU, CPU; "" for what there is. `settings`: of
    src/config.py, in place of those saved with the checkpoint, such as `lm_path="lm.arpa"`.

    UserError where checkpoint and settings do not fit each other, for the weights of a language model without one, and
    where the device or the language model is not there.

        recognizer = deepspeech2.load()
        recognizer.transcribe("talk.wav").text
    """
    trained = find(KIND, checkpoint, device_target, settings)
    config = trained.config
    if not config.lm_path and (idle := settings.keys() & {"alpha", "beta"}):
        raise SettingError(f"{' and '.join(sorted(idle))}: of a language model, and there is none; add --lm_path")
    decode = make_decoder(config, Alphabet(config.labels))
    network = fast(DeepSpeech2(config), config.amp_level == BF16)
    trained.fill(network)
    return Recognizer(network, config, decode)
