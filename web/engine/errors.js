// What went wrong, for programs: each error has a `code` beside its words.

/** @typedef {'attribute' | 'class' | 'prompt'} RequestErrorCode of what was asked for */

/**
 * | code | meaning |
 * |---|---|
 * | `attribute` | an attribute or argument has a value that cannot be used |
 * | `class` | the model has no such class |
 * | `prompt` | the model takes no prompts |
 * | `download` | a file could not be downloaded |
 * | `weights` | a file is no usable weights file |
 * | `wasm` | this browser cannot run WebAssembly, or the build is damaged |
 * | `worker` | the engine's Worker does not start |
 * | `device-lost` | the device or its Worker has ended |
 * | `webgpu` | WebGPU was asked for and cannot be used |
 * | `aborted` | the request was aborted |
 * @typedef {RequestErrorCode | 'download' | 'weights' | 'wasm' | 'worker' | 'device-lost' | 'webgpu' | 'aborted'}
 *   ErrorCode
 */

/**
 * An error with its code.
 * @param {ErrorCode} code
 * @param {Error} error
 * @param {{missing?: boolean}} [more] `missing`: the file is not there
 */
export const coded = (code, error, more) => Object.assign(error, { code, ...more });
