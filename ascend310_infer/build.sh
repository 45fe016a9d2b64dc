#!/usr/bin/env bash
# Builds build/main, or with --sanitize build_sanitize/main:   bash build.sh [--sanitize]
#   MS_LITE_HOME  folder of MindSpore Lite (on an Ascend: the package installed there); without it, the last release
#                 for x86-64 with a C++ library in its wheel is fetched once from the package index
#   KENLM_HOME    folder with KenLM's lm/model.hh and lib/libkenlm.so, for orders up to 6; without it, the last release is
#                 fetched once from the package index and built, where that can be done
#   PYTHON        a Python with pip and MindSpore (default: the repository's .venv, else python3)
set -euo pipefail
cd "$(dirname "$0")"
venv=$PWD/../.venv/bin
PYTHON=${PYTHON:-$([ -x "$venv/python" ] && echo "$venv/python" || echo python3)}
CMAKE=$([ -x "$venv/cmake" ] && echo "$venv/cmake" || echo cmake)
VERSION=2.0.0
SHA256=199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec
KENLM=0.3.0
KENLM_SHA256=c4628bb9fb63c8a6f9240035b8b037385cfc404cb72e933cf48878291edac1e8
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mindspore_speech_zoo
folder=build
flags=(-DFETCHED=OFF)
if [ "${1:-}" = --sanitize ]; then
  folder=build_sanitize
  flags+=(-DSANITIZE=ON)
elif [ $# -gt 0 ]; then
  echo "error: found '$1', expected --sanitize or nothing" >&2
  exit 2
fi

fetch() {  # the wheel into "$1", whole or not at all
  echo "== fetching MindSpore Lite $VERSION into $1 (170 MB, once) =="
  mkdir -p "$(dirname "$1")"
  place=$(mktemp -d "$1.XXXXXX")
  trap 'rm -rf "$place"' EXIT
  "$PYTHON" -m pip download -qq --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.7 \
    --platform manylinux1_x86_64 --dest "$place" "mindspore-lite==$VERSION"
  if ! echo "$SHA256  $(ls "$place"/*.whl)" | sha256sum --check --quiet; then
    echo "error: mindspore-lite $VERSION: not the file it was (sha256); expected $SHA256" >&2
    exit 2
  fi
  "$PYTHON" -m zipfile --extract "$place"/*.whl "$place"
  rm "$place"/*.whl
  chmod a+rx "$place"     # as other folders: whoever runs the program reads it
  mv --no-target-directory "$place" "$1" 2>/dev/null || [ -d "$1" ]   # another build may have been faster
}

fetch_kenlm() {  # the sources and lib/libkenlm.so into "$1", whole or not at all
  mkdir -p "$(dirname "$1")" && place=$(mktemp -d "$1.XXXXXX") || return
  trap 'rm -rf "$place"' EXIT
  echo "kenlm==$KENLM --hash=sha256:$KENLM_SHA256" > "$place/list.txt"
  "$PYTHON" -m pip download -qq --disable-pip-version-check --no-deps --no-binary=kenlm \
    --require-hashes --requirement "$place/list.txt" --dest "$place" \
    && tar --extract --strip-components=1 --directory "$place" --file "$place"/kenlm-*.tar.gz \
    && "$CMAKE" -S "$place" -B "$place/lib" -DBUILD_PYTHON_STANDALONE=ON -DKENLM_MAX_ORDER=6 \
      -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS=-w \
    && "$CMAKE" --build "$place/lib" --parallel 2 \
    && rm -r "$place/lib/CMakeFiles" "$place"/kenlm-*.tar.gz \
    && chmod a+rx "$place" \
    && { mv --no-target-directory "$place" "$1" 2>/dev/null || [ -d "$1" ]; }
}

if [ -z "${MS_LITE_HOME:-}" ]; then
  if [ "$(uname -m)" != x86_64 ]; then
    echo "error: MS_LITE_HOME is not set, and MindSpore Lite is fetched for x86_64 only, this is $(uname -m);" \
      "set it to the folder of MindSpore Lite" >&2
    exit 2
  fi
  MS_LITE_HOME=$cache/mindspore-lite-$VERSION
  [ -d "$MS_LITE_HOME" ] || fetch "$MS_LITE_HOME"
  flags+=(-DFETCHED=ON)
fi
if [ -z "${KENLM_HOME:-}" ]; then
  KENLM_HOME=$cache/kenlm-$KENLM
  machine=$("${CXX:-c++}" -dumpmachine)
  [[ $machine = "$(uname -m)"-* ]] || KENLM_HOME+=-$machine     # of a cross build
  if [ ! -d "$KENLM_HOME" ]; then
    echo "== fetching KenLM $KENLM into $KENLM_HOME and building it (0.4 MB, once) =="
    if ! printed=$(fetch_kenlm "$KENLM_HOME" 2>&1); then
      echo "note: built without language models, for KenLM cannot be had: $(tail -n 1 <<< "$printed")" >&2
    fi
  fi
fi
# MindSpore's package carries nlohmann's JSON headers
json=$("$PYTHON" -c 'import importlib.util as u; s = u.find_spec("mindspore")
print(s.submodule_search_locations[0] + "/include/third_party" if s else "")')
"$CMAKE" -S . -B "$folder" -DMS_LITE_HOME="$MS_LITE_HOME" -DJSON_INCLUDE_DIR="$json" -DKENLM_HOME="$KENLM_HOME" \
  "${flags[@]}" > /dev/null
if [ ! -e "$folder/main" ]; then echo "== building the C++ runner (once) =="; fi
if ! printed=$("$CMAKE" --build "$folder" --parallel 2 2>&1); then
  echo "$printed" >&2
  echo "error: the C++ runner cannot be built, see above" >&2
  exit 1
fi
