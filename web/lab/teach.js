// Teach it yours: a visitor's drawings are learnt in the page, and drawn in one call.

import { draw, pictureAt } from '../element/canvas.js';
import { choices, option } from '../page/controls.js';
import { byId } from '../page/dom.js';
import { MAX_DRAWINGS, SEEDS, SIZES, blank, drawingOf, imageOf, ownName, resized } from './drawing-set.js';
import { keep, kept } from './keep.js';
import { untilVisible } from './pace.js';
import { Pad } from './pad.js';
import { Questions, WorkerLost } from './questions.js';
import { COLOUR_NAMES, PALETTE, SPRITES, spriteBytes } from './sprites.js';
import { drawingsWorkerAddress } from './worker-address.js';

/** @import { Answer, Asked, Frame } from './drawings-worker.js' */
/** @import { Drawing } from './drawing-set.js' */
/** @import { Option } from '../page/controls.js' */

/** What may be chosen. @type {[string, Option[]][]} */
const CHOICES = [
  ['size', SIZES.map((size) => option(size, `${size} × ${size}`))],
  ['mirror', [option('off', 'No'), option('on', 'Half of them')]],
  ['shift', [option('0', 'None'), option('1', '1 pixel'), option('2', '2 pixels')]],
  ['steps', [option('300'), option('600'), option('1500', '1,500')]],
];
/** @type {Record<string, string>} */
const DEFAULTS = { size: '16', mirror: 'off', shift: '0', steps: '600' };
const BRUSHES = [option('1', 'Fine'), option('2', 'Broad'), option('4', 'Broadest'), option('fill', 'Fill')];
/** Drawings in a step: the trainer's, for the pace in images. */
const BATCH = 32;
/** Milliseconds of training between two pictures; where motion is to be reduced, more. */
const [BUDGET, CALM] = [400, 2000];
/** Milliseconds after which what is learnt is kept again. */
const KEEP_EVERY = 15_000;
const THREADS = navigator.hardwareConcurrency || 1;
/** Workers that share each step: two where there are two threads; of more, half, as those of a core share its units. */
const WORKERS = Math.min(4, Math.max(Math.min(2, THREADS), THREADS >> 1));
const FILE = 'mine.safetensors';
const isCalm = matchMedia('(prefers-reduced-motion: reduce)');

class Teacher {
  /** @type {Questions<Asked, Answer>} */
  #questions = new Questions(drawingsWorkerAddress);
  /** @type {Drawing[]} */
  #drawings = [];
  #settings = DEFAULTS;
  #pad = new Pad(byId('pad', HTMLCanvasElement), Number(DEFAULTS.size));
  /** The drawing that the pad shows, where it is one of the set. @type {number | undefined} */
  #edited;
  /** What the Worker has learnt so far. @type {Frame | undefined} */
  #frame;
  /** Of a Worker that is gone, or of an earlier visit. @type {Uint8Array | undefined} */
  #state;
  /** When it was last kept. */
  #keptAt = 0;
  /** Whether the Worker knows these drawings. */
  #hasBegun = false;
  #isRunning = false;
  /** Counts the runs: of an older one nothing is taken any more. */
  #run = 0;
  #pace = 0;
  /** What could not be kept or read, said beside all else. */
  #notice = '';
  #name = byId('name', HTMLInputElement);
  #buttons = {
    start: byId('start', HTMLButtonElement),
    anew: byId('anew', HTMLButtonElement),
    download: byId('download', HTMLButtonElement),
    add: byId('add', HTMLButtonElement),
  };

  async begin() {
    this.#buildTools();
    const found = await kept();
    if (found) {
      this.#settings = { ...DEFAULTS, ...found.settings };
      [this.#drawings, this.#state] = [found.drawings, found.state];
    }
    this.#buildChoices();
    this.#list();
    if (!this.#state) this.#rest();
    else await this.#goOn(() => this.#beginWorker());
  }

  #buildTools() {
    const colours = Object.entries(PALETTE).map(([letter, value]) => option(value, COLOUR_NAMES[letter]));
    choices(byId('colour'), 'colour', colours, this.#pad.colour, (value) => (this.#pad.colour = value));
    for (const input of byId('colour').querySelectorAll('input')) {
      const swatch = input.nextElementSibling;
      if (swatch instanceof HTMLElement) [swatch.style.background, swatch.title] = [input.value, swatch.textContent ?? ''];
    }
    choices(byId('brush'), 'brush', BRUSHES, '1', (value) => {
      this.#pad.fills = value === 'fill';
      this.#pad.brush = Number(value) || 1;
    });
    const on = (/** @type {string} */ id, /** @type {() => void} */ act) => byId(id).addEventListener('click', act);
    on('undo', () => this.#pad.undo());
    on('clear', () => this.#pad.clear());
    on('add', () => this.#addDrawn());
    on('examples', () => this.#addExamples());
    on('start', () => this.#startOrPause());
    on('anew', () => this.#anew());
    on('download', () => this.#download());
    const files = byId('files', HTMLInputElement);
    files.addEventListener('change', async () => {
      await this.#addFiles([...(files.files ?? [])]);
      files.value = '';
    });
    document.body.addEventListener('dragover', (event) => event.preventDefault());
    document.body.addEventListener('drop', (event) => {
      event.preventDefault();
      this.#addFiles([...(event.dataTransfer?.files ?? [])]);
    });
    byId('controls', HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
    document.addEventListener('visibilitychange', () => document.hidden && this.#keepAll());
  }

  #buildChoices() {
    for (const [name, options] of CHOICES) {
      choices(byId(name), name, options, this.#settings[name], (value) => this.#choose({ [name]: value }));
    }
    this.#pad.rgb = resized(this.#pad.rgb, this.#size);
  }

  get #size() {
    return Number(this.#settings.size);
  }

  /** @param {Record<string, string>} change */
  #choose(change) {
    this.#settings = { ...this.#settings, ...change };
    if (change.size) {
      this.#drawings = this.#drawings.map(({ name, rgb }) => ({ name, rgb: resized(rgb, this.#size) }));
      this.#pad.rgb = resized(this.#pad.rgb, this.#size);
    }
    this.#changed();
  }

  // The set

  #addDrawn() {
    const rgb = this.#pad.rgb;
    const edited = this.#edited;
    const others = this.#drawings.filter((_, i) => i !== edited).map(({ name }) => name);
    const name = ownName(this.#name.value || `drawing ${(edited ?? this.#drawings.length) + 1}`, others);
    const drawn = { name, rgb };
    if (edited !== undefined) this.#drawings = this.#drawings.map((drawing, i) => (i === edited ? drawn : drawing));
    else if (this.#pad.isBlank) return this.#warn('The sheet is empty: draw something first.');
    else if (!this.#addAll([drawn])) return;
    this.#newSheet();
    this.#changed();
  }

  #newSheet() {
    this.#edited = undefined;
    this.#pad.rgb = blank(this.#size, PALETTE.w);
    this.#name.value = '';
    this.#buttons.add.textContent = 'Add it';
  }

  #addExamples() {
    const drawn = (/** @type {string} */ letters) => resized(spriteBytes(letters), this.#size);
    const examples = Object.entries(SPRITES).map(([name, letters]) => ({ name, rgb: drawn(letters) }));
    if (this.#addAll(examples)) this.#changed();
  }

  /** @param {File[]} files */
  async #addFiles(files) {
    /** @type {Drawing[]} */
    const drawings = [];
    const failed = [];
    for (const file of files) {
      if (this.#drawings.length + drawings.length > MAX_DRAWINGS) break;
      try {
        drawings.push(await drawingOf(file, this.#size));
      } catch (error) {
        failed.push(error.message);
      }
    }
    const isAdded = drawings.length > 0 && this.#addAll(drawings);
    const more = failed.length > 3 ? [`and ${failed.length - 3} more`] : [];
    if (failed.length > 0) this.#notice = `${[...failed.slice(0, 3), ...more].join('; ')}.`;
    if (isAdded) this.#changed();
    else this.#rest();
  }

  /** Adds what fits, and says what does not. @param {Drawing[]} drawings @returns whether any was added */
  #addAll(drawings) {
    this.#notice = '';
    const room = MAX_DRAWINGS - this.#drawings.length;
    if (drawings.length > room) this.#notice = `It learns at most ${MAX_DRAWINGS} drawings: the rest is left out.`;
    for (const { name, rgb } of drawings.slice(0, room)) {
      this.#drawings = [...this.#drawings, { name: ownName(name, this.#drawings.map(({ name }) => name)), rgb }];
    }
    if (room === 0) this.#rest();
    return room > 0;
  }

  /** @param {number} index */
  #edit(index) {
    const { name, rgb } = this.#drawings[index];
    this.#edited = index;
    this.#pad.rgb = rgb;
    this.#name.value = name;
    this.#buttons.add.textContent = 'Change it';
    byId('pad').scrollIntoView({ block: 'nearest', behavior: isCalm.matches ? 'auto' : 'smooth' });
    byId('pad').focus();
  }

  /** @param {number} index */
  #remove(index) {
    this.#drawings = this.#drawings.filter((_, i) => i !== index);
    if (this.#edited !== undefined) this.#newSheet();
    this.#changed();
    const buttons = byId('drawings').querySelectorAll('button.remove');
    /** @type {HTMLElement} */ (buttons[Math.min(index, buttons.length - 1)] ?? byId('pad')).focus();
  }

  /** Another set, or other settings: what was learnt is of no use. */
  #changed() {
    this.#forget();
    this.#list();
    this.#rest();
    this.#keepAll();
  }

  #forget() {
    this.#run += 1;
    [this.#isRunning, this.#hasBegun, this.#pace] = [false, false, 0];
    [this.#frame, this.#state] = [undefined, undefined];
    this.#questions.end();
  }

  // Training

  #startOrPause() {
    // The steps under way end a run.
    if (this.#isRunning) this.#isRunning = false;
    else this.#goOn(() => this.#train());
  }

  #anew() {
    this.#forget();
    this.#list();
    this.#goOn(() => this.#train());
  }

  /** Has the Worker begin, with what it had learnt before. */
  async #beginWorker() {
    const { steps, size, mirror, shift } = this.#settings;
    const settings = {
      size: Number(size), steps: Number(steps), mirror: mirror === 'on', shift: Number(shift),
      names: this.#drawings.map(({ name }) => name),
    };
    const rgb = new Uint8Array(this.#drawings.reduce((sum, { rgb }) => sum + rgb.length, 0));
    this.#drawings.reduce((at, drawing) => (rgb.set(drawing.rgb, at), at + drawing.rgb.length), 0);
    this.#say('loading', 'Loading what trains (0.6 MB)…');
    const begin = { settings: JSON.stringify(settings), rgb, state: this.#state };
    const answer = await this.#questions.ask({ begin, workers: WORKERS });
    this.#hasBegun = true;
    this.#show(answer);
  }

  async #train() {
    const run = this.#run;
    this.#isRunning = true;
    if (!this.#hasBegun) await this.#beginWorker();
    while (run === this.#run && this.#isRunning && !this.#isDone) {
      this.#say('running', 'Learning…');
      await untilVisible();
      const steps = Number(this.#settings.steps) - (this.#frame?.steps ?? 0);
      const advance = { steps, milliseconds: isCalm.matches ? CALM : BUDGET };
      const answer = await this.#questions.ask({ advance });
      if (run !== this.#run) return;
      this.#show(answer);
      if (performance.now() - this.#keptAt > KEEP_EVERY) await this.#keepAll();
    }
  }

  /**
   * Has the Worker do something, and goes on from the last state where it is lost on the way.
   * @param {() => Promise<void>} act
   */
  async #goOn(act) {
    const run = this.#run;
    /** Whether anything was learnt since a Worker was lost: one that is lost at once would be lost for ever. */
    let lostAt = -1;
    for (;;) {
      try {
        await act();
        if (run !== this.#run) return;
        this.#rest();
        await this.#keepAll();
        return;
      } catch (error) {
        if (run !== this.#run) return;
        this.#hasBegun = false;
        const steps = this.#frame?.steps ?? 0;
        if (error instanceof WorkerLost && steps > lostAt && this.#isRunning) {
          lostAt = steps;
          continue;
        }
        this.#isRunning = false;
        if (this.#state && !this.#frame) this.#state = undefined;
        this.#say('error', error.message);
        return;
      }
    }
  }

  get #isDone() {
    return (this.#frame?.steps ?? 0) >= Number(this.#settings.steps);
  }

  /** Keeps the drawings, and what is learnt of them. */
  async #keepAll() {
    const [drawings, settings, run] = [this.#drawings, this.#settings, this.#run];
    this.#keptAt = performance.now();
    try {
      if (this.#hasBegun) {
        const { state } = await this.#questions.ask({ state: true });
        if (run !== this.#run) return;
        this.#state = state;
      }
      await keep({ drawings, settings, ...(this.#state ? { state: this.#state } : {}) });
    } catch (error) {
      // A Worker that is lost shows with the next steps.
      if (error instanceof WorkerLost || run !== this.#run) return;
      this.#warn('This browser has no room to keep it: download what is learnt before you close the page.');
    }
  }

  async #download() {
    try {
      const { weights } = await this.#questions.ask({ weights: 'mine' });
      if (!weights) return;
      const address = URL.createObjectURL(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (weights)]));
      Object.assign(document.createElement('a'), { href: address, download: FILE }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      this.#warn(error.message);
    }
  }

  // What is seen

  /** @param {Answer} answer */
  #show({ frame }) {
    if (!frame) return;
    this.#frame = frame;
    if (frame.taken > 0) this.#pace = (1000 * frame.taken) / frame.milliseconds;
    const size = { width: this.#size, height: this.#size };
    byId('drawings').querySelectorAll('li').forEach((card, i) => {
      card.querySelectorAll('.samples canvas').forEach((canvas, j) => {
        const picture = pictureAt(i * frame.seeds + j, frame.samples, size);
        draw(/** @type {HTMLCanvasElement} */ (canvas), picture);
      });
    });
    this.#facts();
  }

  #facts() {
    const [done, steps] = [this.#frame?.steps ?? 0, Number(this.#settings.steps)];
    const left = (steps - done) / this.#pace;
    byId('unit').textContent = this.#isDone ? 'by which it draws each of them' : 'until it has learnt them';
    byId('left').textContent = this.#isDone ? 'One call' : this.#pace > 0 ? `${Math.max(1, Math.round(left))} s` : '–';
    const facts = this.#frame ? [`step ${done.toLocaleString('en')} of ${steps.toLocaleString('en')}`] : [];
    if (this.#pace > 0) facts.push(`${Math.round(BATCH * this.#pace)} images/s`);
    byId('facts').textContent = facts.join(' · ');
  }

  #list() {
    byId('drawings').replaceChildren(...this.#drawings.map((drawing, i) => this.#card(drawing, i)));
  }

  /** @param {Drawing} drawing @param {number} index */
  #card({ name, rgb }, index) {
    const card = document.createElement('li');
    const button = Object.assign(document.createElement('button'), { type: 'button', className: 'tile' });
    button.setAttribute('aria-label', `Change ${name}`);
    button.addEventListener('click', () => this.#edit(index));
    const yours = document.createElement('canvas');
    draw(yours, imageOf(rgb));
    button.append(yours);
    const samples = Object.assign(document.createElement('div'), { className: 'samples' });
    samples.setAttribute('role', 'img');
    samples.setAttribute('aria-label', `${name}, in one call from three noises`);
    samples.append(...Array.from({ length: SEEDS }, () => document.createElement('canvas')));
    const caption = Object.assign(document.createElement('p'), { textContent: name });
    const remove = Object.assign(document.createElement('button'), { type: 'button', className: 'remove', textContent: '×' });
    remove.setAttribute('aria-label', `Remove ${name}`);
    remove.addEventListener('click', () => this.#remove(index));
    caption.append(remove);
    card.append(button, samples, caption);
    return card;
  }

  /** Says where it stands. */
  #rest() {
    this.#isRunning = false;
    const count = this.#drawings.length;
    const steps = this.#frame?.steps ?? 0;
    if (count === 0) this.#say('empty', 'Draw something and add it, or begin with examples. Four to sixteen are a good number.');
    else if (steps === 0) this.#say('ready', `${count} ${count === 1 ? 'drawing' : 'drawings'}, nothing learnt yet.`);
    else if (this.#isDone) this.#say('done', 'Learnt. Under each drawing stands what one call makes of three noises.');
    else this.#say('paused', `Paused after ${steps} ${steps === 1 ? 'step' : 'steps'}.`);
  }

  /** @param {string} words */
  #warn(words) {
    this.#notice = words;
    this.#say(document.body.dataset.state ?? 'ready', byId('status').dataset.words ?? '');
  }

  /** @param {string} state @param {string} words */
  #say(state, words) {
    document.body.dataset.state = state;
    const status = byId('status');
    status.dataset.words = words;
    status.textContent = [words, this.#notice].filter(Boolean).join(' ');
    const { start, anew, download } = this.#buttons;
    const texts = /** @type {Record<string, string>} */ ({ running: 'Pause', loading: 'Pause', paused: 'Go on', done: 'Train' });
    start.textContent = texts[state] ?? 'Train';
    start.disabled = this.#drawings.length === 0 || state === 'loading' || state === 'done';
    anew.disabled = !this.#frame;
    download.disabled = !this.#hasBegun || !this.#frame?.steps;
    this.#facts();
  }
}

new Teacher().begin();
