// <mean-flow>: pictures of a model, in any page, with two lines of HTML.
//
//   <script type="module" src="…/web/mean-flow.js"></script>
//   <mean-flow src="emoji.safetensors" seed="7" count="6" controls></mean-flow>
//
// Elements with the same `src` and `backend` share one download and one engine. Nothing is fetched before the element
// comes near the viewport. The module may be imported where there is no document.

import { backendName } from './backend.js';
import { classesOf } from './classes.js';
import { draw, pictureAt } from './gallery.js';
import { Ladder } from './ladder.js';
import { MAX_COUNT, MAX_STEPS, randomSeed, wholeNumber } from './numbers.js';

const STYLE = `
:host { display: block; }
:host([hidden]) { display: none; }
[part=gallery] { display: grid; grid-template-columns: repeat(var(--columns, 1), 1fr); gap: var(--mean-flow-gap, 6px); }
canvas { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; background: var(--mean-flow-background, none); border-radius: var(--mean-flow-radius, 0); }
[part=bar] { display: flex; align-items: center; gap: 10px; min-height: 2em; margin-top: 6px; font-size: 0.85em; }
[part=button] { font: inherit; color: inherit; padding: 0.3em 0.9em; border: 1px solid currentColor; border-radius: 99px; background: none; cursor: pointer; }
[part=badge]:not(:empty) { padding: 0.1em 0.6em; border: 1px solid color-mix(in srgb, currentColor 35%, transparent); border-radius: 99px; font-size: 0.85em; }
[part=button]:focus-visible { outline: 2px solid var(--mean-flow-accent, currentColor); outline-offset: 2px; }
[hidden] { display: none; }
`;

/** An engine that no element has used for so long is closed, in milliseconds. */
const UNUSED = 10_000;

/** How an element hears from its engine; not for others to call. */
const HEAR = Symbol('hear');

/** Engines by what they run; each serves one request at a time, so that elements do not cut each other off. */
const engines = new Map();

/** The shared engine of a model: its ladder, what the model says about itself, and the end of its queue. */
function sharedEngine(source, backend) {
  const key = `${backend} ${source}`;
  if (!engines.has(key)) {
    const ladder = new Ladder(backend || undefined);
    const listeners = new Set();
    const info = ladder.load(source, (progress) => listeners.forEach((listen) => listen(progress)));
    const engine = { ladder, listeners, info, queue: info.catch(() => {}), users: new Set() };
    engines.set(key, engine);
    for (const type of ['change', 'device-lost', 'recovered']) {
      ladder.addEventListener(type, ({ detail }) => engine.users.forEach((user) => user[HEAR](type, detail)));
    }
    // A download that failed may be tried again.
    info.catch(() => {
      ladder.close();
      engines.delete(key);
    });
  }
  return engines.get(key);
}

/** Notes that an element no longer uses an engine. Elements that move in the page come back at once. */
function release(element) {
  setTimeout(() => {
    if (element.isConnected) return;
    for (const [key, { ladder, users }] of engines) {
      if (!users.delete(element) || users.size > 0) continue;
      ladder.close();
      engines.delete(key);
    }
  }, UNUSED);
}

/**
 * @fires progress `detail`: `{loaded, total}` in bytes; `total` is 0 while unknown
 * @fires ready `detail`: what the model says about itself
 * @fires generate `detail`: `{seed, count, nfe, label, milliseconds}`
 * @fires error `detail`: `{message}`
 * @fires device-lost `detail`: `{reason, losses}`; the pictures that are there stay, and what is under way is made again
 * @fires recovered `detail`: `{backend, arithmetic, notice}`
 */
export class MeanFlowElement extends (globalThis.HTMLElement ?? class {}) {
  static observedAttributes = ['src', 'seed', 'count', 'columns', 'steps', 'label', 'backend', 'controls'];

  #parts;
  #visible = false;
  #observer;
  #scheduled = false;
  /** Counts requests: only the newest may draw. */
  #turn = 0;
  /** @type {ImageData[]} */
  #pictures = [];

  constructor() {
    super();
    this.attachShadow({ mode: 'open' }).append(...this.#build());
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    this.shadowRoot.adoptedStyleSheets = [sheet];
  }

  /** Address of the weights file. */
  get src() {
    return this.getAttribute('src') ?? '';
  }

  set src(value) {
    this.setAttribute('src', value);
  }

  /** Seed of the first picture, 0 to 2⁶⁴ − 1. */
  get seed() {
    return this.#number('seed') ?? 0n;
  }

  set seed(value) {
    this.setAttribute('seed', String(value));
  }

  /** How many pictures, 1 to 256. */
  get count() {
    return Math.min(MAX_COUNT, Number(this.#number('count') ?? 1)) || 1;
  }

  set count(value) {
    this.setAttribute('count', String(value));
  }

  /** Network calls per picture, 1 to 1024. */
  get steps() {
    return Math.min(MAX_STEPS, Number(this.#number('steps') ?? 1)) || 1;
  }

  set steps(value) {
    this.setAttribute('steps', String(value));
  }

  /** Class of the pictures by name, or a place between classes such as `cat:0.6,dog:0.4`; empty: each draws its own. */
  get label() {
    return this.getAttribute('label') ?? '';
  }

  set label(value) {
    this.setAttribute('label', value);
  }

  connectedCallback() {
    this.#observer = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      this.#visible = true;
      this.#observer.disconnect();
      this.#schedule();
    }, { rootMargin: '200px' });
    this.#observer.observe(this);
  }

  disconnectedCallback() {
    this.#observer.disconnect();
    this.#turn++;
    release(this);
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    this.#parts.button.hidden = !this.hasAttribute('controls');
    this.#schedule();
  }

  /**
   * Generates the pictures of the attributes, after the given changes to them.
   * @param {{seed?: bigint | number, steps?: number, label?: string}} [changes]
   * @returns {Promise<{seed: bigint, milliseconds: number} | undefined>} nothing when a newer request came
   * @throws what the `error` event says
   */
  async generate(changes = {}) {
    Object.assign(this, changes);
    this.#visible = true;
    this.#scheduled = false;
    const mine = ++this.#turn;
    try {
      const result = await this.#generate(() => mine === this.#turn);
      if (result) this.#tell('generate', result);
      return result;
    } catch (error) {
      if (mine !== this.#turn) return undefined;
      this.#parts.status.textContent = error.message;
      this.#tell('error', { message: error.message });
      throw error;
    }
  }

  /** Ends what is being generated; the pictures that are there stay. */
  abort() {
    this.#turn += 1;
    this.#scheduled = false;
    this.#parts.status.textContent = '';
  }

  /**
   * A picture as a PNG file, pixel for pixel.
   * @param {number} [index]
   * @returns {Promise<Blob>}
   */
  toBlob(index = 0) {
    if (!this.#pictures[index]) return Promise.reject(new Error(`there is no picture ${index} yet`));
    const canvas = document.createElement('canvas');
    draw(canvas, this.#pictures[index]);
    return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  }

  async #generate(isCurrent) {
    if (!this.src) throw new Error('<mean-flow> needs the address of a weights file in its src');
    const { seed, count, steps: nfe, label } = this;
    const engine = sharedEngine(new URL(this.src, document.baseURI).href, this.getAttribute('backend') ?? '');
    engine.users.add(this);
    const info = await this.#load(engine, isCurrent);
    if (!isCurrent()) return undefined;
    const classes = classesOf(label, info.classes);
    if (!classes) throw new Error(`the model has no class "${label}"${info.classes.length ? `; it has ${info.classes.join(', ')}` : ''}`);

    const canvases = this.#prepare(count, info);
    const run = async () => {
      if (!isCurrent()) return undefined;
      return engine.ladder.generate({ seed, count, nfe, ...classes }, ({ first, rgba, labels }) => {
        if (isCurrent()) this.#show(canvases, first, rgba, labels.length, info);
      });
    };
    const result = engine.queue.then(run);
    engine.queue = result.catch(() => {});
    const done = await result;
    if (!done || !isCurrent()) return undefined;
    this.#parts.status.textContent = '';
    this.#parts.gallery.setAttribute('aria-label', `${count === 1 ? 'A picture' : `${count} pictures`} generated by the model ${info.name}, seed ${seed}`);
    return { seed, count, nfe, label, milliseconds: done.milliseconds };
  }

  /** Waits for the model, telling the progress of its download. */
  async #load(engine, isCurrent) {
    const listen = (progress) => {
      if (!isCurrent()) return;
      this.#parts.progress.textContent = progress.total ? `${Math.round((100 * progress.loaded) / progress.total)} % of ${(progress.total / 1e6).toFixed(1)} MB` : '';
      this.#tell('progress', progress);
    };
    engine.listeners.add(listen);
    try {
      const info = await engine.info;
      this.#parts.progress.textContent = '';
      if (isCurrent()) {
        this.#badge(info);
        this.#tell('ready', info);
      }
      return info;
    } finally {
      engine.listeners.delete(listen);
    }
  }

  /** Hears of the engine that it shares with others. */
  [HEAR](type, detail) {
    if (type === 'device-lost') this.#parts.status.textContent = 'The device was lost; it is being replaced.';
    else {
      this.#badge(detail);
      this.#parts.status.textContent = type === 'recovered' ? detail.notice : this.#parts.status.textContent;
    }
    if (type !== 'change') this.#tell(type, detail);
  }

  /** Says what the model runs on, and why. */
  #badge(state) {
    Object.assign(this.#parts.badge, { textContent: backendName(state), title: state.notice ?? '' });
  }

  #prepare(count, { width, height }) {
    const { gallery } = this.#parts;
    while (gallery.childElementCount > count) gallery.lastElementChild.remove();
    while (gallery.childElementCount < count) {
      const canvas = document.createElement('canvas');
      canvas.part = 'picture';
      [canvas.width, canvas.height] = [width, height];
      gallery.append(canvas);
    }
    const columns = this.#number('columns') ?? Math.ceil(Math.sqrt(count));
    gallery.style.setProperty('--columns', String(columns));
    this.#pictures.length = 0;
    return [...gallery.children];
  }

  #show(canvases, first, rgba, count, size) {
    this.#parts.poster.hidden = true;
    this.#parts.gallery.hidden = false;
    for (let i = 0; i < count; i++) {
      const picture = pictureAt(i, rgba, size);
      this.#pictures[first + i] = picture;
      draw(canvases[first + i], picture);
    }
  }

  #number(attribute) {
    return wholeNumber((this.getAttribute(attribute) ?? '').trim(), Infinity);
  }

  /** Several changed attributes make one request. */
  #schedule() {
    if (this.#scheduled || !this.#visible || !this.isConnected) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      // The event has told what went wrong.
      if (this.#scheduled) this.generate().catch(() => {});
    });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #build() {
    const make = (tag, part, properties = {}) => Object.assign(document.createElement(tag), { part, ...properties });
    const poster = make('slot', 'poster', { name: 'poster' });
    const gallery = make('div', 'gallery', { role: 'img', hidden: true });
    const button = make('button', 'button', { type: 'button', textContent: 'New images', hidden: true });
    const status = make('span', 'status', { role: 'status' });
    // Not announced: it changes with every piece of a download.
    const progress = make('span', 'progress');
    const badge = make('span', 'badge');
    const bar = make('div', 'bar');
    bar.append(button, badge, progress, status);
    button.addEventListener('click', () => {
      this.seed = randomSeed();
    });
    this.#parts = { poster, gallery, button, badge, progress, status };
    return [poster, gallery, bar];
  }
}

if (globalThis.customElements && !customElements.get('mean-flow')) customElements.define('mean-flow', MeanFlowElement);
