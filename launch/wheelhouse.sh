#!/usr/bin/env bash
# For clusters without internet: collects the package and all that it needs as
# wheels in a folder, and installs from there.
#   bash launch/wheelhouse.sh collect [--python 3.11] [--extras train,cuda] \
#     [--platform manylinux_2_28_x86_64] DIR
#   bash launch/wheelhouse.sh install DIR [VENV]                (default: .venv)
# The platform's number is of the oldest C library (`ldd --version`) to install
# on; wheels for older ones are taken as well. `collect` needs the same Python
# and processor as the cluster: pip judges the conditions of dependencies by
# what it runs on. PYTHON names an interpreter that is not on the PATH.
set -euo pipefail

usage() {
  sed -n '2,10s/^# //p' "$0" >&2
  exit 2
}

fail() {
  echo "wheelhouse: $1" >&2
  exit 2
}

# All platform tags whose wheels run there, by PEP 600 and its older names.
tags_of() {
  [[ $1 =~ ^manylinux_2_([0-9]+)_([a-z0-9_]+)$ ]] ||
    fail "--platform $1: must look like manylinux_2_28_x86_64"
  local minor processor=${BASH_REMATCH[2]}
  for ((minor = BASH_REMATCH[1]; minor >= 5; minor--)); do
    echo "manylinux_2_${minor}_$processor"
    case $minor in
      17) echo "manylinux2014_$processor" ;;
      12) echo "manylinux2010_$processor" ;;
      5) echo "manylinux1_$processor" ;;
    esac
  done
}

# Not in the checkout, whose build/ could hold files that are no more.
build_own_wheel() { # python, folder
  local root
  root=$(cd "$(dirname "$0")/.." && pwd)
  mkdir "$scratch/source"
  (cd "$root" && cp -r setup.py pyproject.toml README.md LICENSE exgan_jax \
    tfds_celeb_id "$scratch/source")
  "$1" -m pip wheel --quiet --no-deps --wheel-dir "$scratch/own" \
    "$scratch/source"
  rm -f "$2"/exgan_jax-*.whl
  mv "$scratch"/own/*.whl "$2"
}

# What is published as source alone: built here, if it then runs anywhere.
build_from_source() { # python, requirement, folder
  local wheels
  echo "wheelhouse: $2 has no wheel for there: building it" >&2
  rm -rf "$scratch/built"
  "$1" -m pip wheel --quiet --no-deps --wheel-dir "$scratch/built" "$2" ||
    fail "$2: neither a wheel for that platform, nor can it be built here"
  wheels=("$scratch"/built/*.whl)
  [[ ${wheels[0]} = *-none-any.whl ]] ||
    fail "$2: no wheel for that platform, and ${wheels[0]##*/} runs here alone"
  mv "${wheels[0]}" "$3"
}

collect() {
  local version=3.11 platform=manylinux_2_28_x86_64 extras='' folder=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      --python) version=${2:-} && shift ;;
      --platform) platform=${2:-} && shift ;;
      --extras) extras=${2:-} && shift ;;
      -*) usage ;;
      *)
        [[ -z $folder ]] || usage
        folder=$1
        ;;
    esac
    shift || usage
  done
  [[ -n $folder ]] || usage
  local tags python=${PYTHON:-python$version} here
  tags=$(tags_of "$platform")
  here=$("$python" -c 'import platform, sys
print("%d.%d" % sys.version_info[:2], sys.platform, platform.machine())') ||
    fail "there is no $python: set PYTHON to one of that version"
  [[ "$here $platform" = "$version linux "*_"${here##* }" ]] ||
    fail "$python is for $here: collect with the cluster's Python and processor"

  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  build_own_wheel "$python" "$folder"
  echo "exgan_jax${extras:+[$extras]}" >"$folder/requirements.txt"
  local options=(
    --python-version "$version" --implementation cp --only-binary=:all:
    --find-links "$folder" --dest "$folder" --disable-pip-version-check
  )
  local tag
  for tag in $tags; do
    options+=(--platform "$tag")
  done
  local wanted before=''
  # pip names one requirement without a wheel at a time.
  until "$python" -m pip download "${options[@]}" \
    --requirement "$folder/requirements.txt" 2>"$scratch/errors"; do
    wanted=$(sed -n 's/^ERROR: No matching distribution found for //p' \
      "$scratch/errors" | head -n 1)
    if [[ -z $wanted || $wanted = "$before" ]]; then
      cat "$scratch/errors" >&2
      fail 'pip could not collect the wheels'
    fi
    before=$wanted
    build_from_source "$python" "$wanted" "$folder"
  done
  # Such as of an extra that there is not.
  grep '^WARNING' "$scratch/errors" >&2 || true
  echo "python$version" >"$folder/python.txt"
  echo "wheelhouse: $folder: $(find "$folder" -name '*.whl' | wc -l) wheels," \
    "$(du -sh "$folder" | cut -f 1)"
}

install() {
  [[ $# -eq 1 || $# -eq 2 ]] || usage
  local folder=$1 venv=${2:-.venv} python
  [[ -f $folder/python.txt ]] || fail "$folder: not made by \`collect\`"
  python=${PYTHON:-$(<"$folder/python.txt")}
  command -v "$python" >/dev/null ||
    fail "there is no $python here: load its module, or set PYTHON to it"
  [[ -x $venv/bin/python ]] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-index --find-links "$folder" --requirement "$folder/requirements.txt"
  echo "wheelhouse: installed: $venv/bin/exgan"
}

[[ $# -ge 2 ]] || usage
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
case $1 in
  collect) collect "${@:2}" ;;
  install) install "${@:2}" ;;
  *) usage ;;
esac
