#!/usr/bin/env bash
# 用 C++ 程序推理并打分，结果写入 acc.log（Average WER ... Average CER ...）。用法：
#   bash scripts/run_infer_310.sh MINDIR_PATH DATA_PATH [NEED_PREPROCESS y|n] [DEVICE_ID]
# DATA_PATH：清单，或 .bin 文件夹。没有昇腾时：DEVICE_TARGET=CPU，
# MINDIR 用 export.py --runtime lite2.0-cpu 导出；昇腾上用 ascend，MindSpore Lite 2.0 用 lite2.0-ascend。
set -euo pipefail
model=$(cd "$(dirname "$0")/.." && pwd)
exec bash "$model/../ascend310_infer/infer.sh" "$model" test_manifest "$@"
