// What is below the wall: the square between four noises, the race, the plane. They wait until somebody looks.

import { Drawing } from './drawing.js';
import { Engine } from '../engine/engine.js';
import { Explore } from './explore.js';
import { Plane } from './flow2d.js';
import { Race } from './race.js';
import { randomSeed } from '../element/numbers.js';
import { readPicture, savePicture } from './save.js';

/** Network calls that run a picture backward to its noise. */
const INVERSION = 64;
/** Where the shipped models lie. */
export const MODELS = 'static/models/';

const element = (id) => document.getElementById(id);

export class Lessons {
  #engine;
  #choice;
  #hooks;
  #explore;
  #race;
  /** The model and the class at work; nothing while the wall is being drawn. */
  #at;
  /** Which lessons are in sight, and which have run for this choice. */
  #seen = new Set();
  #done = new Set();
  #raceSeed = 0n;
  /** The noise of a picture of the visitor's, which takes the place of the first corner. */
  #own;
  #queue = Promise.resolve();
  /** The network that was trained by Flow Matching, once the race has called for it. */
  #rival;
  /** Whether pictures may come straight from the GPU: on some systems that costs the device, and is not tried again. */
  #bitmaps = true;

  /**
   * @param {import('../engine/failover.js').FailoverEngine} engine
   * @param {import('./address.js').Choice} choice what the page shows; `place` is written here
   * @param {{moved: () => void, recipe: (label?: number) => object, failed: (error: Error) => void}} hooks
   */
  constructor(engine, choice, hooks) {
    [this.#engine, this.#choice, this.#hooks] = [engine, choice, hooks];
    this.#explore = new Explore(element('explore'), (mix) => this.#between(mix));
    this.#explore.addEventListener('move', () => {
      choice.place = this.#explore.place;
      hooks.moved();
    });
    this.#race = new Race(element('race'), (request) => this.#single(request));
    new Plane(element('plane'), { t: element('plane-t'), r: element('plane-r') }, element('plane-words'));
    element('race-again').addEventListener('click', () => this.#runRace(randomSeed()));
    engine.addEventListener('device-lost', () => (this.#bitmaps = false));
    new Drawing(element('drawing'), (file) => this.startFrom(file));
    element('explore-save').addEventListener('click', () => this.#save());
    const observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#seen.add(target.id);
        else this.#seen.delete(target.id);
      }
      this.#run();
    });
    for (const id of ['explore', 'race']) observer.observe(element(id));
  }

  /** The wall is being drawn, or another model loaded: the engine is not free. */
  rest() {
    this.#at = undefined;
  }

  /** The wall stands: what is in sight may begin anew. */
  begin(info, model, classes) {
    if (this.#at?.info !== info) this.#own = undefined;
    this.#at = { info, model, classes };
    this.#done.clear();
    this.#raceSeed = this.#choice.seed;
    this.#run();
  }

  /** The picture of the square, once it is drawn; it is drawn although nobody looks. */
  async drawn() {
    await this.#showSquare();
    return this.#explore.exact();
  }

  /** Runs a picture of the visitor's backward; its noise becomes the first corner. */
  async startFrom(file) {
    if (!this.#at) return;
    const { info, classes } = this.#at;
    try {
      const picture = await readPicture(file, info);
      const { noise } = await this.#invert({ rgba: picture.data, seed: this.#choice.seed, ...classes, calls: INVERSION });
      if (this.#at?.info !== info) return;
      this.#own = noise;
      this.#choice.place = [0, 0];
      element('explore').scrollIntoView({ block: 'center' });
      await this.#showSquare();
    } catch (error) {
      this.#hooks.failed(error);
    }
  }

  /**
   * The noise that a picture comes from, by the counterpart that was trained by Flow Matching, where there is one: both go the same
   * way, and the velocity is what that one has learnt, near the picture too.
   */
  async #invert(picture) {
    const { flowMatching } = this.#at.model ?? {};
    if (!flowMatching) return this.#engine.invert(picture);
    const engine = new Engine('cpu');
    try {
      await engine.load(MODELS + flowMatching.file, undefined, flowMatching.sha256);
      return await engine.invert(picture);
    } finally {
      engine.close();
    }
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
    const seeds = [0n, 1n, 2n, 3n].map((i) => BigInt.asUintN(64, this.#choice.seed + i));
    const corners = this.#own ? [this.#own, ...seeds.slice(1)] : seeds;
    await this.#explore.show({ corners, width, height }, this.#choice.place).catch(this.#hooks.failed);
  }

  async #runRace(seed) {
    if (!this.#at) return;
    this.#done.add('race');
    this.#raceSeed = seed;
    await this.#race.run().catch(this.#hooks.failed);
  }

  #between(mix) {
    const bitmap = mix.bitmap && this.#bitmaps;
    return this.#generate({ seed: this.#choice.seed, nfe: this.#choice.nfe, mix: { ...mix, bitmap } });
  }

  /** The walks are those of a network that was trained by Flow Matching alone, where the page has one, else of its own. */
  async #single({ nfe, solver }) {
    const engine = solver && (await this.#walker());
    return this.#generate({ seed: this.#raceSeed, nfe, solver }, engine || undefined);
  }

  /** An engine with the model's counterpart by Flow Matching; nothing where there is none. */
  async #walker() {
    const { flowMatching } = this.#at?.model ?? {};
    if (!flowMatching) return undefined;
    const { backend } = this.#engine;
    if (this.#rival?.file !== flowMatching.file || this.#rival.backend !== backend) {
      this.#rival?.engine.close();
      const engine = new Engine(backend);
      this.#rival = { ...flowMatching, backend, engine, ready: engine.load(MODELS + flowMatching.file, undefined, flowMatching.sha256) };
    }
    await this.#rival.ready;
    return this.#rival.engine;
  }

  /** One request at a time: to the engine, a newer one ends the one before. */
  #generate(request, engine = this.#engine) {
    const answer = this.#queue.then(() => this.#ask(request, engine));
    this.#queue = answer.catch(() => {});
    return answer;
  }

  async #ask(request, engine) {
    if (!this.#at) return undefined;
    const { info, classes } = this.#at;
    let [rgba, bitmap] = [];
    const result = await engine.generate({ count: 1, ...classes, ...request }, (report) => ({ rgba, bitmap } = report));
    if (result.stale || this.#at?.info !== info) return undefined;
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
