#!/usr/bin/env bash
# test/*.sh 所运行的命令，由 ../utils/recipe.sh 读入：LibriMix 脚本生成的目录，例如 Libri2Mix/wav8k/min。
# shellcheck disable=SC2034,SC2154
program=train.py
result="Average SISNR improvement"
lists=lists/test_librimix
train=(--config configs/librimix.yaml --train_dir "$lists/train-100.csv" --train_path "$data"
  --valid_dir "$lists/dev.csv" --valid_path "$data" --eval_dir "$lists/test.csv" --eval_path "$data"
  --ckpt_save_dir "runs/$name")
fast=(--max_steps 60 --valid_dir=)

prepare() {
  python prepare.py --corpus librimix --data_folder "$data" --output_folder "$lists" --resample false
}

score() {
  python eval.py --checkpoint_path "$1"
}
