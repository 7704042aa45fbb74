// One noise, both ways: the velocity followed in 1 to 64 steps, and the one call of MeanFlow.

import { draw, pictureAt } from '../element/canvas.js';

/** @import { Solver } from '../engine/types.js' */

/**
 * A way to make the picture: by the average velocity or, by a solver, along the velocity.
 * @typedef {{nfe: number, solver?: Solver}} Way
 */
/**
 * @typedef {{rgba?: Uint8Array, milliseconds: number, width: number, height: number}} Made a picture, and how long it
 *   took
 */

/** Network calls of the walks. */
const WALKS = [1, 2, 4, 8, 16, 32, 64];

export class Race {
  #runners;
  #generate;
  #running = false;

  /**
   * @param {HTMLElement} root gets a figure for each way
   * @param {(way: Way) => Promise<Made | undefined>} generate a picture by some way, or nothing where another request
   *   came between
   */
  constructor(root, generate) {
    this.#generate = generate;
    this.#runners = [
      runner({ nfe: 1 }, 'MeanFlow'),
      ...WALKS.map((nfe) => runner({ nfe, solver: 'euler' }, nfe === 1 ? 'Flow Matching' : '')),
    ];
    root.replaceChildren(...this.#runners.map(({ figure }) => figure));
  }

  /** Runs all ways, the one call first. */
  async run() {
    if (this.#running) return;
    this.#running = true;
    try {
      for (const { way, figure, canvas, time } of this.#runners) {
        figure.dataset.state = 'running';
        const made = await this.#generate(way);
        figure.dataset.state = made ? 'done' : '';
        if (!made?.rgba) return;
        const { milliseconds } = made;
        draw(canvas, pictureAt(0, made.rgba, made));
        time.textContent = milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds).toLocaleString('en');
      }
    } finally {
      this.#running = false;
    }
  }
}

/** A way with its place on the page. @param {Way} way @param {string} title */
function runner(way, title) {
  const { nfe, solver } = way;
  const figure = document.createElement('figure');
  figure.dataset.nfe = String(nfe);
  if (solver) figure.dataset.solver = solver;
  const canvas = document.createElement('canvas');
  const calls = `${nfe} ${nfe === 1 ? 'call' : 'calls'}`;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute(
    'aria-label',
    solver ? `Picture after ${calls} along the velocity` : 'Picture after the one call of MeanFlow',
  );
  const words = document.createElement('figcaption');
  words.innerHTML = `<span>${title || '&nbsp;'}</span><span>${calls}</span><span><b></b> ms</span>`;
  const time = /** @type {HTMLElement} */ (words.querySelector('b'));
  time.textContent = '–';
  figure.append(canvas, words);
  return { way, figure, canvas, time };
}
