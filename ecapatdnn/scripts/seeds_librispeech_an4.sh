#!/usr/bin/env bash
# 同一训练用几个随机种子各做一遍并评估，给出均值与标准差（RESULTS.md）。需要环境变量 SPEECH_DATA；中断后再次运行会接着做。用法：
#   bash scripts/seeds_librispeech_an4.sh [SEED...]      默认 0 1 2，单核每个约 80 分钟
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder with librispeech/, an4/, noise/ and rir/}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
seeds=("$@")
[ $# -gt 0 ] || seeds=(0 1 2)
"$python" prepare.py --corpus librispeech_an4 --data_folder "$SPEECH_DATA" --output_folder lists/librispeech_an4
for seed in "${seeds[@]}"; do
  folder=runs/seeds/$seed
  if [ ! -f "$folder/eval.txt" ]; then
    "$python" train.py --config configs/librispeech_an4.yaml --seed "$seed" --resume auto --ckpt_save_dir "$folder"
    bash scripts/results_librispeech_an4.sh "$folder/best.ckpt" | tee "$folder/eval.part"
    mv "$folder/eval.part" "$folder/eval.txt"
  fi
done
"$python" - "${seeds[@]}" << 'END'
import csv
import re
import statistics
import sys
from pathlib import Path

import numpy as np

from ecapatdnn.src.metric import equal_error_rate, error_rates, read_trials


def fused(name, kind):
    """EER in % of the mean of all seeds' scores."""
    scores = [np.loadtxt(run / f"eval_{name}" / f"scores_{kind}.txt", usecols=0) for run in runs]
    target = read_trials(f"lists/librispeech_an4/{name}.txt").target
    return 100 * equal_error_rate(error_rates(target, np.mean(scores, axis=0)))[0]


runs = [Path("runs/seeds", seed) for seed in sys.argv[1:]]
print("EER %     valid      all  AS-norm    cross  AS-norm      AN4  AS-norm")
found = []
for run in runs:
    with open(run / "metrics.csv", newline="") as file:
        valid = min(float(row["valid_eer"]) for row in csv.DictReader(file) if row["valid_eer"])
    found.append([valid, *map(float, re.findall(r"EER = ([\d.]+)", (run / "eval.txt").read_text()))])
    print(f"seed {run.name:<2}", *(f"{eer:>7.2f}" for eer in found[-1]), sep="  ")
if len(found) > 1:
    for name, function in (("mean", statistics.mean), ("std", statistics.stdev)):
        print(f"{name:<7}", *(f"{function(column):>7.2f}" for column in zip(*found)), sep="  ")
    eers = (fused(name, kind) for name in ("dev_clean_all", "dev_clean_cross", "an4_test")
            for kind in ("cosine", "AS-norm"))
    print(f"{'fused':<16}", *(f"{eer:>7.2f}" for eer in eers), sep="  ")
END
