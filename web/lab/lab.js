// The laboratory: a small network learns points in the plane, and the page shows what it has learnt so far.

import { MAX_SEED, wholeNumber } from '../element/numbers.js';
import { choices } from '../page/controls.js';
import { byId } from '../page/dom.js';
import { untilVisible, wait } from './pace.js';
import { Plane, apart, at, drawCurves, pageColours } from './plot.js';
import { CHOICES, forTrainer, hasIntervals, hasTangent, readSettings, writeSettings } from './settings.js';
import { Sheet } from './sheet.js';
import { Trainer } from './trainer.js';
import { wordsFor } from './words.js';

/** @import { Answer, Budget, Frame, Scene } from './worker.js' */
/** @import { Settings } from './settings.js' */

/**
 * How fast it goes: steps between two pictures, the milliseconds that they may take, and those from one picture to the
 * next.
 * @type {Record<string, Budget & {every: number, text: string}>}
 */
const SPEEDS = {
  slow: { steps: 1, milliseconds: 0, every: 500, text: 'Slow' },
  steady: { steps: 2, milliseconds: Infinity, every: 250, text: 'Steady' },
  full: { steps: Infinity, milliseconds: 150, every: 0, text: 'Full' },
};
/** Where motion is to be reduced, the milliseconds from one picture to the next. */
const CALM = 1000;
const isCalm = matchMedia('(prefers-reduced-motion: reduce)');
/** The step at which the jumps begin, of all steps: the trainer's schedule. */
const VELOCITY_ALONE = 0.2;

class Laboratory {
  #trainer = new Trainer();
  /** @type {Settings} */
  #settings = readSettings(location.search);
  #sheet = new Sheet(byId('sheet', HTMLCanvasElement));
  #speed = 'full';
  /** @type {Scene | undefined} */
  #scene;
  /** @type {Frame | undefined} */
  #frame;
  /** A number for each step. @type {Record<'interval' | 'instant', number[]>} */
  #residuals = { interval: [], instant: [] };
  /** Milliseconds of all steps, and steps in a second. */
  #spent = 0;
  #pace = 0;
  /** Counts the runs: of an older one nothing is taken any more. */
  #run = 0;
  #isRunning = false;
  #buttons = {
    start: byId('start', HTMLButtonElement), step: byId('step', HTMLButtonElement), anew: byId('anew', HTMLButtonElement),
  };
  #time = byId('time', HTMLInputElement);
  #seed = byId('seed', HTMLInputElement);

  constructor() {
    this.#buildControls();
    this.#buttons.start.addEventListener('click', () => this.#startOrPause());
    this.#buttons.step.addEventListener('click', () => this.#oneStep());
    this.#buttons.anew.addEventListener('click', () => this.#begin(this.#isRunning));
    this.#time.addEventListener('input', () => this.#isRunning || this.#look());
    this.#seed.addEventListener('change', () => this.#change({ seed: wholeNumber(this.#seed.value, MAX_SEED) }));
    this.#sheet.addEventListener('change', () => this.#change({ drawn: this.#sheet.text }));
    byId('clear').addEventListener('click', () => this.#sheet.clear());
    byId('controls', HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(byId('samples'));
    this.#show();
    this.#begin(false);
  }

  #buildControls() {
    for (const [name, options] of CHOICES) {
      choices(byId(name), name, options, this.#settings[name], (value) => this.#change({ [name]: value }));
    }
    const speeds = Object.entries(SPEEDS).map(([value, { text }]) => ({ value, text }));
    choices(byId('speed'), 'speed', speeds, this.#speed, (value) => (this.#speed = value));
    this.#sheet.text = this.#settings.drawn;
  }

  /** Another choice: everything begins anew. @param {Partial<Settings>} change */
  #change(change) {
    const known = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
    this.#settings = { ...this.#settings, ...known };
    const query = writeSettings(this.#settings);
    history.replaceState(null, '', query === '?' ? location.pathname : query);
    // Who has it in a frame takes part.
    dispatchEvent(new Event('settings'));
    this.#show();
    this.#begin(this.#isRunning);
  }

  /** What is chosen, in the controls and in words. */
  #show() {
    const { objective, seed, data } = this.#settings;
    byId('tangent-field').hidden = !hasTangent(objective);
    byId('share-field').hidden = !hasIntervals(objective);
    byId('sheet-field').hidden = data !== 'drawn';
    this.#seed.value = String(seed);
    const left = writeSettings(this.#settings).slice(1);
    byId('beside', HTMLAnchorElement).href = `compare.html${left && `?${new URLSearchParams({ left })}`}`;
    if (data === 'drawn') this.#sheet.draw();
    byId('words').replaceChildren(
      ...wordsFor(this.#settings).map((words) => Object.assign(document.createElement('p'), { textContent: words })),
    );
  }

  /** Begins anew, and goes on by itself where it is to run. @param {boolean} run */
  async #begin(run) {
    this.#stop();
    const { data, drawn } = this.#settings;
    if (data === 'drawn' && !drawn) {
      this.#forget();
      this.#say('ready', 'Draw points on the sheet: they are what is learnt.');
      return;
    }
    const begin = forTrainer(this.#settings);
    await this.#take(() => this.#trainer.begin(begin, Number(this.#time.value)), () => this.#forget());
    if (!this.#frame) return;
    if (run) this.#start();
    else this.#say('ready', 'It has learnt nothing yet: one call leaves the noise as it is.');
  }

  /** Nothing is learnt, and nothing shown. */
  #forget() {
    [this.#scene, this.#frame, this.#spent, this.#pace] = [undefined, undefined, 0, 0];
    this.#residuals = { interval: [], instant: [] };
    this.#draw();
  }

  /** Ends a run; what comes of it later is not for the next. */
  #stop() {
    this.#run += 1;
    this.#isRunning = false;
  }

  #startOrPause() {
    // The steps under way end a run.
    if (this.#isRunning) this.#isRunning = false;
    else if (this.#isDone) this.#begin(true);
    else this.#start();
  }

  async #oneStep() {
    if (this.#isRunning) {
      this.#isRunning = false;
      return;
    }
    const run = this.#run;
    await this.#advance(SPEEDS.slow);
    if (run === this.#run) this.#rest();
  }

  async #start() {
    this.#stop();
    this.#isRunning = true;
    this.#say('running', 'Learning…');
    const run = this.#run;
    while (run === this.#run && this.#isRunning && !this.#isDone) {
      const began = performance.now();
      const { steps, milliseconds, every } = SPEEDS[this.#speed];
      const pause = isCalm.matches ? CALM : every;
      await this.#advance({ steps, milliseconds: isCalm.matches && every === 0 ? CALM : milliseconds });
      await wait(Math.max(0, pause - (performance.now() - began)));
      await untilVisible();
    }
    if (run === this.#run) this.#rest();
  }

  get #isDone() {
    return (this.#frame?.steps ?? 0) >= Number(this.#settings.steps);
  }

  /** Says where it stands. */
  #rest() {
    this.#isRunning = false;
    if (!this.#frame || document.body.dataset.state === 'error') return;
    const { steps } = this.#frame;
    const seconds = (this.#spent / 1000).toFixed(this.#spent < 10_000 ? 1 : 0);
    if (this.#isDone) this.#say('done', `Learnt in ${steps.toLocaleString('en')} steps, ${seconds} s.`);
    else this.#say('paused', `Paused after ${steps} ${steps === 1 ? 'step' : 'steps'}.`);
  }

  /** @param {Budget} budget */
  #advance(budget) {
    const left = Number(this.#settings.steps) - (this.#frame?.steps ?? 0);
    if (left <= 0) return Promise.resolve();
    const advance = { steps: Math.min(left, budget.steps), milliseconds: budget.milliseconds };
    return this.#take(() => this.#trainer.advance(advance, Number(this.#time.value)));
  }

  #look() {
    return this.#scene ? this.#take(() => this.#trainer.look(Number(this.#time.value))) : Promise.resolve();
  }

  /**
   * Takes what an answer holds, unless it comes too late.
   * @param {() => Promise<Answer>} ask
   * @param {() => void} [before] what the answer changes
   */
  async #take(ask, before = () => {}) {
    const run = this.#run;
    try {
      const { scene, frame } = await ask();
      if (run !== this.#run || !frame) return;
      before();
      this.#scene = scene ?? this.#scene;
      this.#frame = frame;
      this.#note(frame);
      this.#draw();
    } catch (error) {
      if (run !== this.#run) return;
      this.#stop();
      this.#forget();
      this.#say('error', `${error.message}`);
    }
  }

  /** @param {Frame} frame */
  #note({ measured, milliseconds }) {
    const steps = measured.length / 3;
    for (let i = 0; i < steps; i += 1) {
      this.#residuals.interval.push(measured[3 * i + 1]);
      this.#residuals.instant.push(measured[3 * i + 2]);
    }
    this.#spent += milliseconds;
    if (steps > 0) this.#pace = (1000 * steps) / milliseconds;
  }

  /** @param {'ready' | 'running' | 'paused' | 'done' | 'error'} state @param {string} words */
  #say(state, words) {
    document.body.dataset.state = state;
    byId('status').textContent = words;
    const { start, step, anew } = this.#buttons;
    start.textContent = { running: 'Pause', paused: 'Go on', done: 'Again', ready: 'Start', error: 'Start' }[state];
    start.disabled = !this.#frame;
    step.disabled = !this.#frame || state === 'done';
    anew.disabled = !this.#frame && state !== 'error';
  }

  #draw() {
    const colours = pageColours();
    const { soft, accent } = colours;
    const [scene, frame] = [this.#scene, this.#frame];
    const [samples, walks, arrows] = ['samples', 'walks', 'arrows'].map((id) => byId(id, HTMLCanvasElement));
    const steps = Number(this.#settings.steps);
    const plane = new Plane(samples);
    const ways = new Plane(walks);
    const fields = new Plane(arrows);
    const curves = [
      { values: this.#residuals.instant, colour: soft },
      { values: this.#residuals.interval, colour: accent },
    ];
    drawCurves(byId('curves', HTMLCanvasElement), curves, steps, colours);
    byId('distance').textContent = '–';
    byId('facts').textContent = '';
    if (!scene || !frame) return;

    plane.dots(scene.data, soft, { opacity: 0.55 });
    plane.dots(frame.jumps, accent);

    const count = scene.paths;
    const times = Array.from({ length: scene.walk + 1 }, (_, k) => k);
    const walk = (/** @type {number} */ i) => times.map((k) => at(frame.walks, k * count + i));
    const all = Array.from({ length: count }, (_, i) => i);
    const first = frame.jumps.subarray(0, 2 * count);
    ways.lines(all.map(walk), soft, { opacity: 0.75 });
    ways.lines(all.map((i) => [at(scene.noise, i), at(frame.jumps, i)]), accent, { width: 0.9, opacity: 0.85 });
    ways.dots(scene.noise.subarray(0, 2 * count), soft, { radius: 2, opacity: 1 });
    ways.dots(frame.walks.subarray(-2 * count), soft, { radius: 2.6, opacity: 1 });
    ways.dots(first, accent, { radius: 2.6, opacity: 1 });

    const half = frame.velocities.length / 2;
    fields.arrows(scene.places, frame.velocities.subarray(0, half), soft);
    fields.arrows(scene.places, frame.velocities.subarray(half), accent);

    const distance = apart(scene.data, frame.jumps).toFixed(2);
    byId('distance').textContent = distance;
    const label = `The data, and where one call takes noise: ${distance} apart after ${frame.steps} steps`;
    samples.setAttribute('aria-label', label);
    byId('facts').textContent = this.#facts(frame.steps, steps);
  }

  /** @param {number} done @param {number} steps */
  #facts(done, steps) {
    const facts = [`step ${done.toLocaleString('en')} of ${steps.toLocaleString('en')}`];
    if (this.#pace > 0) facts.push(`${this.#pace.toFixed(this.#pace < 10 ? 1 : 0)} steps/s`);
    if (hasIntervals(this.#settings.objective) && done < VELOCITY_ALONE * steps) facts.push('first the velocity');
    return facts.join(' · ');
  }
}

document.documentElement.classList.toggle('framed', new URLSearchParams(location.search).has('framed'));
new Laboratory();
