#!/usr/bin/env bash
# Installs what the tests need, then checks style and runs the tests.
#   bash launch/test.sh [arguments of pytest]
set -euo pipefail
EXTRAS='test'
source "$(dirname "$0")/setup.sh"
ruff check .
python -m pytest "$@"
