#!/usr/bin/env bash
# 在开放语料上训练并在六种条件下评估（RESULTS_CN.md 的结果表）；给出检查点时不训练，只评估。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。
# PRESET=open_speech_noisy 为噪声模型，分两步，第二步加上模拟房间（需要 pyroomacoustics）；
# open_speech_causal 为因果模型，分四步。用法：
#   bash scripts/results_open_speech.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder of all corpora}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
preset=${PRESET:-open_speech} lists=lists/open_speech
case $preset in
  open_speech) run=runs/open_speech_sixth ;;
  open_speech_noisy) run=runs/open_speech_noisy_again ;;
  open_speech_causal) run=runs/open_speech_causal_fourth ;;
  *) echo "error: PRESET: found $preset, expected open_speech, open_speech_noisy or open_speech_causal" >&2; exit 2 ;;
esac
checkpoint=${1:-$run/best.ckpt}
"$python" prepare.py --corpus open_speech --data_folder "$SPEECH_DATA" --output_folder $lists
if [ $# = 0 ]; then
  bash scripts/results_librispeech_an4.sh       # 从它的权重开始；已完成的训练不会重做
  "$python" train.py --config open_speech --amp_level bf16 --resume auto
  "$python" train.py --config open_speech --amp_level bf16 --resume auto --initial_model runs/open_speech/best.ckpt \
    --ckpt_save_dir runs/open_speech_again --lr 0.0012 --num_epochs 8
  "$python" train.py --config open_speech --amp_level bf16 --resume auto --initial_model runs/open_speech_again/best.ckpt \
    --ckpt_save_dir runs/open_speech_final --lr 0.0008 --num_epochs 5 --seed 2 \
    --segment 3 --minibatch_size 3 --mixtures_per_epoch 3600
  validation() {        # 文件夹、选项：与训练条件相同的验证混合
    "$python" remix.py --config "$preset" --eval_dir $lists/valid.csv --eval_path $lists/wav --output_folder "$@"
  }
  if [ "$preset" = open_speech_noisy ]; then
    validation $lists/valid_noisy
  fi
  if [ "$preset" = open_speech ]; then
    "$python" train.py --config open_speech --amp_level bf16 --resume auto --initial_model runs/open_speech_final/best.ckpt \
      --ckpt_save_dir "$run" --lr 0.001 --num_epochs 6 --seed 4 --segment 3 --minibatch_size 3 --mixtures_per_epoch 3600
  else                  # 另外两个模型从第五步的权重开始
    "$python" train.py --config "$preset" --amp_level bf16 --resume auto
  fi
  if [ "$preset" = open_speech_noisy ]; then
    rooms=$lists/wav/simulated
    "$python" -m utils.corpora.simulate_rooms --output_folder $rooms --scene_path $lists/wav --rooms 300 \
      --sample_rate 8000 --room_list $lists/rooms_train.txt
    again=(--noise_share 0.5 --room_share 0.5 --room_list "$rooms/rooms.txt")
    validation $lists/valid_rooms "${again[@]}"
    "$python" train.py --config "$preset" --amp_level bf16 --resume auto "${again[@]}" \
      --initial_model runs/open_speech_noisy/best.ckpt --ckpt_save_dir "$run" --num_epochs 8 --seed 1 \
      --valid_dir $lists/valid_rooms/mixtures.csv --valid_path $lists/valid_rooms
  fi
  if [ "$preset" = open_speech_causal ]; then
    "$python" train.py --config "$preset" --amp_level bf16 --resume auto --lr 0.0015 --num_epochs 6 --seed 2 \
      --initial_model runs/open_speech_causal/best.ckpt --ckpt_save_dir runs/open_speech_causal_again
    "$python" train.py --config "$preset" --amp_level bf16 --resume auto --lr 0.0015 --seed 3 \
      --initial_model runs/open_speech_causal_again/best.ckpt --ckpt_save_dir runs/open_speech_causal_third
    "$python" train.py --config "$preset" --amp_level bf16 --resume auto --lr 0.0015 --num_epochs 8 --seed 4 \
      --initial_model runs/open_speech_causal_third/best.ckpt --ckpt_save_dir "$run"
  fi
fi
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
