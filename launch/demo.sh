#!/usr/bin/env bash
# The main job on drawn faces: builds records, trains, evaluates.
#   bash launch/demo.sh [folder]      (default: runs/demo)
# Started again it goes on where it stopped.
set -euo pipefail
out=${1:-runs/demo}
[[ $out = /* ]] || out=$PWD/$out
source "$(dirname "$0")/setup.sh"

python -m tfds_celeb_id.synth_id \
  --data-dir "$out/data" --people 600 --pictures 6 --seed 0
exgan train --preset reference --size tiny --resolution 64 --steps 1000 \
  --generator-learning-rate 1e-3 --dataset synth_id \
  --data-dir "$out/data" --workdir "$out/reference" \
  --sample-every 250 --checkpoint-every 250
exgan evaluate --workdir "$out/reference" --data-dir "$out/data" \
  --split test --baselines --output "$out/results.json"
