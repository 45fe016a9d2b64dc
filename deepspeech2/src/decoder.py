"""What the network computes -> text: greedy, CTC prefix beam search, beam search with an n-gram language model.

The model is one of words, or of characters where labels are wide and none is a space, as those of Mandarin.

Letters: T frames, L labels, K prefixes held. `log_probs` (T, L) are natural logs of one utterance throughout.
"""
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
from pyctcdecode.alphabet import BPE_TOKEN
from pyctcdecode.alphabet import Alphabet as DecoderAlphabet
from pyctcdecode.constants import LOG_BASE_CHANGE_FACTOR
from pyctcdecode.decoder import BeamSearchDecoderCTC
from pyctcdecode.language_model import LanguageModel

from deepspeech2.src.config import Config
from deepspeech2.src.ngram import check_arpa, for_kenlm
from deepspeech2.src.text import BLANK, Alphabet, collapse, shown
from utils.errors import ContentError, MismatchError, NotFoundError, RunError
from utils.files import StrPath, write_arrays
from utils.paths import shipped

PRETRAINED = Path(__file__).parents[1] / "pretrained"
LM_WIDTH = 100      # prefixes held with a language model, unless beam_width says otherwise

logging.getLogger("pyctcdecode").setLevel(logging.ERROR)    # it warns of any vocabulary under 1000 words


def greedy(log_probs: np.ndarray, alphabet: Alphabet) -> str:
    """The text of the most probable label of every frame."""
    return alphabet.decode(collapse(log_probs.argmax(1)))


def beam_search(log_probs: np.ndarray, alphabet: Alphabet, width: int) -> list[tuple[str, float]]:
    """CTC prefix beam search (Hannun et al., arXiv:1408.2873): [(text, log probability)], at most `width`, best first.

    A text's probability is that of all its alignments, a lower bound of it where the beam dropped some.
    """
    tree = PrefixTree(len(alphabet))
    prefixes = np.zeros(1, int)                         # (K,) nodes of the tree, the root being the empty text
    blank, label = np.zeros(1), np.full(1, -np.inf)     # (K,) of the alignments that end in a blank, in a label
    for frame in np.asarray(log_probs, np.float64):
        last, parent = tree.arrays(prefixes)
        total = np.logaddexp(blank, label)
        used = _useful_labels(frame, last, width)
        place = np.zeros(len(frame), int)
        place[used] = np.arange(len(used))
        grown = total[:, None] + frame[used]                            # (K, labels that can matter)
        here = np.flatnonzero(last != BLANK)
        grown[here, place[last[here]]] = blank[here] + frame[last[here]]    # the same again needs a blank between
        grown[:, place[BLANK]] = -np.inf
        stay_blank = total + frame[BLANK]
        stay_label = np.where(last == BLANK, -np.inf, label + frame[last])
        child, mother = np.nonzero(parent[:, None] == prefixes)         # prefixes that others, grown, become
        stay_label[child] = np.logaddexp(stay_label[child], grown[mother, place[last[child]]])
        grown[mother, place[last[child]]] = -np.inf
        scores = np.append(np.logaddexp(stay_blank, stay_label), grown)
        kept = _best(scores, width)
        kept = kept[scores[kept] > -np.inf]
        old, new = kept[kept < len(prefixes)], kept[kept >= len(prefixes)] - len(prefixes)
        row, column = np.divmod(new, len(used))
        blank = np.append(stay_blank[old], np.full(len(new), -np.inf))
        label = np.append(stay_label[old], grown[row, column])
        prefixes = np.append(prefixes[old], tree.grow(prefixes[row], used[column]))
    total = np.logaddexp(blank, label)
    return [(alphabet.decode(tree.labels(int(prefixes[i]))), float(total[i]))
            for i in np.argsort(-total, kind="stable")]


def _useful_labels(frame: np.ndarray, last: np.ndarray, width: int) -> np.ndarray:
    """The labels (n,) that may follow a prefix which is kept: frame (L,), last labels (K,) of the prefixes.

    A prefix grows by its best labels. At most `width` of its texts are kept; of the better ones some are its own label
    again, the blank, or prefixes that are held already, so twice as many labels and two are enough.
    """
    enough = 2 * width + 2
    if len(frame) <= enough:
        return np.arange(len(frame))
    return np.unique(np.concatenate(([BLANK], last, _best(frame, enough))))


def _best(scores: np.ndarray, count: int) -> np.ndarray:
    """Where the `count` greatest of `scores` (n,) stand, of equals the first, in their order."""
    if len(scores) <= count:
        return np.arange(len(scores))
    least = np.partition(scores, -count)[-count]
    kept = scores > least
    kept[np.flatnonzero(scores == least)[:count - np.count_nonzero(kept)]] = True
    return np.flatnonzero(kept)


class PrefixTree:
    """Prefixes as nodes: the same labels are always the same node."""

    def __init__(self, labels: int):
        self.size, self.last, self.parent, self.nodes = labels, [BLANK], [-1], {}

    def grow(self, nodes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The nodes (n,) that `labels` (n,) behind `nodes` (n,) lead to."""
        grown = []
        for node, label in zip(nodes.tolist(), labels.tolist(), strict=True):
            key = node * self.size + label
            if key not in self.nodes:
                self.nodes[key] = len(self.last)
                self.last.append(label)
                self.parent.append(node)
            grown.append(self.nodes[key])
        return np.array(grown, int)

    def arrays(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Last label (n,) and parent (n,) of `nodes` (n,); the root's are BLANK and -1."""
        nodes = nodes.tolist()
        return np.array([self.last[node] for node in nodes]), np.array([self.parent[node] for node in nodes])

    def labels(self, node: int) -> list[int]:
        """The labels from the root to `node`."""
        path = []
        while node:
            path.append(self.last[node])
            node = self.parent[node]
        return path[::-1]


class WordModel(LanguageModel):
    """pyctcdecode's scorer with two corrections.

    Nothing behind the last space of an utterance, or in an empty one, is no unknown word. And an unknown word has the
    same penalty, scaled by alpha, while it grows as when it ends: with alpha and beta 0 there is no language model.
    """

    def score(self, prev_state: Any, word: str, is_last_word: bool = False) -> tuple[float, Any]:
        """(weighted natural log probability, state) of `word` behind `prev_state`."""
        if word:
            return super().score(prev_state, word, is_last_word)
        end = self._get_raw_end_score(prev_state) if is_last_word else 0.0
        return self.alpha * LOG_BASE_CHANGE_FACTOR * end, prev_state

    def score_partial_token(self, partial_token: str) -> float:
        """Penalty of a part that no known word begins with."""
        return self.alpha * LOG_BASE_CHANGE_FACTOR * super().score_partial_token(partial_token)


class LanguageModelDecoder:
    """Beam search for the text with the most log p(text | audio) + alpha log p(text) + beta words, by pyctcdecode.

    Of Mandarin each character is a word of the model. `path`: ARPA file or KenLM binary. Other words than the model's
    are written with a penalty. `width`: prefixes held. UserError for a model that is damaged or in another spelling
    than the labels.
    """

    def __init__(self, alphabet: Alphabet, path: StrPath, alpha: float, beta: float, width: int):
        words = check_arpa(path)
        if alphabet.spaced and " " not in alphabet.number:
            raise MismatchError(f"labels: {shown(alphabet.labels)} hold no space, a language model of words needs it")
        if not alphabet.spaced and 2 * sum(len(word) > 1 for word in words) > len(words):
            word = next(word for word in words if len(word) > 1)
            raise MismatchError(f"{path}: a model of words such as {word!r}, but no label is a space; take one of "
                                "characters, which lm.py estimate --labels makes")
        if words and not any(set(word) <= alphabet.number.keys() for word in words):
            raise MismatchError(f"{path}: words such as {words[0]!r}, none of which {shown(alphabet.labels[1:])} can "
                                "spell; take a model in the case of the labels")
        quiet = kenlm.Config()
        quiet.show_progress, quiet.arpa_complain = False, kenlm.ARPALoadComplain.NONE
        try:
            with for_kenlm(path) as plain:
                model = kenlm.Model(os.fspath(plain), quiet)
        except OSError as error:
            reason = " ".join(str(error).split()).split(" because ")[-1]
            raise ContentError(f"{path}: KenLM refuses it ({reason.rstrip(')')}); estimate or copy it again") from None
        self.model = WordModel(model, words or None, alpha, beta)
        self.space = alphabet.space
        start = "" if alphabet.spaced else BPE_TOKEN        # pyctcdecode's sign of a label that begins a word
        labels = ["" if number == BLANK else start + label for number, label in enumerate(alphabet.labels)]
        self.decoder = BeamSearchDecoderCTC(DecoderAlphabet(labels, is_bpe=not alphabet.spaced), self.model)
        self.width = width

    def __call__(self, log_probs: np.ndarray) -> str:
        """The best text."""
        return self.beams(log_probs)[0][0]

    def beams(self, log_probs: np.ndarray) -> list[tuple[str, float]]:
        """[(text, score)], best first; the score is the sum that is sought."""
        if len(log_probs) == 0:
            return [("", 0.0)]
        beams = self.decoder.decode_beams(log_probs, beam_width=self.width)
        return [(self.space.join(text.split()), score) for text, _, _, _, score in beams]

    def set_weights(self, alpha: float, beta: float) -> None:
        """Other weights, without loading anything again."""
        self.model.alpha, self.model.beta = float(alpha), float(beta)


def save_log_probs(path: StrPath, items: Sequence[tuple[str, str, np.ndarray]], labels: str) -> None:
    """Writes the outputs [(key, text, log_probs (T, L))] of a network with `labels` to a .npz for lm.py tune."""
    keys = [key for key, _, _ in items]
    require_unique(keys, path)
    arrays = {_member(i, key): np.asarray(log_probs, np.float32) for i, (key, _, log_probs) in enumerate(items)}
    write_arrays(path, keys=np.array(keys, str), texts=np.array([text for _, text, _ in items], str),
                 labels=np.array(list(labels), str), **arrays)


def _member(number, key):
    """The name in the file of the log probabilities of `key`: by number where that is a path that is no UTF-8."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return f"log_probs.#{number}"
    return f"log_probs.{key}"


def require_unique(keys: Sequence[str], path: StrPath) -> None:
    """ContentError where two utterances of `path` have one name: log probabilities are told apart by it."""
    if len(set(keys)) < len(keys):
        raise ContentError(f"{path}: two utterances of one name among {len(keys)}, expected each name once")


def load_log_probs(path: StrPath) -> tuple[list[tuple[str, str, np.ndarray]], str]:
    """([(key, text, log_probs (T, L))], labels) of such a file. NotFoundError; ContentError for another or cut one."""
    try:
        with np.load(path, allow_pickle=False) as data:
            items = [(str(key), str(text), data[_member(i, str(key))])
                     for i, (key, text) in enumerate(zip(data["keys"], data["texts"], strict=True))]
            return items, "".join(data["labels"])
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}; eval.py --save_log_probs true writes it") from None
    except (KeyError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ContentError(f"{path}: no log probabilities ({error or 'empty'}); eval.py --save_log_probs true writes "
                           "them") from None


def language_model(path: StrPath) -> str:
    """The file that `path` means: itself, or the model of that name that ships. NotFoundError where neither is."""
    return shipped(path, PRETRAINED, "lm.arpa.gz")


def make_decoder(config: Config, alphabet: Alphabet) -> Callable[[np.ndarray], str]:
    """The function log_probs (T, L) -> text that config.lm_path and config.beam_width ask for.

    RunError, from the function, for log_probs that are not numbers; -inf is that of never.
    """
    decode = _decoder(config, alphabet)

    def checked(log_probs: np.ndarray) -> str:
        if not (log_probs < np.inf).all():      # NaN is not, either
            raise RunError("log probabilities that the network computes are not numbers; it has diverged, take an "
                           "earlier checkpoint")
        return decode(log_probs)

    return checked


def _decoder(config, alphabet):
    if config.lm_path:
        return LanguageModelDecoder(alphabet, language_model(config.lm_path), config.alpha, config.beta,
                                    config.beam_width or LM_WIDTH)
    if config.beam_width:
        return lambda log_probs: beam_search(log_probs, alphabet, config.beam_width)[0][0]
    return lambda log_probs: greedy(log_probs, alphabet)
