// <mean-flow>: pictures of a model, in any page, with two lines of HTML.
//
//   <script type="module" src="…/web/mean-flow.js"></script>
//   <mean-flow src="emoji.safetensors" seed="7" count="6" controls></mean-flow>
//
// Elements with the same `src` and `backend` share one download and one engine. Nothing is fetched before the element
// comes near the viewport. The module may be imported where there is no document.

import { backendName } from '../engine/backend.js';
import { assetsFolder, setAssets } from '../engine/builds.js';
import { classesOf } from '../engine/classes.js';
import { resolved } from '../engine/download.js';
import { coded } from '../engine/errors.js';
import { draw, pictureAt } from './canvas.js';
import { FailoverEngine } from '../engine/failover.js';
import { MAX_COUNT, MAX_SEED, MAX_STEPS, guidanceScale, randomSeed, wholeNumber } from './numbers.js';
import { promptOf } from './prompt.js';
import { encodePng } from './png.js';

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

/**
 * An engine that no element has used for so long is closed, in milliseconds: elements that move in the page come back
 * at once.
 */
const UNUSED = 10_000;

/** @import { FailoverEvents } from '../engine/failover.js' */
/** @import { Backend, BackendState, Report, Stale } from '../engine/types.js' */

/**
 * The shared engine of a model: what draws, what the model says about itself, and who uses it.
 * @typedef {object} SharedEngine
 * @property {string} key
 * @property {FailoverEngine} failover
 * @property {Set<(progress: Progress) => void>} listeners of the download
 * @property {ReturnType<FailoverEngine['load']>} info
 * @property {Set<MeanFlowElement>} users
 */

/** How an element hears from its engine; not for others to call. @internal */
const HEAR = Symbol('hear');

/** Engines by what they run; the requests of their elements take turns. @type {Map<string, SharedEngine>} */
const engines = new Map();

/**
 * The engine of a model and a backend.
 * @param {string} source
 * @param {Backend | ''} backend
 */
function sharedEngine(source, backend) {
  const key = `${backend} ${source}`;
  const known = engines.get(key);
  if (known) return known;
  const failover = new FailoverEngine(backend || undefined, { shared: true });
  /** @type {SharedEngine['listeners']} */
  const listeners = new Set();
  const info = failover.load(source, (progress) => listeners.forEach((listen) => listen(progress)));
  /** @type {SharedEngine} */
  const engine = { key, failover, listeners, info, users: new Set() };
  engines.set(key, engine);
  /** @type {(keyof FailoverEvents)[]} */
  const types = ['change', 'device-lost', 'recovered'];
  for (const type of types) {
    failover.addEventListener(type, (event) => {
      const { detail } = /** @type {CustomEvent<any>} */ (event);
      engine.users.forEach((user) => user[HEAR](type, detail));
    });
  }
  // A download that failed may be tried again.
  info.catch(() => close(engine));
  return engine;
}

/** @param {SharedEngine} engine */
function close(engine) {
  engine.failover.close();
  if (engines.get(engine.key) === engine) engines.delete(engine.key);
}

/**
 * Notes that an element no longer uses an engine; one that nobody uses is closed.
 * @param {SharedEngine | undefined} engine
 * @param {MeanFlowElement} element
 */
function leave(engine, element) {
  if (engine?.users.delete(element) && engine.users.size === 0) close(engine);
}

/** @typedef {import('../engine/types.js').Progress} Progress */
/** @typedef {import('../engine/types.js').ModelInfo} ModelInfo */
/** @typedef {import('../engine/errors.js').ErrorCode} ErrorCode */

/**
 * Pictures that were made.
 * @typedef {object} Generated
 * @property {bigint} seed
 * @property {number} count
 * @property {number} nfe network calls per picture
 * @property {number} guidance
 * @property {string} label
 * @property {string} prompt
 * @property {number} milliseconds in network calls, for all pictures; where several Workers drew them, from the first
 *   call to the last
 * @property {ImageData[]} pictures the first seed first
 */

/**
 * The attributes, as templates write them.
 * @typedef {object} MeanFlowAttributes
 * @property {string | undefined} [src]
 * @property {bigint | number | `${bigint}` | undefined} [seed]
 * @property {string | undefined} [seed-text]
 * @property {number | `${number}` | undefined} [count]
 * @property {number | `${number}` | undefined} [columns]
 * @property {number | `${number}` | undefined} [steps]
 * @property {number | `${number}` | undefined} [guidance]
 * @property {string | undefined} [label]
 * @property {string | undefined} [prompt]
 * @property {'webgpu' | 'cpu' | '' | undefined} [backend]
 * @property {boolean | '' | undefined} [controls]
 * @property {'lazy' | 'eager' | undefined} [loading]
 * @property {string | undefined} [alt]
 * @property {string | undefined} [assets]
 */

/**
 * What a request changes of the attributes: what is left out or undefined stays, null takes an attribute away; `signal`
 * ends the request, which then fails with its reason.
 * @typedef {object} Changes
 * @property {MeanFlowAttributes['seed'] | null | undefined} [seed]
 * @property {string | null | undefined} [seedText]
 * @property {MeanFlowAttributes['count'] | null | undefined} [count]
 * @property {MeanFlowAttributes['steps'] | null | undefined} [steps]
 * @property {MeanFlowAttributes['guidance'] | null | undefined} [guidance]
 * @property {string | null | undefined} [label]
 * @property {string | null | undefined} [prompt]
 * @property {AbortSignal | undefined} [signal]
 */

/**
 * The events of the element.
 * @typedef {object} MeanFlowEventMap
 * @property {CustomEvent<Progress>} progress
 * @property {CustomEvent<ModelInfo>} ready
 * @property {CustomEvent<Generated>} generate
 * @property {CustomEvent<{message: string, code?: ErrorCode, cause: Error & {code?: ErrorCode}}>} error
 * @property {CustomEvent<{reason: string, losses: number}>} device-lost
 * @property {CustomEvent<{backend: 'webgpu' | 'cpu', arithmetic: 'f16' | 'f32', notice: string}>} recovered
 */

/**
 * The attributes that take a whole number, with the least and the most.
 * @type {Record<'seed' | 'count' | 'steps' | 'columns', [bigint, bigint]>}
 */
const NUMBERS = {
  seed: [0n, MAX_SEED],
  count: [1n, BigInt(MAX_COUNT)],
  steps: [1n, BigInt(MAX_STEPS)],
  columns: [1n, BigInt(MAX_COUNT)],
};

/**
 * A seed from any text, the same everywhere: FNV-1a of 64 bits over its UTF-8 form.
 * @param {string} text an address or a name; upper and lower case differ
 * @returns {bigint}
 */
export function seedFromText(text) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}

/**
 * `<mean-flow src="…">`: pictures of a model. Elements with the same `src` share one download and one engine; nothing
 * is fetched before the element comes near the viewport.
 *
 * @customElement mean-flow
 * @fires {MeanFlowEventMap['progress']} progress - bytes of the download; `total` is 0 while unknown
 * @fires {MeanFlowEventMap['ready']} ready - what the model says about itself; once a model
 * @fires {MeanFlowEventMap['generate']} generate - the pictures are there
 * @fires {MeanFlowEventMap['error']} error - what went wrong, in words
 * @fires {MeanFlowEventMap['device-lost']} device-lost - the device or its Worker has ended; the pictures that are
 *   there stay, and what is under way is made again
 * @fires {MeanFlowEventMap['recovered']} recovered - there is a device again, or the CPU goes on for good; `notice`
 *   says why it is not WebGPU
 * @slot poster - shown until there are pictures
 * @csspart gallery - the grid of pictures
 * @csspart picture - each picture
 * @csspart bar - the line below the pictures
 * @csspart button - the button that `controls` shows
 * @csspart badge - what the model runs on
 * @csspart progress - how much of a download is there
 * @csspart status - what is going on, or wrong
 * @csspart poster - the slot
 * @cssprop [--mean-flow-gap=6px] - between pictures
 * @cssprop [--mean-flow-radius=0] - of the pictures' corners
 * @cssprop [--mean-flow-background=none] - behind what is transparent
 * @cssprop [--mean-flow-accent=currentColor] - of the focus ring
 */
export class MeanFlowElement extends (globalThis.HTMLElement ?? class {}) {
  static observedAttributes = [
    'src',
    'seed',
    'seed-text',
    'count',
    'columns',
    'steps',
    'guidance',
    'label',
    'prompt',
    'backend',
    'controls',
    'loading',
    'alt',
    'assets',
  ];

  /**
   * What the engine's folder, `engine/`, lies in, for all elements; beside this module where it is not said. The
   * attribute `assets` of an element sets the same.
   * @type {string | undefined}
   */
  static get assets() {
    return assetsFolder();
  }

  /** @param {string | null | undefined} folder */
  static set assets(folder) {
    setAssets(folder ?? undefined);
  }

  #parts;
  #visible = false;
  /** @type {IntersectionObserver | undefined} */
  #observer;
  #scheduled = false;
  /** Ends the newest request; only that one may draw. */
  #newest = new AbortController();
  /** What the newest request was for, while it is under way or done. @type {string | undefined} */
  #requested;
  /** Whether the newest request has been answered. */
  #complete = false;
  /** The engine in use. @type {SharedEngine | undefined} */
  #engine;
  /** What the model says about itself. @type {ModelInfo | undefined} */
  #info;
  /** The engine whose model has been announced. @type {SharedEngine | undefined} */
  #saidReady;
  /** @type {ImageData[]} */
  #pictures = [];
  /** Tries again when the browser is back online. */
  #online = () => this.#schedule();

  constructor() {
    super();
    const shadow = this.attachShadow({ mode: 'open' });
    this.#parts = this.#build(shadow);
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet];
    // Any element may have this attribute: it is none of this one's own, and names the pictures.
    new MutationObserver(() => this.#describe()).observe(this, { attributeFilter: ['aria-label'] });
  }

  /**
   * Address of the weights file.
   * @type {string}
   * @attr src
   * @reflects
   */
  get src() {
    return this.getAttribute('src') ?? '';
  }

  /** @param {MeanFlowAttributes['src'] | null} value */
  set src(value) {
    this.#reflect('src', value);
  }

  /**
   * Seed of the first picture, 0 to 2⁶⁴ − 1; the next have the next seeds.
   * @type {bigint}
   * @attr seed
   * @reflects
   * @default 0
   */
  get seed() {
    return this.#number('seed') ?? 0n;
  }

  /** @param {MeanFlowAttributes['seed'] | null} value */
  set seed(value) {
    this.#reflect('seed', value);
  }

  /**
   * A text in place of the seed, as {@link seedFromText} takes it: everybody's own picture, the same everywhere.
   * @type {string}
   * @attr seed-text
   * @reflects
   */
  get seedText() {
    return this.getAttribute('seed-text') ?? '';
  }

  /** @param {MeanFlowAttributes['seed-text'] | null} value */
  set seedText(value) {
    this.#reflect('seed-text', value);
  }

  /**
   * How many pictures, 1 to 256.
   * @type {number}
   * @attr count
   * @reflects
   * @default 1
   */
  get count() {
    return Number(this.#number('count') ?? 1);
  }

  /** @param {MeanFlowAttributes['count'] | null} value */
  set count(value) {
    this.#reflect('count', value);
  }

  /**
   * Pictures in a row; 0: as many as make it near-square.
   * @type {number}
   * @attr columns
   * @reflects
   * @default 0
   */
  get columns() {
    return Number(this.#number('columns') ?? 0);
  }

  /** @param {MeanFlowAttributes['columns'] | null} value */
  set columns(value) {
    this.#reflect('columns', value);
  }

  /**
   * Network calls per picture, 1 to 1024.
   * @type {number}
   * @attr steps
   * @reflects
   * @default 1
   */
  get steps() {
    return Number(this.#number('steps') ?? 1);
  }

  /** @param {MeanFlowAttributes['steps'] | null} value */
  set steps(value) {
    this.#reflect('steps', value);
  }

  /**
   * Scale of guidance, 1 to 100, for a model that has it as an input; 1: none.
   * @type {number}
   * @attr guidance
   * @reflects
   * @default 1
   */
  get guidance() {
    return Number(this.getAttribute('guidance')?.trim() || 1);
  }

  /** @param {MeanFlowAttributes['guidance'] | null} value */
  set guidance(value) {
    this.#reflect('guidance', value);
  }

  /**
   * Class of the pictures by name, or a place between classes such as `cat:0.6,dog:0.4`; empty: each draws its own.
   * @type {string}
   * @attr label
   * @reflects
   */
  get label() {
    return this.getAttribute('label') ?? '';
  }

  /** @param {MeanFlowAttributes['label'] | null} value */
  set label(value) {
    this.#reflect('label', value);
  }

  /**
   * What the pictures show, in words, for a model that takes prompts; empty: anything.
   * @type {string}
   * @attr prompt
   * @reflects
   */
  get prompt() {
    return this.getAttribute('prompt') ?? '';
  }

  /** @param {MeanFlowAttributes['prompt'] | null} value */
  set prompt(value) {
    this.#reflect('prompt', value);
  }

  /**
   * Forces one; empty: the faster.
   * @type {'webgpu' | 'cpu' | ''}
   * @attr backend
   * @reflects
   */
  get backend() {
    return /** @type {Backend | ''} */ (this.getAttribute('backend') ?? '');
  }

  /** @param {MeanFlowAttributes['backend'] | null} value */
  set backend(value) {
    this.#reflect('backend', value);
  }

  /**
   * Whether there is a button for new pictures.
   * @type {boolean}
   * @attr controls
   * @reflects
   */
  get controls() {
    return this.hasAttribute('controls');
  }

  /** @param {MeanFlowAttributes['controls'] | null} value */
  set controls(value) {
    this.#reflect('controls', value);
  }

  /**
   * `lazy`: nothing is fetched before the element comes near the viewport; `eager`: at once.
   * @type {'lazy' | 'eager'}
   * @attr loading
   * @reflects
   * @default lazy
   */
  get loading() {
    return this.getAttribute('loading') === 'eager' ? 'eager' : 'lazy';
  }

  /** @param {MeanFlowAttributes['loading'] | null} value */
  set loading(value) {
    this.#reflect('loading', value);
  }

  /**
   * What the pictures show, for those who do not see them; without it the model and the seed are named.
   * @type {string}
   * @attr alt
   * @reflects
   */
  get alt() {
    return this.getAttribute('alt') ?? '';
  }

  /** @param {MeanFlowAttributes['alt'] | null} value */
  set alt(value) {
    this.#reflect('alt', value);
  }

  /**
   * What the engine's folder, `engine/`, lies in, for all elements; empty: beside this module.
   * @type {string}
   * @attr assets
   * @reflects
   */
  get assets() {
    return this.getAttribute('assets') ?? '';
  }

  /** @param {MeanFlowAttributes['assets'] | null} value */
  set assets(value) {
    this.#reflect('assets', value);
  }

  /** Whether the pictures of the attributes are there. @type {boolean} */
  get complete() {
    return this.#complete && this.#requested === this.#key();
  }

  /** What the model says about itself, once it is loaded. @type {ModelInfo | undefined} */
  get info() {
    return this.#info;
  }

  /** The pictures that are there, the first seed first. @type {ImageData[]} */
  get pictures() {
    return [...this.#pictures];
  }

  /** @internal */
  connectedCallback() {
    this.#upgrade();
    addEventListener('online', this.#online);
    if (this.#visible || this.loading === 'eager') {
      this.#visible = true;
      this.#schedule();
      return;
    }
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this.#visible = true;
      observer.disconnect();
      this.#schedule();
    }, { rootMargin: '200px' });
    this.#observer = observer;
    observer.observe(this);
  }

  /** @internal */
  disconnectedCallback() {
    this.#observer?.disconnect();
    removeEventListener('online', this.#online);
    this.#visible = false;
    this.#end();
    const engine = this.#engine;
    setTimeout(() => this.isConnected || leave(engine, this), UNUSED);
  }

  /**
   * @internal
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} after
   */
  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    this.#parts.button.hidden = !this.controls;
    if (name === 'assets') setAssets(after ?? undefined);
    if (name === 'columns') this.#arrange();
    if (name === 'alt') this.#describe();
    if (name === 'loading' && this.loading === 'eager') this.#visible = true;
    this.#schedule();
  }

  /**
   * Generates the pictures of the attributes, after the given changes to them.
   * @param {Changes} [changes]
   * @returns {Promise<Generated | undefined>} nothing when a newer request came, or {@link abort}
   * @throws what the `error` event says, and the reason of `signal`
   */
  async generate({ seed, seedText, count, steps, guidance, label, prompt, signal } = {}) {
    signal?.throwIfAborted();
    for (const [name, value] of Object.entries({ seed, seedText, count, steps, guidance, label, prompt })) {
      if (value !== undefined) Object.assign(this, { [name]: value });
    }
    // It need not come near the viewport: somebody asks for it.
    this.#visible = true;
    this.#observer?.disconnect();
    this.#scheduled = false;
    this.#end();
    const newest = (this.#newest = new AbortController());
    [this.#requested, this.#complete] = [this.#key(), false];
    const end = () => newest.abort();
    signal?.addEventListener('abort', end, { once: true });
    try {
      const result = await this.#generate(newest.signal);
      signal?.throwIfAborted();
      if (!result || newest.signal.aborted) return undefined;
      this.#complete = true;
      this.#tell('generate', result);
      return result;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (newest.signal.aborted) return undefined;
      this.#parts.status.textContent = error.message;
      // The event's own default is to be ignored; who listens is told as who awaits.
      this.#tell('error', { message: error.message, code: error.code, cause: error });
      throw error;
    } finally {
      signal?.removeEventListener('abort', end);
    }
  }

  /** Ends what is being generated; the pictures that are there stay. */
  abort() {
    this.#end();
    this.#scheduled = false;
    this.#parts.status.textContent = '';
  }

  /** Ends what is being generated and frees the engine, where no other element uses it; a later request begins anew. */
  dispose() {
    this.abort();
    leave(this.#engine, this);
    this.#engine = undefined;
  }

  /**
   * A picture as a PNG file, pixel for pixel.
   * @param {number} [index]
   * @returns {Promise<Blob>}
   */
  async toBlob(index = 0) {
    const picture = this.#pictures[index];
    if (!picture) throw new Error(`there is no picture ${index} yet`);
    return new Blob([await encodePng(picture)], { type: 'image/png' });
  }

  /** @param {AbortSignal} signal @returns {Promise<Generated | undefined>} */
  async #generate(signal) {
    if (!this.src) throw coded('attribute', new Error('<mean-flow> needs the address of a weights file in its src'));
    const [count, nfe, columns] = [
      this.#checked('count', 1n),
      this.#checked('steps', 1n),
      this.#checked('columns', 0n),
    ].map(Number);
    const seed = this.seedText ? seedFromText(this.seedText) : this.#checked('seed', 0n);
    const { label, prompt, guidance, backend } = this;
    if (!['', 'cpu', 'webgpu'].includes(backend)) {
      throw coded('attribute', new Error(`backend="${backend}" is neither webgpu nor cpu`));
    }
    if (guidance !== 1 && guidanceScale(String(guidance)) === undefined) {
      throw coded('attribute', new Error(`guidance="${this.getAttribute('guidance')}" is no number from 1 to 100`));
    }
    const engine = sharedEngine(resolved(this.src).href, backend);
    engine.users.add(this);
    if (this.#engine !== engine) leave(this.#engine, this);
    this.#engine = engine;
    const info = await this.#load(engine, signal);
    if ('stale' in info || signal.aborted) return undefined;
    const classes = classesOf(label, info.classes);
    if (!classes) {
      throw coded(
        'class',
        new Error(
          `the model has no class "${label}"${info.classes.length ? `; it has ${info.classes.join(', ')}` : ''}`,
        ),
      );
    }

    if (prompt.trim() && !info.promptTokens) {
      throw coded('prompt', new Error(`the model ${info.name} takes no prompts`));
    }
    if (guidance !== 1 && !info.guidance) {
      throw coded('attribute', new Error(`guidance is no input of the model ${info.name}`));
    }
    const canvases = this.#prepare(count, info, columns);
    const show = (/** @type {Report} */ report) => this.#show(canvases, report, info);
    const request = { seed, count, nfe, guidance, ...classes, ...promptOf(prompt, info) };
    const done = await engine.failover.generate(request, show, signal);
    if (done.stale || signal.aborted) return undefined;
    this.#parts.status.textContent = '';
    const shown = info.promptTokens && prompt.trim() ? `: ${prompt.trim()};` : '';
    const pictures = count === 1 ? 'A picture' : `${count} pictures`;
    this.#described = `${pictures}${shown} generated by the model ${info.name}, seed ${seed}`;
    this.#describe();
    return { seed, count, nfe, guidance, label, prompt, milliseconds: done.milliseconds, pictures: this.pictures };
  }

  /**
   * Waits for the model, telling the progress of its download.
   * @param {SharedEngine} engine
   * @param {AbortSignal} signal
   * @returns {Promise<ModelInfo | Stale>}
   */
  async #load(engine, signal) {
    const listen = (/** @type {Progress} */ progress) => {
      if (signal.aborted) return;
      const { loaded, total } = progress;
      const words = `${Math.round((100 * loaded) / total)} % of ${(total / 1e6).toFixed(1)} MB`;
      this.#parts.progress.textContent = total ? words : '';
      this.#tell('progress', progress);
    };
    engine.listeners.add(listen);
    try {
      const info = await engine.info;
      this.#parts.progress.textContent = '';
      if (!signal.aborted && !('stale' in info)) {
        this.#info = info;
        if (this.#saidReady !== engine) {
          this.#saidReady = engine;
          this.#badge(info);
          this.#tell('ready', info);
        }
      }
      return info;
    } finally {
      engine.listeners.delete(listen);
    }
  }

  /**
   * Hears of the engine that it shares with others.
   * @internal
   * @template {keyof FailoverEvents} Type
   * @param {Type} type
   * @param {FailoverEvents[Type]} detail
   */
  [HEAR](type, detail) {
    const { status } = this.#parts;
    if ('notice' in detail) {
      this.#badge(detail);
      if (type === 'recovered') status.textContent = detail.notice;
    } else status.textContent = 'The device was lost; it is being replaced.';
    if (type !== 'change') this.#tell(type, detail);
  }

  /**
   * Says what the model runs on, and why.
   * @param {Pick<ModelInfo, 'backend' | 'arithmetic'> & {notice?: string} | BackendState} state
   */
  #badge(state) {
    Object.assign(this.#parts.badge, { textContent: backendName(state), title: state.notice ?? '' });
  }

  /** @param {number} count @param {ModelInfo} info @param {number} columns */
  #prepare(count, { width, height }, columns) {
    const { gallery } = this.#parts;
    while (gallery.childElementCount > count) gallery.lastElementChild?.remove();
    while (gallery.childElementCount < count) {
      const canvas = document.createElement('canvas');
      canvas.part = 'picture';
      [canvas.width, canvas.height] = [width, height];
      gallery.append(canvas);
    }
    this.#arrange(columns);
    this.#pictures.length = 0;
    return [...gallery.querySelectorAll('canvas')];
  }

  #arrange(columns = this.columns) {
    const { gallery } = this.#parts;
    gallery.style.setProperty('--columns', String(columns || Math.ceil(Math.sqrt(gallery.childElementCount)) || 1));
  }

  /** What the pictures are, in words; unless the embedder says it. */
  #described = '';

  #describe() {
    this.#parts.gallery.setAttribute('aria-label', this.alt || this.getAttribute('aria-label') || this.#described);
  }

  /** @param {HTMLCanvasElement[]} canvases @param {Report} report @param {ModelInfo} size */
  #show(canvases, report, size) {
    if (!('rgba' in report)) return;
    const { first, rgba, labels } = report;
    this.#parts.poster.hidden = true;
    this.#parts.gallery.hidden = false;
    labels.forEach((_, i) => {
      const picture = pictureAt(i, rgba, size);
      this.#pictures[first + i] = picture;
      draw(canvases[first + i], picture);
    });
  }

  /** The whole number of an attribute; nothing where it is missing or none. @param {keyof typeof NUMBERS} attribute */
  #number(attribute) {
    const [least, most] = NUMBERS[attribute];
    const number = wholeNumber((this.getAttribute(attribute) ?? '').trim(), most);
    return number !== undefined && number >= least ? number : undefined;
  }

  /**
   * The same; `otherwise` where it is missing.
   * @param {keyof typeof NUMBERS} attribute
   * @param {bigint} otherwise
   * @throws where it is none
   */
  #checked(attribute, otherwise) {
    const text = this.getAttribute(attribute);
    if (text === null || text.trim() === '') return otherwise;
    const number = this.#number(attribute);
    if (number !== undefined) return number;
    const [least, most] = NUMBERS[attribute];
    throw coded('attribute', new Error(`${attribute}="${text}" is no whole number from ${least} to ${most}`));
  }

  /**
   * Writes an attribute as frameworks pass values: null, undefined and false take it away.
   * @param {string} name
   * @param {string | number | bigint | boolean | null | undefined} value
   */
  #reflect(name, value) {
    if (value === null || value === undefined || value === false) this.removeAttribute(name);
    else this.setAttribute(name, value === true ? '' : String(value));
  }

  /** Properties that were set before this class was known would hide its own. */
  #upgrade() {
    const own = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (this));
    for (const attribute of MeanFlowElement.observedAttributes) {
      const name = attribute === 'seed-text' ? 'seedText' : attribute;
      if (!Object.hasOwn(own, name)) continue;
      const value = own[name];
      delete own[name];
      own[name] = value;
    }
  }

  /** What a request is for. */
  #key() {
    return ['src', 'backend', 'seed', 'seed-text', 'count', 'steps', 'guidance', 'label', 'prompt', 'assets']
      .map((name) => this.getAttribute(name))
      .join('\n');
  }

  #end() {
    this.#newest.abort();
    if (!this.#complete) this.#requested = undefined;
  }

  /** Several changed attributes make one request; what is there or under way is not asked for again. */
  #schedule() {
    if (this.#scheduled || !this.#visible || !this.isConnected) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      if (!this.#scheduled) return;
      this.#scheduled = false;
      if (!this.isConnected || this.#requested === this.#key()) return;
      // The event has told what went wrong.
      this.generate().catch(() => {});
    });
  }

  /** @param {string} type @param {object} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {ShadowRoot} shadow */
  #build(shadow) {
    /**
     * @template {keyof HTMLElementTagNameMap} Tag
     * @param {Tag} tag
     * @param {string} part
     * @param {object} [properties]
     */
    const make = (tag, part, properties) => Object.assign(document.createElement(tag), { part, ...properties });
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
      this.seedText = null;
      this.seed = randomSeed();
    });
    shadow.append(poster, gallery, bar);
    return { poster, gallery, button, badge, progress, status };
  }
}

if (globalThis.customElements && !customElements.get('mean-flow')) customElements.define('mean-flow', MeanFlowElement);
