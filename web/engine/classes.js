// Classes as people write them: a name, or names with weights for a place between them.

/** @import { ClassChoice } from './types.js' */

/** Most classes that a picture can lie between. */
export const MOST_BLENDED = 4;

/**
 * What a text such as `cat` or `cat:0.6,dog:0.4` asks for.
 * @param {string | undefined} text without one, each picture draws its own class
 * @param {string[]} classes the model's
 * @returns {ClassChoice | undefined} for a request; nothing where a class is not known
 */
export function classesOf(text, classes) {
  if (!text) return {};
  const index = classes.indexOf(text);
  if (index >= 0) return { classIndex: index };
  const parts = partsOf(text).map(([name, weight]) => /** @type {const} */ ([classes.indexOf(name), weight]));
  if (parts.length > MOST_BLENDED || !parts.every(([index, weight]) => index >= 0 && weight > 0 && weight < Infinity)) {
    return undefined;
  }
  return { blend: parts.flat() };
}

/**
 * The names in a text with their weights, which sum to one: `[['cat', 0.6], ['dog', 0.4]]`.
 * @param {string} text
 * @returns {[name: string, weight: number][]}
 */
export function partsOf(text) {
  const parts = text.split(',').map(/** @returns {[string, number]} */ (part) => {
    const at = part.lastIndexOf(':');
    return at < 0 ? [part.trim(), NaN] : [part.slice(0, at).trim(), Number(part.slice(at + 1))];
  });
  const sum = parts.reduce((sum, [, weight]) => sum + weight, 0);
  return parts.map(([name, weight]) => [name, weight / sum]);
}

/**
 * The text for a share of one class and the rest of another.
 * @param {string} first
 * @param {string} second
 * @param {number} share
 */
export function blendText(first, second, share) {
  return share >= 1 ? first : `${first}:${share},${second}:${Number((1 - share).toFixed(2))}`;
}
