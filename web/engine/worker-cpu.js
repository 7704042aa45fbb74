// The Worker of the wasm build `cpu`.
import { serve } from './engine-worker.js';
import * as build from './pkg/cpu/meanflow.js';

serve(build, 'cpu');
