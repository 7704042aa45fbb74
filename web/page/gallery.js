// The wall of pictures: one small canvas per seed, drawn as the pictures come.

import { draw, pictureAt } from '../element/canvas.js';

/**
 * A place for a picture, and what it holds.
 * @typedef {object} Tile
 * @property {HTMLButtonElement} button
 * @property {HTMLCanvasElement} canvas
 * @property {ImageData} [picture]
 * @property {ImageData} [noise]
 * @property {number} [label]
 */

export class Gallery {
  #root;
  #onPick;
  /** @type {Tile[]} */
  #tiles = [];

  /**
   * @param {HTMLElement} root
   * @param {(index: number) => void} onPick the visitor chose a picture
   */
  constructor(root, onPick) {
    this.#root = root;
    this.#onPick = onPick;
  }

  /**
   * As many tiles as asked for, each of the model's size; what they show stays until they are drawn over.
   * @param {number} count
   * @param {number} width
   * @param {number} height
   */
  resize(count, width, height) {
    for (const { button } of this.#tiles.splice(count)) button.remove();
    while (this.#tiles.length < count) this.#tiles.push(this.#newTile(this.#tiles.length));
    for (const tile of this.#tiles) {
      if (tile.canvas.width !== width || tile.canvas.height !== height) {
        [tile.canvas.width, tile.canvas.height] = [width, height];
      }
      tile.picture = tile.noise = undefined;
      tile.button.disabled = true;
    }
  }

  /**
   * Draws the noise that pictures will be made from.
   * @param {number} first index of the first
   * @param {Uint8ClampedArray[]} noise as opaque pixels
   */
  showNoise(first, noise) {
    // The pictures before belong to other seeds.
    if (first === 0) for (const tile of this.#tiles) tile.picture = undefined;
    noise.forEach((pixels, i) => {
      const tile = this.#tiles[first + i];
      tile.noise = pictureAt(0, pixels, tile.canvas);
      tile.button.setAttribute('aria-label', `Picture ${first + i + 1}, being made`);
      tile.button.dataset.shows = 'noise';
      draw(tile.canvas, tile.noise);
    });
  }

  /**
   * Draws pictures.
   * @param {number} first index of the first
   * @param {Uint8Array} rgba their pixels, one picture after the other
   * @param {(number | undefined)[]} labels their classes
   * @param {(index: number, label?: number) => string} describe what a picture is, in words
   */
  show(first, rgba, labels, describe) {
    labels.forEach((label, i) => {
      const tile = this.#tiles[first + i];
      tile.picture = pictureAt(i, rgba, tile.canvas);
      tile.label = label;
      tile.button.dataset.shows = 'picture';
      tile.button.disabled = false;
      tile.button.setAttribute('aria-label', describe(first + i, label));
      draw(tile.canvas, tile.picture);
    });
  }

  /** What a tile holds. @param {number} index */
  at(index) {
    return this.#tiles[index];
  }

  /** @param {number} index @returns {Tile} */
  #newTile(index) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'tile';
    button.setAttribute('aria-label', `Picture ${index + 1}, not made yet`);
    const canvas = document.createElement('canvas');
    button.append(canvas);
    button.addEventListener('click', () => this.#onPick(index));
    this.#root.append(button);
    return { button, canvas };
  }
}
