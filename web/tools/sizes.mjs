// Sizes as a browser downloads them: the wasm builds, the scripts, the models. Fails above the budget.
import { readFileSync, readdirSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';

/** Most bytes of each: the wasm builds and all scripts of page and element compressed with brotli, one model as it is. */
const BUDGET = { cpu: 200e3, relaxed: 200e3, webgpu: 200e3, burn: 400e3, scripts: 40e3, model: 2.5e6 };

const root = new URL('../../', import.meta.url);
const list = (folder, ending, without = /^$/) => readdirSync(new URL(folder, root)).filter((name) => name.endsWith(ending) && !without.test(name)).map((name) => readFileSync(new URL(folder + name, root)));

function brotli(bytes) {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length;
}

function report(what, size, budget, note = '') {
  console.log(`${what}: ${(size / 1e6).toFixed(3)} MB${note}`);
  if (size > budget) throw new Error(`${what} is above its budget of ${budget / 1e6} MB`);
}

for (const build of ['cpu', 'relaxed', 'webgpu', 'burn']) {
  const [wasm] = list(`web/pkg/${build}/`, '.wasm');
  report(`wasm ${build}, brotli`, brotli(wasm), BUDGET[build], ` (${(wasm.length / 1e6).toFixed(2)} MB raw)`);
}
report('scripts, brotli', list('web/', '.js', /^bench/).reduce((sum, script) => sum + brotli(script), 0), BUDGET.scripts);
for (const model of list('static/models/', '.safetensors')) report('model', model.length, BUDGET.model);
