/** Bytes of a download; `total` is 0 while unknown. */
export interface Progress {
  loaded: number;
  total: number;
}

/** What a model says about itself. */
export interface ModelInfo {
  name: string;
  width: number;
  height: number;
  channels: 1 | 3 | 4;
  /** Empty for a model without classes. */
  classes: string[];
  description: string;
  source: string;
  license: string;
  step: number;
  /** What the training began with, if not afresh. */
  init: string | null;
  parameters: number;
  /** Of the weights, where it was announced. */
  sha256?: string;
  backend: 'webgpu' | 'cpu';
  /** In which precision it multiplies. */
  arithmetic: 'f16' | 'f32';
}

/** Pictures that were made. */
export interface Generated {
  seed: bigint;
  count: number;
  nfe: number;
  label: string;
  /** In network calls, for all pictures. */
  milliseconds: number;
}

/** The events of the element. */
export interface MeanFlowEventMap {
  progress: CustomEvent<Progress>;
  ready: CustomEvent<ModelInfo>;
  generate: CustomEvent<Generated>;
  error: CustomEvent<{ message: string }>;
  /** The device or its Worker has ended; the pictures that are there stay, and what is under way is made again. */
  'device-lost': CustomEvent<{ reason: string; losses: number }>;
  /** There is a device again, or the CPU goes on for good; `notice` says why it is not WebGPU. */
  recovered: CustomEvent<{ backend: 'webgpu' | 'cpu'; arithmetic: 'f16' | 'f32'; notice: string }>;
}

/**
 * `<mean-flow src="…">`: pictures of a model. Elements with the same `src` share one download and one engine; nothing is
 * fetched before the element comes near the viewport.
 *
 * @slot poster - shown until there are pictures
 * @csspart gallery - the grid of pictures
 * @csspart picture - each picture
 * @csspart button - the button that `controls` shows
 * @csspart badge - what the model runs on
 * @csspart status - what is going on, or wrong
 */
export class MeanFlowElement extends HTMLElement {
  /** Address of the weights file. */
  src: string;
  /** Seed of the first picture, 0 to 2⁶⁴ − 1; the next have the next seeds. */
  get seed(): bigint;
  set seed(value: bigint | number);
  /** How many pictures, 1 to 256. */
  count: number;
  /** Network calls per picture, 1 to 1024. */
  steps: number;
  /** Class of the pictures by name, or a place between classes such as `cat:0.6,dog:0.4`; empty: each draws its own. */
  label: string;
  /** Generates the pictures of the attributes, after the given changes; nothing when a newer request came. */
  generate(changes?: { seed?: bigint | number; steps?: number; label?: string }): Promise<Generated | undefined>;
  /** Ends what is being generated; the pictures that are there stay. */
  abort(): void;
  /** A picture as a PNG file, pixel for pixel. */
  toBlob(index?: number): Promise<Blob>;
  addEventListener<K extends keyof MeanFlowEventMap>(type: K, listener: (this: this, event: MeanFlowEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    'mean-flow': MeanFlowElement;
  }
}
