#!/usr/bin/env bash
# Trains all models side by side, with the same seeds, data and budget, and
# writes one table.
#   bash launch/study.sh DATASET DATA OUT [SEED ...]       (default seed: 0)
# FLAGS are given to every model, COMPRESSOR_FLAGS to the compressor; JOBS runs
# go on at once. MODELS are the presets. Started again it goes on where it
# stopped.
set -euo pipefail
dataset=$1 data=$2 out=$3
shift 3
export seeds=${*:-0} dataset data out
export SIZE=${SIZE:-tiny} RESOLUTION=${RESOLUTION:-64} FLAGS=${FLAGS:-}
export COMPRESSOR_FLAGS=${COMPRESSOR_FLAGS:-}
models=${MODELS:-gan reference code guided}

train() { # preset, folder, flags
  local preset=$1 folder=$2
  shift 2
  mkdir -p "$folder"
  # shellcheck disable=SC2086  # FLAGS are words.
  exgan train --preset "$preset" --size "$SIZE" --resolution "$RESOLUTION" \
    --dataset "$dataset" --data-dir "$data" --workdir "$folder" "$@" \
    2>> "$folder.log" || { tail -n 1 "$folder.log" >&2 && return 1; }
}

model() { # preset, seed
  local preset=$1 seed=$2 more=()
  [[ $preset != code ]] || more=(--compressor "$out/compressor")
  # shellcheck disable=SC2086
  train "$preset" "$out/$preset-$seed" --seed "$seed" "${more[@]}" $FLAGS
  exgan evaluate --workdir "$out/$preset-$seed" --data-dir "$data" --baselines \
    --compressor "$out/compressor" --output "$out/$preset-$seed.json" \
    > /dev/null 2>> "$out/$preset-$seed.log"
}
export -f train model

# shellcheck disable=SC2086
train compressor "$out/compressor" $COMPRESSOR_FLAGS
exgan evaluate --workdir "$out/compressor" --data-dir "$data" \
  --output "$out/compressor.json" 2>> "$out/compressor.log"
for seed in $seeds; do
  for preset in $models; do echo "$preset $seed"; done
done | xargs -P "${JOBS:-1}" -L 1 bash -euo pipefail -c 'model "$@"' model
results=()
for seed in $seeds; do
  for preset in $models; do results+=("$out/$preset-$seed.json"); done
done
exgan report "${results[@]}" --output "$out"
