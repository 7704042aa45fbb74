// PNG files that know how they were made: a text chunk holds the recipe of the picture.

/** Keyword of the text chunk. */
const KEYWORD = 'MeanFlow';
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * A PNG with a recipe in it.
 * @param {Uint8Array} png
 * @param {object} recipe anything that JSON can hold
 */
export function withRecipe(png, recipe) {
  // A text chunk takes Latin-1; JSON can be written in ASCII.
  const json = JSON.stringify(recipe).replaceAll(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const body = new TextEncoder().encode(`tEXt${KEYWORD}\0${json}`);
  const chunk = new Uint8Array(body.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, body.length - 4);
  chunk.set(body, 4);
  view.setUint32(body.length + 4, crc32(body));
  // After the header chunk, which must come first: 8 bytes of signature, 25 of the chunk.
  return new Uint8Array([...png.subarray(0, 33), ...chunk, ...png.subarray(33)]);
}

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

/** Recipes come from strangers: only what has the right form is believed. */
function parse(json) {
  try {
    const { model, sha256, seed, className, steps, place } = JSON.parse(json);
    if (!/^\d{1,20}$/.test(seed) || !Number.isInteger(steps) || steps < 1) return undefined;
    const inside = Array.isArray(place) && place.length === 2 && place.every((x) => x >= 0 && x <= 1);
    return { model: String(model), sha256: String(sha256), seed: BigInt(seed), className: className === undefined ? undefined : String(className), steps, place: inside ? place : undefined };
  } catch {
    return undefined;
  }
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
