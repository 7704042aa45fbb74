// Where the engine's files lie. The build puts them all into one folder that is named by what they hold, and that
// folder into the addresses below (bundle.mjs): a script never meets the wasm of another version.

/** That folder; filled in by the build. */
export const FOLDER = '';

/**
 * Spelt out, so that bundlers find the files and carry them along as they are; asked for when first needed, as some
 * bundles have no address. The site, which no bundler reads, has a shorter form.
 */
const ADDRESSES = {
  'worker-cpu.js': () => new URL('./worker-cpu.js', import.meta.url),
  'worker-relaxed.js': () => new URL('./worker-relaxed.js', import.meta.url),
  'worker-webgpu.js': () => new URL('./worker-webgpu.js', import.meta.url),
  'burn.js': () => new URL('./burn.js', import.meta.url),
  'pkg/cpu/meanflow_bg.wasm': () => new URL('./pkg/cpu/meanflow_bg.wasm', import.meta.url),
  'pkg/relaxed/meanflow_bg.wasm': () => new URL('./pkg/relaxed/meanflow_bg.wasm', import.meta.url),
  'pkg/webgpu/meanflow_bg.wasm': () => new URL('./pkg/webgpu/meanflow_bg.wasm', import.meta.url),
  'pkg/burn/meanflow_bg.wasm': () => new URL('./pkg/burn/meanflow_bg.wasm', import.meta.url),
};

/** The address of one, relative to this module. @param {keyof typeof ADDRESSES} file its place in the folder */
export const addressOf = (file) => ADDRESSES[file]();
