#!/usr/bin/env bash
# Whether one call of a shipped model is as good as many: the Fréchet distance to real images, by network calls, and how
# far pictures are from the nearest of these. For models with words the real images are combinations that training never
# showed. Three draws of COUNT pictures, 1000 if not given. The tables and results are written beside this script.
#   measure.sh [NOUNS]   NOUNS: the parts of Nouns, a folder or a zip; without them, of the other sets alone
# `make data` makes the other sets. It takes six minutes of a core for each model; MODELS chooses among them.
set -euo pipefail
nouns=${1:-}
[ -z "$nouns" ] || nouns=$(realpath -e "$nouns")
# The results name files as seen from here.
cd "$(dirname "$0")/../.."
here=docs/one-call
meanflow=${MEANFLOW:-target/release/meanflow}
results=$(mktemp --suffix .jsonl)
trap 'rm -f "$results"' EXIT
sets=${SETS:-runs/data}
count=${COUNT:-1000}

# measure MODEL DATA CLASSIFIER [OPTION…]: by the features of a classifier of docs/read-back
measure() {
  local model=$1 data=$2 features=docs/read-back/$3.features.safetensors
  shift 3
  [[ " ${MODELS:-$model} " == *" $model "* ]] || return 0
  : > "$results"
  for draw in 0 1 2; do
    for way in "mean-flow 1,2,4" "euler 32"; do
      "$meanflow" eval "static/models/$model.safetensors" --data "$data" --config "crate/configs/$model.toml" \
        --features "$features" --solver "${way% *}" --nfe "${way#* }" --count "$count" \
        --nearest "$count" --seed $((draw * count)) --out "$results" "$@"
    done
  done
  # Results that are not whole leave those that are there.
  cp "$results" "$here/$model.jsonl"
  "$meanflow" compare "$results" --table "$here/$model.md"
}

[ -z "$nouns" ] || measure nouns-words "$nouns" nouns-words
measure people "$sets/people" people --split test
measure faces "$sets/faces" faces --split test
# Too few for a Fréchet distance in so many dimensions.
measure emoji "$sets/emoji-faces" faces
