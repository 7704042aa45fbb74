// The CPU's build inside the bundle; imported before the element, which then finds it.
import script from 'inline:worker';
import wasm from 'inline:wasm';
import { setInlined } from './builds.js';

/**
 * The bytes of a text in hexadecimal, which compresses better than base64: equal bytes stay equal.
 * @param {string} text
 */
const decoded = (text) =>
  Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16));

setInlined({ script, module: () => WebAssembly.compile(decoded(wasm)) });
