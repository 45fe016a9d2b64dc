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
if [ "$DEVICE_TARGET" = CPU ]; then     # the processes share the cores, and MindSpore's warnings hide everything else
  share=$(($(nproc) / workers))
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((share > 0 ? share : 1))} GLOG_v=${GLOG_v:-3}
fi
exec msrun --worker_num="$workers" --local_worker_num="$workers" --master_port="${MASTER_PORT:-8118}" \
  --log_dir=train_parallel --join=True train.py --distribute true "$@"
