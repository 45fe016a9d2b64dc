#!/usr/bin/env bash
# 在真实语音上训练（第二次用新的混合，从第一次的权重开始）并评估；给出检查点时不训练，只评估（RESULTS_CN.md 的结果表）。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。用法：
#   bash scripts/results_librispeech_an4.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder with librispeech/ and lists/}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
checkpoint=${1:-runs/librispeech_an4_again/best.ckpt}
"$python" prepare.py --corpus librispeech_an4 --data_folder "$SPEECH_DATA" --output_folder lists/librispeech_an4
if [ $# = 0 ]; then
  "$python" train.py --config configs/librispeech_an4.yaml --resume auto
  "$python" train.py --config configs/librispeech_an4.yaml --initial_model runs/librispeech_an4/best.ckpt --seed 1 \
    --lr 0.002 --num_epochs 32 --resume auto --ckpt_save_dir runs/librispeech_an4_again
fi
"$python" eval.py --checkpoint_path "$checkpoint" --eval_path "$SPEECH_DATA"
