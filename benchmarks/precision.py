"""Scores after the same training in float32 and in bfloat16, several seeds: each model's mini preset, and CMU AN4.

    python benchmarks/precision.py FOLDER [--trainings ecapatdnn an4 ...] [--seeds 1 2 3]

AN4 is read from $SPEECH_DATA/an4, and left out where SPEECH_DATA is not set. FOLDER keeps the mini corpus, the runs and
what each has scored: what is there already is not done again, so that a table can be made in several sittings. A row is
the mean over the seeds and, after ±, the standard deviation of one.
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
from typing import NamedTuple

from side_by_side import ROOT

from utils.texts import read_json, read_text

LEVELS = {"float32": "O0", "bfloat16": "bf16"}


class Training(NamedTuple):
    """What is trained and scored."""

    model: str
    preset: str                 # of its configs/
    data: str                   # what --data_folder of prepare.py is; "": the mini corpus
    flags: tuple[str, ...]      # of train.py, beyond the preset
    score: str
    printed: str                # by eval.py


TRAININGS = {
    "ecapatdnn": Training("ecapatdnn", "mini", "", (), "EER, %", r"^EER = ([\d.]+)%"),
    "conv_tasnet": Training("conv_tasnet", "mini", "", (), "SI-SNRi, dB", r"^Average SISNR improvement: (\S+)"),
    "deepspeech2": Training("deepspeech2", "mini", "", (), "WER, %", r"^Average WER (\S+) Average CER"),
    # a sixth of the preset's epochs, so the learning rate falls sooner
    "an4": Training("deepspeech2", "an4", "an4", ("--num_epochs", "4", "--learning_anneal", "0.6", "--mask_from", "0"),
                    "WER, %", r"^Average WER (\S+) Average CER"),
}


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trainings", nargs="+", default=list(TRAININGS), choices=TRAININGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    args = parser.parse_args()
    folder = args.folder.resolve()
    print("| | seeds | " + " | ".join(f"{name} | CPU minutes" for name in LEVELS) + " |")
    print("|---" * (2 + 2 * len(LEVELS)) + "|", flush=True)
    for name in args.trainings:
        training = TRAININGS[name]
        if training.data and "SPEECH_DATA" not in os.environ:
            print(f"SPEECH_DATA is not set: {name} is left out", file=sys.stderr)
            continue
        config = prepared(training, folder, folder / name)
        cells = []
        for level in LEVELS.values():
            runs = [trained(training, config, folder / name / f"{level}_{seed}", level, seed) for seed in args.seeds]
            scores = [run["score"] for run in runs]
            spread = f" ± {statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
            minutes = statistics.mean(run["minutes"] for run in runs)
            cells.append(f"{statistics.mean(scores):.2f}{spread} | {minutes:.1f}")
        print(f"| {name}: {training.score} | {len(args.seeds)} | {' | '.join(cells)} |", flush=True)


def prepared(training, folder, place):
    """The path of the preset in `place`, with the lists and the corpus that are made there."""
    data, lists = folder / "mini", place / "lists"
    if training.data:
        data = Path(os.environ["SPEECH_DATA"], training.data)
    else:
        python("-m", "utils.mini_corpus", data, place=ROOT)
    python("prepare.py", "--corpus", training.preset, "--data_folder", data, "--output_folder", lists,
           place=ROOT / training.model)
    text = read_text(ROOT / training.model / "configs" / f"{training.preset}.yaml", "a preset")
    path = place / f"{training.preset}.yaml"
    path.write_text(text.replace(f"lists/{training.preset}", str(lists)).replace("../corpora/mini", str(data)),
                    encoding="utf-8")
    return path


def trained(training, config, run, level, seed):
    """{score of eval.py, minutes of processor time of the training} of a run, which is made if it is not there."""
    kept, place = run / "precision.json", ROOT / training.model
    if not kept.is_file():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python("train.py", "--config", config, "--ckpt_save_dir", run, "--seed", seed, "--amp_level", level,
               "--resume", "auto", *training.flags, place=place)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = python("eval.py", "--checkpoint_path", run / "best.ckpt", place=place)
        score = re.search(training.printed, printed, re.MULTILINE)
        seconds = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
        kept.write_text(json.dumps({"score": float(score[1]), "minutes": seconds / 60}))
    return read_json(kept, "what precision.py keeps of a run")


def python(*arguments, place):
    """What `python arguments` prints in the folder `place`, on a CPU."""
    environment = os.environ | {"DEVICE_TARGET": "CPU", "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=place, env=environment, check=True, text=True,
                          stdout=subprocess.PIPE).stdout


if __name__ == "__main__":
    main()
