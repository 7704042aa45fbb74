#!/usr/bin/env bash
# Runs a Python script of the project with the packages of tests/fixtures/requirements.txt, installed once into .tools/python.
#   python.sh SCRIPT [ARGUMENTS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
wanted=$root/tests/fixtures/requirements.txt
place=$root/.tools/python
if [ ! -e "$place/installed" ] || [ "$wanted" -nt "$place/installed" ]; then
  echo "installing Python packages"
  python3 -m venv "$place"
  "$place/bin/pip" install --quiet -r "$wanted"
  touch "$place/installed"
fi
exec "$place/bin/python" "$@"
