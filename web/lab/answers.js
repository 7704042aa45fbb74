// What the Workers that train have in common: they answer questions, and take steps within a budget of time.

/**
 * No more steps than these, and none that begins later: but for one, and while pictures would take more than their
 * share of the time.
 * @typedef {{steps: number, milliseconds: number}} Budget
 */

/** Steps take so many times as long as the pictures of what they taught, at least. */
const STEPS_TO_PICTURES = 4;

/**
 * Has this Worker answer each question, under its number, one after the other.
 * @template Question
 * @param {(question: Question) => Promise<object>} answer
 */
export function answerWith(answer) {
  /** @param {MessageEvent} event */
  const next = async ({ data: { id, ...question } }) => {
    try {
      self.postMessage({ id, ...(await answer(question)) });
    } catch (error) {
      // After a trap the instance cannot be trusted: uncaught, it ends this Worker.
      if (error instanceof WebAssembly.RuntimeError) setTimeout(() => { throw error; });
      else self.postMessage({ id, error: error.message });
    }
  };
  let last = Promise.resolve();
  self.onmessage = (event) => void (last = last.then(() => next(event)));
}

/** Milliseconds that the last pictures took. */
let pictured = 0;

/**
 * Takes steps, then makes pictures of what they taught.
 * @template Pictures
 * @param {Budget | undefined} budget none: pictures alone
 * @param {() => void | Promise<void>} step
 * @param {() => Pictures} picture
 * @returns {Promise<{milliseconds: number, pictures: Pictures}>} the milliseconds of the steps
 */
export async function takeSteps(budget, step, picture) {
  const began = performance.now();
  for (let left = budget?.steps ?? 0; left > 0; left -= 1) {
    await step();
    if (performance.now() - began >= Math.max(budget?.milliseconds ?? 0, STEPS_TO_PICTURES * pictured)) break;
  }
  const taken = performance.now();
  const pictures = picture();
  pictured = performance.now() - taken;
  return { milliseconds: taken - began, pictures };
}
