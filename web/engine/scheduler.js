// Shares engines among requests: each request comes in parts, and the requests take turns, part by part.

/** @import { Stale } from './types.js' */

/**
 * A part of a request; `again` asks for another try.
 * @template Engine
 * @typedef {(engine: Engine) => Promise<'done' | 'again' | 'stale'>} Part
 */

/**
 * @template Engine
 * @typedef {object} Job
 * @property {Part<Engine>[]} parts what is left
 * @property {AbortSignal} signal
 * @property {number} running parts that are under way
 * @property {number} turn when it last had its turn
 * @property {(outcome: Partial<Stale>) => void} resolve
 * @property {(error: Error) => void} reject
 */

/** @template Engine */
export class Scheduler {
  #engines;
  /** @type {Set<Engine>} */
  #busy = new Set();
  /** @type {Job<Engine>[]} */
  #jobs = [];
  #turns = 0;

  /**
   * @param {() => Engine[]} engines those that may be used now; each takes one part at a time, and the first free one
   *   is taken
   */
  constructor(engines) {
    this.#engines = engines;
  }

  /**
   * @param {Part<Engine>[]} parts in order
   * @param {AbortSignal} signal drops the parts that have not begun
   * @returns {Promise<Partial<Stale>>} once all parts are done, or `stale` where they are no longer wanted
   */
  add(parts, signal) {
    return new Promise((resolve, reject) => {
      /** @type {Job<Engine>} */
      const job = { parts: [...parts], signal, running: 0, turn: 0, resolve, reject };
      signal.addEventListener('abort', () => this.#finish(job, () => resolve({ stale: true })), { once: true });
      if (signal.aborted) resolve({ stale: true });
      else this.#jobs.push(job);
      this.next();
    });
  }

  /** Gives free engines something to do; called when there are new ones. */
  next() {
    for (const engine of this.#engines()) {
      if (this.#busy.has(engine)) continue;
      // The one that has waited longest.
      const [job] = this.#jobs.filter(({ parts }) => parts.length > 0).sort((a, b) => a.turn - b.turn);
      const part = job?.parts.shift();
      if (!part) return;
      job.turn = ++this.#turns;
      this.#run(engine, job, part);
    }
  }

  /** @param {Engine} engine @param {Job<Engine>} job @param {Part<Engine>} part */
  async #run(engine, job, part) {
    this.#busy.add(engine);
    job.running += 1;
    try {
      const outcome = await part(engine);
      if (outcome === 'again') job.parts.unshift(part);
      else if (outcome !== 'done') this.#finish(job, () => job.resolve({ stale: true }));
    } catch (error) {
      this.#finish(job, () => job.reject(error));
    }
    job.running -= 1;
    this.#busy.delete(engine);
    if (job.parts.length === 0 && job.running === 0) this.#finish(job, () => job.resolve({}));
    this.next();
  }

  /** @param {Job<Engine>} job @param {() => void} settle */
  #finish(job, settle) {
    job.parts.length = 0;
    const at = this.#jobs.indexOf(job);
    if (at < 0) return;
    this.#jobs.splice(at, 1);
    settle();
  }
}
