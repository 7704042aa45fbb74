// Where the Workers that train lie. The build puts them with their wasm into a folder that is named by what they hold,
// and that folder into the addresses below (bundle.mjs).

/** Spelt out, so that the build finds it. */
export const workerAddress = () => new URL('./worker.js', import.meta.url);

/** Of what learns drawings. */
export const drawingsWorkerAddress = () => new URL('./drawings-worker.js', import.meta.url);
