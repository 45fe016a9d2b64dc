#!/usr/bin/env bash
# What scripts/run_infer_310.sh of every model does: preprocess -> build -> run -> postprocess -> acc.log.
#   infer.sh MODEL_FOLDER LIST_FLAG MINDIR_PATH DATA_PATH [NEED_PREPROCESS y|n] [DEVICE_ID]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$1 flag=$2
shift 2
usage="usage: bash run_infer_310.sh MINDIR_PATH DATA_PATH [NEED_PREPROCESS y|n] [DEVICE_ID]"
if [ ! -f "${1:-}" ] || [ ! -e "${2:-}" ]; then
  echo "error: found '${1:-}' '${2:-}', expected an exported graph and a list or a folder; $usage" >&2
  exit 2
fi
mindir=$(realpath --no-symlinks -- "$1") data=$(realpath -- "$2")
need=$([ -d "$data" ] && echo n || echo y)   # a list, or a folder of what is ready for the graph
device=0
shift 2
if [[ ${1:-} =~ ^[yn]$ ]]; then need=$1; shift; fi
if [[ ${1:-} =~ ^[0-9]+$ ]]; then device=$1; shift; fi
if [ $# -gt 0 ]; then
  echo "error: found '$1', expected y or n, then a device number; $usage" >&2
  exit 2
fi
if [ "$need" = n ] && [ ! -d "$data" ]; then
  echo "error: $data: with NEED_PREPROCESS n expected a folder of .bin files; $usage" >&2
  exit 2
fi

log=$PWD/acc.log
for output in "$log" "$model"; do     # known before the work, not after it
  if [ -e "$output" ] && [ -w "$output" ] || [ ! -e "$output" ] && [ -w "${output%/*}/" ]; then continue; fi
  echo "error: $output: cannot be written; mend its permissions, or call the script from another folder" >&2
  exit 2
done
if [ -d "$log" ]; then
  echo "error: $log: is a folder, expected a file; call the script from another folder" >&2
  exit 2
fi
cd "$model"
exec 9< .
code=0
if command -v flock > /dev/null; then flock --nonblock 9 || code=$?; fi
if [ "$code" = 1 ]; then        # others: a file system without locks
  echo "error: $PWD: another run_infer_310.sh is at work in preprocess_Result and result_Files; wait for it" >&2
  exit 2
fi
export PYTHONPATH=${model%/*}${PYTHONPATH:+:$PYTHONPATH}
list=()
if [ "$need" = y ]; then
  list=("--$flag" "$data")
  python preprocess.py --checkpoint_path "$mindir" "${list[@]}"
  data=$PWD/preprocess_Result
fi
bash "$here/build.sh"
export GLOG_v=${GLOG_v:-4}   # the runtime logs warnings and errors that are its own affair
rm -rf result_Files
"$here/build/main" --mindir_path "$mindir" --input_path "$data" --output_path result_Files \
  --device_target "${DEVICE_TARGET:-Ascend}" --device_id "$device" ${PRECISION:+--precision "$PRECISION"}
python postprocess.py --checkpoint_path "$mindir" "${list[@]}" | tee "$log"
