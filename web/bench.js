// Times of one network through several engines, on the visitor's own device. `?only=ours-cpu&batches=1,16&repeats=9&ort=FOLDER/
// &onnx=FILE&model=FILE` runs one of them by itself, for `make bench-web`.
import { Engine } from './engine.js';

const query = new URLSearchParams(location.search);
const MODEL = query.get('model') ?? '../static/models/emoji.safetensors';
const ONNX = query.get('onnx') ?? '../bench/model.onnx';
const ORT = query.get('ort') ?? '../bench/ort/';
const BATCHES = (query.get('batches') ?? '1,16').split(',').map(Number);
/** Milliseconds of pictures before any are timed. */
const WARM_UP = 2000;
const REPEATS = Number(query.get('repeats') ?? 9);

/**
 * An engine as the bench sees it.
 * @typedef {{title: string, load: () => Promise<(batch: number, seed: number) => Promise<Uint8ClampedArray[]>>}} Contender
 * @type {Record<string, Contender>}
 */
const CONTENDERS = {
  'ours-cpu': { title: 'MeanFlow, CPU', load: () => ours('cpu') },
  'ours-webgpu': { title: 'MeanFlow, WebGPU', load: () => ours('webgpu') },
  'ort-wasm': { title: 'ONNX Runtime Web, wasm', load: () => onnxRuntime('wasm') },
  'ort-webgpu': { title: 'ONNX Runtime Web, WebGPU', load: () => onnxRuntime('webgpu') },
};

/** @param {'cpu' | 'webgpu'} build */
async function ours(build) {
  const engine = new Engine(build);
  await engine.load(MODEL);
  return async (batch, seed) => {
    const pictures = [];
    await engine.generate({ seed, count: batch, nfe: 1 }, ({ rgba }) => pictures.push(rgba));
    return pictures;
  };
}

/** With the settings that its documentation recommends. @param {'wasm' | 'webgpu'} provider */
async function onnxRuntime(provider) {
  const ort = await import(new URL(provider === 'wasm' ? 'ort.wasm.min.mjs' : 'ort.webgpu.min.mjs', new URL(ORT, location.href)).href);
  ort.env.wasm.wasmPaths = new URL(ORT, location.href).href;
  // Threads need headers that most hosts do not send; it would fall back to one by itself.
  ort.env.wasm.numThreads = crossOriginIsolated ? 0 : 1;
  const session = await ort.InferenceSession.create(ONNX, { executionProviders: [provider], graphOptimizationLevel: 'all' });
  const [, channels, height, width] = session.inputMetadata?.[0]?.shape ?? [0, 4, 32, 32];
  const values = channels * height * width;
  return async (batch) => {
    const noise = Float32Array.from({ length: batch * values }, normal);
    const feeds = {
      z: new ort.Tensor('float32', noise, [batch, channels, height, width]),
      r: new ort.Tensor('float32', new Float32Array(batch), [batch]),
      t: new ort.Tensor('float32', new Float32Array(batch).fill(1), [batch]),
    };
    const { u } = await session.run(feeds);
    const velocity = await u.getData();
    return [Uint8ClampedArray.from(noise, (e, i) => 127.5 * (e - velocity[i]) + 127.5)];
  };
}

function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** Milliseconds: from nothing to the first picture, then the median and the 95th percentile a picture at each batch. */
async function measure({ load }, say) {
  const began = performance.now();
  const draw = await load();
  await draw(1, 1);
  const result = { first: performance.now() - began, batches: {} };
  // Browsers compile wasm quickly first and well later.
  for (const warm = performance.now(); performance.now() - warm < WARM_UP; ) await draw(1, 2);
  for (const batch of BATCHES) {
    await draw(batch, 2);
    const times = [];
    for (let i = 0; i < REPEATS; i++) {
      say(`batch ${batch}, ${i + 1} of ${REPEATS}`);
      const start = performance.now();
      await draw(batch, 3 + i);
      times.push((performance.now() - start) / batch);
    }
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
    result.batches[batch] = { median: at(0.5), p95: at(0.95) };
  }
  return result;
}

async function run(name, say) {
  try {
    return await measure(CONTENDERS[name], say);
  } catch (error) {
    return { error: error.message };
  }
}

const status = document.getElementById('status');

async function all() {
  const table = document.getElementById('results');
  const heads = ['', 'first picture, ms', ...BATCHES.map((batch) => `ms a picture, batch ${batch} (95 %)`)];
  table.replaceChildren(row('th', heads));
  for (const [name, { title }] of Object.entries(CONTENDERS)) {
    const { error, first, batches } = await run(name, (text) => (status.textContent = `${title}: ${text}`));
    const cells = error ? [error] : [first.toFixed(0), ...BATCHES.map((batch) => `${batches[batch].median.toFixed(1)} (${batches[batch].p95.toFixed(1)})`)];
    table.append(row('td', [title, ...cells]));
  }
  status.textContent = '';
}

function row(kind, texts) {
  const line = document.createElement('tr');
  line.append(...texts.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
  return line;
}

const start = document.getElementById('start');
start.onclick = async () => {
  start.disabled = true;
  await all();
  start.disabled = false;
};
const only = query.get('only');
if (only) globalThis.result = await run(only, () => {});
