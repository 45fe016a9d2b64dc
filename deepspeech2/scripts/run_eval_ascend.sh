#!/usr/bin/env bash
# 评估，日志写入 eval.log（cat eval.log | grep WER）。用法：
#   bash scripts/run_eval_ascend.sh DEVICE_ID PATH_CHECKPOINT [eval.py 的参数]
# 没有昇腾时在 CPU 上运行：DEVICE_TARGET=CPU bash scripts/run_eval_ascend.sh 0 runs/mini/best.ckpt
set -euo pipefail
exec bash "$(dirname "$0")/../../utils/standalone.sh" "$0" "$@"
