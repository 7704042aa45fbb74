#!/usr/bin/env bash
# Stands in for rustdoc in `cargo test` (RUSTDOC): after the examples in the documentation have passed, it builds the
# documentation with every warning an error. `cargo doc` would compile all dependencies a second time for that.
set -euo pipefail
rustdoc "$@"
[[ " $* " == *" --test "* ]] || exit 0
build=()
while [ $# -gt 0 ]; do
  case "$1" in
    --test) ;;
    --test-*) shift ;;
    *) build+=("$1") ;;
  esac
  shift
done
exec rustdoc "${build[@]}" --out-dir target/doc -Dwarnings
