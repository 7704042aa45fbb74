#!/usr/bin/env bash
# Leaves the npm package of <mean-flow> in dist-npm/, ready for `npm pack` or `npm publish`; needs the built site.
set -euo pipefail
cd "$(dirname "$0")/../.."
rm -rf dist-npm && mkdir dist-npm
cp web/package/* LICENSE-MIT LICENSE-APACHE dist-npm/
cp dist/web/THIRD_PARTY.txt dist-npm/
node web/tools/bundle.mjs package dist-npm
node web/tools/types.mjs dist-npm
engine=$(cd dist-npm && echo engine/*/)
for build in cpu relaxed webgpu burn; do
  cp "web/engine/pkg/$build/meanflow.d.ts" "dist-npm/${engine}pkg/$build/"
done
sed -i.before "s|/ENGINE/|/$engine|g" dist-npm/package.json && rm dist-npm/package.json.before
