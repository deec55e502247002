#!/usr/bin/env bash
# Trains, or evaluates, under Slurm: one process for each GPU. Submitted from
# the checkout:
#   sbatch --nodes=2 launch/slurm.sh train --preset reference ... --workdir RUN
#   sbatch --dependency=after:JOB --ntasks-per-node=1 --gpus-per-node=1 \
#     launch/slurm.sh evaluate --workdir RUN --watch ... --output FILE
# From the environment:
#   VENV          where `exgan` is installed                   (.venv)
#   LOGS          folder with one log a process, 0.log first   (logs/NAME-JOB)
#   MAX_FAILURES  in one allocation: see launch/restart.py     (5)
# The job's own few lines are in Slurm's file, slurm-JOB.out.
#SBATCH --job-name=exgan
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
# To the processes, not to this script: time to save before the limit.
#SBATCH --signal=TERM@180
# After a preemption, or when a node was lost, Slurm queues the job again.
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

fail() {
  echo "slurm: $1" >&2
  exit 2
}

[[ $# -ge 1 ]] || fail 'say what to run: train or evaluate, and its flags'
# Slurm runs a copy of this file, which lies elsewhere.
cd "${SLURM_SUBMIT_DIR:-.}"
[[ -f launch/restart.py ]] || fail 'submit it from the checkout'
bin=${VENV:-.venv}/bin
[[ -x $bin/exgan ]] || fail "there is no $bin/exgan: see launch/README.md"
# JAX gives the process with SLURM_LOCALID n the GPU n of those that it sees,
# which must be all of its node.
[[ -z ${SLURM_GPUS_PER_TASK:-} ]] ||
  fail 'ask for --gpus-per-node, not for --gpus-per-task'
gpus=${SLURM_GPUS_ON_NODE:-$SLURM_NTASKS_PER_NODE}
[[ $gpus = "$SLURM_NTASKS_PER_NODE" ]] ||
  fail "--ntasks-per-node=$SLURM_NTASKS_PER_NODE, but $gpus GPUs a node"
# Without a GPU that it can use, JAX would quietly take the CPU.
[[ -z ${SLURM_GPUS_ON_NODE:-} ]] ||
  export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda}

logs=${LOGS:-logs/$SLURM_JOB_NAME-$SLURM_JOB_ID}
mkdir -p "$logs"
# Processes talk to each other directly; gRPC would ask the site's proxy.
unset http_proxy https_proxy grpc_proxy HTTP_PROXY HTTPS_PROXY

steps=(
  srun
  # srun does not take it over from sbatch.
  --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}"
  # Who ends first does not end the others, which may still be saving. One that
  # hangs after the others have ended is ended in the end.
  --kill-on-bad-exit=0 --wait=300
  --open-mode=append --output="$logs/%t.log"
)
code=0
ON_PREEMPTION=leave "$bin/python" launch/restart.py \
  "${steps[@]}" "$bin/exgan" "$@" || code=$?
if [[ $code = 75 ]]; then
  echo 'slurm: the state is saved: the job is queued again'
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
