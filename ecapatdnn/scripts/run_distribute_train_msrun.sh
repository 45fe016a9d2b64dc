#!/usr/bin/env bash
# 多卡训练，不需要 rank table，由 msrun 启动，日志写入 train_parallel/worker_<rank>.log。用法：
#   bash scripts/run_distribute_train_msrun.sh WORKER_NUM [train.py 的参数]
# 使用第 0 至 WORKER_NUM - 1 张卡；其他卡：ASCEND_RT_VISIBLE_DEVICES=4,5,6,7。没有昇腾时：DEVICE_TARGET=CPU。
# 端口 MS_SCHED_PORT，默认取空闲的。
set -euo pipefail
model=$(cd "$(dirname "$0")/.." && pwd)
exec bash "$model/../utils/msrun.sh" "$model" "$@"
