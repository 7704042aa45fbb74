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
  /** In network calls, for all pictures; where several Workers drew them, from the first call to the last. */
  milliseconds: number;
  /** The first seed first. */
  pictures: ImageData[];
}

/** What a request changes of the attributes: what is left out or undefined stays, null takes an attribute away. */
export interface Changes {
  seed?: bigint | number | `${bigint}` | null;
  seedText?: string | null;
  count?: number | `${number}` | null;
  steps?: number | `${number}` | null;
  label?: string | null;
  /** Ends the request, which then fails with its reason. */
  signal?: AbortSignal;
}

/** What kind of thing went wrong. */
export type ErrorCode = 'attribute' | 'class' | 'download' | 'weights' | 'wasm' | 'worker' | 'device-lost' | 'webgpu' | 'aborted';

/** The events of the element. */
export interface MeanFlowEventMap {
  progress: CustomEvent<Progress>;
  /** Once a model. */
  ready: CustomEvent<ModelInfo>;
  generate: CustomEvent<Generated>;
  error: CustomEvent<{ message: string; code?: ErrorCode; cause: Error & { code?: ErrorCode } }>;
  /** The device or its Worker has ended; the pictures that are there stay, and what is under way is made again. */
  'device-lost': CustomEvent<{ reason: string; losses: number }>;
  /** There is a device again, or the CPU goes on for good; `notice` says why it is not WebGPU. */
  recovered: CustomEvent<{ backend: 'webgpu' | 'cpu'; arithmetic: 'f16' | 'f32'; notice: string }>;
}

/** A seed from any text, the same everywhere: FNV-1a of 64 bits over its UTF-8 form. */
export function seedFromText(text: string): bigint;

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
  /** The folder that holds the engine's `worker-*.js` and `pkg/`, for all elements; beside the module where it is not said. */
  static assets: string | null | undefined;
  /** Address of the weights file. */
  get src(): string;
  set src(value: string | null | undefined);
  /** Seed of the first picture, 0 to 2⁶⁴ − 1; the next have the next seeds. */
  get seed(): bigint;
  set seed(value: bigint | number | `${bigint}` | null | undefined);
  /** A text in place of the seed, as {@link seedFromText} takes it: everybody's own picture, the same everywhere. */
  get seedText(): string;
  set seedText(value: string | null | undefined);
  /** How many pictures, 1 to 256. */
  get count(): number;
  set count(value: number | `${number}` | null | undefined);
  /** Pictures in a row; 0: as many as make it near-square. */
  get columns(): number;
  set columns(value: number | `${number}` | null | undefined);
  /** Network calls per picture, 1 to 1024. */
  get steps(): number;
  set steps(value: number | `${number}` | null | undefined);
  /** Class of the pictures by name, or a place between classes such as `cat:0.6,dog:0.4`; empty: each draws its own. */
  get label(): string;
  set label(value: string | null | undefined);
  /** Forces one; empty: the faster. */
  get backend(): 'webgpu' | 'cpu' | '';
  set backend(value: 'webgpu' | 'cpu' | '' | null | undefined);
  /** Whether there is a button for new pictures. */
  get controls(): boolean;
  set controls(value: boolean | null | undefined);
  /** `lazy`: nothing is fetched before the element comes near the viewport; `eager`: at once. */
  get loading(): 'lazy' | 'eager';
  set loading(value: 'lazy' | 'eager' | null | undefined);
  /** What the pictures show, for those who do not see them; without it the model and the seed are named. */
  get alt(): string;
  set alt(value: string | null | undefined);
  /** Whether the pictures of the attributes are there. */
  readonly complete: boolean;
  /** What the model says about itself, once it is loaded. */
  readonly info: ModelInfo | undefined;
  /** The pictures that are there, the first seed first. */
  readonly pictures: ImageData[];
  /** Generates the pictures of the attributes, after the given changes; nothing when a newer request came. */
  generate(changes?: Changes): Promise<Generated | undefined>;
  /** Ends what is being generated; the pictures that are there stay. */
  abort(): void;
  /** Ends what is being generated and frees the engine, where no other element uses it; a later request begins anew. */
  dispose(): void;
  /** A picture as a PNG file, pixel for pixel. */
  toBlob(index?: number): Promise<Blob>;
  addEventListener<K extends keyof MeanFlowEventMap>(type: K, listener: (this: this, event: MeanFlowEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof MeanFlowEventMap>(type: K, listener: (this: this, event: MeanFlowEventMap[K]) => unknown, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}

/** The attributes, as templates write them. */
export interface MeanFlowAttributes {
  src?: string;
  seed?: bigint | number | `${bigint}`;
  'seed-text'?: string;
  count?: number | `${number}`;
  columns?: number | `${number}`;
  steps?: number | `${number}`;
  label?: string;
  backend?: 'webgpu' | 'cpu' | '';
  controls?: boolean | '';
  loading?: 'lazy' | 'eager';
  alt?: string;
  assets?: string;
}

declare global {
  interface HTMLElementTagNameMap {
    'mean-flow': MeanFlowElement;
  }
}

/** The element in JSX: its attributes, and what every element of the framework takes. */
type InJsx<Common> = Omit<Common, keyof MeanFlowAttributes> & MeanFlowAttributes;

// Each framework's types are extended where it is installed; elsewhere the lines below mean nothing.
// @ts-ignore
declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'mean-flow': InJsx<React.DetailedHTMLProps<React.HTMLAttributes<MeanFlowElement>, MeanFlowElement>> & { [Event in keyof MeanFlowEventMap as `on${Event}`]?: (event: MeanFlowEventMap[Event]) => void };
    }
  }
}
// @ts-ignore
declare module 'preact' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'mean-flow': InJsx<HTMLAttributes<MeanFlowElement>>;
    }
  }
}
// @ts-ignore
declare module 'solid-js/jsx-runtime' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'mean-flow': InJsx<HTMLAttributes<MeanFlowElement>>;
    }
  }
}
// @ts-ignore
declare module 'vue' {
  interface GlobalComponents {
    // @ts-ignore
    'mean-flow': new () => { $props: MeanFlowAttributes };
  }
}
// @ts-ignore
declare module 'svelte/elements' {
  interface SvelteHTMLElements {
    // @ts-ignore
    'mean-flow': InJsx<HTMLAttributes<MeanFlowElement>>;
  }
}
