#!/usr/bin/env bash
# 在开放语料上训练通用英语模型并评估：先贪心解码，再加训练文本的 3 元语言模型，其权重在开发集上选定。给出检查点时不训练，只评估。
# PRESET=open_speech_streaming 为实时识别的单向模型。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。用法：
#   bash scripts/results_open_speech.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder of all corpora}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python preset=${PRESET:-open_speech} lists=lists/open_speech
checkpoint=${1:-runs/$preset/average.ckpt}
"$python" prepare.py --corpus open_speech --data_folder "$SPEECH_DATA" --output_folder $lists --lm 3
weights=()      # 语言模型的 alpha 与 beta：检查点自带
if [ $# = 0 ]; then
  "$python" train.py --config "$preset" --amp_level bf16 --resume auto
  "$python" -m utils.average "runs/$preset" --num 3
  "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest $lists/valid.json --save_log_probs true
  "$python" lm.py tune --log_probs "runs/$preset/eval_valid/log_probs.npz" --lm $lists/lm.arpa --alpha_steps 9
  weights=(--config "runs/$preset/eval_valid/lm.json")
fi
for part in an4_test alphanumeric dev-clean; do
  "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest "$lists/$part.json"
  "$python" eval.py --checkpoint_path "$checkpoint" --test_manifest "$lists/$part.json" "${weights[@]}" \
    --lm_path $lists/lm.arpa
done
