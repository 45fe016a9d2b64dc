#!/usr/bin/env bash
# What scripts/run_standalone_train_ascend.sh and scripts/run_eval_ascend.sh of every model do: one program on one device,
# what it prints in a log of the model's folder too.
#   standalone.sh SCRIPT DEVICE_ID [flags of train.py]                      train.log
#   standalone.sh SCRIPT DEVICE_ID PATH_CHECKPOINT [flags of eval.py]       eval.log
set -euo pipefail
script=$1
shift
case ${script##*/} in
  run_standalone_train_*)
    program="train"
    if ! [[ ${1:-} =~ ^[0-9]+$ ]]; then
      echo "error: DEVICE_ID: found '${1:-}', expected a number; usage: bash $script DEVICE_ID [flags of train.py]" >&2
      exit 2
    fi ;;
  run_eval_*)
    program="eval"
    if ! [[ ${1:-} =~ ^[0-9]+$ ]] || [ ! -f "${2:-}" ]; then
      echo "error: found '${1:-}' '${2:-}', expected a device number and a checkpoint file;" \
        "usage: bash $script DEVICE_ID PATH_CHECKPOINT [flags of eval.py]" >&2
      exit 2
    fi
    set -- "$1" --checkpoint_path "$(realpath --no-symlinks -- "$2")" "${@:3}" ;;
  *)
    echo "error: $script: found another name, expected run_standalone_train_*.sh or run_eval_*.sh" >&2
    exit 2 ;;
esac
export DEVICE_ID=$1 DEVICE_TARGET=${DEVICE_TARGET:-Ascend}
shift
cd "$(dirname "$script")/.."
export PYTHONPATH=${PWD%/*}${PYTHONPATH:+:$PYTHONPATH}
python "$program.py" "$@" 2>&1 | tee "$program.log"
