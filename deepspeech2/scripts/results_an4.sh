#!/usr/bin/env bash
# 在 AN4 上训练并评估：先留出 8 个说话人作开发集（单独，再与 LibriSpeech dev-clean 一起，再单独），由此选定一切，最后用全部训练说话人
# 再来一遍，末一步用三个随机种子，取权重的平均；给出检查点时不训练，只评估（RESULTS_CN.md）。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。用法：
#   bash scripts/results_an4.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder with an4/ and librispeech/}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
checkpoint=${1:-runs/an4_all_1/average.ckpt}
weights=()      # 语言模型的 alpha 与 beta：检查点自带
"$python" prepare.py --corpus an4 --data_folder "$SPEECH_DATA/an4" --output_folder lists/an4_all --lm 4 --valid_speakers 0
if [ $# = 0 ]; then
  "$python" prepare.py --corpus an4 --data_folder "$SPEECH_DATA/an4" --output_folder lists/an4 --lm 4
  "$python" prepare.py --corpus librispeech_an4 --data_folder "$SPEECH_DATA" --output_folder lists/librispeech_an4
  "$python" train.py --config configs/an4.yaml --resume auto
  "$python" -m utils.average runs/an4 --num 5
  "$python" train.py --config configs/librispeech_an4.yaml --resume auto
  "$python" -m utils.average runs/librispeech_an4 --num 3
  "$python" train.py --config configs/an4.yaml --initial_model runs/librispeech_an4/average.ckpt \
    --learning_rate 0.0002 --learning_anneal 0.88 --mask_from 1 --num_epochs 10 --resume auto \
    --ckpt_save_dir runs/an4_again
  "$python" -m utils.average runs/an4_again --num 5
  "$python" eval.py --checkpoint_path runs/an4_again/average.ckpt --test_manifest lists/an4/valid.json --save_log_probs true
  "$python" lm.py tune --log_probs runs/an4_again/eval_valid/log_probs.npz --lm lists/an4/lm.arpa --alpha_steps 9 --width 100
  weights=(--config runs/an4_again/eval_valid/lm.json)
  "$python" prepare.py --corpus librispeech_an4 --data_folder "$SPEECH_DATA" --output_folder lists/librispeech_an4_all \
    --valid_speakers 0
  "$python" train.py --config configs/librispeech_an4.yaml --initial_model runs/an4_again/average.ckpt \
    --train_manifest lists/librispeech_an4_all/train.json --val_manifest= --seed 1 \
    --learning_rate 0.0003 --learning_anneal 0.85 --num_epochs 5 --resume auto --ckpt_save_dir runs/librispeech_an4_all
  "$python" -m utils.average runs/librispeech_an4_all --num 3
  for seed in 1 2 3; do
    "$python" train.py --config configs/an4.yaml --initial_model runs/librispeech_an4_all/average.ckpt \
      --train_manifest lists/an4_all/train.json --val_manifest= --seed $seed \
      --learning_rate 0.0002 --learning_anneal 0.85 --mask_from 1 --num_epochs 7 --resume auto \
      --ckpt_save_dir runs/an4_all_$seed
  done
  "$python" -m utils.average runs/an4_all_{1,2,3} --num 5
fi
"$python" eval.py --checkpoint_path "$checkpoint" --test_manifest lists/an4_all/test.json
"$python" eval.py --checkpoint_path "$checkpoint" --test_manifest lists/an4_all/test.json "${weights[@]}" \
  --lm_path lists/an4_all/lm.arpa
