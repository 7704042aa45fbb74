// Drawings that several Workers learn together: this one, and helpers that it starts. Each has the gradients of its
// share of a step's drawings, and moves its share of the weights by their sum.
import { Questions } from './questions.js';

/** @import { Answer, Asked, Begin } from './drawings-worker.js' */
/** @import { Drawings } from '../engine/pkg/learn/meanflow.js' */

/** One of so many. @typedef {{index: number, count: number}} Share */

export class Team {
  #drawings;
  /** @type {Questions<Asked, Answer>[]} */
  #helpers;

  /**
   * @param {Drawings} drawings this Worker's
   * @param {Begin} begin what they began with
   * @param {number} count of Workers
   */
  constructor(drawings, begin, count) {
    this.#drawings = drawings;
    this.#helpers = Array.from({ length: count - 1 }, () => new Questions(() => new URL(self.location.href)));
    // One that cannot begin is missed at the first step.
    this.#ask((share) => ({ begin, share })).catch(() => {});
  }

  /** How many Workers share a step. */
  get size() {
    return this.#helpers.length + 1;
  }

  end() {
    for (const helper of this.#helpers) helper.end();
    this.#helpers = [];
  }

  /** A step of all; of this one alone from the moment on when a helper fails. */
  async step() {
    if (this.size === 1) return void this.#drawings.step(1);
    let isMoved = false;
    try {
      const others = this.#ask((share) => ({ share, gradients: true }));
      const sum = this.#drawings.gradients(0, this.size);
      for (const gradients of await others) {
        for (let i = 0; i < sum.length; i += 1) sum[i] += gradients[i];
      }
      const moving = this.#ask((share) => ({ share, sum }));
      const own = this.#drawings.update(sum, 0, this.size);
      isMoved = true;
      const moved = [own, ...(await moving)];
      // One that cannot is missed at the next step.
      this.#ask((share) => ({ share, moved })).catch(() => {});
      takeAll(this.#drawings, moved, { index: 0, count: this.size });
      return;
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      this.end();
    }
    // What the others would have moved stays where it is for once.
    if (isMoved) this.#drawings.endStep();
    else this.#drawings.step(1);
  }

  /** What each helper answers, none where it only obeys. @param {(share: Share) => Asked} question */
  #ask(question) {
    const count = this.size;
    const asked = this.#helpers.map((helper, i) => helper.ask(question({ index: i + 1, count })));
    return Promise.all(asked.map(async (answer) => (await answer).values ?? new Float32Array()));
  }
}

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
