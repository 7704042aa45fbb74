// The Worker that trains: it takes steps when it is asked to, and says what is learnt.
import init, { Laboratory, grid } from '../engine/pkg/learn/meanflow.js';

/** Points of each kind that are shown. */
const SAMPLES = 512;
const PATHS = 28;
/** Steps of a walk, and places along an edge of the grid of arrows. */
const WALK = 64;
const EDGE = 11;

/** Steps take so many times as long as the pictures of what they taught, at least. */
const STEPS_TO_PICTURES = 4;

/** @typedef {{settings: string, points: string | Float32Array}} Begin what to learn, and how */
/**
 * No more steps than these, and none that begins later: but for one, and while pictures would take more than their
 * share of the time.
 * @typedef {{steps: number, milliseconds: number}} Budget
 */
/** @typedef {{id: number, begin?: Begin, advance?: Budget, time: number}} Asked `time`: of the arrows */
/**
 * What is learnt: coordinates, two a point.
 * @typedef {object} Frame
 * @property {number} steps taken so far
 * @property {number} milliseconds that the last of them took
 * @property {Float32Array} measured three numbers of each: the loss, the residuals for r < t and for r = t
 * @property {Float32Array} jumps where one call takes the noise
 * @property {Float32Array} walks the first points of the noise, and where they are after each step along v
 * @property {Float32Array} velocities v at each place, then u
 */
/** @typedef {{data: Float32Array, noise: Float32Array, places: Float32Array, paths: number, walk: number}} Scene */
/** @typedef {{id: number, scene?: Scene, frame?: Frame, error?: string}} Answer */

const ready = init();
/** @type {Laboratory | undefined} */
let laboratory;
/** Milliseconds that the last pictures took. */
let pictured = 0;

self.onmessage = async ({ data: { id, begin, advance, time } }) => {
  try {
    await ready;
    const scene = begin && anew(begin);
    self.postMessage({ id, scene, frame: frame(advance, time) });
  } catch (error) {
    // After a trap the instance cannot be trusted: uncaught, it ends this Worker.
    if (error instanceof WebAssembly.RuntimeError) setTimeout(() => { throw error; });
    else self.postMessage({ id, error: error.message });
  }
};

/** @param {Begin} begin @returns {Scene} */
function anew({ settings, points }) {
  const next = new Laboratory(settings, points);
  laboratory?.free();
  laboratory = next;
  const [data, noise] = [laboratory.data(SAMPLES), laboratory.noise(SAMPLES)];
  return { data, noise, places: grid(EDGE), paths: PATHS, walk: WALK };
}

/** @param {Budget | undefined} budget @param {number} time @returns {Frame} */
function frame(budget, time) {
  if (!laboratory) throw new Error('nothing has begun');
  /** @type {number[]} */
  const measured = [];
  const began = performance.now();
  for (let left = budget?.steps ?? 0; left > 0; left -= 1) {
    measured.push(...laboratory.step(1));
    if (performance.now() - began >= Math.max(budget?.milliseconds ?? 0, STEPS_TO_PICTURES * pictured)) break;
  }
  const taken = performance.now();
  const pictures = {
    jumps: laboratory.jumps(SAMPLES),
    walks: laboratory.walks(PATHS, WALK),
    velocities: laboratory.velocities(EDGE, 0, time),
  };
  pictured = performance.now() - taken;
  const steps = laboratory.stepsDone;
  return { steps, milliseconds: taken - began, measured: Float32Array.from(measured), ...pictures };
}
