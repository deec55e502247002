#!/usr/bin/env bash
# Checks that the base installation comes from wheels alone on every platform.
#   bash launch/check_wheels.sh [EXTRAS]
# Resolves the package, with comma-separated extras if given, for Windows, macOS
# and Linux and for Python 3.11 and 3.13. Nothing is installed. Prints how many
# packages each needs and how large their wheels are.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work" .
wheel=$(ls "$work"/exgan_jax-*.whl)
failed=0
for platform in win_amd64 macosx_14_0_arm64 manylinux_2_28_x86_64; do
  platforms=(--platform "$platform")
  if [[ $platform == manylinux* ]]; then
    # pip does not add the older names of Linux by itself.
    platforms+=(--platform manylinux2014_x86_64 --platform manylinux_2_27_x86_64
      --platform manylinux_2_26_x86_64 --platform manylinux_2_24_x86_64
      --platform manylinux_2_17_x86_64)
  fi
  for version in 3.11 3.13; do
    echo -n "$platform, Python $version: "
    if ! "$python" -m pip install --quiet --disable-pip-version-check \
      --dry-run --ignore-installed --target "$work/none" --only-binary=:all: \
      "${platforms[@]}" --python-version "$version" \
      --report "$work/report.json" "$wheel${1:+[$1]}" 2>"$work/errors"; then
      grep '^ERROR' "$work/errors" | tail -n 1
      failed=1
      continue
    fi
    "$python" - "$work/report.json" <<'PYTHON'
import json, sys, urllib.request

size = 0
report = json.load(open(sys.argv[1]))
for package in report['install']:
  request = urllib.request.Request(package['download_info']['url'], method='HEAD')
  with urllib.request.urlopen(request) as answer:
    size += int(answer.headers['Content-Length'])
print(f'{len(report["install"])} packages, {size / 2**20:.0f} MiB of wheels')
PYTHON
  done
done
exit $failed
