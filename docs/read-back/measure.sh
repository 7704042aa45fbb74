#!/usr/bin/env bash
# How often pictures show what their prompts say: a classifier of all parts or attributes of a set names what it sees in
# pictures of the shipped models. The tables and results are written beside this script.
#   measure.sh [NOUNS]   NOUNS: the parts of Nouns, a folder or a zip; without them, of the other sets alone
# `make data` makes the other sets. COUNT is how many pictures of each kind, 1000 if not given. The classifiers lie beside
# this script; one that was removed is trained anew, which takes five to fifteen minutes of two cores, in EPOCHS passes (which
# change nothing while it lies there).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
meanflow=${MEANFLOW:-$root/target/release/meanflow}
nouns=${1:-}
[ -z "$nouns" ] || [ -e "$nouns" ] || { echo "$nouns: there is no such folder or zip" >&2; exit 2; }
# A table that cannot be made leaves the one that is there.
table=$(mktemp)
trap 'rm -f "$table"' EXIT
sets=${SETS:-$root/runs/data}

# read_back MODEL DATA EPOCHS KIND NAME… [-- OPTION…]: KIND is --layer or --label.
read_back() {
  local model=$1 data=$2 epochs=${EPOCHS:-$3} kind=$4 names=()
  local classifier=$here/$model.features.safetensors settings=$root/crate/configs/$model.toml
  shift 4
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    names+=("$kind" "$1")
    shift
  done
  [ $# -gt 0 ] && shift
  [ -e "$classifier" ] ||
    "$meanflow" classifier --name "$model" --data "$data" --config "$settings" "${names[@]}" --epochs "$epochs" --out "$classifier"
  "$meanflow" read-back "$root/static/models/$model.safetensors" --data "$data" --config "$settings" \
    --classifier "$classifier" --count "${COUNT:-1000}" --out "$here/$model.json" "$@" | tee "$table"
  cp "$table" "$here/$model.md"
}

[ -z "$nouns" ] || read_back nouns-words "$nouns" 12 --layer heads glasses bodies accessories -- --swap glasses,bodies
read_back people "$sets/people" 12 --label skinColor hairColor hair eyes facialHair nose mouth clothingColor body -- --split test
read_back faces "$sets/faces" 8 --label colour eyes mouth brows cheeks tears hat extra -- --split test
