// The engine's half that computes: it runs in a Worker, so that the page never waits for a network call. Each build's
// Worker (worker-cpu.js and its like) is this with the build's script: together in one file, they need one download.
//
// Requests are served one after the other. A newer request, or an `abort` message, makes one stop before its next
// network call.
import { between, blendAt } from './latent.js';

/** @import { Answer, BuildAddresses, Tasks } from './protocol.js' */
/** @import { Backend, Mix, ModelInfo, PromptChoice, Report, Request, Stale } from './types.js' */

/** @typedef {typeof import('./pkg/cpu/meanflow.js')} Module a build's script, as wasm-bindgen writes it */
/** @typedef {import('./pkg/cpu/meanflow.js').Generator} Generator */
/** @typedef {import('./pkg/cpu/meanflow.js').ModelLoader} ModelLoader */

/**
 * How a task tells what it has before its end, and learns that nobody waits for it any more.
 * @typedef {object} Context
 * @property {(report: Report, given?: Transferable[]) => void} report
 * @property {AbortSignal} signal
 */

/** @param {Answer} answer @param {Transferable[]} [transfer] */
const tell = (answer, transfer) => self.postMessage(answer, { transfer });

/** Pictures per network call: few on the CPU, so that the first appear at once; many on a GPU, which they fill. */
const BATCH = { cpu: 2, webgpu: 64 };

/** The script of this Worker's build. @type {Module} */
let build;
/** What that computes on. @type {Backend} */
let backend;
/** The wasm module in use: that of the build once it has started, unless a model needs another. @type {Module} */
let wasm;
/** Where the build lies that few models need. @type {BuildAddresses | undefined} */
let addresses;
/** The loaded model. @type {Generator} */
let model;
/** What it says about itself. @type {ModelInfo} */
let info;
/** Its bytes; the browser may keep them on the disk. @type {Blob | undefined} */
let file;
/**
 * The weights that are arriving: for which load, their pieces, how many of those the build has read, and its reader.
 * @typedef {{of: number, total: number, pieces: Uint8Array<ArrayBuffer>[], read: number, reader?: ModelLoader}}
 *   Arriving
 */
/** @type {Arriving | undefined} */
let arriving;
/** Pieces of older loads come too late. */
let newestLoad = 0;
/** Resolves once the device is lost, with the reason. @type {Promise<string>} */
let lost = new Promise(() => {});
/** Ends the newest request once it is no longer wanted. */
let newest = new AbortController();
/** Its number. @type {number | undefined} */
let newestId;
let queue = Promise.resolve();

const NO_MODEL = 'no model is loaded';

/** @type {{[Name in keyof Tasks]: (asked: Tasks[Name]['asked'], context: Context) => Promise<Tasks[Name]['given']>}} */
const tasks = {
  /** Starts the wasm build, of which there is one in a Worker's life. */
  async start({ module, burn }) {
    if (wasm) return;
    addresses = burn;
    await build.default({ module_or_path: module });
    await build.openDevice();
    wasm = build;
    readArrived();
  },

  /** Makes the weights that have arrived the model. */
  async load({ of, name }) {
    if (arriving?.of !== of) throw new Error(`${name}: its weights did not arrive`);
    const weights = arriving;
    arriving = undefined;
    const [module, next] = await read(weights).catch((error) => {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      throw new Error(`${name}: ${error.message}`);
    });
    wasm = module;
    // A device that was lost has been replaced by now.
    lost = wasm.deviceLost();
    lost.then((reason) => tell({ lost: reason }), () => {});
    model?.free();
    model = next;
    info = { ...model.info, backend };
    cornerNoises.clear();
    file = new Blob(weights.pieces);
    return info;
  },

  /** The bytes of the model. */
  async weights() {
    return { weights: file };
  },

  /** The noise that pictures are made from. */
  async noise({ seed, count }, { report }) {
    report({ first: 0, noise: seedsFrom(seed, count).map(noisePicture) });
    return {};
  },

  /** The noise that a picture comes from, by `calls` network calls. */
  async invert({ rgba, seed, calls, classIndex, ...choice }) {
    if (!model) throw new Error(NO_MODEL);
    const values = rgbaToValues(rgba, info.channels);
    const request = { values, nfe: calls, ...normalised(choice), classIndex: labelOf(seed, classIndex) };
    return { noise: await model.invert(request) };
  },

  /**
   * Pictures with the seeds `seed`, `seed + 1`, …, as they are made; before each the noise that it is made from, where
   * that is asked for. With `mix` it is the one picture at a place between four noises. The build takes the rest of
   * the request as it is.
   */
  async generate({ noise, mix, ...asked }, { report, signal }) {
    if (!model) throw new Error(NO_MODEL);
    const request = normalised(asked);
    if (mix) return generateBetween(request, mix, report, signal);
    const { seed, count, classIndex, blend } = request;
    const seeds = seedsFrom(seed, count);
    const labels = seeds.map((seed) => (blend ? undefined : labelOf(seed, classIndex)));
    const showNoise = (/** @type {number} */ first, /** @type {number} */ end) => {
      if (noise) report({ first, noise: seeds.slice(first, end).map(noisePicture) });
    };
    const size = BATCH[backend];
    showNoise(0, size);
    let milliseconds = 0;
    for (let first = 0; first < count; first += size) {
      await messages();
      if (signal.aborted) return { stale: true };
      const these = labels.slice(first, first + size);
      const began = performance.now();
      const part = { ...request, seed: seeds[first], count: these.length };
      const rgba = await unlessAborted(signal, (pause) => model.generate(part, pause));
      if (!rgba) return { stale: true };
      milliseconds += performance.now() - began;
      report({ first, rgba, labels: these });
      // The first pictures do not wait for the noise of all others.
      if (first === 0) showNoise(size, count);
    }
    return { milliseconds };
  },
};

/**
 * Which request a task takes is known to whoever calls it.
 * @type {Record<string, (request: any, context: Context) => unknown>}
 */
const perform = tasks;

/**
 * Begins to answer the page.
 * @param {Module} script of a build
 * @param {Backend} computesOn
 */
export function serve(script, computesOn) {
  [build, backend] = [script, computesOn];
  self.onmessage = hear;
}

/**
 * A message of the page is one of these: the name of a lock to hold; a call to abort; a piece of weights; a call.
 * @param {MessageEvent} event
 */
const hear = ({ data: { lock, abort, id, task, ...request } }) => {
  if (lock) {
    live(lock);
    return;
  }
  if (abort !== undefined) {
    if (abort === newestId) newest.abort();
    return;
  }
  if (id === undefined) {
    arrive(request);
    return;
  }
  newest.abort();
  newest = new AbortController();
  newestId = id;
  const { signal } = newest;
  /** @type {Context} */
  const context = { report: (report, given) => tell({ id, report }, given), signal };
  queue = queue.then(async () => {
    try {
      tell({ id, result: await perform[task](request, context) });
    } catch (error) {
      // After a trap the instance cannot be trusted: uncaught, it ends this Worker, and a new one is begun.
      if (error instanceof WebAssembly.RuntimeError) setTimeout(() => { throw error; });
      else tell({ id, error: error.message, lost: await isLost() });
    }
  });
};

/**
 * Holds a lock for as long as this Worker lives: whoever waits for it learns of its end, of which no event tells.
 * @param {string} lock
 */
function live(lock) {
  navigator.locks?.request(lock, () => {
    tell({ alive: true });
    return new Promise(() => {});
  }).catch(() => {}); // Sandboxed frames have no locks.
}

/**
 * Takes a piece of the weights of a load, the newest of which counts; without a piece, that load has failed.
 * @param {{of: number, total: number, piece?: Uint8Array<ArrayBuffer>}} message
 */
function arrive({ of, piece, total }) {
  if (of < newestLoad) return;
  newestLoad = of;
  if (arriving?.of !== of || !piece) {
    arriving?.reader?.free();
    arriving = piece && { of, total, pieces: [], read: 0 };
  }
  arriving?.pieces.push(/** @type {Uint8Array<ArrayBuffer>} */ (piece));
  readArrived();
}

/** Reads the pieces that are here, once the build has started: when the last one comes, little is left to do. */
function readArrived() {
  if (!wasm || !arriving) return;
  const reader = (arriving.reader ??= new build.ModelLoader(arriving.total));
  for (; arriving.read < arriving.pieces.length; arriving.read += 1) reader.push(arriving.pieces[arriving.read]);
}

/**
 * The model of weights that have arrived, and the module that computes it.
 * @param {Arriving} weights
 * @returns {Promise<[Module, Generator]>}
 */
async function read({ total, reader = new build.ModelLoader(total), pieces }) {
  let bytes;
  try {
    return [build, await reader.finish()];
  } catch (error) {
    bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
    if (backend !== 'cpu' || !build.needsFallback(bytes)) throw error;
  }
  // Few models are of the networks that only burn has here.
  const burn = await startBurn().catch((error) => {
    throw new Error(
      `its network is computed by a build that lies beside the engine's scripts, which could not be loaded (${error.message})`,
    );
  });
  return [burn, await burn.Generator.load(bytes)];
}

/** Loads and starts burn's build. An address that is no text in the script leaves bundlers nothing to follow. */
async function startBurn() {
  if (!addresses) throw new Error('it is not inside this single file');
  await import(/* @vite-ignore */ addresses.script);
  await globalThis.meanflowBurn.default({ module_or_path: addresses.module });
  return globalThis.meanflowBurn;
}

/** Whether the device is lost; the news may come a moment after the error. */
const isLost = () =>
  Promise.race([
    lost.then(() => true),
    new Promise((resolve) => setTimeout(resolve, backend === 'webgpu' ? 100 : 0, false)),
  ]);

/**
 * What a request gives, or nothing once it is no longer wanted: the build calls the function that `run` passes on
 * between two network calls, and goes on if that resolves with true.
 * @template T
 * @param {AbortSignal} signal
 * @param {(pause: () => Promise<boolean>) => Promise<T>} run
 */
async function unlessAborted(signal, run) {
  if (signal.aborted) return undefined;
  let ended = false;
  const pause = async () => {
    await messages();
    ended = signal.aborted;
    return !ended;
  };
  try {
    return await run(pause);
  } catch (error) {
    // Whatever else went wrong is told, wanted or not: the page must know of a device that is lost.
    if (ended) return undefined;
    throw error;
  }
}

/**
 * The picture at `place` between `corners`, each a seed or a noise; where no class is asked for, between their classes
 * too.
 * @param {Request} request
 * @param {Mix} mix
 * @param {Context['report']} report
 * @param {AbortSignal} signal
 * @returns {Promise<{milliseconds: number} | Stale>}
 */
async function generateBetween(request, { corners, place, bitmap: asBitmap }, report, signal) {
  const { seed, classIndex, blend: asked } = request;
  const labels = corners.map((corner) => labelOf(corner instanceof Float32Array ? seed : corner));
  const isFree = asked === undefined && classIndex === undefined;
  const blend = isFree ? blendAt(labels, place) : asked;
  const label = blend ? undefined : classIndex;
  const noises = corners.map((corner) => (corner instanceof Float32Array ? corner : cornerNoise(BigInt(corner))));
  const started = performance.now();
  const picture = { ...request, blend, initialNoise: between(noises, place) };
  if (asBitmap && backend === 'webgpu') {
    const bitmap = await unlessAborted(signal, (pause) => model.show(picture, pause));
    if (!bitmap) return { stale: true };
    report({ first: 0, bitmap, labels: [label] }, [bitmap]);
  } else {
    const rgba = await unlessAborted(signal, (pause) => model.generate(picture, pause));
    if (!rgba) return { stale: true };
    report({ first: 0, rgba, labels: [label] });
  }
  return { milliseconds: performance.now() - started };
}

/** @param {bigint | number} seed @param {number} count */
const seedsFrom = (seed, count) =>
  Array.from({ length: count }, (_, i) => BigInt.asUintN(64, BigInt(seed) + BigInt(i)));

/** The noise of a seed. @param {bigint} seed */
const noiseOf = (seed) => wasm.noise(seed, info.channels * info.width * info.height);

/**
 * The noises of the square's corners: every frame of a drag is made of the same four.
 * @type {Map<bigint, Float32Array>}
 */
const cornerNoises = new Map();

/** The same, kept for the next frame. @param {bigint} seed */
function cornerNoise(seed) {
  const noise = cornerNoises.get(seed) ?? noiseOf(seed);
  // Of another square.
  if (cornerNoises.size === 4 && !cornerNoises.has(seed)) cornerNoises.clear();
  cornerNoises.set(seed, noise);
  return noise;
}

/** The noise of a seed, to be seen. @param {bigint} seed */
const noisePicture = (seed) => noiseToRgba(noiseOf(seed), info.channels);

/**
 * A request with its prompts as the build takes them: the forms of one letter made one, in lower case.
 * @template {PromptChoice} T
 * @param {T} request
 * @returns {T}
 */
function normalised(request) {
  const normal = (/** @type {string | undefined} */ text) => text?.normalize('NFKC').toLowerCase();
  return { ...request, prompt: normal(request.prompt), promptTo: normal(request.promptTo) };
}

/**
 * The class asked for, or that of the seed; nothing for a model without classes.
 * @param {bigint | number} seed
 * @param {number} [classIndex]
 */
const labelOf = (seed, classIndex) =>
  classIndex ?? wasm.classOf(BigInt.asUintN(64, BigInt(seed)), info.classes.length);

/** Tells this Worker that it may go on. */
const turn = new MessageChannel();

/**
 * Lets messages in: network calls on the CPU leave no gap for them. Its own message comes after those that wait
 * already; timers would do too, but browsers make each take four milliseconds once some have followed one another.
 */
const messages = () =>
  new Promise((resume) => {
    turn.port1.onmessage = resume;
    turn.port2.postMessage(undefined);
  });

/**
 * A picture as the network makes it: its channels one after the other, in −1 to 1.
 * @param {Uint8ClampedArray} rgba
 * @param {number} channels
 */
function rgbaToValues(rgba, channels) {
  const pixels = rgba.length / 4;
  const values = new Float32Array(channels * pixels);
  for (let i = 0; i < pixels; i++) {
    const a = rgba[4 * i + 3];
    // Models learn white where nothing is seen; a canvas forgets the colour there.
    const [r, g, b] = a === 0 ? [255, 255, 255] : rgba.subarray(4 * i, 4 * i + 3);
    // Without an alpha channel a picture lies on white.
    const over = channels === 4 ? [r, g, b, a] : [r, g, b].map((value) => 255 + ((value - 255) * a) / 255);
    const grey = 0.2126 * over[0] + 0.7152 * over[1] + 0.0722 * over[2];
    for (let c = 0; c < channels; c++) values[c * pixels + i] = (channels === 1 ? grey : over[c]) / 127.5 - 1;
  }
  return values;
}

/**
 * Noise as an opaque picture; the network sees these numbers, beyond ±1 too. An alpha channel is left out.
 * @param {Float32Array} noise
 * @param {number} channels
 */
function noiseToRgba(noise, channels) {
  const pixels = noise.length / channels;
  const rgba = new Uint8ClampedArray(pixels * 4).fill(255);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = 127.5 + 64 * noise[Math.min(c, channels === 1 ? 0 : 2) * pixels + i];
  }
  return rgba;
}
