// The wasm build `burn`, for a Worker that has begun with another build. It is handed over by a name: some bundlers
// keep no exports of a script that they only carry along.
import * as build from './pkg/burn/meanflow.js';

globalThis.meanflowBurn = build;
