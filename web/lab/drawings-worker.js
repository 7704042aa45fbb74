// The Worker that learns drawings: it takes steps when it is asked to, and says what one call draws.
import init, { Drawings } from '../engine/pkg/learn/meanflow.js';
import { answerWith, takeSteps } from './answers.js';
import { SEEDS } from './drawing-set.js';

/**
 * What to learn, and how: settings as JSON, and the drawings, three bytes a pixel; to go on, the state of the same.
 * @typedef {{settings: string, rgb: Uint8Array, state?: Uint8Array}} Begin
 */
/** @typedef {import('./answers.js').Budget} Budget */
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

answerWith(async (/** @type {Asked} */ { begin, advance, state, weights }) => {
  await ready;
  if (begin) anew(begin);
  if (!drawings) throw new Error('nothing has begun');
  if (state) return { state: drawings.state() };
  if (weights) return { weights: drawings.weights(weights) };
  return { frame: frame(drawings, advance) };
});

/** @param {Begin} begin */
function anew({ settings, rgb, state }) {
  const next = new Drawings(settings, rgb, state);
  drawings?.free();
  drawings = next;
}

/** @param {Drawings} drawings @param {Budget | undefined} budget @returns {Frame} */
function frame(drawings, budget) {
  const before = drawings.stepsDone;
  const { milliseconds, pictures } = takeSteps(budget, () => drawings.step(1), () => drawings.samples(SEEDS));
  const steps = drawings.stepsDone;
  return { steps, taken: steps - before, milliseconds, seeds: SEEDS, samples: pictures };
}
