// The square between four noises: drag, and the picture follows.

import { partsOf } from './dom.js';
import { followPointer } from './drag.js';

/** @import { Mix, Place } from '../engine/types.js' */

/** @typedef {{rgba?: Uint8Array, bitmap?: ImageBitmap}} Drawn a picture as bytes or as a bitmap */
/**
 * @typedef {{corners: Mix['corners'], width: number, height: number}} Square four noises, and the size of the pictures
 */
import { draw, pictureAt } from '../element/canvas.js';

/** Arrow keys move by this share of the square. */
const STEP = 0.05;

/**
 * @fires move the visitor chose another place
 */
export class Explore extends EventTarget {
  #parts;
  #generate;
  /** What the square is made of; nothing before the first model. @type {Square | undefined} */
  #square;
  /** Where the visitor is. @type {Place} */
  #place = [0.5, 0.5];
  #busy = false;
  /** Counts what should be drawn, and what is. */
  #wanted = 0;
  #drawn = 0;
  #started = 0;
  #pace = 0;

  /**
   * @param {HTMLElement} root with the elements that carry `data-part`
   * @param {(mix: Mix) => Promise<Drawn | undefined>} generate the picture at a place, or nothing where another request
   *   came between
   */
  constructor(root, generate) {
    super();
    this.#generate = generate;
    this.#parts = partsOf(root, {
      pad: HTMLElement, handle: HTMLElement, across: HTMLInputElement, down: HTMLInputElement, pace: HTMLElement,
      picture: HTMLCanvasElement, corner0: HTMLCanvasElement, corner1: HTMLCanvasElement,
      corner2: HTMLCanvasElement, corner3: HTMLCanvasElement,
    });
    const { pad, across, down } = this.#parts;
    const middle = () => {
      const { left, top, width, height } = pad.getBoundingClientRect();
      return [left + this.#place[0] * width, top + this.#place[1] * height];
    };
    followPointer(pad, middle, (at) => this.#follow(at));
    for (const [axis, slider] of [across, down].entries()) {
      slider.step = String(STEP);
      // A slider shows its own steps only: the other axis stays where the hand left it.
      slider.addEventListener('input', () =>
        this.#go(/** @type {Place} */ (this.#place.with(axis, Number(slider.value)))),
      );
    }
    this.#mark(this.#place);
  }

  /** Where the visitor is: right and down, 0 to 1. */
  get place() {
    return this.#place;
  }

  /** The picture there in every bit; it is made anew, as one that came straight from the GPU was never here. */
  async exact() {
    const square = this.#square;
    if (!square) return undefined;
    const made = await this.#generate({ corners: square.corners, place: this.#place });
    return made?.rgba && pictureAt(0, made.rgba, square);
  }

  /**
   * Makes a new square, and draws its corners and the place where the visitor is.
   * @param {Square} square
   * @param {Place} [place] where to be in it
   */
  async show(square, place = this.#place) {
    this.#square = square;
    this.#mark(place);
    await this.#draw();
    const { corner0, corner1, corner2, corner3 } = this.#parts;
    for (const [i, canvas] of [corner0, corner1, corner2, corner3].entries()) {
      const made = await this.#generate({ corners: square.corners, place: [i % 2, Math.floor(i / 2)] });
      if (!made?.rgba || this.#square !== square) return;
      draw(canvas, pictureAt(0, made.rgba, square));
    }
  }

  /** @param {import('./drag.js').Pointed} at */
  #follow({ clientX, clientY }) {
    const { left, top, width, height } = this.#parts.pad.getBoundingClientRect();
    const inside = (/** @type {number} */ x) => Math.min(1, Math.max(0, x));
    this.#go([inside((clientX - left) / width), inside((clientY - top) / height)]);
  }

  /** @param {Place} place */
  #go(place) {
    this.#mark(place);
    this.#draw();
    this.dispatchEvent(new Event('move'));
  }

  /** @param {Place} place */
  #mark(place) {
    this.#place = place;
    const { handle, across, down } = this.#parts;
    [handle.style.left, handle.style.top] = place.map((x) => `${100 * x}%`);
    [across.value, down.value] = place.map(String);
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
        const made = await this.#generate({ corners, place: this.#place, bitmap: true });
        const picture = made?.bitmap ?? (made?.rgba && pictureAt(0, made.rgba, { width, height }));
        // Another request came between; the next move draws again.
        if (!picture) break;
        this.#drawn = turn;
        draw(this.#parts.picture, picture);
        this.#tell(performance.now() - this.#started);
      }
    } finally {
      this.#drawn = this.#wanted;
      this.#busy = false;
    }
  }

  /** @param {number} milliseconds */
  #tell(milliseconds) {
    this.#pace = this.#pace ? 0.8 * this.#pace + 0.2 * milliseconds : milliseconds;
    this.#parts.pace.textContent =
      this.#pace < 1000 ? Math.round(1000 / this.#pace).toLocaleString('en') : (1000 / this.#pace).toFixed(1);
  }
}
