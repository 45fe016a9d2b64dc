#!/usr/bin/env bash
# test/*.sh 所运行的命令，由 ../utils/recipe.sh 读入：AN4，deepspeech.pytorch 的目录（an4_*_manifest.csv、an4_dataset/）。
# 批大小与学习率是移植版的 test/*.sh 所用的（AdamW，每卡 10 条，单卡 1.4e-4，8 卡 8e-4），不是文档参数表中的 240 与 1。
# shellcheck disable=SC2034,SC2154
program=train.py
result="Average WER"
lists=lists/an4_document
train=(--config configs/an4_full.yaml --train_manifest "$lists/train.json" --val_manifest "$lists/valid.json"
  --test_manifest "$lists/test.json" --minibatch_size 10 --ckpt_save_dir "runs/$name")
if [ "$size" = 1 ]; then
  train+=(--learning_rate 1.4e-4)
else
  train+=(--learning_rate "${size}e-4")
fi
if [ "$DEVICE_TARGET" != CPU ]; then
  train+=(--amp_level O2)
fi
fast=(--max_steps 60 --val_manifest=)

prepare() {
  python prepare.py --corpus deepspeech --data_folder "$data" --output_folder "$lists"
}

score() {
  python eval.py --checkpoint_path "$1"
}
