// Times of one network through several engines, on the visitor's own device. `?only=ours-cpu&batches=1,16&repeats=9` runs one of
// them by itself, for `make bench-web`, with `&rivals=FOLDER/&onnx=FILE&model=FILE`; `?only=limits` tells the GPU's, `?only=disagreement`
// whether the rivals draw the same.
import { limits } from './bench-limit.js';
import { Engine } from '../engine/engine.js';
import { FailoverEngine } from '../engine/failover.js';

const query = new URLSearchParams(location.search);
const MODEL = query.get('model') ?? '../static/models/emoji.safetensors';
const ONNX = query.get('onnx') ?? '../bench/model.onnx';
const RIVALS = new URL(query.get('rivals') ?? '../bench/', location.href).href;
const BATCHES = (query.get('batches') ?? '1,16').split(',').map(Number);
/** Channels, height and width of that network's pictures. */
const SHAPE = [4, 32, 32];
/** Milliseconds of pictures before any are timed. */
const WARM_UP = 2000;
const REPEATS = Number(query.get('repeats') ?? 9);
/** As many as ours has Workers. */
const THREADS = Math.min(4, navigator.hardwareConcurrency);
/** Milliseconds after which a batch is not repeated again. */
const PATIENCE = 15_000;

/**
 * An engine as the bench sees it.
 * @typedef {{title: string, load: () => Promise<(batch: number, seed: number) => Promise<Uint8ClampedArray[]>>}} Contender
 * @type {Record<string, Contender>}
 */
const CONTENDERS = {
  'ours-cpu': { title: 'MeanFlow, CPU', load: () => ours(new Engine('cpu')) },
  'ours-webgpu': { title: 'MeanFlow, WebGPU', load: () => ours(new Engine('webgpu')) },
  'ours-workers': { title: 'MeanFlow, CPU, all cores', load: () => ours(new FailoverEngine('cpu', { shared: true })) },
  'ort-wasm': { title: 'ONNX Runtime Web, wasm', load: () => onnxRuntime('wasm') },
  'ort-threads': { title: 'ONNX Runtime Web, wasm, threads', load: () => onnxRuntime('wasm', THREADS) },
  'ort-webgpu': { title: 'ONNX Runtime Web, WebGPU', load: () => onnxRuntime('webgpu') },
  'tfjs-wasm': { title: 'TensorFlow.js, wasm', load: () => tensorFlow('wasm') },
  'tfjs-webgpu': { title: 'TensorFlow.js, WebGPU', load: () => tensorFlow('webgpu') },
};

/** @param {Engine | FailoverEngine} engine one Worker, or as many as the page draws a gallery by */
async function ours(engine) {
  await engine.load(MODEL);
  return async (batch, seed) => {
    const pictures = [];
    await engine.generate({ seed, count: batch, nfe: 1 }, ({ rgba }) => pictures.push(rgba));
    return pictures;
  };
}

/**
 * With the settings that its documentation recommends.
 * @param {'wasm' | 'webgpu'} provider
 * @param {number} threads
 */
async function onnxRuntime(provider, threads = 1) {
  // It would fall back to one by itself.
  if (threads > 1 && !crossOriginIsolated) throw new Error('threads need the headers COOP and COEP, which few hosts send');
  const folder = `${RIVALS}ort/`;
  const ort = await import(`${folder}${provider === 'wasm' ? 'ort.wasm.min.mjs' : 'ort.webgpu.min.mjs'}`);
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(ONNX, { executionProviders: [provider], graphOptimizationLevel: 'all' });
  const [channels, height, width] = SHAPE;
  const values = channels * height * width;
  return async (batch, seed) => {
    const noise = drawNoise(batch * values, seed);
    const feeds = {
      z: new ort.Tensor('float32', noise, [batch, channels, height, width]),
      r: new ort.Tensor('float32', new Float32Array(batch), [batch]),
      t: new ort.Tensor('float32', new Float32Array(batch).fill(1), [batch]),
    };
    const { u } = await session.run(feeds);
    const velocity = await u.getData();
    return [toPictures(noise, velocity)];
  };
}

/** The same file, read into TensorFlow.js. @param {'wasm' | 'webgpu'} backend */
async function tensorFlow(backend) {
  const folder = `${RIVALS}tfjs/`;
  await script(`${folder}tf-core.min.js`);
  await script(`${folder}tf-backend-${backend}.min.js`);
  const { tf } = globalThis;
  if (backend === 'wasm') tf.wasm.setWasmPaths(folder);
  if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js has no ${backend} here`);
  const [{ readOnnx }, response] = await Promise.all([import(`${folder}onnx-in-tensorflow.mjs`), fetch(ONNX)]);
  const run = readOnnx(tf, new Uint8Array(await response.arrayBuffer()));
  const [channels, height, width] = SHAPE;
  return async (batch, seed) => {
    const noise = drawNoise(batch * channels * height * width, seed);
    const feeds = { z: tf.tensor(noise, [batch, channels, height, width]), r: tf.zeros([batch]), t: tf.ones([batch]) };
    const u = run(feeds);
    const velocity = await u.data();
    tf.dispose([u, feeds]);
    return [toPictures(noise, velocity)];
  };
}

/** A script that is no module, as the rival is shipped. */
function script(address) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement('script'), { src: address, onload: resolve, onerror: () => reject(new Error(`${address} is not there`)) });
    document.head.append(element);
  });
}

/** About normal numbers, the same for a seed. */
function drawNoise(length, seed) {
  let state = seed;
  const uniform = () => (state = (1_664_525 * state + 1_013_904_223) % 4_294_967_296) / 4_294_967_296;
  return Float32Array.from({ length }, () => Math.sqrt(12 / 4) * (uniform() + uniform() + uniform() + uniform() - 2));
}

/** One step of the average velocity, as bytes. */
const toPictures = (noise, velocity) => Uint8ClampedArray.from(noise, (e, i) => 127.5 * (e - velocity[i]) + 127.5);

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
    const began = performance.now();
    for (let i = 0; i < REPEATS && performance.now() - began < PATIENCE; i++) {
      say(`batch ${batch}, ${i + 1} of ${REPEATS}`);
      const start = performance.now();
      await draw(batch, 3 + i);
      times.push((performance.now() - start) / batch);
    }
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
    result.batches[batch] = { median: at(0.5), p95: at(0.95), times };
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

/** The largest difference of the rivals' pictures of one seed, in bytes: that they compute the same network. */
async function disagreement() {
  const [one, other] = await Promise.all([onnxRuntime('wasm'), tensorFlow('wasm')]);
  const [a, b] = [(await one(1, 1))[0], (await other(1, 1))[0]];
  return { bytes: a.reduce((most, byte, i) => Math.max(most, Math.abs(byte - b[i])), 0), distinct: new Set(a).size };
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
if (only) globalThis.result = await ({ limits, disagreement }[only]?.() ?? run(only, () => {}));
