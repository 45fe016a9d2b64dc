#!/usr/bin/env bash
# 8 卡精度：训练并评估，日志写入 test/output/train_full_8p.log。在模型目录中运行：
#   bash ./test/train_full_8p.sh --data_path=./data/ [--rank_size=N] [train.py 的参数]
# 昇腾：按 RANK_TABLE_FILE（或 --rank_table）的表，没有则用 hccl_tools.py 生成 8 卡的表。
# 没有昇腾：DEVICE_TARGET=CPU，进程数取自 CPU 核数（2、4 或 8）或 --rank_size。
set -euo pipefail
exec bash "$(dirname "$0")/../../utils/recipe.sh" "$0" "$@"
