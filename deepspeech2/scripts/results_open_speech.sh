#!/usr/bin/env bash
# 在开放语料上训练通用英语模型并评估：先贪心解码，再加训练文本的 3 元语言模型，其权重在开发集上选定。训练分四步，每步从上一步的权重开始：
# 第二步不加掩蔽、噪声更少，第三、四步从头加掩蔽。PRESET=open_speech_streaming 为实时识别的单向模型，从附带的 english 开始，分两步；
# PRESET=open_speech_spelled 为拼读与数字的模型，从附带的 english 开始，只有一步，用全部说话人，不再留开发集。
# 给出检查点时不训练，只评估。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。用法：
#   bash scripts/results_open_speech.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder of all corpora}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python preset=${PRESET:-open_speech} lists=lists/open_speech
lm=$lists/lm.arpa parts=(an4_test alphanumeric dev-clean)
train() { "$python" train.py --config "$preset" --amp_level bf16 --resume auto "$@"; }
more() {        # 上一步的文件夹、这一步的名称、其余选项：从上一步最后三轮权重的平均开始
  "$python" -m utils.average "$1" --num 3
  train --initial_model "$1/average.ckpt" --ckpt_save_dir "runs/${preset}_$2" --learning_rate 0.0004 \
    --learning_anneal 0.8 --mask_from 1 --room_share 0.1 --speeds 0.85,0.9,0.95,1.0,1.05,1.1,1.15 "${@:3}"
}
case $preset in         # 各步训练，以及取哪些步骤的平均
  open_speech)
    averaged=(_fourth _third)
    stages() {
      train
      train --initial_model runs/open_speech/best.ckpt --ckpt_save_dir runs/open_speech_again --learning_rate 0.00045 \
        --learning_anneal 0.85 --mask_from 0 --noise_prob 0.1 --room_share 0.1 --num_epochs 8 --seed 1
      more runs/open_speech_again third --num_epochs 9 --seed 2
      more runs/open_speech_third fourth --num_epochs 7 --seed 3
    } ;;
  open_speech_streaming)
    averaged=(_again)
    stages() {
      train
      more runs/open_speech_streaming again --num_epochs 8 --seed 1
    } ;;
  open_speech_spelled)
    averaged=('') lm=$lists/spelled.arpa parts=(an4_test alphanumeric)
    stages() { train; } ;;
  *) echo "error: PRESET: found $preset, expected open_speech, open_speech_streaming or open_speech_spelled" >&2; exit 2 ;;
esac
run=runs/$preset${averaged[0]}
checkpoint=${1:-$run/average.ckpt}
"$python" prepare.py --corpus open_speech --data_folder "$SPEECH_DATA" --output_folder $lists --lm 3
if [ "$preset" = open_speech_spelled ]; then        # 它有自己的语言模型
  "$python" lm.py estimate --texts $lists/spelled_all.json --order 4 --output $lm
fi
weights=()      # 语言模型的 alpha 与 beta：检查点自带
if [ $# = 0 ]; then
  stages
  "$python" -m utils.average "${averaged[@]/#/runs/$preset}" --num 3
  if [ "$preset" != open_speech_spelled ]; then
    "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest $lists/valid.json --save_log_probs true
    "$python" lm.py tune --log_probs "$run/eval_valid/log_probs.npz" --lm $lm \
      --alpha_from 0.5 --alpha_to 1.5 --beta_from 1 --beta_to 4
    weights=(--config "$run/eval_valid/lm.json")
  fi
fi
for part in "${parts[@]}"; do
  "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest "$lists/$part.json"
  "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest "$lists/$part.json" "${weights[@]}" \
    --lm_path $lm
  if [ "$preset" = open_speech_streaming ]; then      # 边听边识别
    "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest "$lists/$part.json" --streaming true
  fi
done
