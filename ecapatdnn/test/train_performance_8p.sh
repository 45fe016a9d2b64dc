#!/usr/bin/env bash
# 8 卡性能：训练 60 步（--max_steps），输出 FPS，日志写入 test/output/train_performance_8p.log。在模型目录中运行：
#   bash ./test/train_performance_8p.sh --data_folder=./data [--rank_size=N] [speaker_id.py 的参数]
# 昇腾：8 个进程。没有昇腾：DEVICE_TARGET=CPU，进程数取自 CPU 核数（2、4 或 8）或 --rank_size。
set -euo pipefail
exec bash "$(dirname "$0")/../../utils/recipe.sh" "$0" "$@"
