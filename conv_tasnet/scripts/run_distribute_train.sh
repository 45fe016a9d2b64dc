#!/usr/bin/env bash
# MindSpore 文档的写法，见 run_distribute_train_ascend.sh。不给参数时使用文档的配方 configs/librimix_sgd.yaml。用法：
#   bash scripts/run_distribute_train.sh DEVICE_NUM DISTRIBUTE RANK_TABLE_FILE [train.py 的参数]
set -euo pipefail
if [ $# -lt 3 ] || ! [[ $1 =~ ^[0-9]+$ ]]; then
  echo "error: found '$*', expected DEVICE_NUM DISTRIBUTE RANK_TABLE_FILE [flags of train.py]" >&2
  exit 2
fi
model=$(cd "$(dirname "$0")/.." && pwd)
devices=$(PYTHONPATH=${model%/*}${PYTHONPATH:+:$PYTHONPATH} python -c 'import sys
from utils.errors import run
from utils.launching.rank_table import read_rank_table
run(lambda: print(len(read_rank_table(sys.argv[1]))))' "$3")
if [ "$devices" != "$1" ]; then
  echo "error: DEVICE_NUM: found $1, but $3 has $devices devices" >&2
  exit 2
fi
if [ $# -eq 3 ]; then set -- "$@" --config configs/librimix_sgd.yaml; fi
exec bash "$(dirname "$0")/run_distribute_train_ascend.sh" "${@:3}"
