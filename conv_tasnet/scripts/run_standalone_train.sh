#!/usr/bin/env bash
# MindSpore 文档的写法，见 run_standalone_train_ascend.sh。不给参数时使用文档的配方 configs/librimix_sgd.yaml。用法：
#   bash scripts/run_standalone_train.sh DEVICE_ID [train.py 的参数]
set -euo pipefail
if [ $# -eq 1 ]; then set -- "$1" --config configs/librimix_sgd.yaml; fi
exec bash "$(dirname "$0")/run_standalone_train_ascend.sh" "$@"
