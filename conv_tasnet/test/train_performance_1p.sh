#!/usr/bin/env bash
# 单卡性能：训练 60 步（--max_steps），输出 FPS，日志写入 test/output/train_performance_1p.log。在模型目录中运行：
#   bash ./test/train_performance_1p.sh --data_path=Libri2Mix/wav8k/min [train.py 的参数]
# 没有昇腾：DEVICE_TARGET=CPU。
set -euo pipefail
exec bash "$(dirname "$0")/../../utils/recipe.sh" "$0" "$@"
