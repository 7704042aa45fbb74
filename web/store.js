// Weights that are kept for the next visit, and are known to be the right ones.

import { download } from './download.js';

const STORE = 'meanflow-weights';

/**
 * Fetches a weights file, giving each piece to `take` as it comes. With a checksum they come from the browser's store where it
 * has them, and go into it; only in the end is it known whether they match.
 * @param {string} address
 * @param {string | undefined} hash SHA-256 in hexadecimal
 * @param {(loaded: number, total: number) => void} progress
 * @param {(piece: Uint8Array, total: number) => void} take may keep the piece
 * @param {AbortSignal} signal
 * @throws what does not match; what was taken is then to be thrown away
 */
export async function fetchWeights(address, hash, progress, take, signal) {
  const store = hash && (await openStore());
  const kept = await store?.match(address);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if ((await sha256(bytes)) === hash) {
      progress(bytes.length, bytes.length);
      take(bytes, bytes.length);
      return;
    }
    await store.delete(address);
  }
  const pieces = [];
  const give = (piece, total) => {
    if (hash) pieces.push(piece.slice());
    take(piece, total);
  };
  await download(address, progress, give, signal);
  if (!hash) return;
  const bytes = await new Blob(pieces).arrayBuffer();
  const found = await sha256(bytes);
  if (found && found !== hash) throw new Error(`${new URL(address).pathname.split('/').pop()} is not the file that was announced: its checksum is ${found.slice(0, 12)}…, not ${hash.slice(0, 12)}…`);
  // Nobody waits for it, and a full store is no reason to show no pictures.
  if (found) store?.put(address, new Response(bytes)).catch(() => {});
  return bytes;
}

/** Throws away all weights that were kept. */
export async function forgetWeights() {
  await globalThis.caches?.delete(STORE);
}

/** The SHA-256 of bytes in hexadecimal; nothing where the browser does not offer it, as on pages without a secure connection. */
export async function sha256(bytes) {
  const digest = await globalThis.crypto?.subtle?.digest('SHA-256', bytes);
  return digest && Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function openStore() {
  // Missing without a secure connection, refused in some private windows.
  return globalThis.caches?.open(STORE).catch(() => undefined);
}
