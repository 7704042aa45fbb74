#!/usr/bin/env bash
# Leaves the deployable site in dist/: static files with relative addresses only, for any host and any sub-path.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash web/tools/build-wasm.sh
rm -rf dist.partial && mkdir -p dist.partial/web
cp index.html LICENSE-MIT LICENSE-APACHE THIRD_PARTY.md dist.partial/
cp -r static dist.partial/static
policy=$(grep 'http-equiv="Content-Security-Policy"' index.html)
with_policy() { sed "s|.*<!-- the policy of index.html, by build-site.sh -->|$policy|" "$1"; }
with_policy web/bench/bench.html > dist.partial/web/bench.html
for page in lab compare teach; do with_policy web/lab/$page.html > dist.partial/$page.html; done
node web/tools/bundle.mjs site dist.partial/web
node web/tools/licenses.mjs dist.partial/web/THIRD_PARTY.txt
node web/tools/build-guide.mjs dist.partial
engine=$(cd dist.partial && echo web/engine/*/)
# Both scripts begin with how a browser chooses its build, which the engine imports as a module.
fused=$(sed 's/^export //' web/engine/simd-support.js)
models=$(node -p "JSON.parse(fs.readFileSync('static/models/models.json')).map(({ id, file }) => JSON.stringify([id, file])).join()")
cp web/page/file-notice.js dist.partial/web/
{ echo '{'; cat web/page/file-notice.js; echo "$fused"; sed "s|/\* models, by build-site.sh \*/|$models|; s|ENGINE/|$engine|" web/page/preload.js; echo '}'; } > dist.partial/web/preload.js
# What a visit without a network needs: everything but the models, which have a store of their own, and the builds of few visitors.
files=$(cd dist.partial && find web static -type f -not -name '*.safetensors' -not -path '*/pkg/webgpu/*' -not -path '*/pkg/burn/*' -not -path '*/burn.js' -not -path '*/pkg/*.js' -not -name '*webgpu.js' -not -name '*.md' -not -name 'bench.*' -not -path 'web/lab*' -not -name 'lab.css' -not -name 'guide.css' -not -name 'file-notice.js' -not -name 'THIRD_PARTY.txt' -not -name '*.inline.js' | LC_ALL=C sort | sed "s/.*/'&',/" | tr '\n' ' ')
sed "s|/\* filled in by build-site.sh \*/|'./', $files|" <(echo "$fused"; cat web/page/service-worker.js) > dist.partial/sw.js
node web/tools/sizes.mjs dist.partial
rm -rf dist && mv dist.partial dist
node web/tools/page-archive.mjs dist crate/page/page.tar.br
echo "dist/ is ready: $(du -sh dist | cut -f1)"
