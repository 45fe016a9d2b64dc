"""Recognition scored: what eval.py and postprocess.py compute and report."""
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepspeech2.src.config import Config
from deepspeech2.src.decoder import require_unique
from deepspeech2.src.features import RATE
from deepspeech2.src.inference import load
from deepspeech2.src.manifest import inspect_utterance, read_manifest, utterance_length
from deepspeech2.src.metric import alignment_text, error_rates, worst
from deepspeech2.src.text import Alphabet, references
from deepspeech2.src.windows import text_of
from utils.audio.survey import survey
from utils.config import require
from utils.files import csv_text, write_text
from utils.paths import list_name
from utils.progress import progress
from utils.results import result_folder

SHOWN = 5       # of the worst utterances
PARTIAL = "texts_partial.csv"       # of an evaluation that was interrupted


class Results(NamedTuple):
    """The utterances of a manifest, recognised."""

    keys: list[str]             # their files
    references: list[str]
    hypotheses: list[str]
    seconds: float              # of audio
    taken: float                # seconds of work, reading and compilation included
    log_probs: list[np.ndarray]     # (T', K) of each; [] unless config.save_log_probs is set
    unfit: list[str]            # why others are not among them


def recognise(config: Config) -> tuple[Results, Path | None]:
    """(results of config.test_manifest, the folder for what comes of it or None for nowhere).

    After Ctrl-C the texts that are done lie there.
    """
    require(config, "test_manifest")
    alphabet, utterances = Alphabet(config.labels), read_manifest(config.test_manifest, config.data_folder)
    folder = result_folder(config.output_folder, config.model_path, f"eval_{list_name(config.test_manifest)}")
    scored = references([utterance.text for utterance in utterances], alphabet, config.test_manifest)
    if config.save_log_probs:
        require_unique([utterance.audio for utterance in utterances], config.test_manifest)
    survey(utterances, lambda utterance: inspect_utterance(utterance, config.resample))
    recognizer = load(config)
    hypotheses, log_probs, unfit, started = {}, {}, {}, time.monotonic()

    def results() -> Results:
        done = sorted(hypotheses)
        return Results([utterances[i].audio for i in done], [scored[i] for i in done],
                       [hypotheses[i] for i in done], sum(utterance_length(utterances[i]) for i in done) / RATE,
                       time.monotonic() - started, [log_probs[i] for i in sorted(log_probs)], list(unfit.values()))

    try:
        for i, output in progress(recognizer.run_files(utterances, unfit), "recognised", "utterance",
                                  total=len(utterances)):
            hypotheses[i] = text_of(output, recognizer.decode, alphabet.space)
            if config.save_log_probs:
                log_probs[i] = output
    except KeyboardInterrupt:
        if folder and hypotheses:
            keys, done, texts = results()[:3]
            write_text(folder / PARTIAL, csv_text(worst(done, texts, keys, len(keys), alphabet.rate), decimals=2))
            print(f"{folder / PARTIAL}: {len(hypotheses)} of {len(utterances)} utterances")
        raise
    return results(), folder


def report(keys: Sequence[str], references: Sequence[str], hypotheses: Sequence[str], folder: Path | None,
           alphabet: Alphabet) -> dict[str, float]:
    """Prints the error rates and the worst utterances, writes texts.csv into `folder`; returns the rates, in %."""
    rate = alphabet.rate
    rows = worst(references, hypotheses, keys, len(keys), rate)
    for row in [row for row in rows[:SHOWN] if row[rate]]:
        aligned = alignment_text(*(" ".join(alphabet.words(row[text])) for text in ("reference", "hypothesis")))
        print(f"{row['key']}: {rate.upper()} {row[rate]:.1f} %\n{aligned}\n")
    rates = error_rates(references, hypotheses)
    print(f"Average WER {rates['wer']:.3f} Average CER {rates['cer']:.3f} "
          f"(without spaces {rates['cer_no_spaces']:.3f})", flush=True)
    if folder:
        write_text(folder / "texts.csv", csv_text(rows, decimals=2))
        print(f"texts.csv: {folder}")
        (folder / PARTIAL).unlink(missing_ok=True)
    return rates
