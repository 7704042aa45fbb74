// The Worker that trains: it takes steps when it is asked to, and says what is learnt.
import init, { Laboratory, grid } from '../engine/pkg/learn/meanflow.js';
import { answerWith, takeSteps } from './answers.js';

/** Points of each kind that are shown. */
const SAMPLES = 512;
const PATHS = 28;
/** Steps of a walk, and places along an edge of the grid of arrows. */
const WALK = 64;
const EDGE = 11;

/** @typedef {{settings: string, points: string | Float32Array}} Begin what to learn, and how */
/** @typedef {import('./answers.js').Budget} Budget */
/** @typedef {{begin?: Begin, advance?: Budget, time: number}} Asked `time`: of the arrows */
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

answerWith(async (/** @type {Asked} */ { begin, advance, time }) => {
  await ready;
  const scene = begin && anew(begin);
  return { scene, frame: await frame(advance, time) };
});

/** @param {Begin} begin @returns {Scene} */
function anew({ settings, points }) {
  const next = new Laboratory(settings, points);
  laboratory?.free();
  laboratory = next;
  const [data, noise] = [laboratory.data(SAMPLES), laboratory.noise(SAMPLES)];
  return { data, noise, places: grid(EDGE), paths: PATHS, walk: WALK };
}

/** @param {Budget | undefined} budget @param {number} time @returns {Promise<Frame>} */
async function frame(budget, time) {
  if (!laboratory) throw new Error('nothing has begun');
  const trained = laboratory;
  /** @type {number[]} */
  const measured = [];
  const { milliseconds, pictures } = await takeSteps(
    budget,
    () => void measured.push(...trained.step(1)),
    () => ({
      jumps: trained.jumps(SAMPLES),
      walks: trained.walks(PATHS, WALK),
      velocities: trained.velocities(EDGE, 0, time),
    }),
  );
  return { steps: trained.stepsDone, milliseconds, measured: Float32Array.from(measured), ...pictures };
}
