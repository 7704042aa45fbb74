// The types come from the code (`types/`); here is what JSDoc cannot say: which events the element has, and that frameworks know it.
import type { MeanFlowAttributes, MeanFlowElement, MeanFlowEventMap } from './types/element/mean-flow.js';

export * from './types/element/mean-flow.js';

declare module './types/element/mean-flow.js' {
  interface MeanFlowElement {
    addEventListener<K extends keyof MeanFlowEventMap>(type: K, listener: (this: this, event: MeanFlowEventMap[K]) => unknown, options?: boolean | AddEventListenerOptions): void;
    addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
    removeEventListener<K extends keyof MeanFlowEventMap>(type: K, listener: (this: this, event: MeanFlowEventMap[K]) => unknown, options?: boolean | EventListenerOptions): void;
    removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
  }
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
