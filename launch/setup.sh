#!/usr/bin/env bash
# Sourced by the scripts beside it: makes the virtual environment .venv in the
# checkout and installs the package with the extras named by the caller.
#   EXTRAS   comma-separated extras, such as "test" (may be empty)
#   PYTHON   interpreter to make the environment with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3.13 python3 python}; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
        2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "setup: needs Python 3.11 or newer with venv; set PYTHON to one" >&2
  exit 2
}

if ! .venv/bin/python -c '' 2>/dev/null; then
  python=$(find_python)
  rm -rf .venv
  "$python" -m venv .venv
fi

# Installed once for each state of setup.py and each set of extras.
stamp=.venv/installed-${EXTRAS:-base}
wanted=$(cksum <setup.py)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -e ".${EXTRAS:+[$EXTRAS]}"
  echo "$wanted" >"$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
