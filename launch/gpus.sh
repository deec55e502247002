#!/usr/bin/env bash
# Trains, or evaluates, on all GPUs of this machine from one process, and starts
# it again as launch/restart.py says.
#   bash launch/gpus.sh train --preset reference ... --workdir RUN
# From the environment:
#   GPUS                  how many JAX must find            (at least one)
#   CUDA_VISIBLE_DEVICES  which ones, such as 0,1,2         (all)
#   VENV                  where `exgan` is installed        (.venv is made)
#   EXTRAS, PYTHON        of launch/setup.sh, without VENV  (train,cuda)
#   MAX_FAILURES          of launch/restart.py
set -euo pipefail

fail() {
  echo "gpus: $1" >&2
  exit 2
}

[[ $# -ge 1 ]] || fail 'say what to run: train or evaluate, and its flags'
here=$PWD
launch=$(cd "$(dirname "$0")" && pwd)
if [[ -n ${VENV:-} ]]; then
  [[ -x $VENV/bin/exgan ]] || fail "there is no $VENV/bin/exgan"
  PATH=$(cd "$VENV/bin" && pwd):$PATH
else
  EXTRAS=${EXTRAS-train,cuda}
  source "$launch/setup.sh"
  cd "$here"
fi

# One process, whatever a batch system says around it.
unset JAX_COORDINATOR_ADDRESS JAX_NUM_PROCESSES JAX_PROCESS_ID
# Without a GPU that it can use, JAX would quietly take the CPU.
export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda}
found=$(
  XLA_PYTHON_CLIENT_PREALLOCATE=false python - <<'END'
import sys

try:
  import jax

  print(jax.local_device_count())
except Exception as error:  # An AssertionError where it has no CUDA at all.
  reason = str(error).partition('\n')[0] or 'it was installed without CUDA'
  sys.exit(f'gpus: JAX finds no GPU: {reason}')
END
) || exit 2
[[ $found = "${GPUS:-$found}" ]] || fail "JAX finds $found GPUs, not $GPUS"
echo "gpus: $found, driven by one process" >&2
exec python "$launch/restart.py" exgan "$@"
