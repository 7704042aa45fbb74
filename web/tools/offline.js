// Keeps the page for visits without a network. The newest files win: what is kept is used only where the network fails.
//
// build-site.sh writes this file to the root of the site, after `fusesMultiplications` and with the list of its files.

const KEPT = 'meanflow-page';
const FILES = [/* filled in by build-site.sh */];
/** Milliseconds after which a server that does not answer counts as a network that fails. */
const PATIENCE = 4000;
/** The build that this browser does not take. */
const UNUSED = fusesMultiplications() ? '/pkg/cpu/' : '/pkg/relaxed/';

addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(caches.open(KEPT).then((store) => store.addAll(FILES.filter((file) => !file.includes(UNUSED)))));
});

addEventListener('activate', (event) => event.waitUntil(Promise.all([clients.claim(), forget()])));

/** The addresses of the files, without queries: other files below this one's folder belong to others. */
const OURS = new Set(FILES.map((file) => new URL(file, registration.scope).href));
/** The engine's folders, one a version: a newer page may ask for a newer one before this script has been replaced. */
const ENGINES = new URL('web/engine/', registration.scope).href;

/** Forgets what is no longer part of the page. */
async function forget() {
  const store = await caches.open(KEPT);
  for (const { url } of await store.keys()) if (!OURS.has(url)) await store.delete(url);
}

addEventListener('fetch', (event) => {
  const { request } = event;
  // The page is one file, whatever its address asks for.
  const address = request.url.replace(/[?#].*/s, '');
  // Weights have a store of their own, which checks them.
  if (request.method !== 'GET' || !(OURS.has(address) || address.startsWith(ENGINES))) return;
  event.respondWith(fromNetwork(request, address));
});

async function fromNetwork(request, address) {
  const kept = () => caches.open(KEPT).then((store) => store.match(address)).catch(() => undefined);
  const fetching = fetch(request);
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE));
  try {
    const response = (await Promise.race([fetching, late])) ?? (await kept()) ?? (await fetching);
    if (response.ok && response.url) keep(address, response.clone());
    return response;
  } catch (error) {
    const response = await kept();
    if (response) return response;
    throw error;
  }
}

/** One copy of each file, whatever query it was asked for with. */
async function keep(address, response) {
  try {
    await (await caches.open(KEPT)).put(address, response);
  } catch {
    // A full store is no reason to show nothing.
  }
}
