#!/usr/bin/env bash
# What scripts/run_distribute_train_msrun.sh of every model does: msrun starts WORKER_NUM processes of train.py, on this
# server's devices 0 to WORKER_NUM - 1 or the first of ASCEND_RT_VISIBLE_DEVICES.
#   msrun.sh MODEL_FOLDER WORKER_NUM [flags of train.py]
# The environment is that of utils/launch.py, but for the rank table: ranks would be renumbered by one left in the shell.
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
unset RANK_TABLE_FILE MS_SCHED_HOST
export PYTHONPATH=${PWD%/*}${PYTHONPATH:+:$PYTHONPATH} DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
export MS_SCHED_PORT=${MS_SCHED_PORT:-${MASTER_PORT:-}} HCCL_CONNECT_TIMEOUT=${HCCL_CONNECT_TIMEOUT:-600}
if [ "$DEVICE_TARGET" = CPU ]; then     # the processes share the cores, and MindSpore's warnings hide everything else
  share=$(($(nproc) / workers))
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((share > 0 ? share : 1))} GLOG_v=${GLOG_v:-3}
fi
port=$(python -c 'from utils.errors import run
from utils.launching.cluster import check_free, local_scheduler
def main():
    scheduler = local_scheduler()
    check_free(scheduler.host, scheduler.port)
    print(scheduler.port)
run(main)')
exec msrun --worker_num="$workers" --local_worker_num="$workers" --master_port="$port" --log_dir=train_parallel \
  --cluster_time_out="${MS_TOPO_TIMEOUT:-600}" --join=True train.py --distribute true "$@"
