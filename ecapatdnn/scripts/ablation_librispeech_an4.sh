#!/usr/bin/env bash
# 消融实验：用 configs/librispeech_an4.yaml 约六分之一的训练量，每次改动一处，比较 EER（RESULTS.md 的消融表）。
# 需要环境变量 SPEECH_DATA；中断后再次运行会接着做。用法：
#   bash scripts/ablation_librispeech_an4.sh [NAME...]      默认全部，单核每项约 12 分钟
set -euo pipefail
: "${SPEECH_DATA:?is not set: the folder with librispeech/, an4/, noise/ and rir/}"
cd "$(dirname "$0")/.."
python=$PWD/../.venv/bin/python
lists=lists/librispeech_an4
declare -A changes=(
  [recipe]=""
  [noise_and_reverberation]="--musan_path \$SPEECH_DATA/noise --rir_path \$SPEECH_DATA/rir"     # which train.py replaces
  [no_mp3]="--mp3_probability 0"
  [no_speeds]="--speeds 1.0"
  [no_pieces]="--pieces 1"
  [no_spec_augment]="--spec_augment false"
  [no_margin]="--margin 0"
  [channels_128]="--channels 128"
  [front_end_speechbrain]="--front_end speechbrain"
  [seed_1]="--seed 1"
  [seed_2]="--seed 2"
)
names=("$@")
[ $# -gt 0 ] || names=(recipe seed_1 seed_2 noise_and_reverberation no_mp3 no_speeds no_pieces no_spec_augment no_margin
  channels_128 front_end_speechbrain)
"$python" prepare.py --corpus librispeech_an4 --data_folder "$SPEECH_DATA" --output_folder $lists
for name in "${names[@]}"; do
  folder=runs/ablation/$name
  read -ra change <<< "${changes[$name]?is no run of this script}"
  if [ ! -f "$folder/eval.txt" ]; then
    "$python" train.py --config configs/librispeech_an4.yaml --num_epochs 4 --margin_start 1 --margin_end 2 \
      --test_step 4 --resume auto --ckpt_save_dir "$folder" "${change[@]}"
    "$python" eval.py --checkpoint_path "$folder/best.ckpt" --score_crops 0 | tee "$folder/eval.part"
    mv "$folder/eval.part" "$folder/eval.txt"
  fi
done
printf '%-28s %12s %14s\n' run "valid EER %" "dev-clean EER"
for name in "${names[@]}"; do
  valid=$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i } END { print $column["valid_eer"] }' \
    "runs/ablation/$name/metrics.csv")
  printf '%-28s %12.2f %14s\n' "$name" "$valid" "$(awk '/^EER/ { print $3 }' "runs/ablation/$name/eval.txt")"
done
