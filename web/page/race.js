// One noise, both ways: the velocity followed in 1 to 64 steps, and the one call of MeanFlow.

import { draw, pictureAt } from '../element/canvas.js';

/** Network calls of the walks. */
const WALKS = [1, 2, 4, 8, 16, 32, 64];

export class Race {
  #root;
  #generate;
  #running = false;

  /**
   * @param {HTMLElement} root gets a figure for each way
   * @param {(request: {nfe: number, solver?: string}) => Promise<{rgba: Uint8Array, milliseconds: number, width: number, height: number} | undefined>} generate
   *   a picture by some way, or nothing where another request came between
   */
  constructor(root, generate) {
    this.#root = root;
    this.#generate = generate;
    const ways = [{ nfe: 1, title: 'MeanFlow' }, ...WALKS.map((nfe) => ({ nfe, solver: 'euler', title: nfe === 1 ? 'Flow Matching' : '' }))];
    root.replaceChildren(...ways.map((way) => figure(way)));
  }

  /** Runs all ways, the one call first. */
  async run() {
    if (this.#running) return;
    this.#running = true;
    try {
      for (const place of this.#root.children) {
        place.dataset.state = 'running';
        const { nfe, solver } = place.dataset;
        const made = await this.#generate({ nfe: Number(nfe), solver });
        place.dataset.state = made ? 'done' : '';
        if (!made) return;
        draw(place.querySelector('canvas'), pictureAt(0, made.rgba, made));
        place.querySelector('b').textContent = made.milliseconds < 10 ? made.milliseconds.toFixed(1) : Math.round(made.milliseconds).toLocaleString('en');
      }
    } finally {
      this.#running = false;
    }
  }
}

function figure({ nfe, solver, title }) {
  const place = document.createElement('figure');
  place.dataset.nfe = nfe;
  if (solver) place.dataset.solver = solver;
  const canvas = document.createElement('canvas');
  const calls = `${nfe} ${nfe === 1 ? 'call' : 'calls'}`;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', solver ? `Picture after ${calls} along the velocity` : 'Picture after the one call of MeanFlow');
  const words = document.createElement('figcaption');
  words.innerHTML = `<span>${title || '&nbsp;'}</span><span>${calls}</span><span><b>–</b> ms</span>`;
  place.append(canvas, words);
  return place;
}
