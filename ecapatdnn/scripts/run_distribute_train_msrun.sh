#!/usr/bin/env bash
# 多卡训练，不需要 rank table，由 msrun 启动，日志写入 train_parallel/worker_<rank>.log。用法：
#   bash scripts/run_distribute_train_msrun.sh WORKER_NUM [train.py 的参数]
# 没有昇腾时：DEVICE_TARGET=CPU。端口 MASTER_PORT，默认 8118。
set -euo pipefail
if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  echo "error: WORKER_NUM: found '${1:-}', expected a number; usage: bash $0 WORKER_NUM [flags of train.py]" >&2
  exit 2
fi
workers=$1
shift
cd "$(dirname "$0")/.."
export PYTHONPATH=${PWD%/*}${PYTHONPATH:+:$PYTHONPATH} DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
exec msrun --worker_num="$workers" --local_worker_num="$workers" --master_port="${MASTER_PORT:-8118}" \
  --log_dir=train_parallel --join=True train.py --distribute true "$@"
