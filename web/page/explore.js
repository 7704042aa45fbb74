// The square between four noises: drag, and the picture follows.

import { followPointer } from './drag.js';
import { draw, pictureAt } from '../element/canvas.js';

/** Arrow keys move by this share of the square. */
const STEP = 0.05;

/**
 * @fires move the visitor chose another place
 */
export class Explore extends EventTarget {
  #parts;
  #generate;
  /** What the square is made of: `{corners, width, height}`; nothing before the first model. */
  #square;
  /** Where the visitor is. */
  #place = [0.5, 0.5];
  #busy = false;
  /** Counts what should be drawn, and what is. */
  #wanted = 0;
  #drawn = 0;
  #started = 0;
  #pace = 0;

  /**
   * @param {HTMLElement} root with the elements that carry `data-part`
   * @param {(mix: {corners: (bigint | Float32Array)[], place: [number, number], bitmap?: boolean}) => Promise<{rgba?: Uint8Array, bitmap?: ImageBitmap} | undefined>} generate
   *   the picture at a place, or nothing where another request came between
   */
  constructor(root, generate) {
    super();
    this.#generate = generate;
    this.#parts = Object.fromEntries([...root.querySelectorAll('[data-part]')].map((element) => [element.dataset.part, element]));
    const { pad, across, down } = this.#parts;
    const middle = () => {
      const { left, top, width, height } = pad.getBoundingClientRect();
      return [left + this.#place[0] * width, top + this.#place[1] * height];
    };
    followPointer(pad, middle, (at) => this.#follow(at));
    for (const [axis, slider] of [across, down].entries()) {
      slider.step = STEP;
      // A slider shows its own steps only: the other axis stays where the hand left it.
      slider.addEventListener('input', () => this.#go(this.#place.with(axis, Number(slider.value))));
    }
    this.#mark(this.#place);
  }

  /** Where the visitor is: right and down, 0 to 1. */
  get place() {
    return this.#place;
  }

  /** The picture there in every bit; it is made anew, as one that came straight from the GPU was never here. */
  async exact() {
    const { corners, ...size } = this.#square ?? {};
    const made = corners && (await this.#generate({ corners, place: [...this.#place] }));
    return made?.rgba && pictureAt(0, made.rgba, size);
  }

  /**
   * Makes a new square, and draws its corners and the place where the visitor is.
   * @param {{corners: (bigint | Float32Array)[], width: number, height: number}} square
   * @param {[number, number]} [place] where to be in it
   */
  async show(square, place = this.#place) {
    this.#square = square;
    this.#mark(place);
    await this.#draw();
    for (const [i, corner] of [[0, 0], [1, 0], [0, 1], [1, 1]].entries()) {
      const made = await this.#generate({ corners: square.corners, place: corner });
      if (!made || this.#square !== square) return;
      draw(this.#parts[`corner${i}`], pictureAt(0, made.rgba, square));
    }
  }

  #follow({ clientX, clientY }) {
    const { left, top, width, height } = this.#parts.pad.getBoundingClientRect();
    const inside = (x) => Math.min(1, Math.max(0, x));
    this.#go([inside((clientX - left) / width), inside((clientY - top) / height)]);
  }

  #go(place) {
    this.#mark(place);
    this.#draw();
    this.dispatchEvent(new Event('move'));
  }

  #mark(place) {
    this.#place = place;
    const { handle, across, down } = this.#parts;
    [handle.style.left, handle.style.top] = place.map((x) => `${100 * x}%`);
    [across.value, down.value] = place;
  }

  /** Draws until nothing newer is wanted: places that the hand has left meanwhile are passed over. */
  async #draw() {
    this.#wanted += 1;
    if (this.#busy || !this.#square) return;
    this.#busy = true;
    try {
      while (this.#drawn < this.#wanted) {
        const turn = this.#wanted;
        const { corners, width, height } = this.#square;
        this.#started = performance.now();
        const made = await this.#generate({ corners, place: [...this.#place], bitmap: true });
        // Another request came between; the next move draws again.
        if (!made) break;
        this.#drawn = turn;
        draw(this.#parts.picture, made.bitmap ?? pictureAt(0, made.rgba, { width, height }));
        this.#tell(performance.now() - this.#started);
      }
    } finally {
      this.#drawn = this.#wanted;
      this.#busy = false;
    }
  }

  #tell(milliseconds) {
    this.#pace = this.#pace ? 0.8 * this.#pace + 0.2 * milliseconds : milliseconds;
    this.#parts.pace.textContent = this.#pace < 1000 ? Math.round(1000 / this.#pace).toLocaleString('en') : (1000 / this.#pace).toFixed(1);
  }
}
