// What the scripts find around them that TypeScript does not know.

/** Put there by bundle.mjs. */
declare module 'inline:worker' {
  const script: string;
  export default script;
}
declare module 'inline:wasm' {
  const hexadecimal: string;
  export default hexadecimal;
}

/** Handed over by engine/burn.js to the Worker that has imported it. */
declare var meanflowBurn: typeof import('./engine/pkg/burn/meanflow.js');

/** Not in every browser. */
declare var trustedTypes: undefined | { createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): URL } };

interface GPUAdapter {
  /** Where browsers said it before it moved into `info`. */
  readonly isFallbackAdapter?: boolean;
}

/** Of engine/simd-support.js, which build-site.sh puts before page/preload.js and page/service-worker.js. */
declare function fusesMultiplications(): boolean;
declare function buildFor(backend: 'webgpu' | 'cpu'): 'cpu' | 'relaxed' | 'webgpu';

/** What page/service-worker.js finds: TypeScript's own types of it cannot stand beside those of a page. */
interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface WindowEventMap {
  install: ExtendableEvent;
  activate: ExtendableEvent;
  fetch: FetchEvent;
}
declare const registration: ServiceWorkerRegistration;
declare const clients: { claim(): Promise<void> };
declare function skipWaiting(): Promise<void>;

declare const GPUBufferUsage: Record<'STORAGE' | 'COPY_SRC' | 'COPY_DST', number>;

/** TensorFlow.js, which the bench loads without its types. */
declare var tf: any;
