// What the engine and its Worker say to one another.

/** @import { Inversion, ModelInfo, Report, Request, Stale } from './types.js' */

/** @typedef {{script: string, module: string}} BuildAddresses where the script and the wasm of a build lie */

/**
 * What a Worker can be asked for, and what it gives.
 * @typedef {object} Tasks
 * @property {Task<{module: WebAssembly.Module, burn: BuildAddresses | undefined}, void>} start starts the wasm build
 * @property {Task<{of: number, name: string}, ModelInfo>} load makes the weights of a load, which have arrived, the
 *   model; `name` is what to call the file
 * @property {Task<{}, {weights: Blob | undefined}>} weights the bytes of the model, for another Worker of this build
 * @property {Task<Pick<Request, 'seed' | 'count'>, {}>} noise reports the noise that pictures are made from
 * @property {Task<Inversion, {noise: Float32Array}>} invert the noise that a picture comes from
 * @property {Task<Request, {milliseconds: number} | Stale>} generate reports pictures as they are made
 */

/**
 * @template Asked
 * @template Given
 * @typedef {{asked: Asked, given: Given}} Task
 */

/**
 * What a Worker says: that it lives; that its device is lost; of a call a report, its result, or what went wrong.
 * @typedef {object} Answer
 * @property {true} [alive]
 * @property {number} [id] of the call
 * @property {Report} [report]
 * @property {unknown} [result]
 * @property {string} [error]
 * @property {string | boolean} [lost] the reason; of a call's error: whether the device is lost
 */

export {};
