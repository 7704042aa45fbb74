#!/usr/bin/env bash
# Leaves the deployable site in dist/: static files with relative addresses only, for any host and any sub-path.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash web/tools/build-wasm.sh
rm -rf dist.partial && mkdir -p dist.partial/web
cp index.html LICENSE-MIT LICENSE-APACHE THIRD_PARTY.md dist.partial/
cp web/*.js dist.partial/web/
cp -r web/pkg dist.partial/web/pkg
cp -r static dist.partial/static
find dist.partial -name '.stamp' -delete -o -name '*.d.ts' -delete
rm -rf dist && mv dist.partial dist
echo "dist/ is ready: $(du -sh dist | cut -f1)"
