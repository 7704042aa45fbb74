import type { ModelInfo, Progress } from './mean-flow.js';

/** What to generate; picture `i` has the seed `seed + i`. */
export interface Request {
  seed: bigint | number;
  count: number;
  /** Without it each picture draws its own. */
  classIndex?: number;
  /** A place between classes: the index and the weight of each of up to four, one after the other. */
  blend?: number[];
  /** Network calls per picture. */
  nfe: number;
  /** Whether to report the noise first. */
  noise?: boolean;
  /** How, if not by the average velocity. */
  solver?: 'mean-flow' | 'restart' | 'euler' | 'midpoint' | 'heun';
  /** One picture between four noises: top left, top right, bottom left, bottom right; each a seed or a noise. */
  mix?: { corners: (bigint | Float32Array)[]; place: [number, number] };
}

/** Pictures as RGBA bytes, one after the other, with their classes; or the noise of each as RGBA. */
export type Report = { first: number; rgba: Uint8Array; labels: (number | undefined)[] } | { noise: Uint8ClampedArray[] };

/**
 * One model in a Worker, on WebGPU where it has proven itself, else on the CPU; `change` tells when that changes. A device that
 * is lost is replaced (`device-lost`, then `recovered`), a WebGPU one only once.
 */
export class Ladder extends EventTarget {
  /** @param wanted forces one backend */
  constructor(wanted?: 'webgpu' | 'cpu');
  /** Reads weights; with their SHA-256 they are checked, and kept for the next visit. */
  load(source: string | File, onProgress?: (progress: Progress) => void, sha256?: string): Promise<(ModelInfo & { notice: string }) | { stale: true }>;
  /** Generates pictures; a newer call ends this one. */
  generate(request: Request, onPictures: (report: Report) => void): Promise<{ milliseconds: number; backend: 'webgpu' | 'cpu' } | { stale: true; backend: 'webgpu' | 'cpu' }>;
  /** The noise that a picture of the model's size comes from. */
  invert(picture: { rgba: Uint8ClampedArray; seed: bigint; classIndex?: number; blend?: number[]; calls: number }): Promise<{ noise: Float32Array } | { stale: true }>;
  /** What is at work, once a model is loaded. */
  readonly backend: 'webgpu' | 'cpu' | undefined;
  /** Frees everything. */
  close(): void;
}
