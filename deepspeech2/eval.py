"""Scores recognition: python eval.py --checkpoint_path RUN/best.ckpt [--test_manifest LIST --lm_path lm.arpa]."""
import sys
import time
from pathlib import Path

from deepspeech2.src.config import Config
from deepspeech2.src.decoder import make_decoder, save_log_probs
from deepspeech2.src.features import RATE
from deepspeech2.src.manifest import read_manifest, utterance_length
from deepspeech2.src.metric import alignment_text, error_rates, worst
from deepspeech2.src.recognition import load_recogniser
from deepspeech2.src.text import Alphabet
from utils.config import parse_use_config, require
from utils.device import setup_device
from utils.errors import run
from utils.files import csv_text, write_text
from utils.progress import progress

SHOWN = 5       # of the worst utterances


def main(config):
    """Prints the error rates over test_manifest, writes texts.csv beside the checkpoint; returns the rates, in %."""
    require(config, "test_manifest")
    setup_device(config.device_target, device_id=config.device_id)
    alphabet, utterances = Alphabet(config.labels), read_manifest(config.test_manifest, config.data_folder)
    recogniser, decode = load_recogniser(config), make_decoder(config, alphabet)
    references = [alphabet.normalise(one.text) for one in utterances]
    hypotheses, kept = [""] * len(utterances), []
    started = time.monotonic()
    for i, log_probs in progress(recogniser.files(utterances), "recognised", "utterance", total=len(utterances)):
        hypotheses[i] = decode(log_probs)
        if config.save_log_probs:
            kept.append((utterances[i].audio, references[i], log_probs))
    seconds = time.monotonic() - started
    folder = Path(config.model_path).parent / f"eval_{Path(config.test_manifest).stem}"
    folder.mkdir(exist_ok=True)
    if config.save_log_probs:
        save_log_probs(folder / "log_probs.npz", kept, config.labels)
    heard = sum(map(utterance_length, utterances)) / RATE
    print(f"{config.test_manifest}: {len(utterances)} utterances, {heard / 60:.1f} minutes")
    rates = report([one.audio for one in utterances], references, hypotheses, folder)
    print(f"real-time factor {seconds / heard:.3f}, reading and compilation included")
    return rates


def report(keys, references, hypotheses, folder):
    """Writes texts.csv, prints the rates and the worst utterances; returns the rates."""
    rows = worst(references, hypotheses, keys, len(keys))
    write_text(folder / "texts.csv", csv_text(rows, decimals=2))
    for row in [row for row in rows[:SHOWN] if row["wer"]]:
        print(f"{row['key']}: WER {row['wer']:.1f} %\n{alignment_text(row['reference'], row['hypothesis'])}\n")
    rates = error_rates(references, hypotheses)
    print(f"Average WER {rates['wer']:.3f} Average CER {rates['cer']:.3f} "
          f"(without spaces {rates['cer_no_spaces']:.3f})")
    print(f"texts.csv: {folder}")
    return rates


if __name__ == "__main__":
    run(lambda: main(parse_use_config(Config, sys.argv[1:])))
