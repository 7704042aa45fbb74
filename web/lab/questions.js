// Who asks a Worker that trains: questions, and the answers to them.

/** The Worker is gone, and what it knew with it. */
export class WorkerLost extends Error {}

/**
 * @template Question
 * @template Answer
 */
export class Questions {
  #address;
  /** @type {Worker | undefined} */
  #worker;
  #id = 0;
  /**
   * What waits for an answer.
   * @type {Map<number, {resolve: (answer: Answer) => void, reject: (error: Error) => void}>}
   */
  #asked = new Map();

  /** @param {() => URL} address of the Worker, which the first question starts */
  constructor(address) {
    this.#address = address;
  }

  /** Questions that wait are never answered. */
  forget() {
    this.#asked.clear();
  }

  /** Ends the Worker. */
  end() {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.forget();
  }

  /** @param {Question} question @returns {Promise<Answer>} */
  ask(question) {
    this.#worker ??= this.#start();
    this.#id += 1;
    const id = this.#id;
    this.#worker.postMessage({ id, ...question });
    return new Promise((resolve, reject) => this.#asked.set(id, { resolve, reject }));
  }

  #start() {
    const worker = new Worker(this.#address(), { type: 'module' });
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
      for (const { reject } of this.#asked.values()) reject(new WorkerLost(why));
      this.#asked.clear();
    };
    return worker;
  }
}
