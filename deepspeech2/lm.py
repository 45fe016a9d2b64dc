"""Language models for decoding: estimates one from sentences, finds the weights it works best with.

    python lm.py estimate --texts lists/an4/texts.txt --order 3 --output lm.arpa
    python lm.py tune --log_probs runs/x/eval_valid/log_probs.npz --lm lm.arpa

tune writes lm.json beside the log probabilities (eval.py --save_log_probs true makes them): a preset for eval.py
--config; infer.py takes the same values as flags.
"""
import argparse
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from deepspeech2.src.decoder import LanguageModelDecoder, greedy, language_model, load_log_probs
from deepspeech2.src.manifest import read_manifest
from deepspeech2.src.metric import error_rates
from deepspeech2.src.ngram import check_arpa, longest_order, write_arpa
from deepspeech2.src.text import LABELS, Alphabet, read_labels, shown
from deepspeech2.src.windows import text_of
from utils.command_line import Parser
from utils.config import parse_config, require
from utils.corpora.corpus import parallel
from utils.errors import ContentError, MismatchError, OutputError, SettingError, nearest, run
from utils.files import write_text
from utils.ranges import Range, Ranged, Weight, Workers
from utils.results import noting_failure, require_output
from utils.texts import open_lines

Order = Annotated[int, Range(2, 6)]             # those that KenLM is built for
Width = Annotated[int, Range(1, 10_000)]
Steps = Annotated[int, Range(1, 1000)]


@dataclasses.dataclass(frozen=True)
class EstimateConfig(Ranged):
    """Estimate an n-gram model as an ARPA file.

    --texts    one sentence a line; training transcripts, or any text of the domain but the test set's; or a manifest,
               a .json of prepare.py, for its transcripts
    --order    words of the longest n-gram, 2 to 6
    --output   the file to write
    --labels   of the network, or its labels.json: sentences are put into their case, without punctuation that is no
               label; those with other characters are left out; with the labels of Mandarin the model is one of
               characters
    """

    texts: str = ""
    order: Order = 3
    output: str = "lm.arpa"
    labels: str = LABELS


@dataclasses.dataclass(frozen=True)
class TuneConfig(Ranged):
    """Find the weights alpha (of the model) and beta (of a word) with the fewest word errors, over a grid.

    Of Mandarin, with the fewest errors of characters.

    --log_probs  of a validation set, from eval.py --save_log_probs true
    --lm         ARPA file, KenLM binary, or the name of a model that ships
    --width      prefixes held while decoding
    --workers    processes; 0: one per core
    """

    log_probs: str = ""
    lm: str = ""
    width: Width = 32
    alpha_from: Weight = 0.0        # smallest weight of the model
    alpha_to: Weight = 2.0          # largest
    alpha_steps: Steps = 5          # how many are tried between them
    beta_from: Weight = 0.0         # smallest reward of a word
    beta_to: Weight = 3.0           # largest
    beta_steps: Steps = 4           # how many are tried between them
    workers: Workers = 0


class Trial(NamedTuple):
    """One point of the grid."""

    log_probs: str
    lm: str
    width: int
    alpha: float
    beta: float


def estimate(config: EstimateConfig) -> None:
    """Writes the model of config.texts to config.output."""
    require(config, "texts", "output")
    require_output(config.output, "name another --output")     # a device is not read, which may have no end
    if os.path.exists(config.output):
        try:
            check_arpa(config.output)
        except ContentError:
            raise OutputError(f"output: {config.output} exists already and is no language model; name another "
                              "file") from None
    alphabet = Alphabet(read_labels(config.labels))
    if config.texts.endswith(".json"):
        lines = [utterance.text for utterance in read_manifest(config.texts)]
    else:
        lines = open_lines(config.texts, "a text of one sentence per line")
    texts = [text for text in map(alphabet.normalise_reference, lines) if text]
    good = [text for text in texts if set(text) <= alphabet.number.keys()]
    if texts and not good:
        raise MismatchError(f"{config.texts}: all {len(texts)} sentences were left out: they hold characters that are "
                            f"no labels, the first is {texts[0][:60]!r}, expected {shown(alphabet.labels[1:])}; set "
                            "--labels")
    if len(good) < len(texts):
        print(f"{len(texts) - len(good)} of {len(texts)} sentences left out: they hold characters that are no labels, "
              f"expected {shown(alphabet.labels[1:])}")
    sentences = [" ".join(alphabet.words(text)) for text in good]
    write_arpa(sentences, config.order, config.output)
    order = longest_order(sentences, config.order)
    if order < config.order:
        print(f"note: no sentence has more than {order - 2} words, so the longest n-grams have {order}, not "
              f"{config.order}")
    print(f"{config.output}: order {order}, {len(check_arpa(config.output))} words, from {len(good)} sentences")


def tune(config: TuneConfig) -> dict[str, Any]:
    """Prints the error rates of the grid, writes the best weights to lm.json and returns them."""
    require(config, "log_probs", "lm")
    config = dataclasses.replace(config, lm=language_model(config.lm))
    items, alphabet, _ = load(config.log_probs, config.lm, config.width)
    rates = rates_of(items, lambda log_probs: greedy(log_probs, alphabet), alphabet)
    print(f"{len(items)} utterances, greedy without a language model: WER {rates['wer']:.3f} CER {rates['cer']:.3f}")
    alphas = np.linspace(config.alpha_from, config.alpha_to, config.alpha_steps).round(6).tolist()
    betas = np.linspace(config.beta_from, config.beta_to, config.beta_steps).round(6).tolist()
    trials = [Trial(config.log_probs, config.lm, config.width, a, b) for a in alphas for b in betas]
    scores = dict(zip(trials, parallel(measure, trials, config.workers, "weights"), strict=True))
    rate = alphabet.rate
    print(f"{rate.upper()} %   beta " + "".join(f"{beta:>9g}" for beta in betas))
    for i, alpha in enumerate(alphas):
        row = trials[i * len(betas):(i + 1) * len(betas)]
        print(f"alpha {alpha:>6g} " + "".join(f"{scores[trial][rate]:>9.3f}" for trial in row))
    best = min(trials, key=lambda trial: (scores[trial][rate], scores[trial]["cer"]))
    print(f"best: alpha {best.alpha:g} beta {best.beta:g} WER {scores[best]['wer']:.3f} CER {scores[best]['cer']:.3f}")
    values = {"lm_path": os.path.abspath(config.lm), "alpha": best.alpha, "beta": best.beta, "beam_width": config.width}
    path = Path(config.log_probs).parent / "lm.json"
    with noting_failure("the weights"):
        write_text(path, json.dumps(values, indent=1) + "\n")
        print(f"{path}: eval.py takes it with --config")
    print(f"eval.py and infer.py take --lm_path {config.lm} --alpha {best.alpha:g} --beta {best.beta:g} --beam_width "
          f"{config.width}")
    return values


@functools.cache
def load(log_probs: str, lm: str,
         width: int) -> tuple[list[tuple[str, str, np.ndarray]], Alphabet, LanguageModelDecoder]:
    """Utterances, alphabet and decoder; once a process."""
    items, labels = load_log_probs(log_probs)
    return items, Alphabet(labels), LanguageModelDecoder(Alphabet(labels), lm, 0.0, 0.0, width)


def measure(trial: Trial) -> dict[str, float]:
    """Error rates of a trial."""
    items, alphabet, decoder = load(trial.log_probs, trial.lm, trial.width)
    decoder.set_weights(trial.alpha, trial.beta)
    return rates_of(items, decoder, alphabet)


def rates_of(items: Sequence[tuple[str, str, np.ndarray]], decode: Callable[[np.ndarray], str],
             alphabet: Alphabet) -> dict[str, float]:
    """Error rates of utterances, decoded as eval.py does."""
    return error_rates([text for _, text, _ in items],
                       [text_of(log_probs, decode, alphabet.space) for _, _, log_probs in items])


COMMANDS = {"estimate": (EstimateConfig, estimate), "tune": (TuneConfig, tune)}


def main(argv: Sequence[str]) -> None:
    """Runs the command that is the first word of the command line."""
    parser = Parser(description=__doc__,
                    epilog="lm.py estimate --help and lm.py tune --help list their flags",
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", default="", help=" or ".join(COMMANDS))
    command = parser.parse_args(argv[:1]).command
    if command not in COMMANDS:
        raise SettingError(f"command: found {command!r}, expected {' or '.join(COMMANDS)}{nearest(command, COMMANDS)}")
    kind, function = COMMANDS[command]
    function(parse_config(kind, argv[1:], program=f"lm.py {command}"))


if __name__ == "__main__":
    run(main, sys.argv[1:])
