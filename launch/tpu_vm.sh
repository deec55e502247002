#!/usr/bin/env bash
# Trains on a Cloud TPU VM slice, over ssh to all of its workers.
#   bash launch/tpu_vm.sh install    the last commit of this checkout
#   bash launch/tpu_vm.sh start train --preset reference ... --workdir RUN
#   bash launch/tpu_vm.sh status     of every worker: does it run, its last line
#   bash launch/tpu_vm.sh log        follows the first worker's
#   bash launch/tpu_vm.sh stop       the state is saved; `start` goes on
# From the environment:
#   TPU_NAME, ZONE  of the TPU
#   GCLOUD_FLAGS    more of them for gcloud, such as "--internal-ip"
#   PYTHON          interpreter on the workers             (3.12, had with uv)
#   VARIABLES       for the process there, such as "XLA_FLAGS=..."
#   MAX_FAILURES    on each worker: see launch/restart.py  (5)
# RUN and the data must be in a folder that all workers see, such as a mounted
# bucket. Workers are installed in ~/exgan_jax and log to ~/exgan_jax/logs.
set -euo pipefail

usage() {
  sed -n '2,16s/^# //p' "$0" >&2
  exit 2
}

gcloud_on() { # worker, ssh or scp, arguments
  local worker=$1 how=$2
  shift 2
  # shellcheck disable=SC2086  # GCLOUD_FLAGS are words.
  gcloud compute tpus tpu-vm "$how" "$@" \
    --zone="$ZONE" --worker="$worker" ${GCLOUD_FLAGS:-}
}

# Runs this very script there, as `there WORDS`.
on_workers() {
  gcloud_on all ssh "$TPU_NAME" \
    --command="bash exgan_jax/launch/tpu_vm.sh there $(printf '%q ' "$@")"
}

install() {
  local folder
  folder=$(mktemp -d)
  # shellcheck disable=SC2064  # Its name now.
  trap "rm -rf '$folder'" EXIT
  git -C "$(dirname "$0")/.." archive --prefix=exgan_jax/ \
    --output="$folder/exgan_jax.tar.gz" HEAD
  gcloud_on all scp "$folder/exgan_jax.tar.gz" "$TPU_NAME:exgan_jax.tar.gz"
  gcloud_on all ssh "$TPU_NAME" --command='tar -xzf exgan_jax.tar.gz'
  on_workers install "${PYTHON:-}"
}

# Another process may have got its number since, after a reboot.
runs() {
  [[ -f logs/pid ]] && grep -qs launch/restart.py "/proc/$(<logs/pid)/cmdline"
}

there() {
  local what=$1
  shift
  cd "$(dirname "$0")/.."
  case $what in
    install)
      PYTHON=$1
      # The image brings an older Python than is needed.
      if [[ -z $PYTHON ]]; then
        python3 -m pip install --quiet --user uv
        python3 -m uv python install --quiet 3.12
        PYTHON=$(python3 -m uv python find 3.12)
      fi
      export EXTRAS=train,tpu
      source launch/setup.sh
      ;;
    start)
      if runs; then
        echo "tpu_vm: $(hostname): it runs already" >&2
        exit 2
      fi
      local variables=()
      while [[ $1 != -- ]]; do
        variables+=("$1")
        shift
      done
      mkdir -p logs
      # In a session of its own: gcloud repeats a command whose connection
      # broke, and a second process would find the TPU taken. JAX knows the
      # other workers from the machine's metadata, if it is told to look.
      setsid env "${variables[@]}" .venv/bin/python launch/restart.py \
        .venv/bin/exgan "$2" --distributed "${@:3}" \
        >>logs/worker.log 2>&1 </dev/null &
      echo $! >logs/pid
      ;;
    status)
      runs && state=runs || state='does not run'
      echo "$(hostname): $state: $(tail -n 1 logs/worker.log 2>/dev/null)"
      ;;
    stop)
      runs || exit 0
      kill -TERM "$(<logs/pid)"
      while runs; do sleep 0.2; done
      tail -n 1 logs/worker.log
      ;;
  esac
}

case ${1:-} in
  there)
    shift
    there "$@"
    exit
    ;;
  install | status | log | stop) [[ $# -eq 1 ]] || usage ;;
  start) [[ $# -ge 2 ]] || usage ;;
  *) usage ;;
esac
[[ -n ${TPU_NAME:-} && -n ${ZONE:-} ]] || usage
case $1 in
  install) install ;;
  log)
    gcloud_on 0 ssh "$TPU_NAME" \
      --command='tail -n 50 -F exgan_jax/logs/worker.log'
    ;;
  start)
    # shellcheck disable=SC2086  # VARIABLES are words.
    on_workers start \
      MAX_FAILURES="${MAX_FAILURES:-5}" ${VARIABLES:-} -- "${@:2}"
    ;;
  *) on_workers "$1" ;;
esac
