// One wasm build in a Worker, as a page sees it: one model, answers with pictures, never blocks.

import { WORKERS_NEED, addressesOfBurn, buildOf, isInlined, moduleOf, startWorker } from './builds.js';
import { ProgressSum, nameOf, refuseStrangers, resolved } from './download.js';
import { coded } from './errors.js';
import { fetchWeights } from './store.js';

/** @import { Build } from './builds.js' */
/** @import { Answer, Tasks } from './protocol.js' */
/** @import { Arithmetic, Backend, Inversion, ModelInfo, NoiseReport, Report, Request, Stale } from './types.js' */
/** @import { Progress, ProgressListener } from './types.js' */

/**
 * A call of the Worker that is under way.
 * @typedef {object} Call
 * @property {keyof Tasks} task
 * @property {object} request
 * @property {(report: any) => void} report takes the reports of its task
 * @property {AbortSignal} [signal]
 * @property {(result: any) => void} resolve takes the result of its task
 * @property {(error: Error | undefined) => void} reject
 * @property {Promise<void>} ended
 * @property {number} [grace] once it is aborted: after so many milliseconds the Worker is ended
 */

/**
 * Milliseconds after which a Worker that has not ended an aborted call is ended itself: a network call can take a
 * minute. On a GPU a new Worker compiles all shaders again, so it is given longer.
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
  /** The address or file of the loaded model. @type {string | Blob | undefined} */
  #source;
  /** Its checksum. @type {string | undefined} */
  #hash;
  /** Calls under way by number. @type {Map<number, Call>} */
  #calls = new Map();
  #lastId = 0;
  /** Stops waiting for the Worker's end. @type {AbortController | undefined} */
  #watch;
  /** Milliseconds that the build took to read the model. */
  #loadTime = 0;

  /**
   * Hears when the device is lost or the Worker has ended, with the reason; the next call begins anew. Calls that were
   * under way fail with an error whose `lost` is true.
   * @type {(reason: string) => void}
   */
  onlost = () => {};

  /** In which precision the model is computed. @type {Arithmetic | undefined} */
  arithmetic;

  /** @param {Backend} build which wasm build to run; it starts with the first {@link load} */
  constructor(build) {
    this.#build = build;
  }

  /**
   * Reads a weights file and makes it the model.
   * @param {string | Blob} source an address, or a file
   * @param {(progress: Progress) => void} [onProgress]
   * @param {string} [hash] the SHA-256 that the weights must have, in hexadecimal; with it they are kept for the next
   *   visit
   * @returns {Promise<ModelInfo | Stale>} or that a newer call came
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

  /**
   * @param {string | Blob} source
   * @param {(progress: Progress) => void} onProgress
   * @param {string | undefined} hash
   * @returns {Promise<ModelInfo | Stale>}
   */
  async #load(source, onProgress, hash) {
    const address = source instanceof Blob ? source : resolved(source).href;
    this.#download.abort();
    this.#download = new AbortController();
    const { signal } = this.#download;
    // What the old model is at, its own loading too, is not waited for: it can take minutes.
    for (const id of this.#calls.keys()) this.#abort(id, ABORT_GRACE[this.#build]);
    // Nothing waits for what it can do without: the downloads and the Worker begin at once, and the build warms up
    // while the weights are on their way.
    const progress = new ProgressSum(onProgress);
    const compiling = compile(buildOf(this.#build), () => progress.part());
    compiling.catch(() => {});
    const of = ++this.#lastId;
    const starting = this.#idleWorker();
    starting.catch(() => {});
    const take = (/** @type {Uint8Array<ArrayBuffer>} */ piece, /** @type {number} */ total) =>
      starting.then((worker) => worker.postMessage({ of, piece, total }, [piece.buffer]), () => {});
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
    if ('stale' in info) return info;
    // The Worker holds it, wanted or not.
    [this.#source, this.#hash, this.arithmetic] = [address, hash, info.arithmetic];
    return signal.aborted ? { stale: true } : { ...info, sha256: hash };
  }

  /**
   * Generates pictures. A newer call, also of {@link load}, ends this one.
   * @param {Request} request
   * @param {(report: Report) => void} onPictures pictures as they are made
   * @param {AbortSignal} [signal] ends it before its next network call
   * @returns {Promise<{milliseconds: number} | Stale>} time in network calls, or that a newer call came or it was
   *   aborted
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
   * @param {Inversion} picture
   * @returns {Promise<{noise: Float32Array} | Stale>} for `mix`, or that another model was loaded
   */
  invert(picture) {
    return this.#call('invert', picture);
  }

  /**
   * The noise that pictures with the seeds `seed`, `seed + 1`, … are made from.
   * @param {Pick<Request, 'seed' | 'count'>} request
   * @param {(report: NoiseReport) => void} onNoise
   * @returns {Promise<object | Stale>}
   */
  noise(request, onNoise) {
    return this.#call('noise', request, onNoise);
  }

  /** The bytes of the loaded weights, for another engine; nothing where another model is loaded. */
  async weights() {
    return /** @type {{weights?: Blob}} */ (await this.#call('weights', {})).weights;
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
      if (worker === this.#worker) {
        this.#end(
          `the engine failed: ${event.message ?? `worker-${buildOf(this.#build)}.js did not load: ${WORKERS_NEED}`}`,
        );
      }
    };
    // A Worker that is ended from outside tells nobody; but then it lets go of its lock.
    const lock = `meanflow ${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
    this.#watch = new AbortController();
    worker.postMessage({ lock });
    const { signal } = this.#watch;
    this.#awaken = () =>
      navigator.locks?.request(lock, { signal }, () => this.#end('the engine was ended')).catch(() => {});
    return worker;
  }

  /** Called when the Worker holds its lock. @type {() => void} */
  #awaken = () => {};

  /** The Worker, once it is done with calls that were aborted; a new one where that takes too long. */
  async #idleWorker() {
    for (const call of this.#calls.values()) if (call.grace) await call.ended;
    return this.#worker ?? this.#start();
  }

  /**
   * Has a call end before its next network call; a Worker that does not come to that within `grace` is ended, which
   * costs reading the model again.
   * @param {number} id
   * @param {number} [grace]
   */
  #abort(id, grace = Math.max(ABORT_GRACE[this.#build], 2 * this.#loadTime)) {
    const call = this.#calls.get(id);
    if (!call || (call.grace ?? Infinity) <= grace) return;
    call.grace = grace;
    this.#worker?.postMessage({ abort: id });
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
      if (wanted.length > 0 && this.#source) await this.load(this.#source, undefined, this.#hash);
      for (const { task, request, report, signal, resolve, reject } of wanted) {
        this.#call(task, request, report, signal).then(resolve, reject);
      }
    } catch (error) {
      for (const { reject } of wanted) reject(error);
    }
  }

  /** @param {string} reason */
  #end(reason) {
    if (!this.#started) {
      // It never ran here: there is nothing to go on with.
      this.#stop(coded('worker', new Error(reason)));
      return;
    }
    this.#stop(lostError(reason));
    this.onlost(reason);
  }

  /** @param {Error} [error] what calls under way fail with */
  #stop(error) {
    this.#watch?.abort();
    this.#worker?.terminate();
    this.#worker = undefined;
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  /**
   * @template {keyof Tasks} Name
   * @param {Name} task
   * @param {Tasks[Name]['asked']} request
   * @param {Call['report']} [report]
   * @param {AbortSignal} [signal]
   * @returns {Promise<Tasks[Name]['given'] | Stale>}
   */
  #call(task, request, report = () => {}, signal) {
    if (signal?.aborted) return Promise.resolve({ stale: true });
    const worker = this.#worker ?? this.#start();
    const id = ++this.#lastId;
    const call = /** @type {Call} */ ({ task, request, report, signal });
    const result = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    call.ended = result.then(() => {}, () => {});
    this.#calls.set(id, call);
    const abort = () => this.#abort(id);
    signal?.addEventListener('abort', abort, { once: true });
    call.ended.then(() => signal?.removeEventListener('abort', abort));
    worker.postMessage({ id, task, ...request });
    return result;
  }

  /** @param {Answer} answer */
  #hear({ id, report, result, error, lost, alive }) {
    this.#started = true;
    if (alive) {
      this.#awaken();
      return;
    }
    if (id === undefined) {
      if (lost) this.onlost(/** @type {string} */ (lost));
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

const lostError = (/** @type {string} */ reason) =>
  coded('device-lost', Object.assign(new Error(reason), { lost: true }));

/**
 * Builds that are compiled, or about to be: once for all engines, and for Workers that begin anew.
 * @type {Map<Build, Promise<WebAssembly.Module>>}
 */
const compiled = new Map();

/**
 * @param {Build} build
 * @param {() => ProgressListener} progress called where there is something to download
 */
function compile(build, progress) {
  const known = compiled.get(build);
  if (known) return known;
  const module = moduleOf(build, progress());
  compiled.set(build, module);
  module.catch(() => compiled.delete(build));
  return module;
}

/**
 * Gives the bytes of a weights file to `take`, from an address or from a file of the visitor's.
 * @param {string | Blob} source
 * @param {string | undefined} hash
 * @param {ProgressListener} progress
 * @param {(piece: Uint8Array<ArrayBuffer>, total: number) => void} take
 * @param {AbortSignal} signal
 */
async function readWeights(source, hash, progress, take, signal) {
  if (!(source instanceof Blob)) return fetchWeights(source, hash, progress, take, signal);
  const bytes = new Uint8Array(await source.arrayBuffer());
  refuseStrangers(nameOf(source), bytes);
  take(bytes, source.size);
}
