// The Worker of the wasm build `webgpu`.
import { serve } from './engine-worker.js';
import * as build from './pkg/webgpu/meanflow.js';

serve(build, 'webgpu');
