// The wasm builds and their Workers: where they lie, and how they start.

import { downloadModule, resolved } from './download.js';
import { coded } from './errors.js';
import { buildFor } from './fused.js';

/** @typedef {'cpu' | 'relaxed' | 'webgpu'} Build */

/**
 * Addresses relative to this module, spelt out so that bundlers find the files; they are asked for when first needed, as some
 * bundles have no address.
 */
const MODULES = {
  cpu: () => new URL('./pkg/cpu/meanflow_bg.wasm', import.meta.url),
  relaxed: () => new URL('./pkg/relaxed/meanflow_bg.wasm', import.meta.url),
  webgpu: () => new URL('./pkg/webgpu/meanflow_bg.wasm', import.meta.url),
};
const SCRIPTS = {
  cpu: () => new URL('./worker-cpu.js', import.meta.url),
  relaxed: () => new URL('./worker-relaxed.js', import.meta.url),
  webgpu: () => new URL('./worker-webgpu.js', import.meta.url),
};
/** Bundlers look for these very words; webpack puts the file on its disk in the place of an address above. */
const WORKERS = {
  cpu: () => new Worker(new URL('./worker-cpu.js', import.meta.url), { type: 'module' }),
  relaxed: () => new Worker(new URL('./worker-relaxed.js', import.meta.url), { type: 'module' }),
  webgpu: () => new Worker(new URL('./worker-webgpu.js', import.meta.url), { type: 'module' }),
};

/** The folder that holds `worker-*.js` and `pkg/`, where the page names one. @type {string | undefined} */
let assets;

/** A build inside the bundle: its wasm as bytes, its Worker's script as text. @type {{module: () => Promise<WebAssembly.Module>, script: string} | undefined} */
let inlined;

/** Takes the builds from another folder than this module's. @param {string | undefined} folder */
export function setAssets(folder) {
  assets = folder === undefined ? undefined : folder.replace(/\/*$/, '/');
}

/** The folder of {@link setAssets}. */
export const assetsFolder = () => assets;

/** Takes the CPU's build from the bundle itself. @param {typeof inlined} build */
export function setInlined(build) {
  inlined = build;
}

/** Whether the CPU's build is inside the bundle, and the others are nowhere. */
export const isInlined = () => inlined !== undefined && assets === undefined;

/** The build of a backend for this browser. @param {'webgpu' | 'cpu'} backend @returns {Build} */
export const buildOf = (backend) => (isInlined() ? 'cpu' : buildFor(backend));

/**
 * The compiled wasm of a build.
 * @param {Build} build
 * @param {(loaded: number, total: number) => void} progress
 */
export async function moduleOf(build, progress) {
  if (!globalThis.WebAssembly) throw coded('wasm', new Error('WebAssembly, which computes the pictures, is switched off in this browser'));
  if (isInlined()) return inlined.module();
  return downloadModule(assets ? resolved(`${assets}pkg/${build}/meanflow_bg.wasm`) : MODULES[build](), progress);
}

/** What keeps a Worker from its start; browsers do not always say which. */
export const WORKERS_NEED = "a Content-Security-Policy must allow it in worker-src, with blob: from another origin or a bundle; a Cross-Origin-Embedder-Policy must come with it";

/**
 * Starts the Worker of a build. A Worker may only start from the page's own origin; a script of another is imported by one
 * that does nothing else.
 * @param {Build} build
 * @throws where the page's policy forbids it, with what must be allowed
 */
export function startWorker(build) {
  try {
    if (isInlined()) return new Worker(trusted(blobOf(inlined.script)), { type: 'module' });
    const script = assets ? resolved(`${assets}worker-${build}.js`) : resolved(SCRIPTS[build]());
    // Bundlers turn small scripts into data: addresses beside a module of the page's own origin.
    const { origin, protocol } = assets || !import.meta.url ? script : new URL(import.meta.url);
    // Of a sandboxed frame `location` still says where its file is from; `self.origin` says what it may reach.
    if (origin !== self.origin && protocol !== 'file:') return new Worker(trusted(blobOf(importing(script.href))), { type: 'module' });
    if (assets) return new Worker(trusted(script.href), { type: 'module' });
    try {
      return WORKERS[build]();
    } catch (error) {
      // Under `require-trusted-types-for 'script'` a plain address is a TypeError.
      if (!globalThis.trustedTypes || !(error instanceof TypeError)) throw error;
      return new Worker(trusted(script.href), { type: 'module' });
    }
  } catch (error) {
    throw coded('worker', new Error(`the engine's Worker cannot start (${error.message}): ${WORKERS_NEED}`, { cause: error }));
  }
}

/**
 * A Worker that is the script at another origin. What it imports while it runs is a matter of script-src, where the page's policy
 * allows that origin already; an import at its head would be one of worker-src. What is said to it meanwhile waits.
 */
const importing = (address) => `let w=[];onmessage=e=>w.push(e);import(${JSON.stringify(address)}).then(()=>w.map(onmessage),reportError)`;

/** The address of a script. In a sandboxed frame a Worker of modules does not start from a Blob. */
const blobOf = (script) => (self.origin === 'null' ? `data:text/javascript,${encodeURIComponent(script)}` : URL.createObjectURL(new Blob([script], { type: 'text/javascript' })));

/** Under `require-trusted-types-for 'script'` the address of a Worker must pass a policy; ours is called `mean-flow`. */
let policy;
function trusted(address) {
  policy ??= globalThis.trustedTypes?.createPolicy('mean-flow', { createScriptURL: (url) => url });
  return policy?.createScriptURL(address) ?? address;
}
