"""Recognition scored: what eval.py and postprocess.py compute and report."""
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deepspeech2.src.config import Config
from deepspeech2.src.decoder import save_log_probs
from deepspeech2.src.features import RATE
from deepspeech2.src.inference import load
from deepspeech2.src.manifest import read_manifest, utterance_length
from deepspeech2.src.metric import alignment_text, error_rates, worst
from deepspeech2.src.text import Alphabet
from utils.config import require
from utils.files import csv_text, write_text
from utils.paths import list_name
from utils.progress import progress

SHOWN = 5       # of the worst utterances


class Results(NamedTuple):
    """The utterances of a manifest, recognised."""

    keys: list[str]             # their files
    references: list[str]
    hypotheses: list[str]
    seconds: float              # of audio
    taken: float                # seconds of work, reading and compilation included


def recognise(config: Config) -> tuple[Results, Path]:
    """(results of config.test_manifest, the folder beside the checkpoint for what comes of it).

    Log probabilities are kept there where config.save_log_probs is set.
    """
    require(config, "test_manifest")
    alphabet, utterances = Alphabet(config.labels), read_manifest(config.test_manifest, config.data_folder)
    recognizer = load(config)
    references = [alphabet.normalise(utterance.text) for utterance in utterances]
    hypotheses, kept = [""] * len(utterances), []
    started = time.monotonic()
    for i, log_probs in progress(recognizer.run_files(utterances), "recognised", "utterance", total=len(utterances)):
        hypotheses[i] = recognizer.decode(log_probs)
        if config.save_log_probs:
            kept.append((utterances[i].audio, references[i], log_probs))
    taken = time.monotonic() - started
    folder = Path(config.model_path).parent / f"eval_{list_name(config.test_manifest)}"
    folder.mkdir(exist_ok=True)
    if config.save_log_probs:
        save_log_probs(folder / "log_probs.npz", kept, config.labels)
    seconds = sum(map(utterance_length, utterances)) / RATE
    return Results([utterance.audio for utterance in utterances], references, hypotheses, seconds, taken), folder


def report(keys: Sequence[str], references: Sequence[str], hypotheses: Sequence[str],
           folder: Path) -> dict[str, float]:
    """Writes texts.csv into `folder`, prints the error rates and the worst utterances; returns the rates, in %."""
    rows = worst(references, hypotheses, keys, len(keys))
    write_text(folder / "texts.csv", csv_text(rows, decimals=2))
    for row in [row for row in rows[:SHOWN] if row["wer"]]:
        print(f"{row['key']}: WER {row['wer']:.1f} %\n{alignment_text(row['reference'], row['hypothesis'])}\n")
    rates = error_rates(references, hypotheses)
    print(f"Average WER {rates['wer']:.3f} Average CER {rates['cer']:.3f} "
          f"(without spaces {rates['cer_no_spaces']:.3f})")
    print(f"texts.csv: {folder}")
    return rates
