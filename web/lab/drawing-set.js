// The drawings that are learnt: pixels with a name, at most so many, all of one size.

import { bytesOf } from './sprites.js';

/** Drawings, at most: as many as the trainer takes. */
export const MAX_DRAWINGS = 64;
/** Pictures of each drawing that are shown, from as many seeds. */
export const SEEDS = 3;
/** Edges that drawings may have, in pixels. */
export const SIZES = ['16', '32'];
/** Of a picture's file, at most: larger ones are no drawings, and would fill the memory. */
const MAX_BYTES = 50e6;

/** @typedef {{name: string, rgb: Uint8Array}} Drawing three bytes a pixel, row by row */

/** A sheet of one colour. @param {number} size @param {string} colour such as `#ffffff` */
export function blank(size, colour) {
  const rgb = bytesOf(colour);
  return Uint8Array.from({ length: 3 * size * size }, (_, i) => rgb[i % 3]);
}

/** @param {Uint8Array} rgb */
export function imageOf(rgb) {
  const size = Math.sqrt(rgb.length / 3);
  const rgba = new Uint8ClampedArray(4 * size * size).fill(255);
  for (let i = 0; i < size * size; i += 1) rgba.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
  return new ImageData(rgba, size, size);
}

/**
 * The same drawing at another size: pixels repeated, or each the mean of those that fall on it.
 * @param {Uint8Array} rgb
 * @param {number} size
 */
export function resized(rgb, size) {
  const before = Math.sqrt(rgb.length / 3);
  if (before === size) return rgb;
  const [times, over] = before < size ? [1, size / before] : [before / size, 1];
  return Uint8Array.from({ length: 3 * size * size }, (_, i) => {
    const [x, y, channel] = [Math.floor(i / 3) % size, Math.floor(i / 3 / size), i % 3];
    let sum = 0;
    for (let j = 0; j < times * times; j += 1) {
      const [column, row] = [x * times + (j % times), y * times + Math.floor(j / times)];
      sum += rgb[3 * (Math.floor(row / over) * before + Math.floor(column / over)) + channel];
    }
    return Math.round(sum / times ** 2);
  });
}

/**
 * A picture's file as a drawing: its middle square, on white.
 * @param {File} file
 * @param {number} size
 * @returns {Promise<Drawing>}
 */
export async function drawingOf(file, size) {
  if (file.size > MAX_BYTES) throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB, too many for a drawing`);
  /** @type {ImageBitmap} */
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is no picture that this browser can read`);
  }
  const edge = Math.min(picture.width, picture.height);
  const [left, top] = [(picture.width - edge) / 2, (picture.height - edge) / 2];
  // By halves, so that of a photograph each pixel counts.
  let drawn = onCanvas(picture, [left, top, edge], Math.max(size, Math.min(edge, 1024)));
  picture.close();
  while (drawn.width > size) drawn = onCanvas(drawn, [0, 0, drawn.width], Math.max(size, Math.ceil(drawn.width / 2)));
  const { data } = contextOn(drawn).getImageData(0, 0, size, size);
  const rgb = Uint8Array.from({ length: 3 * size * size }, (_, i) => data[4 * Math.floor(i / 3) + (i % 3)]);
  return { name: nameOf(file.name), rgb };
}

/** Without its ending, and not too long. @param {string} file */
const nameOf = (file) => file.replace(/\.[^.]*$/, '').slice(0, 40).trim() || 'drawing';

/**
 * @param {ImageBitmap | OffscreenCanvas} picture
 * @param {number[]} part left, top and edge of what is drawn
 * @param {number} size
 */
function onCanvas(picture, [left, top, edge], size) {
  const canvas = new OffscreenCanvas(size, size);
  const context = contextOn(canvas);
  context.fillStyle = '#ffffff';
  context.fillRect(0, 0, size, size);
  // Pixels stay pixels where a picture is smaller than the drawing.
  context.imageSmoothingEnabled = edge > size;
  context.imageSmoothingQuality = 'high';
  context.drawImage(picture, left, top, edge, edge, 0, 0, size, size);
  return canvas;
}

/** @param {OffscreenCanvas} canvas */
function contextOn(canvas) {
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('this browser gives no canvas to draw on');
  return context;
}

/** A name that none of the others has. @param {string} name @param {string[]} others */
export function ownName(name, others) {
  const free = (/** @type {string} */ name) => !others.includes(name);
  let own = name.trim() || 'drawing';
  for (let i = 2; !free(own); i += 1) own = `${name} ${i}`;
  return own;
}
