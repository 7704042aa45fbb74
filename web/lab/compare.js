// Two laboratories side by side. Of the same seed and data they begin alike, and what differs is what they are taught.

import { byId } from '../page/dom.js';
import { readSettings, writeSettings } from './settings.js';

/** @import { Settings } from './settings.js' */

/** What both have. @type {(keyof Settings & string)[]} */
const SHARED = ['data', 'drawn', 'seed', 'steps'];
/** What the right one is taught where the address does not say: a wrong tangent. */
const OTHER = { tangent: 'v00' };

class Side {
  /** Whether it is to start once it is ready. */
  #starts = false;

  /**
   * @param {HTMLIFrameElement} frame
   * @param {Settings} settings
   * @param {{changed: (side: Side) => void, moved: () => void}} hooks
   */
  constructor(frame, settings, { changed, moved }) {
    this.frame = frame;
    frame.addEventListener('load', () => {
      const page = frame.contentDocument;
      if (!page) return;
      new ResizeObserver(() => (frame.style.height = `${page.documentElement.offsetHeight}px`)).observe(page.body);
      new MutationObserver(() => {
        if (this.#starts && this.state === 'ready') this.press('start');
        moved();
      }).observe(page.body, { attributeFilter: ['data-state'] });
      frame.contentWindow?.addEventListener('settings', () => changed(this));
      moved();
    });
    this.settings = settings;
  }

  /** What it is taught. */
  get settings() {
    return readSettings(this.frame.contentWindow?.location.search ?? '');
  }

  set settings(settings) {
    const address = `lab.html${writeSettings(settings)}&framed`;
    // A frame that has an address already would leave another entry in the history.
    if (this.frame.src) this.frame.contentWindow?.location.replace(address);
    else this.frame.src = address;
  }

  /** As the laboratory says: `ready`, `running`, `paused`, `done`, `error`; before, `loading`. */
  get state() {
    return this.frame.contentDocument?.body?.dataset.state ?? 'loading';
  }

  /** How far one call's samples are from the data. */
  get distance() {
    return this.frame.contentDocument?.getElementById('distance')?.textContent ?? '';
  }

  /** Begins anew with other settings, and goes on by itself where it is to run. */
  turn(/** @type {Settings} */ settings, /** @type {boolean} */ run) {
    this.#starts = run;
    this.settings = settings;
  }

  /** @param {'start' | 'step' | 'anew'} name of a button of the laboratory */
  press(name) {
    this.#starts = false;
    // A click does nothing where a button is disabled.
    this.frame.contentDocument?.getElementById(name)?.click();
  }
}

class Comparison {
  #buttons = {
    start: byId('start', HTMLButtonElement), step: byId('step', HTMLButtonElement), anew: byId('anew', HTMLButtonElement),
  };
  /** @type {Side[]} */
  #sides;

  constructor() {
    const query = new URLSearchParams(location.search);
    const left = readSettings(query.get('left') ?? '');
    const right = query.get('right');
    const hooks = { changed: (/** @type {Side} */ side) => this.#changed(side), moved: () => this.#moved() };
    const settings = [left, { ...(right === null ? { ...left, ...OTHER } : readSettings(right)), ...shared(left) }];
    this.#sides = ['left', 'right'].map((id, i) => new Side(byId(id, HTMLIFrameElement), settings[i], hooks));
    this.#buttons.start.addEventListener('click', () => this.#startOrPause());
    for (const name of /** @type {const} */ (['step', 'anew'])) {
      this.#buttons[name].addEventListener('click', () => this.#sides.forEach((side) => side.press(name)));
    }
  }

  /** The sides that are in this state. @param {string} state */
  #in(state) {
    return this.#sides.filter((side) => side.state === state);
  }

  #startOrPause() {
    const running = this.#in('running');
    if (running.length > 0) running.forEach((side) => side.press('start'));
    // One that is done waits for the other.
    else for (const side of this.#sides) if (side.state !== 'done' || this.#in('done').length === 2) side.press('start');
  }

  /** One was given other settings: the other follows in what both have. @param {Side} side */
  #changed(side) {
    const { settings } = side;
    const other = this.#sides[1 - this.#sides.indexOf(side)];
    const own = other.settings;
    if (SHARED.some((name) => own[name] !== settings[name])) {
      other.turn({ ...own, ...shared(settings) }, side.state === 'running');
    }
    this.#address();
  }

  #address() {
    const [left, right] = this.#sides.map(({ settings }) => writeSettings(settings).slice(1));
    history.replaceState(null, '', `?${new URLSearchParams({ left, right })}`);
  }

  /** Where both stand, in words. */
  #standing() {
    if (this.#in('ready').length > 0) return 'They have learnt nothing yet.';
    const [left, right] = this.#sides.map(({ distance }) => distance);
    const when = this.#in('done').length === 2 ? 'Learnt' : 'Paused';
    return `${when}: between the data and one call’s samples there is ${left} on the left, ${right} on the right.`;
  }

  #moved() {
    const { start, step, anew } = this.#buttons;
    const running = this.#in('running').length > 0;
    const isReady = this.#sides.every(({ state }) => state !== 'loading' && state !== 'error');
    start.textContent = running ? 'Pause both' : this.#in('paused').length > 0 ? 'Go on' : 'Start both';
    start.disabled = !isReady;
    step.disabled = !isReady || running;
    anew.disabled = !isReady;
    document.body.dataset.state = running ? 'running' : isReady ? 'ready' : 'loading';
    if (isReady) byId('status').textContent = running ? 'Learning…' : this.#standing();
  }
}

/** What both have, of one. @param {Settings} settings */
function shared(settings) {
  return Object.fromEntries(SHARED.map((name) => [name, settings[name]]));
}

new Comparison();
