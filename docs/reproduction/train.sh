#!/usr/bin/env bash
# Trains every setting of a folder with one seed, or those of a pattern: train.sh SETTINGS SEED DATA OUT ['PATTERN'].
# What is finished is not trained again, and what was interrupted goes on; the logs go to logs/ beside this script. STEPS is
# how many steps are taken, those of the settings if not given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
settings=$1 seed=$2 data=$3 out=$4 pattern=${5:-*}
meanflow=${MEANFLOW:-$here/../../target/release/meanflow}
# One thread a run: networks this small gain nothing from more, and glibc must not hand every large block back.
export RAYON_NUM_THREADS=1 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=268435456

mkdir -p "$out" "$here/logs"
for file in "$here/$settings"/$pattern.toml; do
  name=$(basename "$file" .toml)-$seed
  [ -e "$out/$name.safetensors" ] && continue
  # A setting that begins with the weights of another, which comes before it, says so in a comment.
  init=$(sed -n 's/^# init: //p' "$file")
  "$meanflow" train --config "$file" --seed "$seed" --data "$data" --out "$out/$name" ${STEPS:+--steps "$STEPS"} \
    ${init:+--init "$out/$init-$seed.safetensors"} --resume
  "$meanflow" export "$out/$name" --out "$out/$name.safetensors"
  cp "$out/$name/log.jsonl" "$here/logs/$settings-$name.jsonl"
done
