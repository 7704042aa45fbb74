// What is below the wall: the square between four noises, the race, the plane. They wait until somebody looks.

import { byId } from './dom.js';
import { Drawing } from './drawing.js';
import { Engine } from '../engine/engine.js';
import { Explore } from './explore.js';
import { Plane } from './flow2d.js';
import { MODELS, isShipped } from './models.js';
import { Race } from './race.js';
import { randomSeed } from '../element/numbers.js';
import { readPicture, savePicture } from './save.js';

/** Network calls that run a picture backward to its noise. */
const INVERSION = 64;

/** @import { FailoverEngine } from '../engine/failover.js' */
/** @import { Backend, ClassChoice, Inversion, Mix, ModelInfo, Request, Sampling } from '../engine/types.js' */
/** @import { Choice } from './address.js' */
/** @import { Drawn } from './explore.js' */
/** @import { Model } from './models.js' */
/** @import { Made, Way } from './race.js' */

/** @typedef {ClassChoice & Pick<Sampling, 'guidance'>} Conditions what pictures are of, and how strongly */
/**
 * What the demos tell the page: that the place in the square has changed, and what failed; and ask it: how a picture of
 * the square was made, for its file.
 * @typedef {{moved: () => void, recipe: (label?: number) => object, failed: (error: Error) => void}} Hooks
 */

export class Demos {
  /** @type {FailoverEngine} */
  #engine;
  /** @type {Choice} */
  #choice;
  /** @type {Hooks} */
  #hooks;
  #explore;
  #race;
  /**
   * The model and the class at work; nothing while the wall is being drawn.
   * @type {{info: ModelInfo, model: Model, classes: Conditions} | undefined}
   */
  #at;
  /** Which demos are in sight, and which have run for this choice. */
  #seen = new Set();
  #done = new Set();
  #raceSeed = 0n;
  /**
   * The noise of a picture of the visitor's, which takes the place of the first corner.
   * @type {Float32Array | undefined}
   */
  #own;
  /** @type {Promise<unknown>} */
  #queue = Promise.resolve();
  /**
   * The network that was trained by Flow Matching, once the race has called for it.
   * @type {{file: string, backend: Backend | undefined, engine: Engine, ready: Promise<unknown>} | undefined}
   */
  #flowMatching;
  /** Whether pictures may come straight from the GPU: on some systems that costs the device, and is not tried again. */
  #bitmaps = true;

  /**
   * @param {FailoverEngine} engine
   * @param {Choice} choice what the page shows; `place` is written here
   * @param {Hooks} hooks
   */
  constructor(engine, choice, hooks) {
    this.#engine = engine;
    this.#choice = choice;
    this.#hooks = hooks;
    this.#explore = new Explore(byId('explore'), (mix) => this.#between(mix));
    this.#explore.addEventListener('move', () => {
      choice.place = this.#explore.place;
      hooks.moved();
    });
    this.#race = new Race(byId('race'), (way) => this.#single(way));
    const sliders = { t: byId('plane-t', HTMLInputElement), r: byId('plane-r', HTMLInputElement) };
    new Plane(byId('plane', SVGSVGElement), sliders, byId('plane-words'));
    byId('race-again').addEventListener('click', () => this.#runRace(randomSeed()));
    engine.addEventListener('device-lost', () => (this.#bitmaps = false));
    new Drawing(byId('drawing'), (file) => this.startFrom(file));
    byId('explore-save').addEventListener('click', () => this.#save());
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#seen.add(target.id);
        else this.#seen.delete(target.id);
      }
      this.#run();
    });
    for (const id of ['explore', 'race']) observer.observe(byId(id));
  }

  /** The wall is being drawn, or another model loaded: the engine is not free. */
  rest() {
    this.#at = undefined;
  }

  /**
   * The wall stands: what is in sight may begin anew.
   * @param {ModelInfo} info
   * @param {Model} model
   * @param {Conditions} classes
   */
  begin(info, model, classes) {
    if (this.#at?.info !== info) this.#own = undefined;
    this.#at = { info, model, classes };
    this.#done.clear();
    this.#raceSeed = this.#choice.seed;
    this.#run();
  }

  /** Draws the square anew, for another prompt on its right. */
  turn() {
    this.#done.delete('explore');
    this.#run();
  }

  /** The picture of the square, once it is drawn; it is drawn although nobody looks. */
  async drawn() {
    await this.#showSquare();
    return this.#explore.exact();
  }

  /** Runs a picture of the visitor's backward; its noise becomes the first corner. @param {File} file */
  async startFrom(file) {
    if (!this.#at) return;
    const { info, classes } = this.#at;
    try {
      const picture = await readPicture(file, info);
      const answer = await this.#invert({ rgba: picture.data, seed: this.#choice.seed, ...classes, calls: INVERSION });
      if (this.#at?.info !== info || 'stale' in answer) return;
      this.#own = answer.noise;
      this.#choice.place = [0, 0];
      byId('explore').scrollIntoView({ block: 'center' });
      await this.#showSquare();
    } catch (error) {
      this.#hooks.failed(error);
    }
  }

  /**
   * The noise that a picture comes from, by the counterpart that was trained by Flow Matching, where there is one: both
   * go the same way, and the velocity is what that one has learnt, near the picture too.
   * @param {Inversion} picture
   */
  async #invert(picture) {
    const flowMatching = this.#counterpart();
    if (!flowMatching) return this.#engine.invert(picture);
    const engine = new Engine('cpu');
    try {
      await engine.load(MODELS + flowMatching.file, undefined, flowMatching.sha256);
      return await engine.invert(picture);
    } finally {
      engine.close();
    }
  }

  /** The weights by Flow Matching of the model at work, where there are some. */
  #counterpart() {
    const model = this.#at?.model;
    return model && isShipped(model) ? model.flowMatching : undefined;
  }

  #run() {
    if (!this.#at) return;
    if (this.#seen.has('explore') && !this.#done.has('explore')) {
      this.#done.add('explore');
      this.#showSquare();
    }
    if (this.#seen.has('race') && !this.#done.has('race')) this.#runRace(this.#raceSeed);
  }

  async #showSquare() {
    if (!this.#at) return;
    const { width, height } = this.#at.info;
    /** @type {Mix['corners']} */
    const corners = [0n, 1n, 2n, 3n].map((i) => BigInt.asUintN(64, this.#choice.seed + i));
    if (this.#own) corners[0] = this.#own;
    await this.#explore.show({ corners, width, height }, this.#choice.place).catch(this.#hooks.failed);
  }

  /** @param {bigint} seed */
  async #runRace(seed) {
    if (!this.#at) return;
    this.#done.add('race');
    this.#raceSeed = seed;
    await this.#race.run().catch(this.#hooks.failed);
  }

  /** @param {Mix} mix */
  #between(mix) {
    const bitmap = mix.bitmap && this.#bitmaps;
    const { seed, nfe, promptTo } = this.#choice;
    // From the left to the right the prompt becomes another, where there is one.
    const way = promptTo && this.#at?.classes.prompt ? { promptTo, promptShare: mix.place[0] } : {};
    return this.#generate({ seed, nfe, ...way, mix: { ...mix, bitmap } });
  }

  /**
   * The walks are those of a network that was trained by Flow Matching alone, where the page has one, else of its own.
   * @param {Way} way
   */
  async #single({ nfe, solver }) {
    const engine = solver && (await this.#walker());
    // The counterpart was trained without guidance.
    const own = engine ? { guidance: undefined } : {};
    return this.#generate({ seed: this.#raceSeed, nfe, solver, ...own }, engine);
  }

  /** An engine with the model's counterpart by Flow Matching; nothing where there is none. */
  async #walker() {
    const weights = this.#counterpart();
    if (!weights) return undefined;
    const { file, sha256 } = weights;
    const { backend = 'cpu' } = this.#engine;
    if (this.#flowMatching?.file !== file || this.#flowMatching.backend !== backend) {
      this.#flowMatching?.engine.close();
      const engine = new Engine(backend);
      this.#flowMatching = { file, backend, engine, ready: engine.load(MODELS + file, undefined, sha256) };
    }
    const { engine, ready } = this.#flowMatching;
    await ready;
    return engine;
  }

  /**
   * One request at a time: to the engine, a newer one ends the one before.
   * @param {Omit<Request, 'count'>} request
   * @param {FailoverEngine | Engine} [engine]
   */
  #generate(request, engine = this.#engine) {
    const answer = this.#queue.then(() => this.#ask(request, engine));
    this.#queue = answer.catch(() => {});
    return answer;
  }

  /**
   * @param {Omit<Request, 'count'>} request
   * @param {FailoverEngine | Engine} engine
   * @returns {Promise<(Drawn & Made) | undefined>}
   */
  async #ask(request, engine) {
    if (!this.#at) return undefined;
    const { info, classes } = this.#at;
    /** @type {Drawn} */
    let drawn = {};
    const result = await engine.generate({ count: 1, ...classes, ...request }, (report) => {
      if (!('noise' in report)) drawn = report;
    });
    if (!('milliseconds' in result) || this.#at?.info !== info) return undefined;
    const { rgba, bitmap } = drawn;
    return { rgba, bitmap, milliseconds: result.milliseconds, width: info.width, height: info.height };
  }

  async #save() {
    const picture = await this.#explore.exact().catch(this.#hooks.failed);
    if (!picture || !this.#at) return;
    this.#choice.place ??= this.#explore.place;
    // From a picture of the visitor's it cannot be made again by anybody else.
    const recipe = this.#own ? undefined : this.#hooks.recipe(this.#at.classes.classIndex);
    savePicture(picture, { name: `${this.#at.info.name}-${this.#choice.seed}-between.png`, recipe });
  }
}
