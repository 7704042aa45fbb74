// Numbers that visitors and addresses give, and their limits.

/** Largest seed. */
export const MAX_SEED = 2n ** 64n - 1n;
/** Most pictures at once. */
export const MAX_COUNT = 256;
/** Most network calls per picture. */
export const MAX_STEPS = 1024;
/** Strongest guidance. */
export const MAX_GUIDANCE = 100;

/**
 * A whole number up to `most` from a text, or nothing where it is missing or none.
 * @param {string | null} text
 * @param {bigint | number} most
 */
export function wholeNumber(text, most = MAX_SEED) {
  return text !== null && /^\d{1,20}$/.test(text) && BigInt(text) <= most ? BigInt(text) : undefined;
}

/**
 * A scale of guidance from a text; nothing where it is missing or out of range, and of 1, which is none.
 * @param {string | null} text
 */
export function guidanceScale(text) {
  const scale = Number(text);
  return scale > 1 && scale <= MAX_GUIDANCE ? scale : undefined;
}

/** A seed that nobody chose. */
export function randomSeed() {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);
}
