// Always something to see: the CPU build draws first, the GPU build takes over when it has proven itself.
//
// The CPU build starts in a moment; the GPU build is a smaller download, but a browser compiles its shaders first.
// So where there is a GPU both start, and the GPU takes over once it has drawn the same picture, faster. When it fails
// later, the CPU goes on where it stopped. A device that is lost is replaced, once; after a second loss it is left alone.

import { chooseBackend } from './backend.js';
import { Engine } from './engine.js';
import { psnr } from './psnr.js';

/** Least agreement of the two builds' pictures, in dB: the same picture to the eye, and far from a broken one. */
const LEAST_PSNR = 40;
/** After so many losses the GPU is left alone. */
const MOST_LOSSES = 2;

/**
 * The interface of an {@link Engine}, and events: `change` when another backend takes over, or stays for good; its `detail`
 * is `{backend, arithmetic, notice}`. `device-lost` when the device or its Worker has ended, `{reason, losses}`; `recovered` when there is
 * one again, or the CPU goes on for good, the same.
 */
export class Ladder extends EventTarget {
  #wanted;
  #options;
  /** The engine that answers. */
  #engine;
  /** The CPU's, once the GPU has taken over. */
  #reserve;
  /** Pending while the CPU takes over again. */
  #falling;
  #backend;
  /** Why it is not WebGPU. */
  #notice = '';
  /** Pending while it is not known whether there is a GPU. */
  #chosen;
  /** Whether the GPU is still to be tried. */
  #mayClimb = false;
  /** How often a device or a Worker was lost. */
  #losses = 0;
  #source;
  #hash;
  /** The last answer: of which model, to which request, its first picture, its time. */
  #seen;

  /**
   * @param {'webgpu' | 'cpu'} [wanted] forces one backend: no ladder then
   * @param {{softwareWillDo?: boolean, slowerWillDo?: boolean, choose?: typeof chooseBackend, open?: (backend: string) => Engine}} [options]
   *   for tests: take a software adapter, a GPU that is slower than the CPU, other parts
   */
  constructor(wanted, options = {}) {
    super();
    this.#wanted = wanted;
    this.#options = { choose: chooseBackend, open: (backend) => new Engine(backend), ...options };
  }

  /** As {@link Engine.load}; the answer also says which `backend` is at work, and in `notice` why it is not WebGPU. */
  async load(source, onProgress, hash) {
    if (!this.#engine) await this.#begin();
    const info = await this.#load(source, onProgress, hash);
    await this.#chosen;
    if (info.stale) return info;
    [this.#source, this.#hash] = [source, hash];
    if (this.#mayClimb) this.#climb();
    return { ...info, ...this.#state };
  }

  /** Opens the first engine. The CPU's need not wait for what a browser says of its GPU. */
  async #begin() {
    const choice = this.#options.choose(this.#wanted, this.#options);
    if (this.#wanted) ({ backend: this.#backend, reason: this.#notice } = await choice);
    else {
      this.#backend = 'cpu';
      this.#chosen = choice.then(({ backend, reason }) => {
        this.#mayClimb = backend === 'webgpu';
        this.#notice = this.#mayClimb ? 'The GPU is getting ready.' : reason;
      });
      // A download that fails comes first.
      this.#chosen.catch(() => {});
    }
    this.#engine = this.#open(this.#backend);
  }

  /** As {@link Engine.generate}; the answer also says which `backend` gave it. */
  async generate(request, onPictures) {
    const [engine, backend, source] = [this.#engine, this.#backend, this.#source];
    let picture;
    const listen = (report) => {
      if (report.first === 0) picture = report.rgba?.slice(0, report.rgba.length / report.labels.length);
      onPictures(report);
    };
    try {
      const result = await engine.generate(request, listen);
      // Single pictures say nothing about how fast a wall is drawn.
      if (!result.stale && !request.mix && !request.solver) this.#see({ source, picture, request: { ...request, noise: false }, milliseconds: result.milliseconds });
      return { ...result, backend };
    } catch (error) {
      if (engine === this.#engine) await this.#recover(engine, error);
      // A bitmap may be what cost the device.
      const again = request.mix ? { ...request, mix: { ...request.mix, bitmap: false } } : request;
      return { ...(await this.#engine.generate(again, listen)), backend: this.#backend };
    }
  }

  /** An engine whose losses are heard also when nobody asks it for anything. */
  #open(backend) {
    const engine = this.#options.open(backend);
    engine.onlost = (reason) => {
      if (engine === this.#engine) this.#recover(engine, Object.assign(new Error(reason), { lost: true })).catch(() => {});
    };
    return engine;
  }

  /** Makes sure that there is an engine with the model, after one has failed; the request can then be asked again. */
  #recover(engine, error) {
    // What fails while a lost engine is replaced waits for the new one.
    if (this.#recovering) return this.#recovering;
    if (!error.lost) return this.#fallBack(error);
    this.#recovering = this.#replace(engine, error).finally(() => (this.#recovering = undefined));
    return this.#recovering;
  }

  /** Pending while a lost engine is replaced. */
  #recovering;

  async #replace(engine, error) {
    this.#losses += 1;
    const gpu = this.#backend === 'webgpu';
    this.dispatchEvent(new CustomEvent('device-lost', { detail: { reason: error.message, losses: this.#losses } }));
    const spent = gpu && this.#losses >= MOST_LOSSES;
    const tell = () => this.dispatchEvent(new CustomEvent('recovered', { detail: this.#state }));
    const notice = `WebGPU was lost ${this.#losses} times (${error.message}); the CPU goes on.`;
    if (this.#reserve) {
      await this.#fallBack(error, spent ? notice : undefined);
      // The CPU draws meanwhile; a new device proves itself like the first.
      if (!spent) {
        this.#climb().then(tell);
        return;
      }
    } else if (spent) {
      engine.close();
      const cpu = this.#open('cpu');
      await cpu.load(this.#source, undefined, this.#hash);
      this.#change(cpu, 'cpu', notice);
    } else await engine.load(this.#source, undefined, this.#hash);
    tell();
  }

  /** As {@link Engine.invert}; only the CPU can do it. */
  async invert(picture) {
    // The reserve may hold an older model.
    if (this.#reserve) await this.#reserve.load(this.#source, undefined, this.#hash);
    return (this.#reserve ?? this.#engine).invert(picture);
  }

  get #state() {
    return { backend: this.#backend, arithmetic: this.#engine.arithmetic, notice: this.#notice };
  }

  /** What is at work. */
  get backend() {
    return this.#backend;
  }

  close() {
    this.#engine?.close();
    this.#reserve?.close();
  }

  async #load(source, onProgress, hash) {
    for (let again = true; ; ) {
      const engine = this.#engine;
      let info;
      try {
        info = await engine.load(source, onProgress, hash);
      } catch (error) {
        // A Worker that has ended is begun anew, once.
        if (error.lost && again) {
          again = false;
          continue;
        }
        if (!this.#reserve) throw error;
        // A file that the CPU refuses too is no fault of the GPU.
        info = await this.#reserve.load(source, onProgress, hash);
        if (engine === this.#engine) this.#descend(error);
        return info;
      }
      // The GPU may have taken over while the CPU loaded.
      if (engine === this.#engine || info.stale) return info;
    }
  }

  #see(seen) {
    this.#seen = seen;
    this.dispatchEvent(new Event('seen'));
  }

  /** Starts the GPU beside the CPU, and hands over when its picture is the same and comes faster. */
  async #climb() {
    this.#mayClimb = false;
    const gpu = this.#open('webgpu');
    try {
      let source;
      // The visitor may choose another model while the GPU is at work on this one.
      while (source !== this.#source) {
        source = this.#source;
        await gpu.load(source, undefined, this.#hash);
        while (this.#seen?.source !== this.#source) await new Promise((resolve) => this.addEventListener('seen', resolve, { once: true }));
        if (source === this.#source) await this.#prove(gpu);
      }
    } catch (error) {
      gpu.close();
      this.#change(this.#engine, 'cpu', `Not on WebGPU: ${error.message}.`);
      return;
    }
    this.#reserve = this.#engine;
    this.#change(gpu, 'webgpu', '');
  }

  async #prove(gpu) {
    const { request, picture, milliseconds } = this.#seen;
    let drawn;
    await gpu.generate(request, ({ first, rgba }) => (drawn = first === 0 ? rgba.slice(0, picture.length) : drawn));
    const agreement = psnr(drawn, picture);
    if (agreement < LEAST_PSNR) throw new Error(`its picture differs from the CPU's (${agreement.toFixed(0)} dB)`);
    // The first call compiled the shaders; this one tells its speed.
    const warm = await gpu.generate(request, () => {});
    if (warm.milliseconds > milliseconds && !this.#options.slowerWillDo) throw new Error('it is slower than the CPU here');
  }

  /** Goes on with the CPU, once for all requests that the GPU failed at. */
  async #fallBack(error, notice) {
    if (!this.#reserve) throw error;
    this.#falling ??= this.#reserve
      .load(this.#source, undefined, this.#hash)
      .then(() => this.#descend(error, notice))
      .finally(() => (this.#falling = undefined));
    return this.#falling;
  }

  #descend(error, notice = `WebGPU failed: ${error.message}.`) {
    this.#engine.close();
    const cpu = this.#reserve;
    this.#reserve = undefined;
    this.#change(cpu, 'cpu', notice);
  }

  #change(engine, backend, notice) {
    [this.#engine, this.#backend, this.#notice] = [engine, backend, notice];
    this.dispatchEvent(new CustomEvent('change', { detail: this.#state }));
  }
}
