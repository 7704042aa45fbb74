// Keeps the page for visits without a network. The newest files win: what is kept is used only where the network fails.
//
// build-site.sh writes this file to the root of the site, after `fusesMultiplications` and with the list of its files.

const KEPT = 'meanflow-page';
const FILES = [/* filled in by build-site.sh */];
/** The build that this browser does not take. */
const UNUSED = fusesMultiplications() ? '/pkg/cpu/' : '/pkg/relaxed/';

addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(caches.open(KEPT).then((store) => store.addAll(FILES.filter((file) => !file.includes(UNUSED)))));
});

addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('fetch', (event) => {
  const { request } = event;
  // Weights have a store of their own, which checks them.
  if (request.method !== 'GET' || !request.url.startsWith(registration.scope) || request.url.endsWith('.safetensors')) return;
  event.respondWith(fromNetwork(request));
});

async function fromNetwork(request) {
  const store = await caches.open(KEPT);
  try {
    const response = await fetch(request);
    if (response.ok) await store.put(request, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    // The page is one file, whatever its address asks for.
    const kept = await store.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}
