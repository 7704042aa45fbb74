// The Worker of the wasm build `relaxed`.
import { serve } from './engine-worker.js';
import * as build from './pkg/relaxed/meanflow.js';

serve(build, 'cpu');
