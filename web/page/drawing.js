// A small sheet to draw on, by hand or by keyboard.

import { contextOf } from '../element/canvas.js';
import { partsOf } from './dom.js';

/** Edge of the sheet, in cells. */
const CELLS = 32;
/** Pixels of the canvas per cell. */
const CELL = 8;
/** Radius of the brush, in cells. */
const BRUSH = 1.6;
const COLOURS = ['#ffcc33', '#5b3a1e', '#ffffff', '#e0483c', '#3d7fd9', '#3a9a57', '#1d1b19'];
/** @type {Record<string, number[]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Drawing {
  #sheet;
  #context;
  #colour = COLOURS[0];
  /** Where the brush was last, in cells. */
  #at = [CELLS / 2, CELLS / 2];

  /**
   * @param {HTMLElement} root with the elements that carry `data-part`
   * @param {(file: File) => void} onUse gets the drawing as a PNG file
   */
  constructor(root, onUse) {
    const { sheet, colours, clear, use } = partsOf(root, {
      sheet: HTMLCanvasElement, colours: HTMLElement, clear: HTMLElement, use: HTMLElement,
    });
    this.#sheet = sheet;
    [sheet.width, sheet.height] = [CELLS * CELL, CELLS * CELL];
    this.#context = contextOf(sheet);
    this.#wipe();
    colours.append(...COLOURS.map((colour, i) => this.#swatch(colour, i)));
    clear.addEventListener('click', () => this.#wipe());
    const give = (/** @type {Blob | null} */ blob) =>
      blob && onUse(new File([blob], 'drawing.png', { type: 'image/png' }));
    use.addEventListener('click', () => sheet.toBlob(give));
    sheet.addEventListener('pointerdown', (event) => {
      sheet.setPointerCapture(event.pointerId);
      this.#at = this.#place(event);
      this.#stroke(this.#at);
    });
    sheet.addEventListener(
      'pointermove',
      (event) => sheet.hasPointerCapture(event.pointerId) && this.#stroke(this.#place(event)),
    );
    sheet.addEventListener('keydown', (event) => this.#key(event));
  }

  /** Arrows move the brush, with the shift key they draw; the space bar makes a dot. @param {KeyboardEvent} event */
  #key(event) {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== ' ') return;
    event.preventDefault();
    const next = this.#at.map((x, axis) => Math.min(CELLS - 1, Math.max(0, x + (arrow?.[axis] ?? 0))));
    if (event.shiftKey || !arrow) this.#stroke(next);
    this.#at = next;
  }

  /** @param {PointerEvent} event */
  #place({ clientX, clientY }) {
    const { left, top, width, height } = this.#sheet.getBoundingClientRect();
    return [((clientX - left) / width) * CELLS, ((clientY - top) / height) * CELLS];
  }

  /** From where the brush was, a line of round dots. @param {number[]} to */
  #stroke(to) {
    const [from, context] = [this.#at, this.#context];
    Object.assign(context, { strokeStyle: this.#colour, lineWidth: 2 * BRUSH * CELL, lineCap: 'round' });
    context.beginPath();
    context.moveTo(from[0] * CELL, from[1] * CELL);
    context.lineTo(to[0] * CELL + 0.01, to[1] * CELL);
    context.stroke();
    this.#at = to;
  }

  #wipe() {
    this.#context.fillStyle = '#fff';
    this.#context.fillRect(0, 0, this.#sheet.width, this.#sheet.height);
  }

  /** @param {string} colour @param {number} index */
  #swatch(colour, index) {
    const label = document.createElement('label');
    const input = Object.assign(document.createElement('input'), {
      type: 'radio',
      name: 'colour',
      value: colour,
      checked: index === 0,
    });
    input.setAttribute('aria-label', `Colour ${index + 1}`);
    input.addEventListener('change', () => (this.#colour = colour));
    const dot = document.createElement('span');
    dot.style.setProperty('--colour', colour);
    label.append(input, dot);
    return label;
  }
}
