"""Scores after the same training in float32 and in bfloat16, several seeds of each model's mini preset.

    python benchmarks/precision.py FOLDER [--models ecapatdnn ...] [--seeds 1 2 3]

FOLDER keeps the mini corpus, the runs and what each has scored: what is there already is not done again, so that a
table can be made in several sittings. A row is the mean over the seeds and, after ±, the standard deviation of one.
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from side_by_side import ROOT

from utils.texts import read_json, read_text

LEVELS = {"float32": "O0", "bfloat16": "bf16"}
SCORES = {      # {model: (what, how eval.py prints it)}
    "ecapatdnn": ("EER, %", r"^EER = ([\d.]+)%"),
    "conv_tasnet": ("SI-SNRi, dB", r"^Average SISNR improvement: (\S+)"),
    "deepspeech2": ("WER, %", r"^Average WER (\S+) Average CER"),
}


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=list(SCORES), choices=SCORES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    args = parser.parse_args()
    folder = args.folder.resolve()
    corpus = folder / "mini"
    python("-m", "utils.mini_corpus", corpus, place=ROOT)
    for model in args.models:
        python("prepare.py", "--corpus", "mini", "--data_folder", corpus, "--output_folder", folder / model / "lists",
               place=ROOT / model)
    print("| | seeds | " + " | ".join(f"{name} | CPU minutes" for name in LEVELS) + " |")
    print("|---" * (2 + 2 * len(LEVELS)) + "|")
    for model in args.models:
        cells = []
        for level in LEVELS.values():
            runs = [trained(model, level, seed, folder) for seed in args.seeds]
            scores = [run["score"] for run in runs]
            spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
            minutes = statistics.mean(run["minutes"] for run in runs)
            cells.append(f"{statistics.mean(scores):.2f}{spread} | {minutes:.1f}")
        print(f"| {model}: {SCORES[model][0]} | {len(args.seeds)} | {' | '.join(cells)} |", flush=True)


def trained(model, level, seed, folder):
    """{score of eval.py, minutes of processor time of the training} of a run, which is made if it is not there."""
    run = folder / model / f"{level}_{seed}"
    kept = run / "precision.json"
    if not kept.is_file():
        lists, before = folder / model / "lists", resource.getrusage(resource.RUSAGE_CHILDREN)
        python("train.py", "--config", preset(model, lists, folder), "--ckpt_save_dir", run, "--seed", seed,
               "--amp_level", level, "--resume", "auto", place=ROOT / model)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = python("eval.py", "--checkpoint_path", run / "best.ckpt", place=ROOT / model)
        score = re.search(SCORES[model][1], printed, re.MULTILINE)
        seconds = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
        kept.write_text(json.dumps({"score": float(score[1]), "minutes": seconds / 60}))
    return read_json(kept, "what precision.py keeps of a run")


def preset(model, lists, folder):
    """The mini preset of `model` with the lists and the corpus of `folder`."""
    text = read_text(ROOT / model / "configs/mini.yaml", "a preset")
    path = folder / model / "mini.yaml"
    path.write_text(text.replace("lists/mini", str(lists)).replace("../corpora/mini", str(folder / "mini")),
                    encoding="utf-8")
    return path


def python(*arguments, place):
    """What `python arguments` prints in the folder `place`, on a CPU."""
    environment = os.environ | {"DEVICE_TARGET": "CPU", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=place, env=environment, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
