// Pictures to files and back: a saved picture knows how it was made, and can be checked.

import { contextOf } from '../element/canvas.js';
import { encodePng, recipeOf } from '../element/png.js';
import { psnr } from '../engine/psnr.js';

/** @typedef {{width: number, height: number}} Size */
/**
 * @typedef {{name: string, recipe?: object}} Saved the name of the file that a picture is saved as, and what it says
 *   about itself
 */

/** Each pixel of a saved picture is enlarged this many times. */
const SCALE = 8;
/** Agreement in dB from which a picture counts as the same: other devices round differently. */
const SAME = 40;

/**
 * Gives the visitor a picture as a PNG.
 * @param {ImageData} picture
 * @param {Saved} saved
 */
export async function savePicture(picture, { name, recipe }) {
  const png = await encodePng(picture, { scale: SCALE, recipe });
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

/** How the picture in a file was made, where the file says so. @param {File} file */
export async function readRecipe(file) {
  return recipeOf(new Uint8Array(await file.arrayBuffer()));
}

/**
 * The centred square of a picture file, at a model's size.
 * @param {File} file
 * @param {Size} size
 * @param {string} [background] a colour to lay it on; without one it stays transparent
 * @returns {Promise<ImageData>}
 * @throws when the file is no picture
 */
export async function readPicture(file, { width, height }, background) {
  const image = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser can read`);
  });
  const edge = Math.min(image.width, image.height);
  const context = sheet({ width, height }, background);
  // Pixel art that was enlarged by whole pixels comes back exactly; photographs are averaged.
  context.imageSmoothingEnabled = edge % width !== 0 || edge / width > 32;
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, (image.width - edge) / 2, (image.height - edge) / 2, edge, edge, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** A canvas to draw on, of a colour where one is given. @param {Size} size @param {string} [background] */
function sheet({ width, height }, background) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = contextOf(canvas);
  if (background) {
    context.fillStyle = background;
    context.fillRect(0, 0, width, height);
  }
  return context;
}

/** Whether a file shows a picture, and how well they agree in dB. @param {File} file @param {ImageData} picture */
export async function verify(file, picture) {
  const saved = await readPicture(file, picture, '#fff');
  const context = sheet(picture, '#fff');
  context.drawImage(await createImageBitmap(picture), 0, 0);
  const agreement = psnr(saved.data, context.getImageData(0, 0, picture.width, picture.height).data);
  return { same: agreement >= SAME, agreement };
}
