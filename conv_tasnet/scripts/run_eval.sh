#!/usr/bin/env bash
# MindSpore 文档的写法，见 run_eval_ascend.sh。不给检查点时使用文档配方的 runs/librimix_sgd/best.ckpt。用法：
#   bash scripts/run_eval.sh DEVICE_ID [PATH_CHECKPOINT [eval.py 的参数]]
set -euo pipefail
model=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 1 ]; then set -- "$1" "$model/runs/librimix_sgd/best.ckpt"; fi
exec bash "$model/scripts/run_eval_ascend.sh" "$@"
