// What the page shows, as its address: a link is a set of pictures.

import { MAX_COUNT, MAX_SEED, MAX_STEPS, guidanceScale, wholeNumber } from '../element/numbers.js';

/** @import { Backend, Place } from '../engine/types.js' */

/**
 * What the page shows.
 * @typedef {object} Choice
 * @property {string} [model] id of a shipped model
 * @property {bigint} seed of the first picture
 * @property {string} [className] of all pictures; without it each draws its own
 * @property {string} [prompt] what they show, of a model that takes prompts
 * @property {string} [promptTo] what they turn into from the left of the square to its right
 * @property {number} nfe network calls per picture
 * @property {number} [guidance] its scale, of a model that has it as an input; without it there is none
 * @property {number} count pictures
 * @property {Place} [place] in the square between the first four noises
 * @property {Backend} [backend] forced
 */

/** @typedef {Pick<Choice, 'model' | 'seed' | 'nfe' | 'count'>} Defaults */

/**
 * What an address asks for, with what is left out or makes no sense replaced by `defaults`.
 * @param {string} search the query
 * @param {Defaults} defaults
 * @returns {Choice}
 */
export function readAddress(search, defaults) {
  const query = new URLSearchParams(search);
  const backend = query.get('backend');
  return {
    model: query.get('model') ?? defaults.model,
    seed: wholeNumber(query.get('seed'), MAX_SEED) ?? defaults.seed,
    className: query.get('class') ?? undefined,
    prompt: query.get('prompt') || undefined,
    promptTo: query.get('to') || undefined,
    nfe: Number(wholeNumber(query.get('steps'), MAX_STEPS) || defaults.nfe),
    guidance: guidanceScale(query.get('guidance')),
    count: Number(wholeNumber(query.get('count'), MAX_COUNT) || defaults.count),
    place: readPlace(query.get('at')),
    backend: backend === 'webgpu' || backend === 'cpu' ? backend : undefined,
  };
}

/** @param {string | null} text @returns {Place | undefined} */
function readPlace(text) {
  const place = text?.match(/^(0|1|0?\.\d{1,4}),(0|1|0?\.\d{1,4})$/);
  return place ? [Number(place[1]), Number(place[2])] : undefined;
}

/**
 * The query of a choice; what equals `defaults` is left out, but never the seed.
 * @param {Choice} choice
 * @param {Defaults} defaults
 */
export function writeAddress(choice, defaults) {
  const { model, seed, className, prompt, promptTo, nfe, guidance, count, place, backend } = choice;
  const query = new URLSearchParams();
  if (model && model !== defaults.model) query.set('model', model);
  if (className !== undefined) query.set('class', className);
  if (prompt) query.set('prompt', prompt);
  if (promptTo) query.set('to', promptTo);
  if (nfe !== defaults.nfe) query.set('steps', String(nfe));
  if (guidance) query.set('guidance', String(guidance));
  if (count !== defaults.count) query.set('count', String(count));
  if (place) query.set('at', place.map((x) => Number(x.toFixed(3))).join());
  if (backend) query.set('backend', backend);
  query.set('seed', String(seed));
  return `?${query}`;
}
