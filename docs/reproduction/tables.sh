#!/usr/bin/env bash
# Makes the tables and the plot again from the committed results.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
meanflow=${MEANFLOW:-$here/../../target/release/meanflow}
"$meanflow" compare "$here"/results/objectives-*.jsonl --table "$here/objectives.md" --plot "$here/quality-by-calls.svg"
"$meanflow" compare "$here/results/ablations.jsonl" --table "$here/ablations.md"
