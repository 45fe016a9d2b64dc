#!/usr/bin/env bash
# 单卡训练，日志写入 train.log。用法：
#   bash scripts/run_standalone_train_ascend.sh DEVICE_ID [train.py 的参数]
# 没有昇腾时在 CPU 上运行：DEVICE_TARGET=CPU bash scripts/run_standalone_train_ascend.sh 0 --config configs/mini.yaml
set -euo pipefail
if ! [[ ${1:-} =~ ^[0-9]+$ ]]; then
  echo "error: DEVICE_ID: found '${1:-}', expected a number; usage: bash $0 DEVICE_ID [flags of train.py]" >&2
  exit 2
fi
export DEVICE_ID=$1 DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
shift
cd "$(dirname "$0")/.."
export PYTHONPATH=${PWD%/*}${PYTHONPATH:+:$PYTHONPATH}
python train.py "$@" 2>&1 | tee train.log
