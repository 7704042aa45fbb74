// The Worker of the wasm build `webgpu`.
import { serve } from './engine-worker.js';
import * as build from './pkg/webgpu/meanflow.js';

// wgpu 30 panics at an internal error, which a driver makes that does not compile a shader: it is told of an error that
// it knows, and the engine goes on to other shaders.
const { prototype } = globalThis.GPUDevice ?? {};
if (prototype) {
  const { popErrorScope } = prototype;
  prototype.popErrorScope = async function () {
    const error = await popErrorScope.call(this);
    return error && !(error instanceof GPUOutOfMemoryError) ? new GPUValidationError(error.message) : error;
  };
}

serve(build, 'webgpu');
