#!/usr/bin/env bash
# 在开放语料上训练并在六种条件下评估（RESULTS_CN.md 的结果表）；给出检查点时不训练，只评估。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。
# PRESET=open_speech_noisy 为噪声模型，分三步，从第二步起加上模拟房间（需要 pyroomacoustics）；
# open_speech_causal 为因果模型，分四步。用法：
#   bash scripts/results_open_speech.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder of all corpora}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python preset=${PRESET:-open_speech} lists=lists/open_speech sixth=runs/open_speech_sixth
train() { "$python" train.py --config "$preset" --amp_level bf16 --resume auto "$@"; }
more() {        # 开始时的检查点、这一步的文件夹、其余选项
  train --initial_model "$1" --ckpt_save_dir "$2" "${@:3}"
}
clean() {       # 同上，默认模型的一步
  preset=open_speech more "$@"
}
long=(--segment 3 --minibatch_size 3 --mixtures_per_epoch 3600)     # 混合长 3 秒
five() {        # 三个模型共有的前五步；第一、二步在另一个脚本里，已完成的训练不会重做
  bash scripts/results_librispeech_an4.sh
  preset=open_speech train
  clean runs/open_speech/best.ckpt runs/open_speech_again --lr 0.0012 --num_epochs 8
  clean runs/open_speech_again/best.ckpt runs/open_speech_final --lr 0.0008 --num_epochs 5 --seed 2 "${long[@]}"
}
six() {
  five
  clean runs/open_speech_final/best.ckpt $sixth --lr 0.001 --num_epochs 6 --seed 4 "${long[@]}"
}
validation() {        # 文件夹、选项：与训练条件相同的验证混合
  "$python" remix.py --config "$preset" --eval_dir $lists/valid.csv --eval_path $lists/wav --output_folder "$@"
}
case $preset in
  open_speech)
    checkpoint=$sixth/best.ckpt
    stages() { six; } ;;
  open_speech_noisy)
    checkpoint=runs/open_speech_noisy_third/with_sixth.ckpt
    stages() {
      local rooms=$lists/wav/simulated second=runs/open_speech_noisy_again third=runs/open_speech_noisy_third
      local shares=(--noise_share 0.5 --room_share 0.5 --room_list "$rooms/rooms.txt")
      local conditions=("${shares[@]}" --valid_dir "$lists/valid_rooms/mixtures.csv" --valid_path "$lists/valid_rooms")
      six
      validation $lists/valid_noisy
      train
      "$python" -m utils.corpora.simulate_rooms --output_folder "$rooms" --scene_path $lists/wav --rooms 300 \
        --sample_rate 8000 --room_list $lists/rooms_train.txt
      validation $lists/valid_rooms "${shares[@]}"
      more runs/open_speech_noisy/best.ckpt $second --num_epochs 8 --seed 1 "${conditions[@]}"
      "$python" -m utils.average $second/best.ckpt $sixth/best.ckpt --weights 0.65 0.35 --output $second/with_sixth.ckpt
      more $second/with_sixth.ckpt $third --num_epochs 6 --seed 2 "${conditions[@]}"
      "$python" -m utils.average $third --num 4
      "$python" -m utils.average $third/average.ckpt $sixth/best.ckpt --weights 0.9 0.1 --output "$checkpoint"
    } ;;
  open_speech_causal)
    checkpoint=runs/open_speech_causal_fourth/best.ckpt
    stages() {
      five
      train
      more runs/open_speech_causal/best.ckpt runs/open_speech_causal_again --lr 0.0015 --num_epochs 6 --seed 2
      more runs/open_speech_causal_again/best.ckpt runs/open_speech_causal_third --lr 0.0015 --seed 3
      more runs/open_speech_causal_third/best.ckpt runs/open_speech_causal_fourth --lr 0.0015 --num_epochs 8 --seed 4
    } ;;
  *) echo "error: PRESET: found $preset, expected open_speech, open_speech_noisy or open_speech_causal" >&2; exit 2 ;;
esac
"$python" prepare.py --corpus open_speech --data_folder "$SPEECH_DATA" --output_folder $lists
if [ $# = 0 ]; then stages; else checkpoint=$1; fi
remix() {       # 名称、选项：测试集的 677 行在另一种条件下
  "$python" remix.py --eval_dir $lists/test.csv --eval_path "$SPEECH_DATA" --output_folder "$lists/test_$1" \
    --noise_list $lists/noise_test.txt --room_list $lists/rooms_test.txt --scene_path $lists/wav --loss snr \
    --gain_range 0 --one_voice_share 0 --partial_share 0 --noise_share 0 --room_share 0 "${@:2}"
}
remix uneven --gain_range 5
remix sparse --partial_share 1
remix one --one_voice_share 1
remix noise --noise_share 1
remix noisy --noise_share 1 --room_share 1
"$python" eval.py --checkpoint_path "$checkpoint" --eval_dir $lists/test.csv --eval_path "$SPEECH_DATA" --amp_level O0
for condition in uneven sparse one noise noisy; do
  "$python" eval.py --checkpoint_path "$checkpoint" --eval_dir "$lists/test_$condition/mixtures.csv" \
    --eval_path "$lists/test_$condition" --amp_level O0 --output_folder "$(dirname "$checkpoint")/eval_$condition"
done
