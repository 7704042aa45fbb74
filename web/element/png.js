// PNG files that know how they were made: a text chunk holds the recipe of the picture. They are written from the
// picture's bytes: what is read back from a canvas has other pixels where a browser guards against fingerprinting.

import { MAX_SEED, MAX_STEPS, guidanceScale, wholeNumber } from './numbers.js';

/** Keyword of the text chunk. */
const KEYWORD = 'MeanFlow';
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * A picture as a PNG file, of eight bits a channel with transparency.
 * @param {ImageData} picture
 * @param {{scale?: number, recipe?: object}} [options] by which whole number each pixel is enlarged, and how the
 *   picture was made: anything that JSON can hold
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function encodePng({ data, width, height }, { scale = 1, recipe } = {}) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width * scale);
  view.setUint32(4, height * scale);
  // Eight bits, RGBA, and the only methods there are.
  header.set([8, 6, 0, 0, 0], 8);
  const row = 1 + 4 * width * scale;
  // Each row begins with its filter, 0: none.
  const raw = new Uint8Array(row * height * scale);
  for (let y = 0; y < height; y++) {
    const start = y * scale * row;
    for (let x = 0; x < width * scale; x++) {
      const from = 4 * (y * width + Math.floor(x / scale));
      raw.set(data.subarray(from, from + 4), start + 1 + 4 * x);
    }
    for (let again = 1; again < scale; again++) raw.copyWithin(start + again * row, start, start + row);
  }
  const png = joined([
    Uint8Array.from(SIGNATURE),
    chunk('IHDR', header),
    chunk('IDAT', await deflate(raw)),
    chunk('IEND', new Uint8Array()),
  ]);
  return recipe ? withRecipe(png, recipe) : png;
}

/**
 * A PNG with a recipe in it.
 * @param {Uint8Array} png
 * @param {object} recipe anything that JSON can hold
 */
export function withRecipe(png, recipe) {
  // A text chunk takes Latin-1; JSON can be written in ASCII.
  const json = JSON.stringify(recipe).replaceAll(
    /[^\x20-\x7e]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const text = chunk('tEXt', new TextEncoder().encode(`${KEYWORD}\0${json}`));
  // After the header chunk, which must come first: 8 bytes of signature, 25 of the chunk.
  return joined([png.subarray(0, 33), text, png.subarray(33)]);
}

/** @param {Uint8Array[]} parts */
function joined(parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** In the format of zlib; not compressed where the browser has no compressor. @param {Uint8Array<ArrayBuffer>} bytes */
async function deflate(bytes) {
  if (globalThis.CompressionStream) {
    const compressed = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'));
    return new Uint8Array(await new Response(compressed).arrayBuffer());
  }
  const MOST = 65_535;
  const parts = [Uint8Array.of(0x78, 0x01)];
  for (let at = 0; at < bytes.length; at += MOST) {
    const piece = bytes.subarray(at, at + MOST);
    const length = piece.length;
    parts.push(
      Uint8Array.of(at + MOST >= bytes.length ? 1 : 0, length & 255, length >> 8, ~length & 255, (~length >> 8) & 255),
      piece,
    );
  }
  let [a, b] = [1, 0];
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  parts.push(Uint8Array.of(b >> 8, b & 255, a >> 8, a & 255));
  return joined(parts);
}

/** @param {string} type @param {Uint8Array} body */
function chunk(type, body) {
  const bytes = new Uint8Array(body.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, body.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(body, 8);
  view.setUint32(body.length + 8, crc32(bytes.subarray(4, body.length + 8)));
  return bytes;
}

/**
 * How a picture was made, as its file says.
 * @typedef {object} Recipe
 * @property {string} model its name
 * @property {string} sha256 of its weights
 * @property {bigint} seed
 * @property {string} [className] as people write it
 * @property {string} [prompt]
 * @property {number} steps
 * @property {number} [guidance] its scale, where there is some
 * @property {import('../engine/types.js').Place} [place] in the square between four noises
 */

/**
 * The recipe in a PNG, or nothing where there is none.
 * @param {Uint8Array} bytes
 */
export function recipeOf(bytes) {
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) return undefined;
    const text = new TextDecoder('latin1').decode(bytes.subarray(at + 4, at + 8 + Math.min(length, 4096)));
    if (text.startsWith(`tEXt${KEYWORD}\0`)) return parse(text.slice(KEYWORD.length + 5));
    at += 12 + length;
  }
  return undefined;
}

/**
 * Recipes come from strangers: only what has the right type and range is believed; a place may be left out.
 * @param {string} json
 * @returns {Recipe | undefined}
 */
function parse(json) {
  try {
    const { model, sha256, seed, className, prompt, steps, guidance, place } = JSON.parse(json);
    const isText = (/** @type {unknown} */ value) => typeof value === 'string';
    const isPlace =
      Array.isArray(place) && place.length === 2 && place.every((x) => typeof x === 'number' && x >= 0 && x <= 1);
    const fits = [
      isText(model),
      isText(sha256),
      isText(seed) && wholeNumber(seed, MAX_SEED) !== undefined,
      className === undefined || isText(className),
      prompt === undefined || isText(prompt),
      guidance === undefined || guidanceScale(guidance) === guidance,
      Number.isInteger(steps) && steps >= 1 && steps <= MAX_STEPS,
    ];
    if (!fits.every(Boolean)) return undefined;
    const at = isPlace ? /** @type {[number, number]} */ ([place[0], place[1]]) : undefined;
    return { model, sha256, seed: BigInt(seed), className, prompt, steps, guidance, place: at };
  } catch {
    return undefined;
  }
}

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
