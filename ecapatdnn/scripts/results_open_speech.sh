#!/usr/bin/env bash
# 在开放语料上训练、校准并评估（RESULTS_CN.md 的结果表）；给出检查点时不训练也不校准，只评估。中断后再次运行会接着做。需要环境变量 SPEECH_DATA。用法：
#   bash scripts/results_open_speech.sh [CHECKPOINT]
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder of all corpora}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
checkpoint=${1:-runs/open_speech/best.ckpt}
lists=lists/open_speech
evaluate() {    # 列表、选项；随仓库发布的检查点一律用 float32 计算
  "$python" eval.py --checkpoint_path "$checkpoint" --eval_list "$lists/$1.txt" --eval_path "$SPEECH_DATA" \
    --amp_level O0 "${@:2}"
}
"$python" prepare.py --corpus open_speech --data_folder "$SPEECH_DATA" --output_folder $lists
if [ $# = 0 ]; then
  "$python" train.py --config open_speech --amp_level bf16 --resume auto
  evaluate valid_trials --score_crops 0 --calibrate true
fi
for list in dev_clean_all dev_clean_cross an4_test; do
  evaluate $list --train_path "$SPEECH_DATA" --as_norm true
  evaluate $list --score_crops 0        # 单次整句得分及其校准：infer.py 即如此打分
done
