// Always something to see: the CPU build draws first, the GPU build takes over when it has proven itself.
//
// The CPU build starts in a moment; the GPU build is a smaller download, but a browser compiles its shaders first.
// So where there is a GPU both start, and the GPU takes over once it has drawn the same picture, faster. When it fails
// later, the CPU goes on where it stopped. A device that is lost is replaced, once; after a second loss it is left
// alone.

import { chooseBackend } from './backend.js';
import { Engine } from './engine.js';
import { psnr } from './psnr.js';
import { Scheduler } from './scheduler.js';

/** @import { Backend, BackendState, Inversion, ModelInfo, Progress, Report } from './types.js' */
/** @import { Request, Stale } from './types.js' */
/** @import { Part } from './scheduler.js' */

/**
 * A part of a request, with the index of its first picture and how many are left after it; `failed` once an engine has
 * failed at it.
 * @typedef {{first: number, left: number, failed?: boolean} & (PicturesPart | NoisePart)} RequestPart
 * @typedef {{noiseOnly?: false, request: Request}} PicturesPart
 * @typedef {{noiseOnly: true, request: Pick<Request, 'seed' | 'count'>}} NoisePart
 */

/**
 * What has been drawn of a request: its first picture, the time in network calls, when the first began and the last
 * ended, by which engines.
 * @typedef {object} Drawn
 * @property {Uint8Array | undefined} picture
 * @property {number} milliseconds
 * @property {number} began 0 before that
 * @property {number} ended
 * @property {Set<Engine>} engines
 * @property {Backend} backend
 */

/**
 * An answer: of which model, to which request, its first picture, its time.
 * @typedef {object} Seen
 * @property {string | Blob | undefined} source
 * @property {Request} request
 * @property {Uint8Array | undefined} picture
 * @property {number} milliseconds
 */

/**
 * All but the first are for tests.
 * @typedef {object} Options
 * @property {boolean} [shared] requests take turns; without it a newer one ends an older one
 * @property {boolean} [softwareWillDo] takes a GPU that is a software adapter
 * @property {boolean} [slowerWillDo] takes a GPU that is slower than the CPU
 * @property {number} [workers] so many Workers on the CPU
 * @property {typeof chooseBackend} [choose]
 * @property {(backend: Backend) => Engine} [open]
 */

/**
 * The details of the events.
 * @typedef {object} FailoverEvents
 * @property {BackendState} change
 * @property {{reason: string, losses: number}} device-lost
 * @property {BackendState} recovered
 */

/** @typedef {Error & {lost?: string | boolean}} EngineError `lost`: the device or the Worker is gone */

/** Least agreement of the two builds' pictures, in dB: the same picture to the eye, and far from a broken one. */
const MIN_PSNR = 40;
/**
 * Pictures of a part of a request: few on the CPU, so that the first appear at once; many on a GPU, which they fill.
 */
const PICTURES_AT_ONCE = { cpu: 2, webgpu: 64 };
/** Most Workers of the CPU's build. */
const MAX_WORKERS = 4;
/** Bytes that they may take together, and those of one beside its weights. */
const MAX_BYTES = 2 ** 28;
const WORKER_BYTES = 2 ** 24;
/** Milliseconds of drawing that must be left for another Worker to be worth its start. */
const WORTH_A_WORKER = 150;
/** Milliseconds that the first picture waits for the browser to say whether there is a GPU. */
const PATIENCE = 500;
/** After so many losses the GPU is left alone. */
const MAX_LOSSES = 2;

/**
 * The interface of an {@link Engine}, and events: `change` when another backend takes over, or stays for good; its
 * `detail` is `{backend, arithmetic, notice}`. `device-lost` when the device or its Worker has ended, `{reason,
 * losses}`; `recovered` when there is one again, or the CPU goes on for good, the same.
 */
export class FailoverEngine extends EventTarget {
  #wanted;
  #options;
  /** The engine that answers. @type {Engine | undefined} */
  #engine;
  /** The CPU's, once the GPU has taken over. @type {Engine | undefined} */
  #standby;
  /** Pending while the CPU takes over again. @type {Promise<void> | undefined} */
  #falling;
  /** @type {Backend} */
  #backend = 'cpu';
  /** Why it is not WebGPU. */
  #notice = '';
  /** Pending while it is not known whether there is a GPU. @type {Promise<void> | undefined} */
  #chosen;
  /** Whether the GPU is still to be tried. */
  #mayUpgrade = false;
  /** Whether the GPU draws no bitmaps, after one has failed. */
  #readsBack = false;
  /** How often a device or a Worker was lost. */
  #losses = 0;
  /** @type {string | Blob | undefined} */
  #source;
  /** @type {string | undefined} */
  #hash;
  /** The last answer. @type {Seen | undefined} */
  #seen;
  /** More Workers of the CPU's build with the same model. @type {Engine[]} */
  #others = [];
  #recruiting = false;
  #failedWorkers = 0;
  /** Of the model, which say how much memory a Worker takes. */
  #parameters = 0;
  /** Ends the newest request, where only that one counts. @type {AbortController | undefined} */
  #newest;
  /** @type {Scheduler<Engine>} */
  #scheduler = new Scheduler(() => (this.#engine ? [this.#engine, ...this.#others] : []));

  /**
   * @param {Backend} [wanted] forces one backend: no failover then
   * @param {Options} [options]
   */
  constructor(wanted, options = {}) {
    super();
    this.#wanted = wanted;
    this.#options = {
      choose: chooseBackend,
      open: (/** @type {Backend} */ backend) => new Engine(backend),
      ...options,
    };
  }

  /**
   * As {@link Engine.load}; the answer also says which `backend` is at work, and in `notice` why it is not WebGPU.
   * @param {string | Blob} source an address, or a file
   * @param {(progress: Progress) => void} [onProgress]
   * @param {string} [hash] the SHA-256 that the weights must have, in hexadecimal; with it they are kept for the next
   *   visit
   * @returns {Promise<(ModelInfo & {notice: string}) | Stale>}
   */
  async load(source, onProgress, hash) {
    if (!this.#engine) await this.#begin();
    const info = await this.#load(source, onProgress, hash);
    // Some browsers never say whether there is a GPU; should one still come, it is tried then.
    const known = await Promise.race([
      Promise.resolve(this.#chosen).then(() => true),
      new Promise((resolve) => setTimeout(resolve, PATIENCE, false)),
    ]);
    if ('stale' in info) return info;
    // They hold another model.
    this.#dismissAll();
    [this.#source, this.#hash, this.#parameters] = [source, hash, info.parameters ?? 0];
    if (!known) this.#chosen?.then(() => this.#heard(), () => {});
    else if (this.#mayUpgrade) this.#upgrade();
    const { backend, arithmetic = info.arithmetic, notice } = this.#state;
    return { ...info, backend, arithmetic, notice };
  }

  /** It is known at last whether there is a GPU. */
  #heard() {
    if (this.#mayUpgrade) this.#upgrade();
    else if (this.#engine) this.#change(this.#engine, this.#backend, this.#notice);
  }

  /** Opens the first engine. The CPU's need not wait for what a browser says of its GPU. */
  async #begin() {
    const choice = this.#options.choose(this.#wanted, this.#options);
    if (this.#wanted) ({ backend: this.#backend, reason: this.#notice } = await choice);
    else {
      this.#backend = 'cpu';
      this.#chosen = choice.then(({ backend, reason }) => {
        this.#mayUpgrade = backend === 'webgpu';
        this.#notice = this.#mayUpgrade ? 'The GPU is getting ready.' : reason;
      });
      // A download that fails comes first.
      this.#chosen.catch(() => {});
    }
    this.#engine = this.#open(this.#backend);
  }

  /**
   * As {@link Engine.generate}; the answer also says which `backend` gave it. On the CPU a gallery is drawn by as many
   * Workers as there are cores for, and requests take turns.
   * @param {Request} request
   * @param {(report: Report) => void} onPictures
   * @param {AbortSignal} [signal]
   * @returns {Promise<{milliseconds: number, backend: Backend, stale?: undefined} | {stale: true, backend: Backend}>}
   */
  async generate(request, onPictures, signal) {
    const controller = new AbortController();
    signal?.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
    if (signal?.aborted) controller.abort();
    if (!this.#options.shared) this.#newest?.abort();
    this.#newest = controller;
    const source = this.#source;
    /** @type {Drawn} */
    const drawn = {
      picture: undefined,
      milliseconds: 0,
      began: 0,
      ended: 0,
      engines: new Set(),
      backend: this.#backend,
    };
    const parts = partsOf(request, PICTURES_AT_ONCE[this.#backend]);
    const run = parts.map(
      /** @returns {Part<Engine>} */ (part) => (engine) =>
        this.#draw(engine, part, drawn, onPictures, controller.signal, source),
    );
    const { stale } = await this.#scheduler.add(run, controller.signal);
    if (stale) return { stale, backend: this.#backend };
    const { picture, began, ended, engines } = drawn;
    const milliseconds = engines.size > 1 ? ended - began : drawn.milliseconds;
    // Single pictures say nothing about how fast a gallery is drawn.
    if (!request.mix && !request.solver) {
      this.#see({ source, picture, request: { ...request, noise: false }, milliseconds });
    }
    return { milliseconds, backend: drawn.backend };
  }

  /**
   * Draws a part of a request by an engine.
   * @param {Engine} engine
   * @param {RequestPart} part
   * @param {Drawn} drawn
   * @param {(report: Report) => void} onPictures
   * @param {AbortSignal} signal
   * @param {string | Blob | undefined} source
   * @returns {ReturnType<Part<Engine>>}
   */
  async #draw(engine, part, drawn, onPictures, signal, source) {
    const listen = (/** @type {Report} */ report) => {
      if (signal.aborted) return;
      const first = part.first + report.first;
      if (first === 0 && 'rgba' in report) {
        drawn.picture = report.rgba.slice(0, report.rgba.length / report.labels.length);
      }
      onPictures({ ...report, first });
    };
    try {
      drawn.began ||= performance.now();
      const backend = this.#others.includes(engine) ? 'cpu' : this.#backend;
      if (part.noiseOnly) return 'stale' in (await engine.noise(part.request, listen)) ? 'stale' : 'done';
      const { mix } = part.request;
      const request = mix && this.#readsBack ? { ...part.request, mix: { ...mix, bitmap: false } } : part.request;
      const result = await engine.generate(request, listen, signal);
      if ('stale' in result) return 'stale';
      drawn.engines.add(engine);
      drawn.milliseconds += result.milliseconds;
      Object.assign(drawn, { ended: performance.now(), backend });
      this.#recruit(result.milliseconds / part.request.count, part.left);
      return 'done';
    } catch (error) {
      if (signal.aborted) return 'stale';
      if (this.#others.includes(engine)) {
        this.#doWithout(engine);
        return 'again';
      }
      // What never had a model has nothing to go on with.
      if (!source || part.failed) throw error;
      if (this.#backend === 'webgpu' && !part.noiseOnly && part.request.mix?.bitmap && !this.#readsBack) {
        // The canvas may be what failed, or what cost the device.
        this.#readsBack = true;
        if (!error.lost && !this.#recovering) return 'again';
      }
      part.failed = true;
      if (engine === this.#engine) await this.#recover(engine, error);
      return 'again';
    }
  }

  /**
   * More Workers of the CPU's build, where a gallery takes long enough.
   * @param {number} millisecondsEach
   * @param {number} left pictures
   */
  async #recruit(millisecondsEach, left) {
    const first = this.#engine;
    if (this.#recruiting || this.#failedWorkers > 0 || this.#backend !== 'cpu' || !first?.weights) return;
    if (millisecondsEach * left < WORTH_A_WORKER) return;
    const wanted = this.#options.workers ?? workersFor(this.#parameters);
    if (this.#others.length + 1 >= wanted) return;
    this.#recruiting = true;
    const source = this.#source;
    try {
      const weights = await first.weights();
      // None where another model is being loaded.
      if (!weights) return;
      while (this.#others.length + 1 < wanted && source === this.#source && this.#backend === 'cpu') {
        const engine = this.#options.open('cpu');
        engine.onlost = () => this.#doWithout(engine);
        await engine.load(weights);
        if (source !== this.#source || this.#backend !== 'cpu') engine.close();
        else {
          this.#others.push(engine);
          this.#scheduler.next();
        }
      }
    } catch {
      this.#failedWorkers += 1;
    } finally {
      this.#recruiting = false;
    }
  }

  /** @param {Engine} engine */
  #dismiss(engine) {
    const at = this.#others.indexOf(engine);
    if (at >= 0) this.#others.splice(at, 1);
    engine.close();
  }

  /** Another Worker has failed: the first draws everything, too. @param {Engine} engine */
  #doWithout(engine) {
    this.#failedWorkers += 1;
    this.#dismiss(engine);
  }

  #dismissAll() {
    this.#failedWorkers = 0;
    for (const engine of [...this.#others]) this.#dismiss(engine);
  }

  /** An engine whose losses are heard also when nobody asks it for anything. @param {Backend} backend */
  #open(backend) {
    const engine = this.#options.open(backend);
    engine.onlost = (reason) => {
      if (engine !== this.#engine || !this.#source) return;
      this.#recover(engine, Object.assign(new Error(reason), { lost: true })).catch(() => {});
    };
    return engine;
  }

  /** Has an engine read the model that is at work. @param {Engine} engine */
  #reload(engine) {
    return engine.load(/** @type {string | Blob} */ (this.#source), undefined, this.#hash);
  }

  /**
   * Makes sure that there is an engine with the model, after one has failed; the request can then be asked again.
   * @param {Engine} engine
   * @param {EngineError} error
   */
  #recover(engine, error) {
    // What fails while a lost engine is replaced waits for the new one.
    if (this.#recovering) return this.#recovering;
    if (!error.lost) return this.#fallBack(error);
    this.#recovering = this.#replace(engine, error).finally(() => (this.#recovering = undefined));
    return this.#recovering;
  }

  /** Pending while a lost engine is replaced. @type {Promise<void> | undefined} */
  #recovering;

  /** @param {Engine} engine @param {EngineError} error */
  async #replace(engine, error) {
    this.#losses += 1;
    const gpu = this.#backend === 'webgpu';
    this.dispatchEvent(new CustomEvent('device-lost', { detail: { reason: error.message, losses: this.#losses } }));
    const spent = gpu && this.#losses >= MAX_LOSSES;
    const tell = () => this.dispatchEvent(new CustomEvent('recovered', { detail: this.#state }));
    const notice = `WebGPU was lost ${this.#losses} times (${error.message}); the CPU goes on.`;
    if (this.#standby) {
      await this.#fallBack(error, spent ? notice : undefined);
      // The CPU draws meanwhile; a new device proves itself like the first.
      if (!spent) {
        this.#upgrade().then(tell);
        return;
      }
    } else if (spent) {
      engine.close();
      const cpu = this.#open('cpu');
      await this.#reload(cpu);
      this.#change(cpu, 'cpu', notice);
    } else await this.#reload(engine);
    tell();
  }

  /**
   * As {@link Engine.invert}; only the CPU can do it.
   * @param {Inversion} picture
   * @returns {ReturnType<Engine['invert']>}
   */
  async invert(picture) {
    // The reserve may hold an older model.
    if (this.#standby) await this.#reload(this.#standby);
    const engine = this.#standby ?? this.#engine;
    if (!engine) throw new Error('no model is loaded');
    return engine.invert(picture);
  }

  /** @returns {BackendState} */
  get #state() {
    return { backend: this.#backend, arithmetic: this.#engine?.arithmetic, notice: this.#notice };
  }

  /** What is at work, once a model is loaded. @type {Backend | undefined} */
  get backend() {
    return this.#engine && this.#backend;
  }

  /** Frees everything. */
  close() {
    this.#newest?.abort();
    this.#dismissAll();
    this.#engine?.close();
    this.#standby?.close();
  }

  /**
   * @param {string | Blob} source
   * @param {((progress: Progress) => void) | undefined} onProgress
   * @param {string | undefined} hash
   */
  async #load(source, onProgress, hash) {
    for (let again = true; ; ) {
      const engine = /** @type {Engine} */ (this.#engine);
      let info;
      try {
        info = await engine.load(source, onProgress, hash);
      } catch (error) {
        // A Worker that has ended is begun anew, once.
        if (error.lost && again) {
          again = false;
          continue;
        }
        if (!this.#standby) throw error;
        // A file that the CPU refuses too is no fault of the GPU.
        info = await this.#standby.load(source, onProgress, hash);
        if (engine === this.#engine) this.#takeFallback(error);
        return info;
      }
      // The GPU may have taken over while the CPU loaded.
      if (engine === this.#engine || 'stale' in info) return info;
    }
  }

  /** @param {Seen} seen */
  #see(seen) {
    this.#seen = seen;
    this.dispatchEvent(new Event('seen'));
  }

  /** Starts the GPU beside the CPU, and hands over when its picture is the same and comes faster. */
  async #upgrade() {
    this.#mayUpgrade = false;
    const gpu = this.#open('webgpu');
    try {
      let source;
      // The visitor may choose another model while the GPU is at work on this one.
      while (source !== this.#source) {
        source = this.#source;
        await this.#reload(gpu);
        while (this.#seen?.source !== this.#source) {
          await new Promise((resolve) => this.addEventListener('seen', resolve, { once: true }));
        }
        if (source === this.#source) await this.#verify(gpu, this.#seen);
      }
    } catch (error) {
      gpu.close();
      if (this.#engine) this.#change(this.#engine, 'cpu', `Not on WebGPU: ${error.message}.`);
      return;
    }
    this.#standby = this.#engine;
    this.#change(gpu, 'webgpu', '');
  }

  /** @param {Engine} gpu @param {Seen} seen what the CPU drew */
  async #verify(gpu, { request, picture, milliseconds }) {
    /** @type {Uint8Array | undefined} */
    let drawn;
    await gpu.generate(request, (report) => {
      if (report.first === 0 && 'rgba' in report) drawn = report.rgba.slice(0, picture?.length);
    });
    const agreement = psnr(drawn, picture);
    if (agreement < MIN_PSNR) throw new Error(`its picture differs from the CPU's (${agreement.toFixed(0)} dB)`);
    // The first call compiled the shaders; the best of three tells the speed, as clocks idle and timers are coarse.
    for (let left = 2; ; left -= 1) {
      const warm = await gpu.generate(request, () => {});
      if (!('milliseconds' in warm) || warm.milliseconds <= milliseconds || this.#options.slowerWillDo) return;
      if (!left) throw new Error('it is slower than the CPU here');
    }
  }

  /**
   * Goes on with the CPU, once for all requests that the GPU failed at.
   * @param {EngineError} error
   * @param {string} [notice]
   */
  async #fallBack(error, notice) {
    if (!this.#standby) throw error;
    this.#falling ??= this.#reload(this.#standby)
      .then(() => this.#takeFallback(error, notice))
      .finally(() => (this.#falling = undefined));
    return this.#falling;
  }

  /** @param {EngineError} error @param {string} [notice] */
  #takeFallback(error, notice = `WebGPU failed: ${error.message}.`) {
    const cpu = this.#standby;
    if (!cpu) return;
    this.#engine?.close();
    this.#standby = undefined;
    this.#change(cpu, 'cpu', notice);
  }

  /** @param {Engine} engine @param {Backend} backend @param {string} notice */
  #change(engine, backend, notice) {
    if (backend !== 'cpu') this.#dismissAll();
    [this.#engine, this.#backend, this.#notice] = [engine, backend, notice];
    this.dispatchEvent(new CustomEvent('change', { detail: this.#state }));
    this.#scheduler.next();
  }
}

/**
 * Workers for a model of so many parameters: as many as there are cores, within the memory that they may take.
 * @param {number} parameters
 */
function workersFor(parameters) {
  const each = 4 * parameters + WORKER_BYTES;
  return Math.min(MAX_WORKERS, navigator.hardwareConcurrency ?? 1, Math.max(1, Math.floor(MAX_BYTES / each)));
}

/**
 * A request in parts of so many pictures, each with the index of its first and how many are left after it. Where the
 * noise is reported too, that of all but the first part comes second, as one part: it is seen before the pictures are.
 * @param {Request} request
 * @param {number} size
 * @returns {RequestPart[]}
 */
function partsOf(request, size) {
  const { count, noise, mix } = request;
  if (mix || count <= size) return [{ first: 0, left: 0, request }];
  /** @type {RequestPart[]} */
  const parts = [];
  for (let first = 0; first < count; first += size) {
    const seed = BigInt.asUintN(64, BigInt(request.seed) + BigInt(first));
    const these = Math.min(size, count - first);
    parts.push({
      first,
      left: count - first - these,
      request: { ...request, seed, count: these, noise: noise && first === 0 },
    });
    if (!noise || first > 0) continue;
    parts.push({
      first: these,
      left: 0,
      noiseOnly: true,
      request: { seed: seed + BigInt(these), count: count - these },
    });
  }
  return parts;
}
