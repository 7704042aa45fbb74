// The wasm builds and their Workers: where they lie, and how they start.

import { FOLDER, addressOf } from './addresses.js';
import { downloadModule, resolved } from './download.js';
import { coded } from './errors.js';
import { buildFor } from './simd-support.js';
import { orSpare } from './spare.js';

/** @import { Backend, ProgressListener } from './types.js' */

/** @typedef {ReturnType<typeof buildFor>} Build */
/** @typedef {Parameters<typeof addressOf>[0]} EngineFile place of a file in the engine's folder */

/** What the engine's folder lies in, where the page says it. @type {string | undefined} */
let assets;

/**
 * A build inside the bundle: its wasm as bytes, its Worker's script as text.
 * @type {{module: () => Promise<WebAssembly.Module>, script: string} | undefined}
 */
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

/** Why there is no other then. */
export const CPU_ALONE = 'the engine in this bundle is for the CPU alone; `assets` can name others';

/** The build of a backend for this browser. @param {Backend} backend @returns {Build} @throws where there is none */
export function buildOf(backend) {
  if (!isInlined()) return buildFor(backend);
  if (backend === 'cpu') return 'cpu';
  throw coded('webgpu', new Error(CPU_ALONE));
}

/** The address of one of the engine's files. @param {EngineFile} file */
const locate = (file) => resolved(assets ? assets + FOLDER + file : addressOf(file));
/** @param {Build | 'burn'} build */
const moduleAt = (build) => locate(`pkg/${build}/meanflow_bg.wasm`);

/** Where the build of few models lies, which the Worker loads itself; nothing inside a bundle. */
export const addressesOfBurn = () =>
  isInlined() ? undefined : { script: locate('burn.js').href, module: moduleAt('burn').href };

/**
 * The compiled wasm of a build.
 * @param {Build} build
 * @param {ProgressListener} progress
 */
export async function moduleOf(build, progress) {
  if (!globalThis.WebAssembly) {
    throw coded('wasm', new Error('WebAssembly, which computes the pictures, is switched off in this browser'));
  }
  if (inlined && isInlined()) return inlined.module();
  const download = async () => downloadModule(moduleAt(build), progress);
  return assets || build === 'webgpu' ? download() : orSpare(download);
}

/** What keeps a Worker from its start; browsers do not always say which. */
export const WORKERS_NEED =
  'a Content-Security-Policy must allow it in worker-src, with blob: from another origin or a bundle; a Cross-Origin-Embedder-Policy must come with it';

/**
 * Starts the Worker of a build. A Worker may only start from the page's own origin; a script of another is imported by
 * one that does nothing else.
 * @param {Build} build
 * @throws where the page's policy forbids it, with what must be allowed
 */
export function startWorker(build) {
  try {
    if (inlined && isInlined()) return new Worker(trusted(blobOf(inlined.script)), { type: 'module' });
    const script = locate(`worker-${build}.js`);
    // Of a sandboxed frame `location` still says where its file is from; `self.origin` says what it may reach.
    const own = script.origin === self.origin || script.protocol === 'file:';
    return new Worker(trusted(own ? script.href : blobOf(importing(script.href))), { type: 'module' });
  } catch (error) {
    throw coded(
      'worker',
      new Error(`the engine's Worker cannot start (${error.message}): ${WORKERS_NEED}`, { cause: error }),
    );
  }
}

/**
 * A Worker that is the script at another origin. What it imports while it runs is a matter of script-src, where the
 * page's policy allows that origin already; an import at its head would be one of worker-src. What is said to it
 * meanwhile waits.
 * @param {string} address
 */
const importing = (address) =>
  `let w=[];onmessage=e=>w.push(e);import(${JSON.stringify(address)}).then(()=>w.map(onmessage),reportError)`;

/**
 * The address of a script. In a sandboxed frame a Worker of modules does not start from a Blob.
 * @param {string} script
 */
const blobOf = (script) =>
  self.origin === 'null'
    ? `data:text/javascript,${encodeURIComponent(script)}`
    : URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));

/** @type {ReturnType<NonNullable<typeof trustedTypes>['createPolicy']> | undefined} */
let policy;

/**
 * Under `require-trusted-types-for 'script'` the address of a Worker must pass a policy; ours is called `mean-flow`.
 * @param {string} address
 */
function trusted(address) {
  policy ??= globalThis.trustedTypes?.createPolicy('mean-flow', { createScriptURL: (url) => url });
  return policy?.createScriptURL(address) ?? address;
}
