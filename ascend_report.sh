#!/usr/bin/env bash
# What an Ascend makes of this repository, in one text file to attach to an issue:
#   bash ascend_report.sh [--dry_run] [--devices N] [--output FILE] [MODEL...]
# Versions; then for every model training of a small network, evaluation of the checkpoint that ships, export,
# conversion, the C++ runner; its results and those of the evaluation are compared with a CPU's. A step that fails is
# written down with what it printed, and the next begins. Names of people, machines and folders are left out.
#   --dry_run      shows the commands
#   --devices N    trains on N devices of this server too, started by msrun
#   --output FILE  default: ascend_report.txt here
#   MODEL          of ecapatdnn, conv_tasnet, deepspeech2; default: all
#   DEVICE_TARGET=CPU   the same without an Ascend, in a few minutes
#   DEVICE_ID      the Ascend, default 0
#   MS_LITE_HOME   folder of MindSpore Lite, for the converter and the runner
#   PYTHON         default: that of .venv, else python3
# Exit code 1: a step failed.
set -uo pipefail
root=$(cd "$(dirname "$0")" && pwd)
limit=1800      # seconds for a step
shown=8         # last lines of a step that went well
ends=60         # first and last lines of a step that failed: MindSpore's reason stands above long tables
usage="usage: bash ascend_report.sh [--dry_run] [--devices N] [--output FILE] [MODEL...]"

fail() {
  echo "error: $1" >&2
  exit 2
}

dry="" devices=1 output=$PWD/ascend_report.txt models=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry_run) dry=yes ;;
    --devices | --output)
      [ $# -gt 1 ] || fail "$1: no value; $usage"
      if [ "$1" = --devices ]; then devices=$2; else output=$(realpath -m "$2"); fi
      shift ;;
    ecapatdnn | conv_tasnet | deepspeech2) models+=("$1") ;;
    *) fail "found '$1'; $usage" ;;
  esac
  shift
done
[[ $devices =~ ^[1-9][0-9]*$ ]] || fail "--devices: found '$devices', expected a number; $usage"
[ ${#models[@]} -gt 0 ] || models=(ecapatdnn conv_tasnet deepspeech2)

export DEVICE_TARGET=${DEVICE_TARGET:-Ascend} GLOG_v=${GLOG_v:-3}
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
if [ "$DEVICE_TARGET" != CPU ] && [ -z "${ASCEND_HOME_PATH:-}" ]; then
  for script in /usr/local/Ascend/cann/set_env.sh /usr/local/Ascend/ascend-toolkit/set_env.sh; do
    if [ -f "$script" ]; then
      # shellcheck source=/dev/null
      source "$script"
      break
    fi
  done
fi
python=${PYTHON:-$([ -x "$root/.venv/bin/python" ] && echo "$root/.venv/bin/python" || echo python3)}
if [[ $python = */* ]]; then export PATH=${python%/*}:$PATH; fi     # msrun is beside it
helper=("$python" -m utils.ascend_report)

if [ -n "$dry" ]; then
  REPORT_WORK=WORK
else
  REPORT_WORK=$(mktemp -d)
  trap 'rm -rf "$REPORT_WORK"' EXIT
  trap 'exit 130' INT TERM
fi
export REPORT_WORK
summary=() failed=0

# step NAME COMMAND...: runs it in $folder, whatever comes of it, and writes down what it printed at the end
step() {
  local name=$1 started=$SECONDS code=0 verdict=ok
  shift
  if [ -n "$dry" ]; then
    printf '%s: (cd %q &&%s)\n' "$name" "$folder" "$(printf ' %q' "$@")"
    return
  fi
  echo "== $name" >&2
  (cd "$folder" && exec timeout --kill-after=30 "$limit" "$@") > "$REPORT_WORK/log" 2>&1 < /dev/null || code=$?
  if [ "$code" != 0 ]; then
    failed=1 verdict="FAILED with exit code $code"
    if [ "$code" = 124 ]; then verdict="FAILED: not done after $limit s"; fi
  fi
  verdict="$verdict, $((SECONDS - started)) s"
  echo "   $verdict" >&2
  summary+=("$name: $verdict")
  {
    printf '== %s: %s\n$%s\n' "$name" "$verdict" "$(printf ' %q' "$@")"
    cat "$REPORT_WORK/log"
  } | "${helper[@]}" clean > "$REPORT_WORK/cleaned"
  {
    echo
    head -n 2 "$REPORT_WORK/cleaned"
    tail -n +3 "$REPORT_WORK/cleaned" > "$REPORT_WORK/log"
    if [ "$code" = 0 ]; then
      tail -n "$shown" "$REPORT_WORK/log"
    elif [ "$(wc -l < "$REPORT_WORK/log")" -le $((2 * ends)) ]; then
      cat "$REPORT_WORK/log"
    else
      head -n "$ends" "$REPORT_WORK/log"
      echo "... [$(($(wc -l < "$REPORT_WORK/log") - 2 * ends)) lines left out]"
      tail -n "$ends" "$REPORT_WORK/log"
    fi
  } >> "$output"
  return "$code"
}

# skip NAME REASON
skip() {
  if [ -z "$dry" ]; then summary+=("$1: skipped, $2"); fi
  printf '%s: skipped, %s\n' "$1" "$2" >&2
}

# The flags of a model's programs: the corpus, its network for training, and the lengths of exported graphs.
describe() {
  local corpus=$REPORT_WORK/corpus
  case $1 in
    ecapatdnn)
      network=(--channels 64 --mfa_channels 96 --crop 150 --musan_path= --rir_path=)
      train=(--train_list "$corpus/train.txt" --train_path "$corpus/wav" --valid_list "$corpus/trials.txt"
        --valid_path "$corpus/wav")
      evaluate=(--eval_list "$corpus/trials.txt" --eval_path "$corpus/wav")
      options=(--score_crops 0) length=201 gears=100,300 ;;
    conv_tasnet)
      network=(--N 32 --B 16 --H 32 --Sc 16 --X 3 --mixtures_per_epoch 24)
      train=(--train_dir "$corpus/train.txt" --train_path "$corpus/wav" --valid_dir "$corpus/mixtures.csv"
        --valid_path "$corpus/wav")
      evaluate=(--eval_dir "$corpus/mixtures.csv" --eval_path "$corpus/wav")
      options=(--save_examples 4) length=16000 gears=8000,24000 ;;
    deepspeech2)
      network=(--hidden_size 64 --hidden_layers 1 --buckets 1)
      train=(--train_manifest "$corpus/train.json" --val_manifest "$corpus/test.json")
      evaluate=(--test_manifest "$corpus/test.json")
      options=(--save_log_probs true) length=201 gears=100,300 ;;
  esac
}

report_model() {
  local model=$1 network train evaluate options length gears
  local programs=$root/$model checkpoint=best.ckpt
  folder=$REPORT_WORK/$model
  describe "$model"
  train+=(--config "$programs/configs/mini.yaml" "${network[@]}" --num_epochs 2 --test_step 1 --minibatch_size 4
    --num_workers 0)
  if [ -z "$dry" ]; then
    mkdir -p "$folder"/{device,cpu,plain,runner,gears}
    for copy in device cpu plain runner gears; do
      cp "$programs/pretrained/"{best.ckpt,config.yaml} "$folder/$copy"
    done
  fi
  step "$model: train" "$python" "$programs/train.py" "${train[@]}" --ckpt_save_dir run
  step "$model: train in float16" "$python" "$programs/train.py" "${train[@]}" --ckpt_save_dir run_O2 --amp_level O2 \
    --loss_scale 0
  if [ "$devices" -gt 1 ]; then
    step "$model: train on $devices devices" msrun --worker_num="$devices" --local_worker_num="$devices" \
      --master_port="${MASTER_PORT:-8118}" --log_dir=msrun --join=True "$programs/train.py" "${train[@]}" \
      --ckpt_save_dir run_msrun --distribute true
  fi
  step "$model: evaluate" "$python" "$programs/eval.py" --checkpoint_path "device/$checkpoint" "${evaluate[@]}" \
    "${options[@]}"
  step "$model: evaluate on a CPU" "$python" "$programs/eval.py" --checkpoint_path "cpu/$checkpoint" "${evaluate[@]}" \
    "${options[@]}" --device_target CPU
  step "$model: evaluation, difference" "${helper[@]}" compare device cpu
  step "$model: export" "$python" "$programs/export.py" --checkpoint_path "plain/$checkpoint" --file_format MINDIR \
    --length "$length"
  deploy
}

# The graph in C++: compiled by the runner, by the converter, and for several lengths. Each result is compared with that
# of the plain graph, computed by MindSpore on a CPU.
deploy() {
  local lite=${MS_LITE_HOME:-${dry:+MS_LITE_HOME}} runtime=()
  if [ "$DEVICE_TARGET" != CPU ]; then
    runtime=(--runtime ascend)
    if [[ ${lite##*/} = *lite-2.[0-2].* ]]; then runtime=(--runtime lite2.0-ascend); fi
  elif [ -z "${MS_LITE_HOME:-}" ]; then     # build.sh fetches Lite 2.0.0
    runtime=(--runtime lite2.0-cpu)
  fi
  export_graph runner --length "$length" || return
  export_graph gears --gears "$gears"
  if [ "$DEVICE_TARGET" != CPU ] && [ -z "$lite" ]; then
    skip "$model: C++" "MS_LITE_HOME is not set; set it to the folder of MindSpore Lite for this Ascend"
    return
  fi
  step "$model: build" bash "$root/ascend310_infer/build.sh" || return
  write_inputs runner || return
  step "$model: the graph on a CPU" "${helper[@]}" reference "plain/$model.mindir" preprocess_Result reference || return
  run_graph runner
  if [ "$DEVICE_TARGET" != CPU ]; then
    if [ -z "$dry" ]; then printf '[ascend_context]\nprecision_mode=preferred_fp32\n' > "$folder/runner/$model.ini"; fi
    convert runner && run_graph runner_converted
    write_inputs gears && convert gears && run_graph gears_converted
  else
    write_inputs gears && run_graph gears
  fi
}

# export_graph FOLDER FLAG...
export_graph() {
  step "$model: export, $1" "$python" "$programs/export.py" --checkpoint_path "$1/best.ckpt" --file_format MINDIR \
    "${runtime[@]}" "${@:2}"
}

# write_inputs FOLDER: preprocess_Result for the graph in the folder
write_inputs() {
  step "$model: inputs, $1" "$python" "$programs/preprocess.py" --checkpoint_path "$1/$model.mindir" "${evaluate[@]}"
}

# convert FOLDER: its graph into FOLDER_converted
convert() {
  local converter=$lite/tools/converter/converter/converter_lite
  if [ -z "$dry" ] && [ ! -x "$converter" ]; then
    skip "$model: convert, $1" "no tools/converter/converter/converter_lite in MS_LITE_HOME"
    return 1
  fi
  if [ -z "$dry" ]; then
    mkdir "$folder/$1_converted"
    cp "$folder/$1/"{inputs.json,"$model.ini"} "$folder/$1_converted"
  fi
  # the libraries for the converter only: MindSpore has some of the same names
  step "$model: convert, $1" env "LD_LIBRARY_PATH=$lite/tools/converter/lib:$lite/runtime/lib:${LD_LIBRARY_PATH:-}" \
    "$converter" --fmk=MINDIR "--modelFile=$1/$model.mindir" "--outputFile=$1_converted/$model" \
    --optimize=ascend_oriented "--configFile=$1/$model.ini"
}

# run_graph FOLDER
run_graph() {
  step "$model: C++, $1" "$root/ascend310_infer/build/main" --mindir_path "$1/$model.mindir" \
    --input_path preprocess_Result --output_path "result_$1" --device_target "$DEVICE_TARGET" \
    --device_id "${DEVICE_ID:-0}" && step "$model: C++, $1, difference" "${helper[@]}" compare "result_$1" reference
}

report() {
  folder=$root
  if [ -z "$dry" ]; then
    { echo "Report of $(date -u +%F) on $DEVICE_TARGET, commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null)"
      echo "Not in here: names of people, machines and folders. Read it before you attach it."; } > "$output" || fail "--output: $output: cannot be written; name another file"
  fi
  shown=100 step versions "${helper[@]}" versions
  local device="'$DEVICE_TARGET'"
  if [ "$DEVICE_TARGET" != CPU ]; then device="$device, ${DEVICE_ID:-0}"; fi
  step "MindSpore's own check" "$python" -c "import mindspore; mindspore.set_device($device); mindspore.run_check()"
  step corpus "${helper[@]}" corpus "$REPORT_WORK/corpus" || return
  local model
  for model in "${models[@]}"; do report_model "$model"; done
}

report
if [ -z "$dry" ]; then
  { printf '\n== summary\n'; printf '%s\n' "${summary[@]}"; } | tee -a "$output"
  echo "$output"
fi
exit "$failed"
