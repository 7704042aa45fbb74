// Downloads that say how far they are, in bytes.

import { coded } from './errors.js';

/** @import { Progress, ProgressListener } from './types.js' */

/**
 * An address as a whole one: bundlers also give addresses that are relative to the page, and objects that only look
 * like a URL.
 * @param {string | URL} url
 */
export const resolved = (url) => new URL(String(url), globalThis.document?.baseURI ?? location.href);

/** What a file is called: the last part of its address. @param {string | URL | Blob} source */
export function nameOf(source) {
  if (source instanceof Blob) return source instanceof File ? source.name : 'the file';
  return resolved(source).pathname.split('/').pop() ?? '';
}

const WEB_PAGE = 'the server sent a web page in its place';

/**
 * Refuses what servers send in place of a file, by how it begins.
 * @param {string} name
 * @param {Uint8Array} bytes
 */
export function refuseStrangers(name, bytes) {
  const text = new TextDecoder().decode(bytes.subarray(0, 50));
  const reason = /^\s*<(!d|html)/i.test(text) ? WEB_PAGE : text.includes('git-lfs') && 'it is a Git LFS pointer';
  if (reason) throw coded('download', new Error(`${name} is not usable: ${reason}`));
}

/** Sums the progress of several downloads into one report. */
export class ProgressSum {
  /** @type {Progress[]} */
  #parts = [];
  #report;

  /** @param {(progress: Progress) => void} report */
  constructor(report) {
    this.#report = report;
  }

  /** A part of the whole. @returns {ProgressListener} */
  part() {
    const part = { loaded: 0, total: 0 };
    this.#parts.push(part);
    return (loaded, total) => {
      Object.assign(part, { loaded, total });
      const sum = (/** @type {keyof Progress} */ key) => this.#parts.reduce((all, one) => all + one[key], 0);
      this.#report({ loaded: sum('loaded'), total: this.#parts.every((one) => one.total > 0) ? sum('total') : 0 });
    };
  }
}

/**
 * Downloads, giving each piece to `take` as it comes.
 * @param {string | URL} url
 * @param {ProgressListener} progress
 * @param {(piece: Uint8Array<ArrayBuffer>, total: number) => void} take `total` is 0 while it is not known
 * @param {AbortSignal} [signal] ends it
 * @throws with the address and the reason
 */
export async function download(url, progress, take, signal) {
  const { body, total } = await request(url, signal);
  let loaded = 0;
  progress(loaded, total);
  const reader = body.getReader();
  const read = () => reader.read().catch((error) => {
    throw signal?.aborted ? error : cut(url, error);
  });
  for (let { done, value } = await read(); !done && value; { done, value } = await read()) {
    if (loaded === 0) refuseStrangers(nameOf(url), value);
    loaded += value.byteLength;
    progress(loaded, total);
    take(value, total);
  }
  // What was not announced is known in the end.
  progress(loaded, loaded);
}

/**
 * A wasm module, compiled while it streams. Its progress is its beginning and its end: browsers keep compiled code only
 * of responses that nothing else reads.
 * @param {string | URL} url
 * @param {ProgressListener} progress
 * @throws as {@link download}, and what is no module
 */
export async function downloadModule(url, progress) {
  const { response, total } = await request(url);
  progress(0, total);
  // Some servers do not know what wasm is.
  const type = response.headers.get('Content-Type') ?? '';
  try {
    const module = await (type.startsWith('application/wasm')
      ? WebAssembly.compileStreaming(response)
      : response.arrayBuffer().then((bytes) => WebAssembly.compile(bytes)));
    progress(total || 1, total || 1);
    return module;
  } catch (error) {
    if (error instanceof TypeError) throw cut(url, error);
    const missing = type.startsWith('text/html');
    const html = missing ? WEB_PAGE : error.message;
    const reason = /unsafe-eval|Content.Security|CSP/i.test(error.message)
      ? "a Content-Security-Policy must allow 'wasm-unsafe-eval' in script-src"
      : html;
    throw coded('wasm', new Error(`${nameOf(url)} is not usable as WebAssembly: ${reason}`, { cause: error }), {
      missing,
    });
  }
}

/**
 * A connection that ended in the middle.
 * @param {string | URL} url
 * @param {Error} cause
 */
const cut = (url, cause) =>
  coded('download', new Error(`the download of ${nameOf(url)} broke off: ${cause.message}`, { cause }));

/**
 * The response, and how many bytes it will have, or 0 where that is not known.
 * @param {string | URL} url
 * @param {AbortSignal} [signal]
 */
async function request(url, signal) {
  const address = resolved(url);
  let response;
  try {
    response = await fetch(address, { signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw coded('download', new Error(`cannot download ${nameOf(address)}: ${error.message}`, { cause: error }));
  }
  const { body, status } = response;
  // An answer such as 204 is fine, and has no file.
  if (!response.ok || !body) {
    const answer = `the server answered ${status} ${response.statusText}`.trimEnd();
    throw coded('download', new Error(`cannot download ${nameOf(address)}: ${answer}`), { missing: status === 404 });
  }
  // The length is that of the compressed bytes where a server compresses; the reader counts the plain ones.
  const isCompressed = response.headers.has('Content-Encoding');
  return { response, body, total: isCompressed ? 0 : Number(response.headers.get('Content-Length') ?? 0) };
}
