#!/usr/bin/env bash
# Measures what train.sh trained: measure.sh DATA OUT. Results are appended to results/*.jsonl beside this script, of which
# tables.sh makes the tables and plots. COUNT is how many images are generated for each result, 2000 if not given; CALLS are
# the numbers of network calls to try, all of the tables if not given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=$1 out=$2
meanflow=${MEANFLOW:-$here/../../target/release/meanflow}
export RAYON_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456
mkdir -p "$here/results"

# measure NAME COUNTS SOLVERS WEIGHTS…: the calls to try and the solvers, of some weights files.
measure() {
  local name=$1 calls=$2 solvers=$3
  shift 3
  "$meanflow" eval "$@" --data "$data" --config "$here/objectives/mean-flow.toml" --features "$here/fashion-mnist.features.safetensors" \
    --count "${COUNT:-2000}" --nfe "$calls" --solver "$solvers" --out "$here/results/$name.jsonl"
}

for seed in 0 1 2; do
  # The long solvers of one seed only: they take most of the time.
  calls=1,2,4,8
  [ "$seed" = 0 ] && calls=1,2,4,8,16,32,64
  calls=${CALLS:-$calls}
  for one in improved-mean-flow:mean-flow mean-flow:mean-flow alpha-flow:mean-flow shortcut:mean-flow moment-matching:restart \
    terminal-velocity:mean-flow decoupled-mean-flow:mean-flow consistency:restart flow-matching:euler,heun; do
    weights=$out/objectives/${one%%:*}-$seed.safetensors
    [ -e "$weights" ] && measure objectives-$seed "$calls" "${one##*:}" "$weights"
  done
done
if [ -d "$out/ablations" ]; then measure ablations 1 mean-flow "$out"/ablations/*-0.safetensors; fi
