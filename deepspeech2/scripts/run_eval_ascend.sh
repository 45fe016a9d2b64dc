#!/usr/bin/env bash
# 评估，日志写入 eval.log（cat eval.log | grep WER）。用法：
#   bash scripts/run_eval_ascend.sh DEVICE_ID PATH_CHECKPOINT [eval.py 的参数]
# 没有昇腾时在 CPU 上运行：DEVICE_TARGET=CPU bash scripts/run_eval_ascend.sh 0 runs/mini/best.ckpt
set -euo pipefail
if ! [[ ${1:-} =~ ^[0-9]+$ ]] || [ ! -f "${2:-}" ]; then
  echo "error: found '${1:-}' '${2:-}', expected a device number and a checkpoint file;" \
    "usage: bash $0 DEVICE_ID PATH_CHECKPOINT [flags of eval.py]" >&2
  exit 2
fi
export DEVICE_ID=$1 DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
checkpoint=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."
export PYTHONPATH=${PWD%/*}${PYTHONPATH:+:$PYTHONPATH}
python eval.py --checkpoint_path "$checkpoint" "$@" 2>&1 | tee eval.log
