// Weights that are kept for the next visit, and are known to be the right ones.

import { download, nameOf } from './download.js';
import { coded } from './errors.js';

/** @import { ProgressListener } from './types.js' */

const STORE = 'meanflow-weights';
/** Milliseconds after which the browser's store is done without. */
const PATIENCE = 500;

/**
 * Fetches a weights file, giving each piece to `take` as it comes. With a checksum they come from the browser's store
 * where it has them, and go into it; only in the end is it known whether they match.
 * @param {string} address
 * @param {string | undefined} hash SHA-256 in hexadecimal
 * @param {ProgressListener} progress
 * @param {(piece: Uint8Array<ArrayBuffer>, total: number) => void} take may keep the piece
 * @param {AbortSignal} signal
 * @throws what does not match; what was taken is then to be thrown away
 */
export async function fetchWeights(address, hash, progress, take, signal) {
  const store = hash && (await openStore());
  const bytes = store && (await keptBytes(store, address));
  if (bytes) {
    if ((await sha256(bytes)) === hash) {
      progress(bytes.length, bytes.length);
      take(bytes, bytes.length);
      return;
    }
    await attempt(() => store.delete(address));
  }
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const pieces = [];
  const give = (/** @type {Uint8Array<ArrayBuffer>} */ piece, /** @type {number} */ total) => {
    if (hash) pieces.push(piece.slice());
    take(piece, total);
  };
  await download(address, progress, give, signal);
  if (!hash) return;
  const arrived = await new Blob(pieces).arrayBuffer();
  const found = await sha256(arrived);
  if (found && found !== hash) {
    throw coded(
      'weights',
      new Error(
        `${nameOf(address)} is not the file that was announced: its checksum is ${found.slice(0, 12)}…, not ${hash.slice(0, 12)}…`,
      ),
    );
  }
  // Nobody waits for it, and a full store is no reason to show no pictures.
  if (found && store) attempt(() => store.put(address, new Response(arrived)));
}

/** Throws away all weights that were kept. */
export async function forgetWeights() {
  await attempt(() => globalThis.caches?.delete(STORE));
}

/**
 * The SHA-256 of bytes in hexadecimal; nothing where the browser does not offer it, as on pages without a secure
 * connection.
 * @param {BufferSource} bytes
 */
export async function sha256(bytes) {
  const digest = await globalThis.crypto?.subtle?.digest('SHA-256', bytes);
  return digest && Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The store, where the browser offers one: missing without a secure connection, refused in some private windows. */
const openStore = () => attempt(() => globalThis.caches?.open(STORE));

/** The bytes that are kept of an address, if they can be read. @param {Cache} store @param {string} address */
async function keptBytes(store, address) {
  const kept = await attempt(() => store.match(address));
  // A large file takes its time, but its first piece comes soon.
  const reader = kept?.body?.getReader();
  const pieces = [];
  for (;;) {
    const next = reader && (await attempt(() => reader.read()));
    if (!next) return undefined;
    if (next.done) return new Uint8Array(await new Blob(pieces).arrayBuffer());
    pieces.push(next.value);
  }
}

/**
 * What the store answers; nothing where it throws, refuses, or does not answer in time. Pictures never depend on it.
 * @template T
 * @param {() => T | Promise<T>} ask
 * @returns {Promise<T | undefined>}
 */
async function attempt(ask) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<undefined>} */
  const late = new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE)));
  try {
    return await Promise.race([ask(), late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
