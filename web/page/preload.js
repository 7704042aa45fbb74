// Begins the two downloads that the first picture waits for, while the browser still lays out the page; the engine then
// finds both on their way.
//
// build-site.sh writes this file to web/preload.js, after `buildFor` and file-notice.js, in a block of their own, with
// the list of models and the engine's folder. It is no module: those run after the first layout. Where it comes late,
// and the page has removed it, it must not download a second time what the engine does.

const MODELS = new Map([/* models, by build-site.sh */]);
const query = new URLSearchParams(location.search);
const script = document.currentScript;

/** @param {string} href */
function begin(href) {
  const link = { rel: 'preload', as: 'fetch', crossOrigin: 'anonymous', href };
  if (script?.isConnected) document.head.append(Object.assign(document.createElement('link'), link));
}

// A file has nothing to wait for: file-notice.js has said so.
if (location.protocol !== 'file:') preload();

function preload() {
  begin(`ENGINE/pkg/${buildFor(query.get('backend') === 'webgpu' ? 'webgpu' : 'cpu')}/meanflow_bg.wasm`);
  // Later visits have kept the weights; a browser that cannot say so keeps none.
  const file = MODELS.get(query.get('model')) ?? [...MODELS.values()][0];
  const weights = new URL(`static/models/${file}`, location.href).href;
  const kept = async () => globalThis.caches?.match(weights);
  kept().catch(() => {}).then((kept) => kept ?? begin(weights));
}
