// The page's side of the Worker that trains: one question at a time.

import { workerAddress } from './worker-address.js';

/** @import { Answer, Begin, Budget } from './worker.js' */

export class Trainer {
  /** @type {Worker | undefined} */
  #worker;
  #id = 0;
  /**
   * What waits for an answer.
   * @type {Map<number, {resolve: (answer: Answer) => void, reject: (error: Error) => void}>}
   */
  #asked = new Map();

  /**
   * Begins anew; questions that wait are then never answered.
   * @param {Begin} begin
   * @param {number} time of the arrows
   */
  begin(begin, time) {
    this.#asked.clear();
    return this.#ask({ begin, time });
  }

  /** Takes steps. @param {Budget} advance @param {number} time of the arrows */
  advance(advance, time) {
    return this.#ask({ advance, time });
  }

  /** What is learnt, without a step. @param {number} time of the arrows */
  look(time) {
    return this.#ask({ time });
  }

  /** @param {{begin?: Begin, advance?: Budget, time: number}} question @returns {Promise<Answer>} */
  #ask(question) {
    this.#worker ??= this.#start();
    this.#id += 1;
    const id = this.#id;
    this.#worker.postMessage({ id, ...question });
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  #start() {
    const worker = new Worker(workerAddress(), { type: 'module' });
    worker.onmessage = ({ data }) => {
      const asked = this.#asked.get(data.id);
      this.#asked.delete(data.id);
      if (data.error) asked?.reject(new Error(data.error));
      else asked?.resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      this.#worker = undefined;
      const why = event.message ? `training stopped (${event.message})` : 'the Worker that trains cannot start';
      for (const { reject } of this.#asked.values()) reject(new Error(why));
      this.#asked.clear();
    };
    return worker;
  }
}
