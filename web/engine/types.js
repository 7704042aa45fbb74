// The types of what passes between the engine, the element and the page.

/** @typedef {'webgpu' | 'cpu'} Backend */
/** @typedef {'f16' | 'f32'} Arithmetic in which precision a backend multiplies */

/**
 * Bytes of a download; `total` is 0 while unknown.
 * @typedef {{loaded: number, total: number}} Progress
 */

/**
 * @typedef {(loaded: number, total: number) => void} ProgressListener bytes of one download; `total` is 0 while unknown
 */

/**
 * What a model says about itself.
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {1 | 3 | 4} channels 4 = with transparency
 * @property {string[]} classes empty for a model without classes
 * @property {number} promptTokens most words of a prompt that are read; 0 for a model that takes no prompts
 * @property {string[]} vocabulary the words that it knows
 * @property {boolean} guidance whether the scale of guidance is an input of it
 * @property {string} description what it was trained on
 * @property {string} source where that comes from
 * @property {string} license of that
 * @property {number} step of the training
 * @property {string | null} init what the training began with, if not afresh
 * @property {number} parameters
 * @property {string} [sha256] of the weights, where it was announced
 * @property {Backend} backend what it runs on
 * @property {Arithmetic} arithmetic in which precision it multiplies
 */

/**
 * What describes pictures: a text, or a place on the way from it to another, `promptShare` of 0 to 1.
 * @typedef {{prompt?: string, promptTo?: string, promptShare?: number}} PromptChoice
 */

/**
 * Which class pictures are of: one by its index, or a place between classes, as the index and the weight of each, one
 * after the other. Without either each picture draws its own. Of a model that takes prompts: its prompt.
 * @typedef {{classIndex?: number, blend?: number[]} & PromptChoice} ClassChoice
 */

/** @typedef {'mean-flow' | 'restart' | 'euler' | 'midpoint' | 'heun'} Solver */

/** @typedef {[number, number]} Place in the square between four noises: right and down, 0 to 1 */

/**
 * One picture between the noises of four seeds, or noises themselves: top left, top right, bottom left, bottom right;
 * with `bitmap` it may come as one, straight from the GPU.
 * @typedef {{corners: (bigint | Float32Array)[], place: Place, bitmap?: boolean}} Mix
 */

/**
 * How to generate; picture `i` has the seed `seed + i`.
 * @typedef {object} Sampling
 * @property {bigint | number} seed
 * @property {number} count
 * @property {number} nfe network calls per picture
 * @property {number} [guidance] its scale, 1 to 100, of a model that has it as an input; without it 1, which is none
 * @property {boolean} [noise] whether to report the noise of pictures too, before them
 * @property {Solver} [solver] how, if not by the average velocity
 * @property {Mix} [mix] one picture between the noises of four seeds, or noises themselves
 */

/** @typedef {Sampling & ClassChoice} Request what to generate */

/**
 * A picture whose noise is asked for: RGBA bytes of the model's size; `seed` draws the class if none is given; an even
 * number of calls.
 * @typedef {{rgba: Uint8ClampedArray, seed: bigint, calls: number} & ClassChoice} Inversion
 */

/**
 * Pictures as they are made: from the index `first` on, their RGBA bytes one after the other, and their classes.
 * @typedef {{first: number, rgba: Uint8Array, labels: (number | undefined)[]}} PicturesReport
 */
/**
 * @typedef {{first: number, bitmap: ImageBitmap, labels: (number | undefined)[]}} BitmapReport one picture straight
 *   from the GPU
 */
/**
 * @typedef {{first: number, noise: Uint8ClampedArray[]}} NoiseReport the noise of pictures that follow, as opaque
 *   pixels
 */
/** @typedef {PicturesReport | BitmapReport | NoiseReport} Report */

/** @typedef {{stale: true}} Stale a newer request came, or the request was aborted */

/**
 * @typedef {{backend: Backend, arithmetic: Arithmetic | undefined, notice: string}} BackendState what is at work, and
 *   why not WebGPU
 */

export {};
