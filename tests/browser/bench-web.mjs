// One network through this project and ONNX Runtime Web, in one browser, one after the other in every round: writes
// docs/benchmarks/web.md. WebGPU is a software adapter here, so its times compare engines, not GPUs.
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

import { serve } from '../../web/tools/serve.mjs';
import { DIST, ROOT, launch, meanflow, randomWeights, temporaryFolder } from './support.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
/** The network of the bench: 6 blocks, width 192, 64 tokens. */
const NET = { image_size: 32, channels: 4, patch: 4, width: 192, depth: 6, heads: 6, mlp_ratio: 4, classes: 0 };
const CONTENDERS = {
  'ours-cpu': { batches: '1,16,64', repeats: 9 },
  'ort-wasm': { batches: '1,16,64', repeats: 9 },
  'ours-webgpu': { batches: '1,16', repeats: 3 },
  'ort-webgpu': { batches: '1,16', repeats: 3 },
};

const site = prepare();
const { server, address } = await serve(site);
const rounds = [];
for (let round = 0; round < ROUNDS; round++) {
  const results = {};
  for (const [name, options] of Object.entries(CONTENDERS)) {
    results[name] = await contend(name, options, round === 0);
    console.log(`round ${round + 1}, ${name}: first ${results[name].first.toFixed(0)} ms, ${JSON.stringify(results[name].batches)}`);
  }
  rounds.push(results);
}
server.close();
report();

/** The built site with the rival and the network beside it. */
function prepare() {
  const folder = temporaryFolder();
  cpSync(DIST, folder, { recursive: true });
  const bench = join(folder, 'bench');
  mkdirSync(join(bench, 'ort'), { recursive: true });
  const ort = join(ROOT, 'web/node_modules/onnxruntime-web/dist');
  for (const file of readdirSync(ort).filter((name) => /\.(mjs|wasm)$/.test(name))) copyFileSync(join(ort, file), join(bench, 'ort', file));
  const weights = randomWeights(NET, 'f16');
  copyFileSync(weights, join(bench, 'model.safetensors'));
  meanflow('repack', weights, '--onnx', join(bench, 'model.onnx'));
  return folder;
}

/** One engine in a fresh browser: an empty cache, then the same page again with a warm one. */
async function contend(name, { batches, repeats }, weigh) {
  const browser = await launch({ webgpu: name.endsWith('webgpu') });
  const context = await browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  const fetched = new Set();
  if (weigh) context.on('response', (response) => fetched.add(new URL(response.url()).pathname));
  const visit = async (more) => {
    await page.goto(`${address}web/bench.html?only=${name}&model=../bench/model.safetensors&${more}`);
    await page.waitForFunction(() => globalThis.result, undefined, { timeout: 900_000 });
    const result = await page.evaluate(() => globalThis.result);
    if (result.error) throw new Error(`${name}: ${result.error}`);
    return result;
  };
  const cold = await visit(`batches=${batches}&repeats=${repeats}`);
  if (weigh) cold.bytes = runtimeBytes(fetched);
  cold.again = (await visit('batches=1&repeats=1')).first;
  await browser.close();
  return cold;
}

/** Brotli bytes of what an engine fetched that is no model. */
function runtimeBytes(fetched) {
  const runtime = [...fetched].filter((path) => /\.(m?js|wasm)$/.test(path) && !path.endsWith('bench.js'));
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } };
  return runtime.reduce((sum, path) => sum + brotliCompressSync(readFileSync(join(site, path)), quality).length, 0);
}

function report() {
  const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const spread = (values, digits) => `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
  const of = (name, read) => rounds.map((round) => read(round[name]));
  const names = { 'ours-cpu': 'ours, CPU', 'ort-wasm': 'ONNX Runtime Web, wasm', 'ours-webgpu': 'ours, WebGPU', 'ort-webgpu': 'ONNX Runtime Web, WebGPU' };
  const cell = (name, batch) => (rounds[0][name].batches[batch] ? `${spread(of(name, (r) => r.batches[batch].median), 1)}, 95 %: ${median(of(name, (r) => r.batches[batch].p95)).toFixed(1)}` : '–');
  const lines = Object.entries(names).map(([name, title]) => {
    const mega = (rounds[0][name].bytes / 1e6).toFixed(2);
    const first = [of(name, (r) => r.first), of(name, (r) => r.again)].map((values) => spread(values, 0));
    return `| ${title} | ${mega} | ${first.join(' | ')} | ${[1, 16, 64].map((batch) => cell(name, batch)).join(' | ')} |`;
  });
  const ratio = (ours, theirs, read) => spread(rounds.map((round) => read(round[theirs]) / read(round[ours])), 2);
  const pairs = [['CPU against wasm', 'ours-cpu', 'ort-wasm', [1, 16, 64]], ['WebGPU against WebGPU', 'ours-webgpu', 'ort-webgpu', [1, 16]]];
  const ratios = pairs.map(([title, ours, theirs, batches]) => {
    const warm = [1, 16, 64].map((batch) => (batches.includes(batch) ? ratio(ours, theirs, (r) => r.batches[batch].median) : '–'));
    return `| ${title} | ${(rounds[0][theirs].bytes / rounds[0][ours].bytes).toFixed(1)} | ${ratio(ours, theirs, (r) => r.first)} | ${ratio(ours, theirs, (r) => r.again)} | ${warm.join(' | ')} |`;
  });
  const heads = '| runtime, MB brotli | first picture, ms, empty cache | warm cache | ms a picture, batch 1 | batch 16 | batch 64 |';
  const rule = `|${'---|'.repeat(7)}`;
  const text = [
    `${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${cpus().length} cores, headless Chromium, WebGPU on SwiftShader, ${ROUNDS} rounds, medians (smallest–largest): \`make bench-web\`.`,
    '', 'A DiT of 6 blocks, width 192, 64 tokens, random weights.', '', `| ${heads}`, rule, ...lines, '',
    'How many times more the rival takes, of single rounds:', '', `| ${heads}`, rule, ...ratios, '',
  ];
  writeFileSync(join(ROOT, 'docs/benchmarks/web.md'), text.join('\n'));
  console.log(text.join('\n'));
}
