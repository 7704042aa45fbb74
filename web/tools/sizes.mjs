// Sizes of the wasm builds as a browser downloads them. Fails above the budget.
import { readFileSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';

/** Most bytes of each wasm build, brotli-compressed. */
const BUDGETS = { cpu: 500e3, webgpu: 250e3 };

const pkg = new URL('../pkg/', import.meta.url);
for (const [build, budget] of Object.entries(BUDGETS)) {
  const wasm = readFileSync(new URL(`${build}/meanflow_bg.wasm`, pkg));
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length };
  const size = brotliCompressSync(wasm, { params }).length;
  console.log(`wasm ${build}: ${(wasm.length / 1e6).toFixed(2)} MB, brotli ${(size / 1e6).toFixed(3)} MB`);
  if (size > budget) throw new Error(`the ${build} build is above its budget of ${budget / 1e3} KB brotli`);
}
