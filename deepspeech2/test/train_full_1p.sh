#!/usr/bin/env bash
# 单卡精度：训练并评估，日志写入 test/output/train_full_1p.log。在模型目录中运行：
#   bash ./test/train_full_1p.sh --data_path=./data/ [train.py 的参数]
# 没有昇腾：DEVICE_TARGET=CPU。
set -euo pipefail
exec bash "$(dirname "$0")/../../utils/recipe.sh" "$0" "$@"
