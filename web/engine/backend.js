// Whether this browser should run the WebGPU build or a CPU build.

import { CPU_ALONE, isInlined } from './builds.js';
import { coded } from './errors.js';

/** @import { Arithmetic, Backend } from './types.js' */

/**
 * What is at work, for a badge.
 * @param {{backend: Backend, arithmetic?: Arithmetic}} state
 */
export function backendName({ backend, arithmetic }) {
  return backend === 'cpu' ? 'CPU' : arithmetic === 'f16' ? 'WebGPU f16' : 'WebGPU';
}

/** Names under which software renderers present themselves: on them the CPU build is faster. */
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render/i;

/**
 * WebGPU where the adapter is a real GPU, else the CPU. A wanted backend is taken as it is, software adapters too.
 * @param {Backend | undefined} wanted
 * @param {{softwareWillDo?: boolean}} [options] whether a software adapter counts as a GPU
 * @returns {Promise<{backend: Backend, reason: string}>} `reason`: why it is not WebGPU
 * @throws when WebGPU is wanted and there is none
 */
export async function chooseBackend(wanted, { softwareWillDo = false } = {}) {
  if (wanted === 'cpu') return { backend: 'cpu', reason: 'The CPU was asked for.' };
  const reason = await obstacle(wanted === 'webgpu' || softwareWillDo);
  if (!reason) return { backend: 'webgpu', reason: '' };
  if (wanted === 'webgpu') {
    throw coded(
      'webgpu',
      new Error(`WebGPU cannot be used: ${reason}. Without backend=webgpu in the address, the page runs on the CPU.`),
    );
  }
  return { backend: 'cpu', reason: `Not on WebGPU: ${reason}.` };
}

/** What stands in the way of WebGPU, or nothing. @param {boolean} softwareWillDo */
async function obstacle(softwareWillDo) {
  if (isInlined()) return CPU_ALONE;
  if (!navigator.gpu) {
    return globalThis.isSecureContext === false
      ? 'browsers offer it to pages that come by https only'
      : 'this browser does not offer it';
  }
  try {
    // The one that the engine opens.
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) return 'this browser found no GPU for it';
    return !softwareWillDo && isSoftware(adapter) ? 'its only adapter computes in software' : '';
  } catch (error) {
    return `this browser does not let it be asked for (${error.message})`;
  }
}

/** @param {GPUAdapter} adapter */
function isSoftware({ info, isFallbackAdapter }) {
  if (info?.isFallbackAdapter ?? isFallbackAdapter) return true;
  return SOFTWARE.test([info?.vendor, info?.architecture, info?.device, info?.description].join(' '));
}
