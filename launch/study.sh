#!/usr/bin/env bash
# Trains all models side by side, with the same seeds, data and budget, and
# writes one table, OUT/report.md.
#   bash launch/study.sh DATASET DATA OUT [SEED ...]       (default seed: 0)
# From the environment:
#   MODELS            presets             (gan reference code transfer)
#   SIZE, RESOLUTION  of all of them      (tiny, 64)
#   FLAGS             of `exgan train` for every model
#   COMPRESSOR_FLAGS  likewise for the compressor of `code`
#   JOBS              runs at once        (1)
# Started again it goes on where it stopped.
set -euo pipefail
[[ $# -ge 3 ]] || { sed -n '2,11s/^# //p' "$0" >&2 && exit 2; }
dataset=$1 data=$2 out=$3
shift 3
[[ $data = /* ]] || data=$PWD/$data
[[ $out = /* ]] || out=$PWD/$out
seeds=${*:-0}
EXTRAS=build
source "$(dirname "$0")/setup.sh"
mkdir -p "$out"
export dataset data out SIZE=${SIZE:-tiny} RESOLUTION=${RESOLUTION:-64}
export FLAGS=${FLAGS:-} COMPRESSOR_FLAGS=${COMPRESSOR_FLAGS:-}
models=${MODELS:-gan reference code transfer}

train() { # preset, folder, flags
  local preset=$1 folder=$2
  shift 2
  exgan train --preset "$preset" --size "$SIZE" --resolution "$RESOLUTION" \
    --dataset "$dataset" --data-dir "$data" --workdir "$folder" "$@" \
    2>> "$folder.log" || { tail -n 1 "$folder.log" >&2 && return 1; }
}

model() { # preset, seed
  local preset=$1 folder=$out/$1-$2 more=(--seed "$2")
  [[ $preset != code ]] || more+=(--compressor "$out/compressor")
  # shellcheck disable=SC2086  # FLAGS are words.
  train "$preset" "$folder" "${more[@]}" $FLAGS
  exgan evaluate --workdir "$folder" --data-dir "$data" --baselines \
    --compressor "$out/compressor" --output "$folder.json" \
    > /dev/null 2>> "$folder.log"
}
export -f train model

# shellcheck disable=SC2086
train compressor "$out/compressor" $COMPRESSOR_FLAGS
exgan evaluate --workdir "$out/compressor" --data-dir "$data" \
  --output "$out/compressor.json" 2>> "$out/compressor.log"
# On a CPU, several runs at once take a core each.
[[ ${JOBS:-1} = 1 ]] ||
  export XLA_FLAGS="${XLA_FLAGS:-} --xla_cpu_multi_thread_eigen=false"
results=()
for seed in $seeds; do
  for preset in $models; do
    echo "$preset $seed"
    results+=("$out/$preset-$seed.json")
  done
done > "$out/runs.txt"
xargs -P "${JOBS:-1}" -L 1 bash -euo pipefail -c 'model "$@"' model \
  < "$out/runs.txt"
exgan report "${results[@]}" --output "$out"
