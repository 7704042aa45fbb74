// The Worker that learns drawings: it takes steps when it is asked to, and says what one call draws. Helpers that share
// its steps run this script too.
import init, { Drawings } from '../engine/pkg/learn/meanflow.js';
import { answerWith, takeSteps } from './answers.js';
import { SEEDS } from './drawing-set.js';
import { Team, takeAll } from './team.js';

/**
 * What to learn, and how: settings as JSON, and the drawings, three bytes a pixel; to go on, the state of the same.
 * @typedef {{settings: string, rgb: Uint8Array, state?: Uint8Array}} Begin
 */
/** @typedef {import('./answers.js').Budget} Budget */
/** @typedef {import('./team.js').Share} Share */
/**
 * What a helper is asked: its gradients; to move its share by the sum of all; to take what all have moved.
 * @typedef {{share?: Share, gradients?: boolean, sum?: Float32Array, moved?: Float32Array[]}} Help
 */
/**
 * `workers`: how many share the steps; `weights`: their name.
 * @typedef {{begin?: Begin, workers?: number, advance?: Budget, state?: boolean, weights?: string} & Help} Asked
 */
/**
 * What is learnt.
 * @typedef {object} Frame
 * @property {number} steps taken so far
 * @property {number} taken of them just now
 * @property {number} milliseconds that those took
 * @property {number} workers that shared them
 * @property {number} seeds pictures of each drawing
 * @property {Uint8Array} samples RGBA, drawing by drawing
 */
/**
 * `values`: gradients, or weights.
 * @typedef {{frame?: Frame, state?: Uint8Array, weights?: Uint8Array, values?: Float32Array}} Told
 */
/** @typedef {{id: number, error?: string} & Told} Answer */

const ready = init();
/** @type {Drawings | undefined} */
let drawings;
/** @type {Team | undefined} */
let team;
/** How many steps there will be. */
let goal = 0;

answerWith(async (/** @type {Asked} */ asked) => {
  await ready;
  const { begin, workers, share, advance, state, weights } = asked;
  if (begin) anew(begin, workers);
  if (!drawings || !team) throw new Error('nothing has begun');
  if (share) return helped(drawings, share, asked);
  if (state) return { state: drawings.state() };
  if (weights) return { weights: drawings.weights(weights) };
  return { frame: await frame(drawings, team, advance) };
});

/** @param {Begin} begin @param {number} workers */
function anew(begin, workers = 1) {
  const next = new Drawings(begin.settings, begin.rgb, begin.state);
  team?.end();
  drawings?.free();
  drawings = next;
  team = new Team(next, begin, workers);
  goal = JSON.parse(begin.settings).steps;
}

/** @param {Drawings} drawings @param {Share} share @param {Help} asked @returns {{values?: Float32Array}} */
function helped(drawings, { index, count }, { gradients, sum, moved }) {
  if (gradients) return { values: drawings.gradients(index, count) };
  if (sum) return { values: drawings.update(sum, index, count) };
  if (moved) takeAll(drawings, moved, { index, count });
  return {};
}

/** @param {Drawings} drawings @param {Team} team @param {Budget | undefined} budget @returns {Promise<Frame>} */
async function frame(drawings, team, budget) {
  const before = drawings.stepsDone;
  if (budget) await team.start();
  const { milliseconds, pictures } = await takeSteps(budget, () => team.step(), () => drawings.samples(SEEDS));
  const steps = drawings.stepsDone;
  const [taken, workers] = [steps - before, team.size];
  if (steps >= goal) team.end();
  return { steps, taken, milliseconds, workers, seeds: SEEDS, samples: pictures };
}
