// Pictures to files and back: a saved picture knows how it was made, and can be checked.

import { draw } from '../element/canvas.js';
import { encodePng, recipeOf } from '../element/png.js';
import { psnr } from '../engine/psnr.js';

/** Each pixel of a saved picture is enlarged this many times. */
const SCALE = 8;
/** Agreement in dB from which a picture counts as the same: other devices round differently. */
const SAME = 40;

/**
 * Gives the visitor a picture as a PNG.
 * @param {ImageData} picture
 * @param {{name: string, recipe?: object}} saved the name of the file, and how the picture was made
 */
export async function savePicture(picture, { name, recipe }) {
  const png = await encodePng(picture, { scale: SCALE, recipe });
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(new Blob([png], { type: 'image/png' }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

/** How the picture in a file was made, where the file says so. */
export async function readRecipe(file) {
  return recipeOf(new Uint8Array(await file.arrayBuffer()));
}

/**
 * The centred square of a picture file, at a model's size.
 * @param {File} file
 * @param {{width: number, height: number}} size
 * @param {string} [background] a colour to lay it on; without one it stays transparent
 * @returns {Promise<ImageData>}
 * @throws when the file is no picture
 */
export async function readPicture(file, { width, height }, background) {
  const image = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} is no picture that this browser can read`);
  });
  const edge = Math.min(image.width, image.height);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d');
  if (background) {
    context.fillStyle = background;
    context.fillRect(0, 0, width, height);
  }
  // Pixel art that was enlarged by whole pixels comes back exactly; photographs are averaged.
  context.imageSmoothingEnabled = edge % width !== 0 || edge / width > 32;
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, (image.width - edge) / 2, (image.height - edge) / 2, edge, edge, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Whether a file shows a picture, and how well they agree in dB. */
export async function verify(file, picture) {
  const [saved, canvas] = [await readPicture(file, picture, '#fff'), document.createElement('canvas')];
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, picture.width, picture.height);
  context.drawImage(await createImageBitmap(picture), 0, 0);
  const agreement = psnr(saved.data, context.getImageData(0, 0, picture.width, picture.height).data);
  return { same: agreement >= SAME, agreement };
}
