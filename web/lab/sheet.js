// The sheet on which a reader draws points, by hand or by keyboard.

import { ARROWS, line } from './brush.js';
import { CELLS, drawnFrom, drawnText } from './cells.js';
import { begin, pageColours } from './plot.js';

/** Cells around the brush that it fills. */
const BRUSH = [[0, 0], [1, 0], [0, 1], [1, 1]];

export class Sheet extends EventTarget {
  #canvas;
  #cells = drawnFrom('');
  /** Where the brush was last, in cells. */
  #at = [CELLS / 2, CELLS / 2];
  #hasFocus = false;

  /** @param {HTMLCanvasElement} canvas tells `change` after each stroke */
  constructor(canvas) {
    super();
    this.#canvas = canvas;
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#at = this.#place(event);
      this.#stroke(this.#at);
    });
    canvas.addEventListener('pointermove', (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.#stroke(this.#place(event));
    });
    canvas.addEventListener('pointerup', () => this.#changed());
    canvas.addEventListener('keydown', (event) => this.#key(event));
    for (const type of ['focus', 'blur']) {
      canvas.addEventListener(type, () => {
        this.#hasFocus = type === 'focus' && canvas.matches(':focus-visible');
        this.draw();
      });
    }
  }

  /** What is drawn, as an address has it. */
  get text() {
    return drawnText(this.#cells);
  }

  set text(text) {
    this.#cells = drawnFrom(text);
    this.draw();
  }

  clear() {
    this.text = '';
    this.#changed();
  }

  draw() {
    const { context, width } = begin(this.#canvas);
    const { accent, ink } = pageColours();
    const cell = width / CELLS;
    context.fillStyle = accent;
    this.#cells.forEach((drawn, i) => {
      if (drawn) context.fillRect((i % CELLS) * cell, Math.floor(i / CELLS) * cell, cell, cell);
    });
    if (!this.#hasFocus) return;
    context.strokeStyle = ink;
    context.strokeRect(this.#at[0] * cell, this.#at[1] * cell, 2 * cell, 2 * cell);
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== ' ') return;
    event.preventDefault();
    this.#hasFocus = true;
    const next = this.#at.map((x, axis) => Math.min(CELLS - 2, Math.max(0, x + (arrow?.[axis] ?? 0))));
    if (event.shiftKey || !arrow) {
      this.#stroke(next);
      this.#changed();
    }
    this.#at = next;
    this.draw();
  }

  /** @param {PointerEvent} event */
  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height].map((share) =>
      Math.min(CELLS - 2, Math.max(0, Math.round(share * CELLS - 1))),
    );
  }

  /** From where the brush was, a line of cells. @param {number[]} to */
  #stroke(to) {
    for (const [x, y] of line(this.#at, to)) {
      for (const [dx, dy] of BRUSH) this.#cells[(y + dy) * CELLS + x + dx] = true;
    }
    this.#at = to;
    this.draw();
  }
}
