#!/usr/bin/env bash
# Leaves the npm package of <mean-flow> in dist-npm/, ready for `npm pack` or `npm publish`; needs the built site.
set -euo pipefail
cd "$(dirname "$0")/../.."
rm -rf dist-npm && mkdir dist-npm
# The element and what it imports; the page's own scripts stay at home.
cp web/package/* LICENSE-MIT LICENSE-APACHE dist-npm/
for module in mean-flow backend builds classes download engine engine-worker errors fused gallery ladder latent numbers png psnr scheduler store worker-cpu worker-relaxed worker-webgpu; do
  cp "web/$module.js" dist-npm/
done
cp dist/web/{mean-flow.inline.js,THIRD_PARTY.txt} dist-npm/
mkdir dist-npm/pkg
for build in cpu relaxed webgpu burn; do
  mkdir "dist-npm/pkg/$build"
  cp "web/pkg/$build"/meanflow{.js,.d.ts,_bg.wasm} "dist-npm/pkg/$build/"
done
