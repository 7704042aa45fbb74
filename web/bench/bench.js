// Times of one network through several engines, on the visitor's own device. `?only=ours-cpu&batches=1,16&repeats=9`
// runs one of them by itself, for `make bench-web`, with `&rivals=FOLDER/&onnx=FILE&model=FILE`; `?only=limits` tells
// the GPU's, `?only=disagreement` whether the rivals draw the same.
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

/** @typedef {(batch: number, seed: number) => Promise<(Uint8Array | Uint8ClampedArray)[]>} Draw pictures as bytes */
/** @typedef {{title: string, load: () => Promise<Draw>}} Contender an engine as the bench sees it */
/** @typedef {{median: number, p95: number, times: number[]}} Timing milliseconds a picture */
/**
 * @typedef {{first: number, batches: Record<number, Timing>}} Timings milliseconds to the first picture, and at each
 *   batch
 */

/** @type {Record<string, Contender>} */
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

/**
 * @param {Engine | FailoverEngine} engine one Worker, or as many as the page draws a gallery by
 * @returns {Promise<Draw>}
 */
async function ours(engine) {
  await engine.load(MODEL);
  return async (batch, seed) => {
    /** @type {Uint8Array[]} */
    const pictures = [];
    await engine.generate({ seed, count: batch, nfe: 1 }, (report) => {
      if ('rgba' in report) pictures.push(report.rgba);
    });
    return pictures;
  };
}

/**
 * With the settings that its documentation recommends.
 * @param {'wasm' | 'webgpu'} provider
 * @param {number} threads
 * @returns {Promise<Draw>}
 */
async function onnxRuntime(provider, threads = 1) {
  // It would fall back to one by itself.
  if (threads > 1 && !crossOriginIsolated) {
    throw new Error('threads need the headers COOP and COEP, which few hosts send');
  }
  const folder = `${RIVALS}ort/`;
  const ort = await import(`${folder}${provider === 'wasm' ? 'ort.wasm.min.mjs' : 'ort.webgpu.min.mjs'}`);
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(ONNX, {
    executionProviders: [provider],
    graphOptimizationLevel: 'all',
  });
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

/** The same file, read into TensorFlow.js. @param {'wasm' | 'webgpu'} backend @returns {Promise<Draw>} */
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

/** A script that is no module, as the rival is shipped. @param {string} address */
function script(address) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement('script'), {
      src: address,
      onload: resolve,
      onerror: () => reject(new Error(`${address} is not there`)),
    });
    document.head.append(element);
  });
}

/** About normal numbers, the same for a seed. @param {number} length @param {number} seed */
function drawNoise(length, seed) {
  let state = seed;
  const uniform = () => (state = (1_664_525 * state + 1_013_904_223) % 4_294_967_296) / 4_294_967_296;
  return Float32Array.from({ length }, () => Math.sqrt(12 / 4) * (uniform() + uniform() + uniform() + uniform() - 2));
}

/** One step of the average velocity, as bytes. @param {Float32Array} noise @param {Float32Array} velocity */
const toPictures = (noise, velocity) => Uint8ClampedArray.from(noise, (e, i) => 127.5 * (e - velocity[i]) + 127.5);

/**
 * From nothing to the first picture, then the median and the 95th percentile at each batch.
 * @param {Contender} contender
 * @param {(words: string) => void} say
 * @returns {Promise<Timings>}
 */
async function measure({ load }, say) {
  const began = performance.now();
  const draw = await load();
  await draw(1, 1);
  /** @type {Timings} */
  const result = { first: performance.now() - began, batches: {} };
  // Browsers compile wasm quickly first and well later.
  for (const warm = performance.now(); performance.now() - warm < WARM_UP; ) await draw(1, 2);
  for (const batch of BATCHES) {
    await draw(batch, 2);
    /** @type {number[]} */
    const times = [];
    const began = performance.now();
    for (let i = 0; i < REPEATS && performance.now() - began < PATIENCE; i++) {
      say(`batch ${batch}, ${i + 1} of ${REPEATS}`);
      const start = performance.now();
      await draw(batch, 3 + i);
      times.push((performance.now() - start) / batch);
    }
    times.sort((a, b) => a - b);
    const at = (/** @type {number} */ share) => times[Math.min(times.length - 1, Math.floor(share * times.length))];
    result.batches[batch] = { median: at(0.5), p95: at(0.95), times };
  }
  return result;
}

/** @param {string} name @param {(words: string) => void} say @returns {Promise<Timings | {error: string}>} */
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
  const differences = Array.from(a, (byte, i) => Math.abs(byte - b[i]));
  return { bytes: Math.max(...differences), distinct: new Set(a).size };
}

const status = /** @type {HTMLElement} */ (document.getElementById('status'));
const table = /** @type {HTMLTableElement} */ (document.getElementById('results'));
const start = /** @type {HTMLButtonElement} */ (document.getElementById('start'));

async function all() {
  const heads = ['', 'first picture, ms', ...BATCHES.map((batch) => `ms a picture, batch ${batch} (95 %)`)];
  table.replaceChildren(row('th', heads));
  for (const [name, { title }] of Object.entries(CONTENDERS)) {
    const result = await run(name, (text) => (status.textContent = `${title}: ${text}`));
    table.append(row('td', [title, ...('error' in result ? [result.error] : cellsOf(result))]));
  }
  status.textContent = '';
}

/** @param {Timings} timings */
function cellsOf({ first, batches }) {
  const cell = (/** @type {Timing} */ { median, p95 }) => `${median.toFixed(1)} (${p95.toFixed(1)})`;
  return [first.toFixed(0), ...BATCHES.map((batch) => cell(batches[batch]))];
}

/** @param {'th' | 'td'} kind @param {string[]} texts */
function row(kind, texts) {
  const line = document.createElement('tr');
  line.append(...texts.map((text) => Object.assign(document.createElement(kind), { textContent: text })));
  return line;
}

start.onclick = async () => {
  start.disabled = true;
  await all();
  start.disabled = false;
};
const only = query.get('only');
/** @type {Record<string, () => Promise<object>>} */
const checks = { limits, disagreement };
if (only) Object.assign(globalThis, { result: await (checks[only]?.() ?? run(only, () => {})) });
