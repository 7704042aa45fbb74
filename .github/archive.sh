#!/usr/bin/env bash
# Makes the archive of a release: `archive.sh PROGRAM TARGET FOLDER` leaves meanflow-VERSION-TARGET.tar.gz (.zip for
# Windows) and its .sha256 in the folder. In it are the program, manual pages, what shells complete, and the licences.
set -euo pipefail
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
target=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
cd "$(dirname "$0")/.."

version=$("$program" --version | tr -d '\r' | cut -d' ' -f2)
name=meanflow-$version-$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/$name/completions"
cp "$program" README.md THIRD_PARTY.md LICENSE-MIT LICENSE-APACHE "$work/$name/"
"$program" man "$work/$name/man" >/dev/null
for shell in bash elvish fish powershell zsh; do
  "$program" completions "$shell" > "$work/$name/completions/meanflow.$shell"
done

cd "$work"
case $target in
  *windows*) archive=$name.zip && 7z a -bso0 "$out/$archive" "$name" ;;
  *) archive=$name.tar.gz && tar -czf "$out/$archive" "$name" ;;
esac
cd "$out"
if command -v sha256sum >/dev/null; then sha256sum "$archive"; else shasum -a 256 "$archive"; fi > "$archive.sha256"
echo "$out/$archive"
