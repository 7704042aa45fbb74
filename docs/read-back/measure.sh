#!/usr/bin/env bash
# How often pictures show what their prompts say: trains a classifier of each part or attribute of a set, and has it name
# what it sees in pictures of the shipped models. The tables and results are written beside this script.
#   measure.sh NOUNS [OUT]   NOUNS: the parts of Nouns, a folder or a zip. OUT: where classifiers are kept, and found again
# `make data` makes the other sets. COUNT is how many pictures of each kind, 1000 if not given. Takes an hour on two cores.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
meanflow=${MEANFLOW:-$root/target/release/meanflow}
nouns=${1:?the parts of Nouns, a folder or a zip}
out=${2:-$root/runs/read-back}
sets=${SETS:-$root/runs/data}

# read_back MODEL DATA SETTINGS KIND NAME:EPOCHS… [-- OPTION…]: KIND is --layer or --label.
read_back() {
  local model=$1 data=$2 settings=$root/crate/configs/$3 kind=$4 classifiers=()
  shift 4
  mkdir -p "$out/$model"
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    local name=${1%:*} epochs=${EPOCHS:-${1#*:}}
    local file=$out/$model/$name.features.safetensors
    [ -e "$file" ] || "$meanflow" classifier --data "$data" --config "$settings" "$kind" "$name" --epochs "$epochs" --out "$file"
    classifiers+=("$kind" "$name" --classifier "$file")
    shift
  done
  [ $# -gt 0 ] && shift
  "$meanflow" read-back "$root/static/models/$model.safetensors" --data "$data" --config "$settings" "${classifiers[@]}" \
    --count "${COUNT:-1000}" --out "$here/$model.json" "$@" | tee "$here/$model.md"
}

read_back nouns-words "$nouns" nouns-words.toml --layer heads:5 glasses:5 bodies:10 accessories:10 -- --swap glasses,bodies
read_back people "$sets/people" people.toml --label skinColor:1 hairColor:1 hair:1 eyes:1 facialHair:1 nose:1 mouth:1 \
  clothingColor:1 body:1 -- --split test
read_back faces "$sets/faces" faces.toml --label colour:2 eyes:2 mouth:2 brows:2 cheeks:2 tears:2 hat:2 extra:2 -- --split test
