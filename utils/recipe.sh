#!/usr/bin/env bash
# What test/train_{full,performance}_{1p,8p}.sh of every model do; the log is test/output/<name of the script>.log.
#   recipe.sh SCRIPT --data_path DIR [--rank_size N] [--rank_table FILE] [flags of the training program]
# test/recipe.sh of the model says what to run on the folder $data: `program` with the flags `train`, in performance mode
# `fast` too; prepare before it and, after a full training, score with its best checkpoint; `result`, the line to end with.
set -euo pipefail
model=$(cd "$(dirname "$1")/.." && pwd)
name=$(basename "$1" .sh)
shift
usage="usage: bash ./test/$name.sh --data_path=DIR [--rank_size=N] [--rank_table=FILE] [flags of the training program]"

fail() {
  echo "error: $1" >&2
  exit 2
}

data="" size="" table=${RANK_TABLE_FILE:-} flags=()
while [ $# -gt 0 ]; do
  case $1 in
    --data_path | --data_folder | --rank_size | --rank_table)
      [ $# -gt 1 ] || fail "$1: no value; $usage"
      set -- "$1=$2" "${@:3}"
      continue ;;
    --data_path=* | --data_folder=*) data=${1#*=} ;;
    --rank_size=*) size=${1#*=} ;;
    --rank_table=*) table=${1#*=} ;;
    *) flags+=("$1") ;;
  esac
  shift
done
[ -n "$data" ] || fail "data_path: not set; $usage"
[ -d "$data" ] || fail "data_path: $data: no such folder; $usage"
data=$(realpath -- "$data")
table=${table:+$(realpath -- "$table")}
output=$model/test/output
mkdir -p "$output"
cd "$model"
export PYTHONPATH=${model%/*}${PYTHONPATH:+:$PYTHONPATH} DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
hccl=(python ../utils/hccl_tools.py)

# The number of devices in the table, else that of an Ascend server; on a CPU as many processes as there are cores.
count_devices() {
  if [ -n "$table" ]; then
    "${hccl[@]}" --check "$table" | sed 's/.*, \([0-9]*\) devices$/\1/'
  elif [ "$DEVICE_TARGET" != CPU ] || [ "$(nproc)" -ge 8 ]; then
    echo 8
  elif [ "$(nproc)" -ge 4 ]; then
    echo 4
  else
    echo 2
  fi
}

# Prints the path of a table of $size devices of this server; on a CPU, which has none, their number is all that counts.
make_table() {
  local options=()
  if [ "$DEVICE_TARGET" = CPU ]; then
    for ((i = 0; i < size; i++)); do echo "address_$i=127.0.0.$((i + 1))"; done > "$output/hccn.conf"
    options=(--hccn_conf "$output/hccn.conf" --server_ip 127.0.0.1)
  fi
  "${hccl[@]}" --device_num "[0,$size)" --output_dir "$output" "${options[@]}" | sed 's/: [0-9]* devices$//'
}

# run_training PROGRAM [flags]: by one process, or by $size; a program other than train.py starts those itself
run_training() {
  if [ "$size" = 1 ]; then
    python "$@"
  elif [ "$1" = train.py ]; then
    python ../utils/launch.py "$model" "$table" "${@:2}"
  else
    python "$@" --rank_size "$size"
  fi
}

case $name in
  *_1p)
    [ "${size:-1}" = 1 ] || fail "rank_size: found $size, expected 1; ${name%1p}8p.sh trains on several devices"
    size=1 table="" ;;
  *) if [ -z "$size" ] || [ -n "$table" ]; then size=$(count_devices); fi ;;
esac
[[ $size =~ ^[1-9][0-9]*$ ]] || fail "rank_size: found $size, expected a number of processes; $usage"
program="" train=() fast=()
# shellcheck source=/dev/null
source test/recipe.sh
if [ "$size" != 1 ] && [ -z "$table" ] && [ "$program" = train.py ]; then
  table=$(make_table)
fi
log=$output/$name.log

training() {
  prepare
  case $name in
    train_performance_*)
      rm -rf "runs/$name" "results/speaker_id/$name"     # a measurement leaves no run to keep
      run_training "$program" "${train[@]}" "${fast[@]}" "${flags[@]}" ;;
    *) run_training "$program" "${train[@]}" "${flags[@]}" ;;
  esac
}

training 2>&1 | tee "$log"
case $name in
  train_performance_*) result=FPS: ;;
  *)
    best=$(sed -n 's/.* finished: best epoch [0-9]*, //p' "$log" | tail -n 1)
    score "$best" 2>&1 | tee -a "$log" ;;
esac
last=$(grep -o "$result.*" "$log" | tail -n 1) || fail "$log: no line with '$result'; see what the training printed"
echo "$last" | tee -a "$log"
