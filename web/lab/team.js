// Drawings that several Workers learn together: this one, and helpers that it starts. Each has the gradients of its
// share of a step's drawings, and moves its share of the weights by their sum.
import { Questions } from './questions.js';

/** @import { Answer, Asked, Begin } from './drawings-worker.js' */
/** @import { Drawings } from '../engine/pkg/learn/meanflow.js' */

/** One of so many. @typedef {{index: number, count: number}} Share */

/** Milliseconds for a helper to answer: far more than any step takes. */
const LIMIT = 20_000;

export class Team {
  #drawings;
  #begin;
  /** How many Workers are meant to share a step. */
  #count;
  /** @type {Questions<Asked, Answer>[]} */
  #helpers = [];
  /** The helpers' end of the last step, which the next one waits for. @type {Promise<unknown>} */
  #ended = Promise.resolve();

  /**
   * @param {Drawings} drawings this Worker's
   * @param {Begin} begin what they began with
   * @param {number} count of Workers
   */
  constructor(drawings, begin, count) {
    this.#drawings = drawings;
    this.#begin = begin;
    this.#count = count;
  }

  /** How many Workers share a step. */
  get size() {
    return this.#helpers.length + 1;
  }

  /** Has the helpers begin, before the first step. */
  async start() {
    if (this.size === this.#count) return;
    this.#helpers = Array.from({ length: this.#count - 1 }, () => new Questions(ownAddress, LIMIT));
    try {
      await this.#ask((share) => ({ begin: this.#begin, share }));
    } catch (error) {
      this.#goOnAlone(error);
    }
  }

  /** Ends the helpers. */
  end() {
    for (const helper of this.#helpers) helper.end();
    [this.#helpers, this.#count] = [[], 1];
  }

  /** A step of all; of this one alone from the moment on when a helper fails. */
  async step() {
    if (this.size === 1) return void this.#drawings.step(1);
    let isMoved = false;
    try {
      const others = Promise.all([this.#values((share) => ({ share, gradients: true })), this.#ended]);
      const sum = this.#drawings.gradients(0, this.size);
      for (const gradients of (await others)[0]) {
        for (let i = 0; i < sum.length; i += 1) sum[i] += gradients[i];
      }
      const moving = this.#values((share) => ({ share, sum }));
      const own = this.#drawings.update(sum, 0, this.size);
      isMoved = true;
      const moved = [own, ...(await moving)];
      this.#ended = this.#ask((share) => ({ share, moved }));
      this.#ended.catch(() => {});
      takeAll(this.#drawings, moved, { index: 0, count: this.size });
      return;
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      this.#goOnAlone(error);
    }
    // What the others would have moved stays where it is for once.
    if (isMoved) this.#drawings.endStep();
    else this.#drawings.step(1);
  }

  /** Nothing is lost but time, and the momentum of what the helpers moved. @param {Error} error */
  #goOnAlone(error) {
    console.warn(`Training goes on in one Worker: ${error.message}`);
    this.end();
  }

  /** What each helper answers. @param {(share: Share) => Asked} question */
  #ask(question) {
    const count = this.size;
    return Promise.all(this.#helpers.map((helper, i) => helper.ask(question({ index: i + 1, count }))));
  }

  /** What each helper computes. @param {(share: Share) => Asked} question */
  async #values(question) {
    const answers = await this.#ask(question);
    return answers.map(({ values }) => {
      if (!values) throw new Error('a helper gave no values');
      return values;
    });
  }
}

/** The script of this Worker. */
const ownAddress = () => new URL(self.location.href);

/**
 * Ends a step: takes what the others have moved.
 * @param {Drawings} drawings
 * @param {Float32Array[]} moved of each Worker
 * @param {Share} own
 */
export function takeAll(drawings, moved, { index, count }) {
  moved.forEach((values, other) => other !== index && drawings.take(values, other, count));
  drawings.endStep();
}
