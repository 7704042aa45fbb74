// Where the laboratory's Worker lies. The build puts it with its wasm into a folder that is named by what they hold,
// and that folder into the address below (bundle.mjs).

/** Spelt out, so that the build finds it. */
export const workerAddress = () => new URL('./worker.js', import.meta.url);
