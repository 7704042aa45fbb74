// Who asks a Worker that trains: questions, and the answers to them.

/** The Worker is gone, and what it knew with it. */
export class WorkerLost extends Error {}

/** @typedef {ReturnType<typeof setTimeout>} Timer */

/**
 * @template Question
 * @template Answer
 */
export class Questions {
  #address;
  /** @type {Worker | undefined} */
  #worker;
  #id = 0;
  #limit;
  /**
   * What waits for an answer.
   * @type {Map<number, {resolve: (answer: Answer) => void, reject: (error: Error) => void, timer?: Timer}>}
   */
  #asked = new Map();

  /**
   * @param {() => URL} address of the Worker, which the first question starts
   * @param {number} [limit] milliseconds after which a Worker that has not answered is lost
   */
  constructor(address, limit) {
    this.#address = address;
    this.#limit = limit;
  }

  /** Questions that wait are never answered. */
  forget() {
    for (const { timer } of this.#asked.values()) clearTimeout(timer);
    this.#asked.clear();
  }

  /** Ends the Worker; the next question starts another. */
  end() {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.forget();
  }

  /** @param {Question} question @returns {Promise<Answer>} */
  async ask(question) {
    this.#worker ??= this.#start();
    this.#id += 1;
    const id = this.#id;
    this.#worker.postMessage({ id, ...question });
    const timer = this.#limit && setTimeout(() => this.#lose('the Worker does not answer'), this.#limit);
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject, timer }));
  }

  #start() {
    const worker = new Worker(this.#address(), { type: 'module' });
    worker.onmessage = ({ data }) => {
      const asked = this.#asked.get(data.id);
      this.#asked.delete(data.id);
      clearTimeout(asked?.timer);
      if (data.error) asked?.reject(new Error(data.error));
      else asked?.resolve(data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#lose(event.message ? `training stopped (${event.message})` : 'the Worker that trains cannot start');
    };
    return worker;
  }

  /** @param {string} why */
  #lose(why) {
    const waiting = [...this.#asked.values()];
    this.end();
    for (const { reject } of waiting) reject(new WorkerLost(why));
  }
}
