// The element with the CPU's engine in the same file: for bundlers, frameworks and pages that can serve one script
// only.
//
// bundle.mjs puts the Worker's script and its wasm in the place of the imports below.
import '../engine/inlined.js';

export * from './mean-flow.js';
