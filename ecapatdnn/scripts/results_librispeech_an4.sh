#!/usr/bin/env bash
# 在真实语音上训练并评估；给出检查点时不训练，只评估（RESULTS_CN.md）。需要环境变量 SPEECH_DATA。用法：
#   bash scripts/results_librispeech_an4.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder with librispeech/, an4/, noise/ and rir/}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
checkpoint=${1:-runs/librispeech_an4/best.ckpt}
lists=lists/librispeech_an4
"$python" prepare.py --corpus librispeech_an4 --data_folder "$SPEECH_DATA" --output_folder $lists
if [ $# = 0 ]; then
  "$python" train.py --config configs/librispeech_an4.yaml --seed 1    # 三个种子中验证最好的
fi
for list in dev_clean_all dev_clean_cross an4_test; do
  "$python" eval.py --checkpoint_path "$checkpoint" --eval_list $lists/$list.txt --eval_path "$SPEECH_DATA" \
    --train_path "$SPEECH_DATA" --as_norm true
done
