// Always something to see: the CPU build draws first, the GPU build takes over when it has proven itself.
//
// The CPU build starts in a moment; the GPU build is a smaller download, but a browser compiles its shaders first.
// So where there is a GPU both start, and the GPU takes over once it has drawn the same picture, faster. When it fails
// later, the CPU goes on where it stopped.

import { chooseBackend } from './backend.js';
import { Engine } from './engine.js';
import { psnr } from './psnr.js';

/** Least agreement of the two builds' pictures, in dB: the same picture to the eye, and far from a broken one. */
const LEAST_PSNR = 40;

/**
 * The interface of an {@link Engine}, and an event `change` when another backend takes over, or stays for good; its
 * `detail` is `{backend, notice}`.
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
  /** Whether the GPU is still to be tried. */
  #mayClimb = false;
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
    if (!this.#engine) {
      const { backend, reason } = await this.#options.choose(this.#wanted, this.#options);
      this.#mayClimb = backend === 'webgpu' && !this.#wanted;
      this.#backend = this.#mayClimb ? 'cpu' : backend;
      this.#notice = this.#mayClimb ? 'The GPU is getting ready.' : reason;
      this.#engine = this.#options.open(this.#backend);
    }
    const info = await this.#load(source, onProgress, hash);
    if (info.stale) return info;
    [this.#source, this.#hash] = [source, hash];
    if (this.#mayClimb) this.#climb();
    return { ...info, backend: this.#backend, notice: this.#notice };
  }

  /** As {@link Engine.generate}; the answer also says which `backend` gave it. */
  async generate(request, onPictures) {
    const [engine, backend, source] = [this.#engine, this.#backend, this.#source];
    let picture;
    const listen = (report) => {
      if (report.first === 0) picture = report.rgba.slice(0, report.rgba.length / report.labels.length);
      onPictures(report);
    };
    try {
      const result = await engine.generate(request, listen);
      // Single pictures say nothing about how fast a wall is drawn.
      if (!result.stale && !request.mix && !request.solver) this.#see({ source, picture, request: { ...request, noise: false }, milliseconds: result.milliseconds });
      return { ...result, backend };
    } catch (error) {
      if (engine === this.#engine) await this.#fallBack(error);
      return { ...(await this.#engine.generate(request, listen)), backend: this.#backend };
    }
  }

  /** As {@link Engine.invert}; only the CPU can do it. */
  async invert(picture) {
    // The reserve may hold an older model.
    if (this.#reserve) await this.#reserve.load(this.#source, undefined, this.#hash);
    return (this.#reserve ?? this.#engine).invert(picture);
  }

  close() {
    this.#engine?.close();
    this.#reserve?.close();
  }

  async #load(source, onProgress, hash) {
    for (;;) {
      const engine = this.#engine;
      let info;
      try {
        info = await engine.load(source, onProgress, hash);
      } catch (error) {
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
    const gpu = this.#options.open('webgpu');
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
  #fallBack(error) {
    if (!this.#reserve) throw error;
    this.#falling ??= this.#reserve
      .load(this.#source, undefined, this.#hash)
      .then(() => this.#descend(error))
      .finally(() => (this.#falling = undefined));
    return this.#falling;
  }

  #descend(error) {
    this.#engine.close();
    const cpu = this.#reserve;
    this.#reserve = undefined;
    this.#change(cpu, 'cpu', `WebGPU failed: ${error.message}.`);
  }

  #change(engine, backend, notice) {
    [this.#engine, this.#backend, this.#notice] = [engine, backend, notice];
    this.dispatchEvent(new CustomEvent('change', { detail: { backend, notice } }));
  }
}
