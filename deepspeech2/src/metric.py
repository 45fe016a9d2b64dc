"""Word and character error rates, by jiwer: substitutions, insertions and deletions over the length of the reference.

Single spaces count as characters; deepspeech.pytorch and the MindSpore zoo leave them out, hence cer_no_spaces.
"""
from collections.abc import Sequence
from typing import Any

import jiwer

from utils.errors import ContentError


def error_rates(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """{wer, cer, cer_no_spaces} in %: all errors of the texts over all words (characters) of the references.

    An empty hypothesis is all deletions. UserError for an empty reference.
    """
    words, characters = _aligned(references, hypotheses), _characters(references, hypotheses, " ")
    return {"wer": 100 * words.wer, "cer": 100 * characters.cer,
            "cer_no_spaces": 100 * _characters(references, hypotheses, "").cer}


def worst(references: Sequence[str], hypotheses: Sequence[str], keys: Sequence[str],
          count: int, rate: str = "wer") -> list[dict[str, Any]]:
    """Rows {key, wer, cer, reference, hypothesis} of the `count` utterances of highest `rate`, wer or cer, in %.

    Of equal ones the longest come first.
    """
    rows = []
    for key, reference, hypothesis in zip(keys, references, hypotheses, strict=True):
        rates = error_rates([reference], [hypothesis])
        rows.append({"key": key, "wer": rates["wer"], "cer": rates["cer"], "reference": reference,
                     "hypothesis": hypothesis})
    return sorted(rows, key=lambda row: (-row[rate], -len(row["reference"].split())))[:count]


def alignment_text(reference: str, hypothesis: str) -> str:
    """Three lines: reference, hypothesis with its words below those they stand for, S, D or I below each error."""
    text = jiwer.visualize_alignment(_aligned([reference], [hypothesis]), show_measures=False, skip_correct=False)
    return "\n".join(line.rstrip() for line in text.split("\n")[2:]).strip("\n")


def _aligned(references, hypotheses):
    """jiwer's alignment of the words of two lists of texts."""
    require_words(references)
    return jiwer.process_words(list(references), list(hypotheses))


def _characters(references, hypotheses, space):
    """jiwer's alignment of their characters, where words are `space` apart."""
    require_words(references)
    return jiwer.process_characters([space.join(text.split()) for text in references],
                                    [space.join(text.split()) for text in hypotheses])


def require_words(references: Sequence[str]) -> None:
    """ContentError where there is no reference, or one without a word."""
    if not references:
        raise ContentError("references: none, expected at least one text to compare with")
    for number, reference in enumerate(references, 1):
        if not reference.split():
            raise ContentError(f"reference {number} of {len(references)}: empty, an error rate has no meaning; "
                               "leave the utterance out of the list")
