// One wasm build in a Worker, as a page sees it: one model, answers with pictures, never blocks.

import { WORKERS_NEED, addressesOfBurn, buildOf, isInlined, moduleOf, startWorker } from './builds.js';
import { Progress, nameOf, refuseStrangers, resolved } from './download.js';
import { coded } from './errors.js';
import { fetchWeights } from './store.js';

/**
 * What a model says about itself.
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {1 | 3 | 4} channels 4 = with transparency
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
 * @property {'mean-flow' | 'restart' | 'euler' | 'midpoint' | 'heun'} [solver] how, if not by the average velocity
 * @property {{corners: (bigint | Float32Array)[], place: [number, number], bitmap?: boolean}} [mix] one picture between the
 *   noises of four seeds, or noises themselves: top left, top right, bottom left, bottom right; with `bitmap` it may come as one,
 *   straight from the GPU
 */

/**
 * Milliseconds after which a Worker that has not ended an aborted call is ended itself: a network call can take a minute. On a GPU
 * a new Worker compiles all shaders again, so it is given longer.
 */
const ABORT_GRACE = { cpu: 1000, webgpu: 10_000 };

export class Engine {
  /** @type {Worker | undefined} */
  #worker;
  /** Whether the Worker has sent anything yet: before that its end means that it cannot run here. */
  #started = false;
  /** Ends the download of a model that is no longer wanted. */
  #download = new AbortController();
  #build;
  /** The address or file of the loaded model, and its checksum. */
  #source;
  #hash;
  /** Calls under way by number: `{task, request, report, resolve, reject, grace}`; `grace` once it is aborted. */
  #calls = new Map();
  #lastId = 0;
  /** Stops waiting for the Worker's end. */
  #watch;
  /** Milliseconds that the build took to read the model. */
  #loadTime = 0;

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
   * @param {string | Blob} source an address, or a file
   * @param {(progress: {loaded: number, total: number}) => void} [onProgress] bytes; `total` is 0 while unknown
   * @param {string} [hash] the SHA-256 that the weights must have, in hexadecimal; with it they are kept for the next visit
   * @returns {Promise<ModelInfo | {stale: true}>} or that a newer call came
   */
  async load(source, onProgress = () => {}, hash) {
    const inside = isInlined();
    try {
      return await this.#load(source, onProgress, hash);
    } catch (error) {
      // The build inside the bundle has taken the place of one that a bundler left behind.
      if (inside || !isInlined()) throw error;
      this.#stop(error);
      return this.#load(source, onProgress, hash);
    }
  }

  async #load(source, onProgress, hash) {
    const address = source instanceof Blob ? source : resolved(source).href;
    this.#download.abort();
    this.#download = new AbortController();
    const { signal } = this.#download;
    // What the old model is at, its own loading too, is not waited for: it can take minutes.
    for (const id of this.#calls.keys()) this.#abort(id, ABORT_GRACE[this.#build]);
    // Nothing waits for what it can do without: the downloads and the Worker begin at once, and the build warms up while the
    // weights are on their way.
    const progress = new Progress(onProgress);
    const compiling = compile(buildOf(this.#build), () => progress.part());
    compiling.catch(() => {});
    const of = ++this.#lastId;
    const starting = this.#idleWorker();
    starting.catch(() => {});
    const take = (piece, total) => starting.then((worker) => worker.postMessage({ of, piece, total }, [piece.buffer]), () => {});
    const weights = readWeights(address, hash, progress.part(), take, signal);
    // Until the build has started nobody awaits the weights: their failure must not count as unhandled.
    weights.catch(() => {});
    // The wasm first: where it is missing, another build may take its place.
    const module = await compiling;
    const worker = await starting;
    if (signal.aborted) return { stale: true };
    await this.#call('start', { module, burn: addressesOfBurn() });
    try {
      await weights;
    } catch (error) {
      worker.postMessage({ of });
      if (!signal.aborted) throw error;
    }
    if (signal.aborted) return { stale: true };
    if (worker !== this.#worker) throw lostError('the engine was ended');
    const name = nameOf(address);
    const began = performance.now();
    const info = await this.#call('load', { of, name });
    this.#loadTime = performance.now() - began;
    if (info.stale) return info;
    // The Worker holds it, wanted or not.
    [this.#source, this.#hash, this.arithmetic] = [address, hash, info.arithmetic];
    return signal.aborted ? { stale: true } : { ...info, sha256: hash };
  }

  /**
   * Generates pictures. A newer call, also of {@link load}, ends this one.
   * @param {Request} request
   * @param {(report: {first: number, rgba?: Uint8Array, bitmap?: ImageBitmap, labels: number[]} | {first: number, noise: Uint8ClampedArray[]}) => void} onPictures
   *   pictures as they are made, as RGBA bytes one after the other, and their classes
   * @param {AbortSignal} [signal] ends it before its next network call
   * @returns {Promise<{milliseconds: number} | {stale: true}>} time in network calls, or that a newer call came or it was aborted
   */
  async generate(request, onPictures, signal) {
    // After a trap the worker is a new one, without a model.
    if (!this.#worker && this.#source) await this.load(this.#source, undefined, this.#hash);
    this.#download.abort();
    for (const [id, { task }] of this.#calls) if (task === 'generate') this.#abort(id);
    return this.#call('generate', request, onPictures, signal);
  }

  /**
   * The noise that a picture comes from: the flow run backward.
   * @param {{rgba: Uint8ClampedArray, seed: bigint, classIndex?: number, calls: number}} picture of the model's size; `seed`
   *   draws the class if none is given; an even number of calls
   * @returns {Promise<{noise: Float32Array} | {stale: true}>} for `mix`, or that another model was loaded
   */
  invert(picture) {
    return this.#call('invert', picture);
  }

  /**
   * The noise that pictures with the seeds `seed`, `seed + 1`, … are made from.
   * @param {{seed: bigint | number, count: number}} request
   * @param {(report: {first: 0, noise: Uint8ClampedArray[]}) => void} onNoise
   */
  noise(request, onNoise) {
    return this.#call('noise', request, onNoise);
  }

  /** The bytes of the loaded weights, for another engine; nothing where another model is loaded. @returns {Promise<Blob | undefined>} */
  async weights() {
    return (await this.#call('weights')).weights;
  }

  /** Frees everything. */
  close() {
    this.onlost = () => {};
    this.#download.abort();
    this.#stop(new Error('the engine was closed'));
  }

  #start() {
    this.#started = false;
    const worker = startWorker(buildOf(this.#build));
    this.#worker = worker;
    worker.onmessage = ({ data }) => {
      if (worker === this.#worker) this.#hear(data);
    };
    // A script that does not load, or a wasm trap, after which that instance answers no more.
    worker.onerror = (event) => {
      event.preventDefault();
      if (worker === this.#worker) this.#end(`the engine failed: ${event.message ?? `worker-${buildOf(this.#build)}.js did not load: ${WORKERS_NEED}`}`);
    };
    // A Worker that is ended from outside tells nobody; but then it lets go of its lock.
    const lock = `meanflow ${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
    this.#watch = new AbortController();
    worker.postMessage({ lock });
    const { signal } = this.#watch;
    this.#awaken = () => navigator.locks?.request(lock, { signal }, () => this.#end('the engine was ended')).catch(() => {});
    return worker;
  }

  /** Called when the Worker holds its lock. */
  #awaken;

  /** The Worker, once it is done with calls that were aborted; a new one where that takes too long. */
  async #idleWorker() {
    for (const call of this.#calls.values()) if (call.grace) await call.ended;
    return this.#worker ?? this.#start();
  }

  /**
   * Has a call end before its next network call; a Worker that does not come to that within `grace` is ended, which costs reading the
   * model again.
   */
  #abort(id, grace = Math.max(ABORT_GRACE[this.#build], 2 * this.#loadTime)) {
    const call = this.#calls.get(id);
    if (!call || call.grace <= grace) return;
    call.grace = grace;
    this.#worker.postMessage({ abort: id });
    const timer = setTimeout(() => this.#restart(), grace);
    call.ended.then(() => clearTimeout(timer));
  }

  /** Ends the Worker, and asks a new one what the old one was asked for and is still wanted. */
  async #restart() {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#stop();
    // Those that were aborted end here.
    const wanted = calls.filter(({ grace, resolve }) => !grace || resolve({ stale: true }));
    try {
      if (wanted.length > 0) await this.load(this.#source, undefined, this.#hash);
      for (const { task, request, report, signal, resolve, reject } of wanted) this.#call(task, request, report, signal).then(resolve, reject);
    } catch (error) {
      for (const { reject } of wanted) reject(error);
    }
  }

  #end(reason) {
    if (!this.#started) {
      // It never ran here: there is nothing to go on with.
      this.#stop(coded('worker', new Error(reason)));
      return;
    }
    this.#stop(lostError(reason));
    this.onlost(reason);
  }

  #stop(error) {
    this.#watch?.abort();
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  #call(task, request, report = () => {}, signal) {
    if (signal?.aborted) return Promise.resolve({ stale: true });
    if (!this.#worker) this.#start();
    const id = ++this.#lastId;
    const call = { task, request, report, signal };
    const result = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    call.ended = result.then(() => {}, () => {});
    this.#calls.set(id, call);
    const abort = () => this.#abort(id);
    signal?.addEventListener('abort', abort, { once: true });
    call.ended.then(() => signal?.removeEventListener('abort', abort));
    this.#worker.postMessage({ id, task, ...request });
    return result;
  }

  #hear({ id, report, result, error, lost, alive }) {
    this.#started = true;
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
      if (!call.grace) call.report(report);
      return;
    }
    this.#calls.delete(id);
    if (error === undefined) call.resolve(result);
    else call.reject(Object.assign(new Error(error), { lost }));
  }
}

const lostError = (reason) => coded('device-lost', Object.assign(new Error(reason), { lost: true }));

/** Builds that are compiled, or about to be: once for all engines, and for Workers that begin anew. */
const compiled = new Map();

/**
 * @param {import('./builds.js').Build} build
 * @param {() => (loaded: number, total: number) => void} progress called where there is something to download
 */
function compile(build, progress) {
  if (!compiled.has(build)) {
    const module = moduleOf(build, progress());
    compiled.set(build, module);
    module.catch(() => compiled.delete(build));
  }
  return compiled.get(build);
}

/** Gives the bytes of a weights file to `take`, from an address or from a file of the visitor's. */
async function readWeights(source, hash, progress, take, signal) {
  if (!(source instanceof Blob)) return fetchWeights(source, hash, progress, take, signal);
  const bytes = new Uint8Array(await source.arrayBuffer());
  refuseStrangers(nameOf(source), bytes);
  take(bytes, source.size);
}
