// Sizes as a browser downloads them: the wasm builds, the scripts, the models; `node sizes.mjs FOLDER`, of the built
// site. Fails above the budget.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

import { engineFolder } from './engine-folder.mjs';

/**
 * Most bytes of each: the wasm builds, their Workers' scripts and those of page, element and engine compressed with
 * brotli, one model as it is. An engine holds both transformers, with guidance as an input; before, the second and
 * guidance took the build of burn, four times as large. Page and element together are below 40 KB. What trains,
 * `learn`, is of the laboratory alone.
 */
const BUDGET = {
  cpu: 92.5e3,
  relaxed: 92.5e3,
  webgpu: 124e3,
  burn: 400e3,
  learn: 600e3,
  worker: 8.5e3,
  page: 17.5e3,
  lab: 8.5e3,
  'lab-compare': 2e3,
  'lab-teach': 8.5e3,
  'mean-flow': 11e3,
  'mean-flow.inline': 118.5e3,
  engine: 3.5e3,
  model: 4e6,
};

const [site] = process.argv.slice(2);
const engine = `web/${engineFolder(join(site, 'web'))}`;
const lab = `web/${engineFolder(join(site, 'web'), 'lab')}`;
const list = (folder, ending) =>
  readdirSync(join(site, folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => readFileSync(join(site, folder, name)));

function brotli(bytes) {
  return brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  }).length;
}

function report(what, size, budget, note = '') {
  console.log(`${what}: ${(size / 1e6).toFixed(3)} MB${note}`);
  if (size > budget) throw new Error(`${what} is above its budget of ${budget / 1e6} MB`);
}

for (const build of ['cpu', 'relaxed', 'webgpu', 'burn', 'learn']) {
  const [wasm] = list(build === 'learn' ? lab : `${engine}pkg/${build}`, '.wasm');
  report(`wasm ${build}, brotli`, brotli(wasm), BUDGET[build], ` (${(wasm.length / 1e6).toFixed(2)} MB raw)`);
}
for (const name of [
  'worker-cpu',
  'worker-relaxed',
  'worker-webgpu',
  'page',
  'lab',
  'lab-compare',
  'lab-teach',
  'mean-flow',
  'mean-flow.inline',
  'engine',
]) {
  const script = readFileSync(join(site, name.startsWith('worker') ? engine : 'web', `${name}.js`));
  report(`${name}, brotli`, brotli(script), BUDGET[name] ?? BUDGET.worker);
}
for (const model of list('static/models', '.safetensors')) report('model', model.length, BUDGET.model);
