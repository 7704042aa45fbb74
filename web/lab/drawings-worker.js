// The Worker that learns drawings: it takes steps when it is asked to, and says what one call draws.
import init, { Drawings } from '../engine/pkg/learn/meanflow.js';

/** Pictures of each drawing, from as many seeds. */
const SEEDS = 3;
/** Steps take so many times as long as the pictures of what they taught, at least. */
const STEPS_TO_PICTURES = 4;

/**
 * What to learn, and how: settings as JSON, and the drawings, three bytes a pixel; to go on, the state of the same.
 * @typedef {{settings: string, rgb: Uint8Array, state?: Uint8Array}} Begin
 */
/** @typedef {{steps: number, milliseconds: number}} Budget no more steps than these, and none that begins later */
/** @typedef {{begin?: Begin, advance?: Budget, state?: boolean, weights?: string}} Asked `weights`: their name */
/**
 * What is learnt.
 * @typedef {object} Frame
 * @property {number} steps taken so far
 * @property {number} taken of them just now
 * @property {number} milliseconds that those took
 * @property {number} seeds pictures of each drawing
 * @property {Uint8Array} samples RGBA, drawing by drawing
 */
/** @typedef {{id: number, frame?: Frame, state?: Uint8Array, weights?: Uint8Array, error?: string}} Answer */

const ready = init();
/** @type {Drawings | undefined} */
let drawings;
/** Milliseconds that the last pictures took. */
let pictured = 0;

/** @param {MessageEvent<Asked & {id: number}>} event */
self.onmessage = async ({ data: { id, begin, advance, state, weights } }) => {
  try {
    await ready;
    if (begin) anew(begin);
    if (!drawings) throw new Error('nothing has begun');
    if (state) self.postMessage({ id, state: drawings.state() });
    else if (weights) self.postMessage({ id, weights: drawings.weights(weights) });
    else self.postMessage({ id, frame: frame(drawings, advance) });
  } catch (error) {
    // After a trap the instance cannot be trusted: uncaught, it ends this Worker.
    if (error instanceof WebAssembly.RuntimeError) setTimeout(() => { throw error; });
    else self.postMessage({ id, error: error.message });
  }
};

/** @param {Begin} begin */
function anew({ settings, rgb, state }) {
  const next = new Drawings(settings, rgb, state);
  drawings?.free();
  drawings = next;
}

/** @param {Drawings} drawings @param {Budget | undefined} budget @returns {Frame} */
function frame(drawings, budget) {
  const began = performance.now();
  const before = drawings.stepsDone;
  for (let left = budget?.steps ?? 0; left > 0; left -= 1) {
    drawings.step(1);
    if (performance.now() - began >= Math.max(budget?.milliseconds ?? 0, STEPS_TO_PICTURES * pictured)) break;
  }
  const taken = performance.now();
  const samples = drawings.samples(SEEDS);
  pictured = performance.now() - taken;
  const steps = drawings.stepsDone;
  return { steps, taken: steps - before, milliseconds: taken - began, seeds: SEEDS, samples };
}
