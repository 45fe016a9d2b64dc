"""Word n-gram models as ARPA text, by interpolated modified Kneser-Ney smoothing (Chen and Goodman, TR-10-98, 1998).

The estimates of lmplz, KenLM's own program, which needs Boost. Letters: w word, h history, n order.
"""
import contextlib
import mmap
import os
import re
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from utils.errors import ContentError, NotFoundError, SettingError
from utils.files import StrPath, write_text
from utils.texts import open_lines

UNKNOWN, START, END = range(3)
MARKS = ["<unk>", "<s>", "</s>"]
ORDERS = range(2, 7)                    # those that KenLM is built for
FALLBACK = np.array([0, 0.5, 1, 1.5])   # lmplz's discounts where there are too few texts to estimate them
HEAD = "\\data\\"
EXPECTED = "a language model; prepare.py --lm or lm.py estimate write them"
BINARY = b"mmap lm http://kheafield.com/code"
NEVER = -99     # log10 probability of <s>, which is only ever a history


def write_arpa(texts: Sequence[str], order: int, path: StrPath) -> None:
    """Estimates a model of `order` words from `texts` and writes it to the file `path`."""
    write_text(path, estimate(texts, order))


def estimate(texts: Sequence[str], order: int) -> str:
    """ARPA text of the model of `order` words (2 to 6) of `texts`, of which each is a sentence of words and spaces.

    Of fewer words where no sentence has so many, see `longest_order`.
    SettingError for another order, ContentError for no text or one that holds a mark such as <s>.
    """
    if order not in ORDERS:
        raise SettingError(f"order: found {order}, expected {ORDERS[0]} to {ORDERS[-1]}, KenLM's")
    words, tokens = _tokens(texts)
    levels = _count(tokens, len(words), longest_order(texts, order))
    _adjust(levels)
    _estimate(levels, len(words))
    return "".join(_lines(levels, words))


def longest_order(texts: Sequence[str], order: int) -> int:
    """`order`, or the words of the longest sentence and its two marks: longer n-grams there are none."""
    return min(order, 2 + max((len(text.split()) for text in texts), default=0))


def _tokens(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The vocabulary, marks first, and the numbers of the words of all texts in one row, each text within its marks."""
    sentences = [text.split() for text in texts if text.strip()]
    words = {word for sentence in sentences for word in sentence}
    if not words:
        raise ContentError("texts: no words in them, expected sentences to estimate a language model from")
    if marks := words & set(MARKS):
        raise ContentError(f"texts: hold {min(marks)}, which marks sentences in a language model; take it out")
    words = MARKS + sorted(words)
    number = {word: i for i, word in enumerate(words)}
    return words, np.array([i for sentence in sentences
                            for i in (START, *(number[word] for word in sentence), END)], np.int64)


def _count(tokens: np.ndarray, size: int, order: int) -> list[dict[str, np.ndarray]]:
    """For each n up to `order` {history, word, suffix, count} of all n-grams; history and suffix are (n-1)-grams."""
    every = np.arange(size)
    levels = [{"word": every, "history": 0 * every, "suffix": 0 * every, "count": np.bincount(tokens, minlength=size)}]
    sentence = np.cumsum(tokens == START)
    ngram = tokens      # (positions,) the n-gram that starts at each
    for n in range(2, order + 1):
        whole = np.flatnonzero(sentence[n - 1:] == sentence[:len(tokens) - n + 1])
        keys, first, which, count = np.unique(ngram[whole] * size + tokens[whole + n - 1], return_index=True,
                                              return_inverse=True, return_counts=True)
        levels.append({"history": keys // size, "word": keys % size, "suffix": ngram[whole[first] + 1], "count": count})
        ngram = np.full(len(tokens), -1)
        ngram[whole] = which
    return levels


def _adjust(levels):
    """Below the highest order a count becomes the number of words seen before it, but after <s>, which has none."""
    starts = np.arange(len(levels[0]["word"])) == START
    for level, above in zip(levels, levels[1:]):
        before = np.bincount(above["suffix"], minlength=len(level["word"]))
        starts = starts if level is levels[0] else starts[level["history"]]
        level["count"] = np.where(starts, level["count"], before)
    levels[0]["count"][START] = 0


def _discounts(count):
    """What is taken off counts of 0, 1, 2, and 3 or more: Chen and Goodman, or FALLBACK without an estimate."""
    times = np.bincount(np.minimum(count, 5), minlength=5)[:5]
    if not times[1:4].all():
        return FALLBACK
    k = np.arange(1, 4)
    discounts = np.append(0, k - (k + 1) * times[1] / (times[1] + 2 * times[2]) * times[k + 1] / times[k])
    return discounts if (discounts[1:] > 0).all() else FALLBACK


def _estimate(levels, size):
    """Adds to each level "p", p(w | h), and gives the one below "backoff", the weight of what h was not seen before."""
    below = np.full(1, 1 / (size - 1))      # every word but <s>
    for number, level in enumerate(levels):
        histories = len(levels[number - 1]["word"]) if number else 1
        discount = _discounts(level["count"])[np.minimum(level["count"], 3)]
        total = np.bincount(level["history"], level["count"], histories)
        seen = total > 0
        backoff = np.where(seen, np.bincount(level["history"], discount, histories) / np.where(seen, total, 1), 1)
        level["p"] = (level["count"] - discount) / total[level["history"]] + backoff[level["history"]] * below[
            level["suffix"]]
        if number:
            levels[number - 1]["backoff"] = backoff
        below = level["p"]


def _lines(levels, words):
    """The lines of the ARPA file."""
    yield "\\data\\\n"
    yield from (f"ngram {n}={len(level['word'])}\n" for n, level in enumerate(levels, 1))
    histories = [""]
    for n, level in enumerate(levels, 1):
        yield f"\n\\{n}-grams:\n"
        ngrams = [f"{histories[h]} {words[w]}".lstrip() for h, w in zip(level["history"], level["word"])]
        p = np.log10(level["p"])
        if n == 1:
            p[START] = NEVER
        ends = [f"\t{weight:.7f}\n" for weight in np.log10(level["backoff"])] if n < len(levels) else ["\n"] * len(p)
        yield from (f"{value:.7f}\t{ngram}{end}" for value, ngram, end in zip(p, ngrams, ends))
        histories = ngrams
    yield "\n\\end\\\n"


def check_arpa(path: StrPath) -> list[str]:
    """The words of a model: an ARPA file, read to its end, or a binary of KenLM (none, where it was built without).

    UserError for a file that is missing, neither of them, or cut.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(BINARY)) == BINARY:
                return _binary_words(file)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}, expected {EXPECTED}") from None
    return _arpa_words(open_lines(path, EXPECTED), path)


@contextlib.contextmanager
def for_kenlm(path: StrPath) -> Iterator[StrPath]:
    """The path of a model that `check_arpa` takes, or of a copy that KenLM takes too: no mark, not packed, in UTF-8."""
    with open(path, "rb") as file:
        first = next((line for line in file if line.strip() and not line.startswith(b"#")), b"")
    if first.startswith(BINARY) or first.rstrip(b"\r\n") == HEAD.encode():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "model.arpa")
        with open(copy, "w", encoding="utf-8") as file:
            file.writelines(f"{line.rstrip()}\n" for line in open_lines(path, EXPECTED))
        yield copy


def _arpa_words(lines, path):
    """Words of the section of 1-grams, when every section is as long as the head of the file states."""
    line = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if line.strip() != HEAD:
        raise ContentError(f"{path}: found {line[:40]!r}, expected {HEAD} as the first line of an ARPA language model; "
                           f"delete text before {HEAD}")
    stated, counted, words, ended = [], [], [], False
    for line in map(str.strip, lines):
        if count := re.fullmatch(r"ngram +\d+ *= *(\d+)", line):
            stated.append(int(count[1]))
        elif re.fullmatch(r"\\\d+-grams:", line):
            counted.append(0)
        elif line == "\\end\\":
            ended = True
            break
        elif line and counted:
            counted[-1] += 1
            if len(counted) == 1:
                words.append(re.split("[ \t]+", line)[1:2])
    if not ended or counted != stated:
        raise ContentError(f"{path}: found {_counts(counted)}{'' if ended else ' and then no end'}, expected "
                           f"{_counts(stated)} as its head says; it was cut or edited, copy or estimate it again")
    if len(stated) not in ORDERS:
        raise ContentError(f"{path}: order {len(stated)}, expected {ORDERS[0]} to {ORDERS[-1]}, KenLM's")
    return _known(word for line in words for word in line)


def _counts(counts):
    """'5 1-grams, 7 2-grams'."""
    return ", ".join(f"{count} {n}-grams" for n, count in enumerate(counts, 1)) or "no n-grams"


def _binary_words(file):
    """The strings behind a binary's tables, which start with <unk>."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.rfind(b"<unk>\0")
        words = data[start:os.fstat(file.fileno()).st_size].rstrip(b"\0").decode(errors="replace")
        return [] if start < 0 else _known(words.split("\0"))


def _known(words):
    """Without the marks."""
    return [word for word in words if word.lower() not in MARKS]
