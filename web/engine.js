// One wasm build in a Worker, as a page sees it: one model, answers with pictures, never blocks.

import { Progress, downloadModule } from './download.js';
import { buildFor } from './fused.js';
import { fetchWeights } from './store.js';

/**
 * What a model says about itself.
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {number} channels 4 = with transparency
 * @property {string[]} classes empty for a model without classes
 * @property {string} description what it was trained on
 * @property {string} source where that comes from
 * @property {string} license of that
 * @property {number} step of the training
 * @property {string | null} init what the training began with, if not afresh
 * @property {number} parameters
 * @property {string} [sha256] of the weights, where it was announced
 * @property {'webgpu' | 'cpu'} backend what it runs on
 * @property {'f16' | 'f32'} arithmetic in which precision it multiplies
 */

/**
 * What to generate; picture `i` has the seed `seed + i`.
 * @typedef {object} Request
 * @property {bigint | number} seed
 * @property {number} count
 * @property {number} [classIndex] without it each picture draws its own
 * @property {number[]} [blend] a place between classes: the index and the weight of each, one after the other
 * @property {number} nfe network calls per picture
 * @property {boolean} [noise] whether to report the noise of pictures too, before them
 * @property {string} [solver] how, if not by the average velocity; `euler` follows the velocity
 * @property {{corners: (bigint | Float32Array)[], place: [number, number], bitmap?: boolean}} [mix] one picture between the
 *   noises of four seeds, or noises themselves: top left, top right, bottom left, bottom right; with `bitmap` it may come as one,
 *   straight from the GPU
 */

export class Engine {
  #worker;
  /** Ends the download of a model that is no longer wanted. */
  #download = new AbortController();
  #build;
  /** The address or file of the loaded model, and its checksum. */
  #source;
  #hash;
  #calls = new Map();
  #lastId = 0;
  /** Stops waiting for the Worker's end. */
  #watch;

  /**
   * Hears when the device is lost or the Worker has ended, with the reason; the next call begins anew. Calls that were under
   * way fail with an error whose `lost` is true.
   * @type {(reason: string) => void}
   */
  onlost = () => {};

  /** In which precision the model is computed. @type {'f16' | 'f32' | undefined} */
  arithmetic;

  /** @param {'webgpu' | 'cpu'} build which wasm build to run; it starts with the first {@link load} */
  constructor(build) {
    this.#build = build;
  }

  /**
   * Reads a weights file and makes it the model.
   * @param {string | File} source an address, or a file
   * @param {(progress: {loaded: number, total: number}) => void} [onProgress] bytes; `total` is 0 while unknown
   * @param {string} [hash] the SHA-256 that the weights must have, in hexadecimal; with it they are kept for the next visit
   * @returns {Promise<ModelInfo | {stale: true}>} or that a newer call came
   */
  async load(source, onProgress = () => {}, hash = undefined) {
    const address = source instanceof Blob ? source : new URL(source, document.baseURI).href;
    this.#download.abort();
    this.#download = new AbortController();
    const { signal } = this.#download;
    // Nothing waits for what it can do without: the downloads and the Worker begin at once, and the build warms up while the
    // weights are on their way.
    if (!this.#worker) this.#start();
    const progress = new Progress(onProgress);
    const compiling = compile(buildFor(this.#build), () => progress.part());
    const of = ++this.#lastId;
    const worker = this.#worker;
    const weights = readWeights(address, hash, progress.part(), (piece, total) => worker.postMessage({ of, piece, total }, [piece.buffer]), signal);
    // Until the build has started nobody awaits the weights: their failure must not count as unhandled.
    weights.catch(() => {});
    const module = await compiling;
    if (signal.aborted) return { stale: true };
    await this.#call('start', { module });
    try {
      await weights;
    } catch (error) {
      worker.postMessage({ of });
      if (!signal.aborted) throw error;
    }
    if (signal.aborted) return { stale: true };
    if (worker !== this.#worker) throw Object.assign(new Error('the engine was ended'), { lost: true });
    const name = address instanceof Blob ? (address.name ?? 'the file') : new URL(address).pathname.split('/').pop();
    const info = await this.#call('load', { of, name });
    if (info.stale) return info;
    [this.#source, this.#hash, this.arithmetic] = [address, hash, info.arithmetic];
    return { ...info, sha256: hash };
  }

  /**
   * Generates pictures. A newer call, also of {@link load}, ends this one.
   * @param {Request} request
   * @param {(report: {first: number, rgba?: Uint8Array, bitmap?: ImageBitmap, labels: number[]} | {first: number, noise: Uint8ClampedArray[]}) => void} onPictures
   *   pictures as they are made, as RGBA bytes one after the other, and their classes
   * @returns {Promise<{milliseconds: number} | {stale: true}>} time in network calls, or that a newer call came
   */
  async generate(request, onPictures) {
    // After a trap the worker is a new one, without a model.
    if (!this.#worker && this.#source) await this.load(this.#source, undefined, this.#hash);
    this.#download.abort();
    return this.#call('generate', request, onPictures);
  }

  /**
   * The noise that a picture comes from: the flow run backward.
   * @param {{rgba: Uint8ClampedArray, seed: bigint, classIndex?: number, calls: number}} picture of the model's size; `seed`
   *   draws the class if none is given; an even number of calls
   * @returns {Promise<{noise: Float32Array}>} for `mix`
   */
  invert(picture) {
    return this.#call('invert', picture);
  }

  /** Frees everything. */
  close() {
    this.onlost = () => {};
    this.#download.abort();
    this.#stop(new Error('the engine was closed'));
  }

  #start() {
    this.#worker = startWorker(buildFor(this.#build));
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    // A script that does not load, or a wasm trap, after which that instance answers no more.
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#end(`the engine failed: ${event.message ?? 'its script did not load'}`);
    };
    // A Worker that is ended from outside tells nobody; but then it lets go of its lock.
    const lock = `meanflow ${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
    this.#watch = new AbortController();
    this.#worker.postMessage({ lock });
    const { signal } = this.#watch;
    this.#awaken = () => navigator.locks?.request(lock, { signal }, () => this.#end('the engine was ended')).catch(() => {});
  }

  /** Called when the Worker holds its lock. */
  #awaken;

  #end(reason) {
    this.#stop(Object.assign(new Error(reason), { lost: true }));
    this.onlost(reason);
  }

  #stop(error) {
    this.#watch?.abort();
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  #call(task, request, report = () => {}) {
    if (!this.#worker) this.#start();
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, report });
      this.#worker.postMessage({ id, task, ...request });
    });
  }

  #hear({ id, report, result, error, lost, alive }) {
    if (alive) {
      this.#awaken();
      return;
    }
    if (lost && id === undefined) {
      this.onlost(lost);
      return;
    }
    const call = this.#calls.get(id);
    if (!call) return;
    if (report) {
      call.report(report);
      return;
    }
    this.#calls.delete(id);
    if (error === undefined) call.resolve(result);
    else call.reject(Object.assign(new Error(error), { lost }));
  }
}

/** The wasm builds and their Workers; spelt out, so that bundlers find them. */
const BUILDS = {
  cpu: new URL('./pkg/cpu/meanflow_bg.wasm', import.meta.url),
  relaxed: new URL('./pkg/relaxed/meanflow_bg.wasm', import.meta.url),
  webgpu: new URL('./pkg/webgpu/meanflow_bg.wasm', import.meta.url),
};
const SCRIPTS = {
  cpu: new URL('./worker-cpu.js', import.meta.url),
  relaxed: new URL('./worker-relaxed.js', import.meta.url),
  webgpu: new URL('./worker-webgpu.js', import.meta.url),
};
/** Bundlers look for these very words; webpack puts the file on its disk in the place of an address above. */
const WORKERS = {
  cpu: () => new Worker(new URL('./worker-cpu.js', import.meta.url), { type: 'module' }),
  relaxed: () => new Worker(new URL('./worker-relaxed.js', import.meta.url), { type: 'module' }),
  webgpu: () => new Worker(new URL('./worker-webgpu.js', import.meta.url), { type: 'module' }),
};

/** Builds that are compiled, or about to be: once for all engines, and for Workers that begin anew. */
const compiled = new Map();

/**
 * @param {keyof BUILDS} build
 * @param {() => (loaded: number, total: number) => void} progress called where there is something to download
 */
function compile(build, progress) {
  if (!compiled.has(build)) {
    const module = downloadModule(BUILDS[build], progress());
    compiled.set(build, module);
    module.catch(() => compiled.delete(build));
  }
  return compiled.get(build);
}

/** Gives the bytes of a weights file to `take`, from an address or from a file of the visitor's. */
async function readWeights(source, hash, progress, take, signal) {
  if (source instanceof Blob) take(new Uint8Array(await source.arrayBuffer()), source.size);
  else await fetchWeights(source, hash, progress, take, signal);
}

/**
 * A worker may only start from the page's own origin; a script of another is imported by one that does nothing else.
 * @param {keyof BUILDS} build
 */
function startWorker(build) {
  const { origin, protocol } = new URL(import.meta.url);
  if (origin === location.origin || protocol === 'file:') return WORKERS[build]();
  const address = URL.createObjectURL(new Blob([`import ${JSON.stringify(SCRIPTS[build].href)};`], { type: 'text/javascript' }));
  return new Worker(address, { type: 'module' });
}
