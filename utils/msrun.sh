#!/usr/bin/env bash
# What scripts/run_distribute_train_msrun.sh of every model does: msrun starts WORKER_NUM processes of train.py.
#   msrun.sh MODEL_FOLDER WORKER_NUM [flags of train.py]
set -euo pipefail
model=$1
shift
if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
  echo "error: WORKER_NUM: found '${1:-}', expected a number; usage: bash run_distribute_train_msrun.sh WORKER_NUM" \
    "[flags of train.py]" >&2
  exit 2
fi
workers=$1
shift
cd "$model"
export PYTHONPATH=${PWD%/*}${PYTHONPATH:+:$PYTHONPATH} DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
exec msrun --worker_num="$workers" --local_worker_num="$workers" --master_port="${MASTER_PORT:-8118}" \
  --log_dir=train_parallel --join=True train.py --distribute true "$@"
