// The pad on which one draws, pixel by pixel, by hand or by keyboard.

import { contextOf } from '../element/canvas.js';
import { ARROWS, line } from './brush.js';
import { blank, imageOf } from './drawing-set.js';
import { PALETTE, bytesOf } from './sprites.js';

/** Strokes that can be taken back. */
const UNDO = 50;

export class Pad {
  #canvas;
  /** @type {Uint8Array} */
  #rgb;
  #size;
  /** What was there before each stroke. @type {Uint8Array[]} */
  #before = [];
  /** Where the brush is. */
  #at = [0, 0];
  #hasFocus = false;
  colour = PALETTE.k;
  /** Pixels along an edge of the brush. */
  brush = 1;
  /** Whether a stroke fills what hangs together. */
  fills = false;

  /** @param {HTMLCanvasElement} canvas @param {number} size */
  constructor(canvas, size) {
    this.#canvas = canvas;
    this.#size = size;
    this.#rgb = blank(size, PALETTE.w);
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#begin(this.#place(event));
    });
    canvas.addEventListener('pointermove', (event) => {
      if (canvas.hasPointerCapture(event.pointerId) && !this.fills) this.#stroke(this.#place(event));
    });
    canvas.addEventListener('keydown', (event) => this.#key(event));
    for (const type of ['focus', 'blur']) {
      canvas.addEventListener(type, () => {
        this.#hasFocus = type === 'focus' && canvas.matches(':focus-visible');
        this.#draw();
      });
    }
    this.#draw();
  }

  /** What is drawn, three bytes a pixel. */
  get rgb() {
    return this.#rgb.slice();
  }

  /** Takes another drawing, of any size. @param {Uint8Array} rgb */
  set rgb(rgb) {
    this.#rgb = rgb.slice();
    this.#size = Math.sqrt(rgb.length / 3);
    this.#before = [];
    this.#at = this.#at.map((place) => Math.min(place, this.#size - 1));
    this.#draw();
  }

  get isBlank() {
    return this.#rgb.every((byte) => byte === 255);
  }

  clear() {
    this.#remember();
    this.#rgb = blank(this.#size, PALETTE.w);
    this.#draw();
  }

  undo() {
    const before = this.#before.pop();
    if (!before) return;
    this.#rgb = before;
    this.#draw();
  }

  #remember() {
    this.#before = [...this.#before, this.#rgb.slice()].slice(-UNDO);
  }

  #draw() {
    const size = this.#size;
    [this.#canvas.width, this.#canvas.height] = [size, size];
    const context = contextOf(this.#canvas);
    context.putImageData(imageOf(this.#rgb), 0, 0);
    if (!this.#hasFocus) return;
    context.globalAlpha = 0.45;
    context.fillStyle = this.colour === PALETTE.w ? PALETTE.l : this.colour;
    context.fillRect(this.#at[0], this.#at[1], this.brush, this.brush);
    context.globalAlpha = 1;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== ' ') return;
    event.preventDefault();
    this.#hasFocus = true;
    const next = this.#at.map((x, axis) => Math.min(this.#size - 1, Math.max(0, x + (arrow?.[axis] ?? 0))));
    if (!arrow) this.#begin(next);
    else if (event.shiftKey) this.#stroke(next);
    this.#at = next;
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height].map((share) =>
      Math.min(this.#size - 1, Math.max(0, Math.floor(share * this.#size))),
    );
  }

  /** @param {number[]} at */
  #begin(at) {
    this.#remember();
    this.#at = at;
    if (this.fills) this.#fill(at);
    else this.#stroke(at);
  }

  /** From where the brush was, a line of pixels. @param {number[]} to */
  #stroke(to) {
    for (const [x, y] of line(this.#at, to)) {
      for (let j = 0; j < this.brush ** 2; j += 1) this.#set(x + (j % this.brush), y + Math.floor(j / this.brush));
    }
    this.#at = to;
    this.#draw();
  }

  /** What hangs together with a pixel and has its colour takes that of the brush. @param {number[]} at */
  #fill(at) {
    const of = String(this.#pixel(at));
    const colour = String(bytesOf(this.colour));
    const open = of === colour ? [] : [at];
    for (let [place] = open.splice(-1); place; [place] = open.splice(-1)) {
      if (String(this.#pixel(place)) !== of) continue;
      this.#set(place[0], place[1]);
      const near = Object.values(ARROWS).map((way) => place.map((x, axis) => x + way[axis]));
      open.push(...near.filter((place) => place.every((x) => x >= 0 && x < this.#size)));
    }
    this.#draw();
  }

  /** @param {number[]} at */
  #pixel([x, y]) {
    const start = 3 * (y * this.#size + x);
    return this.#rgb.subarray(start, start + 3);
  }

  /** @param {number} x @param {number} y */
  #set(x, y) {
    if (x < this.#size && y < this.#size) this.#pixel([x, y]).set(bytesOf(this.colour));
  }
}
