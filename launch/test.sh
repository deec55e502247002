#!/usr/bin/env bash
# Installs what the tests need, checks style and types, and runs the tests.
#   bash launch/test.sh [fast] [arguments of pytest]
# `fast` leaves out the tests marked as slow.
set -euo pipefail
EXTRAS='test'
if [[ ${1:-} == fast ]]; then
  set -- -m 'not slow' "${@:2}"
fi
source "$(dirname "$0")/setup.sh"
ruff check .
ruff format --check --quiet .
mypy
# Two at a time: most of it compiles, which takes one core. A file's tests stay
# together, as they share what they have trained.
python -m pytest -n "${JOBS:-2}" --dist loadfile --no-loadscope-reorder "$@"
