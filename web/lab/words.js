// What one sees, in words, for what is chosen.

import { hasTangent } from './settings.js';

/** @import { Settings } from './settings.js' */

/** @type {Record<string, string>} */
const OBJECTIVES = {
  'flow-matching':
    'Flow Matching learns the velocity v alone. Its walks of 64 steps find the data. One call does not: nothing has taught the network what a long jump is, and along v alone it would end in the middle of the data.',
  'mean-flow':
    'MeanFlow takes the derivative along the velocity of each path, e − x, which is right on average only. The target is noisier than that of improved MeanFlow, and the jump as right.',
  'improved-mean-flow':
    'Improved MeanFlow takes the derivative along the network’s own velocity. The jumps, straight, end where the walks end.',
  consistency:
    'Consistency training has all jumps along a path land on one point. It knows jumps to the data only, and compares each with one from a slightly earlier time, which comes closer stage by stage: the residual is divided by that gap, and rises as it closes.',
  shortcut:
    'A shortcut is two half steps of the averaged network. The short jumps must be right before the long ones can be.',
};

/** @type {Record<string, string>} */
const TANGENTS = {
  v00: 'With (v, 0, 0) the derivative leaves out that t runs. What is left obeys another equation: u no longer knows that the average changes with the time it is taken from. The residual falls, the walks are right, and one call misses.',
  v10: 'With (v, 1, 0) it is r that runs, from the wrong side: the change of u with its end is added where that with its beginning belongs. The residual may fall; one call misses.',
  v11: 'With (v, 1, 1) both ends run, so the length of the jump, t − r, never changes. In the paper’s ablation it is the least wrong of the three; still it is another equation.',
};

/** @type {Record<string, string>} */
const SHARES = {
  25: 'A quarter of the rows learns jumps; the velocity gets the rest.',
  75: 'Three quarters of the rows learn jumps.',
  100: 'From then on no row learns the velocity any more. The identity needs it: what v was when Flow Matching ended is what the jumps are made of.',
};

/** @type {Record<string, string>} */
const POWERS = {
  0.5: 'The weight divides each squared residual by its root: large errors count for less.',
  1: 'The weight divides each squared residual by itself: every row pulls alike. In thousands of dimensions that helps; in two it pulls towards medians, and samples gather in the thick of the data.',
};

/** @type {Record<string, string>} */
const TIMES = {
  uniform: 'All times are drawn alike.',
  'logit-normal': 'Few rows are at t = 1, where one call begins.',
};

/** The sentences for settings, each a paragraph. @param {Settings} settings */
export function wordsFor({ objective, tangent, share, power, times }) {
  const isWrong = hasTangent(objective) && tangent !== 'v01';
  const jumps = objective === 'flow-matching' ? '' : SHARES[share];
  return [isWrong ? TANGENTS[tangent] : OBJECTIVES[objective], jumps, TIMES[times], POWERS[power]].filter(Boolean);
}
