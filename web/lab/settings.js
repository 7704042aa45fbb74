// What the laboratory is set to: its choices, their place in the address, and what they mean to the trainer.

import { MAX_SEED, wholeNumber } from '../element/numbers.js';
import { option } from '../page/controls.js';
import { drawnFrom, drawnPoints } from './cells.js';

/**
 * @typedef {object} Settings
 * @property {string} data where the points come from
 * @property {string} drawn cells of the sheet, as {@link drawnFrom} reads them
 * @property {string} objective by its name in a settings file
 * @property {string} tangent such as `v01`, for objectives with one
 * @property {string} share of the rows with r < t, in percent
 * @property {string} times how they are drawn
 * @property {string} power of the adaptive weight
 * @property {string} steps
 * @property {bigint} seed
 */

/** @typedef {import('../page/controls.js').Option} Option */

/** The points; those that the reader draws are last. */
const DATA = [
  option('two-moons', 'Two moons'),
  option('checkerboard', 'Checkerboard'),
  option('spiral', 'Spiral'),
  option('drawn', 'Yours'),
];
/** By their names in a settings file. */
const OBJECTIVES = [
  option('flow-matching', 'Flow Matching'),
  option('mean-flow', 'MeanFlow'),
  option('improved-mean-flow', 'Improved MeanFlow'),
  option('consistency', 'Consistency'),
  option('shortcut', 'Shortcut'),
];
/** By the way they are written in an address; the trainer knows them as "(v, 0, 1)". */
const TANGENTS = ['v01', 'v00', 'v10', 'v11'].map((name) => option(name, tangentText(name)));
const SHARES = ['25', '50', '75', '100'].map((share) => option(share, `${share} %`));
const TIMES = [option('mixed', 'Mixed'), option('uniform', 'Uniform'), option('logit-normal', 'Logit-normal')];
const POWERS = [option('0', '0'), option('0.5', '½'), option('1', '1')];
const STEPS = [option('500', '500'), option('1000', '1,000'), option('2500', '2,500')];

/** @type {Settings} */
export const DEFAULTS = {
  data: 'two-moons',
  drawn: '',
  objective: 'improved-mean-flow',
  tangent: 'v01',
  share: '50',
  times: 'mixed',
  power: '0',
  steps: '1000',
  seed: 0n,
};

/**
 * The choices that are one of a list, with that list.
 * @type {[Exclude<keyof Settings, 'drawn' | 'seed'>, Option[]][]}
 */
export const CHOICES = [
  ['data', DATA],
  ['objective', OBJECTIVES],
  ['tangent', TANGENTS],
  ['share', SHARES],
  ['times', TIMES],
  ['power', POWERS],
  ['steps', STEPS],
];

/** `(v, 0, 1)` of `v01`. @param {string} name */
export function tangentText(name) {
  return `(${[...name].join(', ')})`;
}

/** Whether an objective has a tangent. @param {string} objective */
export const hasTangent = (objective) => objective === 'mean-flow' || objective === 'improved-mean-flow';

/** Whether an objective trains rows with r < t. @param {string} objective */
export const hasIntervals = (objective) => objective !== 'flow-matching';

/** Half of the draws uniform, or all, or none. @type {Record<string, number>} */
const UNIFORM = { mixed: 0.5, uniform: 1, 'logit-normal': 0 };

/**
 * What an address asks for; what is left out or makes no sense is as in {@link DEFAULTS}.
 * @param {string} search the query
 * @returns {Settings}
 */
export function readSettings(search) {
  const query = new URLSearchParams(search);
  const settings = { ...DEFAULTS };
  for (const [name, options] of CHOICES) {
    const value = query.get(name);
    if (value !== null && options.some((option) => option.value === value)) settings[name] = value;
  }
  const drawn = query.get('drawn') ?? '';
  if (drawnPoints(drawnFrom(drawn)).length > 0) settings.drawn = drawn;
  settings.seed = wholeNumber(query.get('seed'), MAX_SEED) ?? DEFAULTS.seed;
  return settings;
}

/** The query of settings; what is as in {@link DEFAULTS} is left out. @param {Settings} settings */
export function writeSettings(settings) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(settings)) {
    if (value !== /** @type {Record<string, unknown>} */ (DEFAULTS)[name]) query.set(name, String(value));
  }
  return `?${query}`;
}

/**
 * The same as the trainer reads it: JSON by the names of a settings file, and the points.
 * @param {Settings} settings
 * @returns {{settings: string, points: string | Float32Array}}
 */
export function forTrainer({ data, drawn, objective, tangent, share, times, power, steps, seed }) {
  const direction = hasTangent(objective) ? { direction: tangentText(tangent) } : {};
  const settings = {
    steps: Number(steps),
    objective: { kind: objective, ...direction },
    times: { uniform: UNIFORM[times], interval_probability: Number(share) / 100 },
    weight: { p: Number(power) },
  };
  // JSON has no numbers as large as a seed may be, but its text has.
  const json = JSON.stringify(settings).replace('{', `{"seed":${seed},`);
  return { settings: json, points: data === 'drawn' ? Float32Array.from(drawnPoints(drawnFrom(drawn)).flat()) : data };
}
