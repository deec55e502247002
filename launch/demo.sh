#!/usr/bin/env bash
# The main job on drawn faces: builds records, trains, evaluates, reports.
#   bash launch/demo.sh [folder]      (default: runs/demo)
# Started again it goes on where it stopped.
set -euo pipefail
out=${1:-runs/demo}
[[ $out = /* ]] || out=$PWD/$out
EXTRAS=build
source "$(dirname "$0")/setup.sh"

python -m tfds_celeb_id.synth_id \
  --data-dir "$out/data" --people 600 --pictures 6 --seed 0
exgan train --preset transfer --size tiny --resolution 64 --batch-size 8 \
  --steps 3500 --warmup-steps 3200 --decay-steps 4000 --dataset synth_id \
  --data-dir "$out/data" --workdir "$out/transfer" \
  --sample-every 500 --checkpoint-every 250
exgan evaluate --workdir "$out/transfer" --data-dir "$out/data" \
  --split test --baselines --output "$out/results.json"
exgan report "$out/results.json" --output "$out/report"
