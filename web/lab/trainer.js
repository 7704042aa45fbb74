// The page's side of the Worker that trains on points.

import { Questions } from './questions.js';
import { workerAddress } from './worker-address.js';

/** @import { Answer, Begin, Budget } from './worker.js' */

export class Trainer {
  /** @type {Questions<{begin?: Begin, advance?: Budget, time: number}, Answer>} */
  #questions = new Questions(workerAddress);

  /**
   * Begins anew; questions that wait are then never answered.
   * @param {Begin} begin
   * @param {number} time of the arrows
   */
  begin(begin, time) {
    this.#questions.forget();
    return this.#questions.ask({ begin, time });
  }

  /** Takes steps. @param {Budget} advance @param {number} time of the arrows */
  advance(advance, time) {
    return this.#questions.ask({ advance, time });
  }

  /** What is learnt, without a step. @param {number} time of the arrows */
  look(time) {
    return this.#questions.ask({ time });
  }
}
