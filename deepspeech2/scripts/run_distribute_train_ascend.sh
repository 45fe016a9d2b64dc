#!/usr/bin/env bash
# 多卡训练，每张卡一个进程，日志写入 train_parallel<rank>/train.log。用法：
#   bash scripts/run_distribute_train_ascend.sh RANK_TABLE_FILE [--dry_run] [--bind_cores] [train.py 的参数]
# 多机：每台机器设置 SERVER_ID=0、1……，第 0 台同时运行调度进程，端口 MS_SCHED_PORT，默认 8118，各机须能访问。
# 没有昇腾时 DEVICE_TARGET=CPU，按同一张表启动同样多的 CPU 进程；设置了 SERVER_ID 时只启动该机的。
set -euo pipefail
model=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH=${model%/*}${PYTHONPATH:+:$PYTHONPATH}
exec python "$model/../utils/launch.py" "$model" "$@"
