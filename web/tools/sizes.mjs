// Sizes as a browser downloads them from dist/: the wasm builds, the scripts, the models. Fails above the budget.
import { readFileSync, readdirSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';

/**
 * Most bytes of each: the wasm builds, their Workers' scripts and the page's compressed with brotli, one model as it is. On WebGPU all
 * together are less than what TensorFlow.js needs.
 */
const BUDGET = { cpu: 95e3, relaxed: 95e3, webgpu: 125e3, burn: 400e3, worker: 10e3, page: 15e3, model: 2.5e6 };

const root = new URL('../../', import.meta.url);
const list = (folder, ending) => readdirSync(new URL(folder, root)).filter((name) => name.endsWith(ending)).map((name) => readFileSync(new URL(folder + name, root)));

function brotli(bytes) {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } }).length;
}

function report(what, size, budget, note = '') {
  console.log(`${what}: ${(size / 1e6).toFixed(3)} MB${note}`);
  if (size > budget) throw new Error(`${what} is above its budget of ${budget / 1e6} MB`);
}

for (const build of ['cpu', 'relaxed', 'webgpu', 'burn']) {
  const [wasm] = list(`dist/web/pkg/${build}/`, '.wasm');
  report(`wasm ${build}, brotli`, brotli(wasm), BUDGET[build], ` (${(wasm.length / 1e6).toFixed(2)} MB raw)`);
}
for (const name of ['worker-cpu', 'worker-relaxed', 'worker-webgpu', 'page']) {
  const [script] = list('dist/web/', `${name}.js`);
  report(`${name}, brotli`, brotli(script), BUDGET[name.split('-')[0]]);
}
for (const model of list('static/models/', '.safetensors')) report('model', model.length, BUDGET.model);
