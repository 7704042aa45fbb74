#!/usr/bin/env bash
# Writes the address of the repository, the only argument, into both packages: registries show it, `cargo binstall`
# finds the archives by it, and npm compares it with the provenance. A fork's release so names the fork.
set -euo pipefail
cd "$(dirname "$0")/.."
sed -i.before "s|^license = .*|&\nrepository = \"$1\"|" crate/Cargo.toml && rm crate/Cargo.toml.before
line="  \"repository\": { \"type\": \"git\", \"url\": \"git+$1.git\" },"
sed -i.before "s|^  \"license\": .*|&\n$line|" web/package/package.json
rm web/package/package.json.before
