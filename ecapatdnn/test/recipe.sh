#!/usr/bin/env bash
# test/*.sh 所运行的命令，由 ../utils/recipe.sh 读入：说话人识别，speaker_id.py 自己划分数据、训练并测试。
# shellcheck disable=SC2034,SC2154
program=speaker_id.py
result="Epoch loaded"
train=(--config configs/speaker_id.yaml --data_folder "$data")
fast=(--max_steps 60 --output_folder "results/speaker_id/$name")

prepare() {
  :
}

score() {
  :
}
