// One network through this project, ONNX Runtime Web and TensorFlow.js, in one browser, one after the other in every
// round: writes docs/benchmarks/web-cpu.md, web-cores.md and web-webgpu.md with their plots; `ONLY=ours-cpu,ort-wasm`
// runs some. WebGPU is a software adapter here, so its times compare engines, not GPUs.
import { copyFileSync, cpSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

import { serve } from '../../web/tools/serve.mjs';
import { KINDS, write } from './bench-web-report.mjs';
import { DIST, ROOT, launch, meanflow, openQuietly, randomWeights, temporaryFolder } from './support.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 5);
/** The network of the bench: 6 blocks, width 192, 64 tokens. */
const NET = { image_size: 32, channels: 4, patch: 4, width: 192, depth: 6, heads: 6, mlp_ratio: 4, classes: 0 };
/** How every engine's file stores the weights. */
const DTYPE = 'f16';
/** Batches, and those for the first round alone, as they take minutes on a software adapter. */
const ON_CPU = { batches: [1, 16, 64], once: [], repeats: 9 };
const ON_GPU = { batches: [1, 16], once: [64], repeats: 3 };
/** Threads need a page that shares nothing with others; ours needs none, and is timed under the same headers. */
const ON_ALL_CORES = { ...ON_CPU, isolated: true };
const CONTENDERS = {
  'ours-cpu': ON_CPU,
  'ort-wasm': ON_CPU,
  'tfjs-wasm': ON_CPU,
  'ours-workers': ON_ALL_CORES,
  'ort-threads': ON_ALL_CORES,
  'ours-webgpu': ON_GPU,
  'ort-webgpu': ON_GPU,
  'tfjs-webgpu': ON_GPU,
};
const chosen = (process.env.ONLY ?? Object.keys(CONTENDERS).join()).split(',');

const site = prepare();
const { server, address } = await serve(site);
const isolated = await serve(site, { isolated: true });
const { bytes, distinct } = await inPage('disagreement', '', false, async ({ result }) => result);
if (bytes > 1 || distinct < 50) {
  throw new Error(`the rivals draw other pictures: ${bytes} of 255 apart, ${distinct} values`);
}
const isWhole = (kind) => Object.keys(KINDS[kind]).every((name) => chosen.includes(name));
const limits = isWhole('webgpu') && (await inPage('limits', '', true, async ({ result }) => result));
const rounds = [];
for (let round = 0; round < ROUNDS; round++) {
  const results = {};
  for (const name of chosen) {
    results[name] = await contend(name, CONTENDERS[name], round === 0);
    const { first, again, memory, batches } = results[name];
    const warm = Object.entries(batches).map(([batch, { median }]) => `${batch}: ${median.toFixed(1)}`);
    console.log(
      `round ${round + 1}, ${name}: first ${first.toFixed(0)} ms, again ${again.toFixed(0)} ms, ${(memory / 1e6).toFixed(0)} MB; ${warm.join(', ')}`,
    );
  }
  rounds.push(results);
}
server.close();
isolated.server.close();
for (const kind of Object.keys(KINDS).filter(isWhole)) write(kind, rounds, limits, NET);

/** The built site with the rivals and the network beside it. */
function prepare() {
  const folder = temporaryFolder();
  cpSync(DIST, folder, { recursive: true });
  const bench = join(folder, 'bench');
  const copy = (from, to, wanted) => {
    mkdirSync(join(bench, to), { recursive: true });
    for (const file of readdirSync(from).filter((name) => wanted.test(name))) {
      copyFileSync(join(from, file), join(bench, to, file));
    }
  };
  copy(join(ROOT, 'web/node_modules/onnxruntime-web/dist'), 'ort', /\.(mjs|wasm)$/);
  const tensorFlow = join(ROOT, 'docs/benchmarks/node_modules/@tensorflow');
  for (const part of ['core', 'backend-webgpu', 'backend-wasm']) {
    copy(join(tensorFlow, `tfjs-${part}/dist`), 'tfjs', /^tf-[a-z-]+\.min\.js$/);
  }
  copy(join(tensorFlow, 'tfjs-backend-wasm/wasm-out'), 'tfjs', /\.wasm$/);
  copyFileSync(new URL('onnx-in-tensorflow.mjs', import.meta.url), join(bench, 'tfjs/onnx-in-tensorflow.mjs'));
  const weights = randomWeights(NET, DTYPE);
  copyFileSync(weights, join(bench, 'model.safetensors'));
  meanflow('repack', weights, '--onnx', join(bench, 'model.onnx'), '--dtype', DTYPE);
  return folder;
}

/** One engine in a fresh browser: an empty cache, then the same page again with a warm one. */
async function contend(name, { batches, once, repeats }, whole) {
  return inPage(
    name,
    `batches=${[...batches, ...(whole ? once : [])]}&repeats=${repeats}`,
    name.endsWith('webgpu'),
    async ({ result, fetched, memory, visit }) => {
      const cold = { ...result, bytes: runtimeBytes(fetched), memory: await memory() };
      return { ...cold, again: (await visit('batches=1&repeats=1')).first };
    },
  );
}

/** Runs one entry of the bench page, and `then` with what it said, in the same browser. */
async function inPage(name, query, webgpu, then) {
  const browser = await launch({ webgpu });
  // The page's policy forbids what some rivals do.
  const context = await browser.newContext({ serviceWorkers: 'block', bypassCSP: true });
  const page = await openQuietly(context);
  const fetched = new Set();
  context.on('response', (response) => fetched.add(new URL(response.url()).pathname));
  const visit = async (more) => {
    await page.goto(
      `${CONTENDERS[name]?.isolated ? isolated.address : address}web/bench.html?only=${name}&model=../bench/model.safetensors&${more}`,
    );
    await page.waitForFunction(() => globalThis.result, undefined, { timeout: 1_200_000 });
    const result = await page.evaluate(() => globalThis.result);
    if (result.error) throw new Error(`${name}: ${result.error}`);
    return result;
  };
  const result = await visit(query);
  const answer = await then({ result, fetched, visit, memory: () => peakMemory(browser) });
  await browser.close();
  return answer;
}

/** The most memory that the page and the GPU's process have held, in bytes; only Linux tells. */
async function peakMemory(browser) {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const peak = ({ id }) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  const most = (type) => Math.max(0, ...processInfo.filter((one) => one.type === type).map(peak));
  return most('renderer') + most('GPU');
}

/** Brotli bytes of what an engine fetched that is no model. */
function runtimeBytes(fetched) {
  const runtime = [...fetched].filter((path) => /\.(m?js|wasm)$/.test(path) && !/\/(bench|onnx-in-)[^/]*$/.test(path));
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } };
  return runtime.reduce((sum, path) => sum + brotliCompressSync(readFileSync(join(site, path)), quality).length, 0);
}
