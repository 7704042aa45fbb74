// What a browser keeps of a visitor's drawings and of what is learnt of them, so that a closed page goes on.

import { SIZES } from './drawing-set.js';

/** @import { Drawing } from './drawing-set.js' */

const NAME = 'meanflow-drawings';
const STORE = 'kept';
const KEY = 'now';

/**
 * @typedef {object} Kept
 * @property {1} version
 * @property {Drawing[]} drawings
 * @property {Record<string, string>} settings
 * @property {Uint8Array} [state] of the training, where it has begun
 */

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return done(request);
}

/** @template Result @param {IDBRequest<Result>} request @returns {Promise<Result>} */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('the storage failed'));
  });
}

/** What was kept, if it is of this version. @returns {Promise<Kept | undefined>} */
export async function kept() {
  try {
    const store = await open();
    const found = await done(store.transaction(STORE).objectStore(STORE).get(KEY));
    store.close();
    return isKept(found) ? found : undefined;
  } catch {
    // Private windows of some browsers have no storage.
    return undefined;
  }
}

/** @param {any} found */
function isKept(found) {
  const hasSize = (/** @type {Drawing} */ { rgb }) => rgb.length === 3 * Number(found.settings.size) ** 2;
  return found?.version === 1 && SIZES.includes(found.settings.size) && found.drawings.every(hasSize);
}

/**
 * @param {Omit<Kept, 'version'>} what
 * @throws where the storage is full, or there is none
 */
export async function keep(what) {
  const store = await open();
  try {
    const transaction = store.transaction(STORE, 'readwrite');
    const written = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error ?? new Error('the storage is full'));
    });
    transaction.objectStore(STORE).put({ version: 1, ...what }, KEY);
    await written;
  } finally {
    store.close();
  }
}
