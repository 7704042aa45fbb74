// Noise between noises: a walk through what the model can make.

/**
 * The great circle from `a` (at 0) to `b` (at 1). Between two samples of normal noise a straight line would pass
 * through points that are too near the middle to be noise; the model has never seen such.
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} at
 */
export function slerp(a, b, at) {
  /** @param {Float32Array} x @param {Float32Array} y */
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  // Equal or opposite noises have no one circle between them.
  const [p, q] = sine < 1e-4 ? [1 - at, at] : [Math.sin((1 - at) * angle) / sine, Math.sin(at * angle) / sine];
  return a.map((value, i) => p * value + q * b[i]);
}

/** @import { Place } from './types.js' */

/**
 * The noise at a place of the square between four.
 * @param {Float32Array[]} corners top left, top right, bottom left, bottom right
 * @param {Place} place
 */
export function between([topLeft, topRight, bottomLeft, bottomRight], [x, y]) {
  return slerp(slerp(topLeft, topRight, x), slerp(bottomLeft, bottomRight, x), y);
}

/**
 * The classes of a place of the square whose corners have classes of their own: each with its share, one after the
 * other, as a blend is asked for; nothing where they have none.
 * @param {(number | undefined)[]} classes of the corners, in the order of {@link between}
 * @param {Place} place
 */
export function blendAt(classes, [x, y]) {
  const shares = [(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y];
  const blend = classes.flatMap((index, corner) =>
    index !== undefined && shares[corner] > 0 ? [index, shares[corner]] : [],
  );
  return blend.length > 0 ? blend : undefined;
}
