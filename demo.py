"""make demo: what the shipped checkpoints make of the shipped samples; then every model from scratch, and a table.

From scratch is, on the mini corpus: prepare, train, evaluate, export, run in C++, with the commands of the READMEs in
the model folders, on the run folder runs/demo. Stops at the first that fails. --short trains less.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from utils.errors import RunError, SettingError, nearest, run

ROOT = Path(__file__).resolve().parent
CORPUS = "../corpora/mini"
RUN = "runs/demo"      # made new each time
BEST = f"{RUN}/best.ckpt"


class Step(NamedTuple):
    """One command in a model folder, Python or a script; `result` is a pattern of what to show of its output."""

    name: str
    command: list[str]
    result: str


PREPARE = Step("prepare", ["prepare.py", "--corpus", "mini", "--data_folder", CORPUS, "--output_folder", "lists/mini"],
               r"rejected: .*")
TRAIN = ["train.py", "--config", "configs/mini.yaml", "--ckpt_save_dir", RUN]
EXPORT = Step("export", ["export.py", "--checkpoint_path", BEST, "--file_format", "MINDIR", "--runtime", "lite2.0-cpu",
                         "--length", "0"], r"largest difference \S+")


def cpp(model: str, data: str, result: str) -> Step:
    """The exported graph in the C++ runner, over the same files as eval.py."""
    return Step("C++", ["scripts/run_infer_310.sh", f"{RUN}/{model}.mindir", f"lists/mini/{data}"], result)


def ecapatdnn(short: bool) -> list[Step]:
    """Speaker verification: voices of the test part occur nowhere in training."""
    epochs = ["--num_epochs", "2", "--test_step", "1"] if short else []
    pair = [f"{CORPUS}/test/t001/t001-{number}.wav" for number in ("000", "001")]
    return [
        PREPARE,
        Step("train", [*TRAIN, *epochs], r"epoch \d+ .*(valid_eer \S+)"),
        Step("evaluate", ["eval.py", "--checkpoint_path", BEST, "--as_norm", "true"], r"^EER = \S+"),
        EXPORT,
        cpp("ecapatdnn", "test_trials.txt", r"^EER = \S+"),
        Step("use", ["infer.py", *pair, "--checkpoint_path", BEST], r"(same|different) speaker.*"),
    ]


def conv_tasnet(short: bool) -> list[Step]:
    """Separation: the voices of the test mixtures occur nowhere in training."""
    epochs = ["--num_epochs", "1", "--mixtures_per_epoch", "400"] if short else []
    return [
        PREPARE,
        Step("train", [*TRAIN, *epochs], r"epoch \d+ .*(valid_si_snri \S+)"),
        Step("evaluate", ["eval.py", "--checkpoint_path", BEST], r"^Average SISNR improvement: \S+"),
        EXPORT,
        cpp("conv_tasnet", "test.csv", r"^Average SISNR improvement: \S+"),
    ]


def deepspeech2(short: bool) -> list[Step]:
    """Recognition: neither the sentences nor the voices of the test part occur in training."""
    epochs = ["--num_epochs", "2"] if short else []
    model = ["--lm_path", "lists/mini/lm.arpa", "--alpha", "0.5", "--beta", "1.0", "--beam_width", "32"]
    return [
        PREPARE._replace(command=[*PREPARE.command, "--lm", "3"]),
        Step("train", [*TRAIN, *epochs], r"epoch \d+ .*(valid_wer \S+)"),
        Step("evaluate", ["eval.py", "--checkpoint_path", BEST], r"^Average WER \S+ Average CER \S+"),
        Step("with model", ["eval.py", "--checkpoint_path", BEST, *model], r"^Average WER \S+ Average CER \S+"),
        EXPORT,
        cpp("deepspeech2", "test.json", r"^Average WER \S+ Average CER \S+"),
    ]


MODELS = {"ecapatdnn": ecapatdnn, "conv_tasnet": conv_tasnet, "deepspeech2": deepspeech2}


def main(argv: Sequence[str]) -> None:
    """Runs the demo of the models named, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; default: the samples and all")
    parser.add_argument("--short", action="store_true", help="a fraction of the training, to see that everything runs")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.models if name not in MODELS]:
        raise SettingError(f"models: found {unknown[0]!r}, expected some of {', '.join(MODELS)}"
                           f"{nearest(unknown[0], MODELS)}")
    rows = []
    if not args.models:
        finish(ROOT, Step("samples", ["samples.py"], r"picture: .*"))
        print("\nNow each model from scratch, on synthetic speech:")
    for model in args.models or MODELS:
        shutil.rmtree(ROOT / model / RUN, ignore_errors=True)
        for step in MODELS[model](args.short):
            print(f"\n== {model}: {step.name}: {' '.join(step.command)}", flush=True)
            seconds, result = finish(ROOT / model, step)
            rows.append((model, step.name, f"{seconds:.0f} s", result))
    print_table(rows)


def finish(folder: Path, step: Step) -> tuple[float, str]:
    """Runs a step, showing its output; (seconds, the last of it that fits its pattern)."""
    started, result = time.monotonic(), ""
    environment = os.environ | {"DEVICE_TARGET": "CPU", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    program = sys.executable if step.command[0].endswith(".py") else "bash"
    process = subprocess.Popen([program, *step.command], cwd=folder, stdout=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout or ():
        print(line, end="", flush=True)
        if match := re.search(step.result, line):
            result = match[1] if match.lastindex and step.name == "train" else match[0]
    if process.wait():
        raise RunError(f"demo: {step.name} in {folder.name} failed with exit code {process.returncode}")
    if not result:
        raise RunError(f"demo: {step.name} in {folder.name} printed no line like {step.result!r}")
    return time.monotonic() - started, result


def print_table(rows: Sequence[tuple[str, str, str, str]]) -> None:
    """The rows under a heading, columns aligned."""
    rows = [("model", "step", "time", "result"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))


if __name__ == "__main__":
    run(main, sys.argv[1:])
