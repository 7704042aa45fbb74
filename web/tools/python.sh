#!/usr/bin/env bash
# Runs a Python script with the packages of a requirements.txt, installed once into a folder of .tools/python.
#   python.sh REQUIREMENTS SCRIPT [ARGUMENTS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
wanted=$1
place=$root/.tools/python/$(basename "$(dirname "$(realpath "$wanted")")")
shift
if [ ! -e "$place/installed" ] || [ "$wanted" -nt "$place/installed" ]; then
  echo "installing the Python packages of $wanted"
  python3 -m venv "$place"
  "$place/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  touch "$place/installed"
fi
exec "$place/bin/python" "$@"
