#!/usr/bin/env bash
# 单卡训练，日志写入 train.log。用法：
#   bash scripts/run_standalone_train_ascend.sh DEVICE_ID [train.py 的参数]
# 没有昇腾时在 CPU 上运行：DEVICE_TARGET=CPU bash scripts/run_standalone_train_ascend.sh 0 --config configs/mini.yaml
set -euo pipefail
exec bash "$(dirname "$0")/../../utils/standalone.sh" "$0" "$@"
