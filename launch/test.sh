#!/usr/bin/env bash
# Installs what the tests need, checks style and types, and runs the tests.
#   bash launch/test.sh [arguments of pytest]      (-m 'not slow': the fast part)
set -euo pipefail
EXTRAS='test'
source "$(dirname "$0")/setup.sh"
ruff check .
ruff format --check --quiet .
mypy
# Two at a time: most of it compiles, which takes one core. A file's tests stay
# together, as they share what they have trained.
python -m pytest -n "${JOBS:-2}" --dist loadfile --no-loadscope-reorder "$@"
