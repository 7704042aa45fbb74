// Keeps the page for visits without a network. The newest files win: what is kept is used only where the network fails.
//
// build-site.sh writes this file to the root of the site, after `fusesMultiplications` and with the list of its files.

const KEPT = 'meanflow-page';
/** @type {string[]} */
const FILES = [/* filled in by build-site.sh */];
/**
 * Milliseconds after which a server that does not answer counts as a network that fails, and that where it has been so
 * before.
 */
const PATIENCE = 4000;
const LITTLE_PATIENCE = 100;
/** The build that this browser does not take. */
const UNUSED = fusesMultiplications() ? '/pkg/cpu/' : '/pkg/relaxed/';
/** The addresses of the files, without queries: other files below this one's folder belong to others. */
const OURS = new Set(FILES.map((file) => new URL(file, registration.scope).href));
/** The page has two names. */
const INDEX = new URL('index.html', registration.scope).href;

/** Where a file is kept: one copy, whatever its address asks for. @param {string} url */
function placeOf(url) {
  const address = url.replace(/[?#].*/s, '');
  return address === INDEX ? registration.scope : address;
}

addEventListener('install', (event) => {
  skipWaiting();
  event.waitUntil(caches.open(KEPT).then((store) => store.addAll(FILES.filter((file) => !file.includes(UNUSED)))));
});

addEventListener('activate', (event) => event.waitUntil(Promise.all([clients.claim(), forget()])));

/** The engine's folders, one a version: a newer page may ask for a newer one before this script has been replaced. */
const ENGINES = new URL('web/engine/', registration.scope).href;

/** Forgets older engines, and copies for each query, which earlier versions kept. */
async function forget() {
  const store = await caches.open(KEPT);
  const old = (await store.keys()).filter(
    ({ url }) => !OURS.has(url) && (OURS.has(placeOf(url)) || url.startsWith(ENGINES)),
  );
  await Promise.all(old.map((request) => store.delete(request)));
}

addEventListener('fetch', (event) => {
  const { request } = event;
  const place = placeOf(request.url);
  // Weights have a store of their own, which checks them.
  if (request.method !== 'GET' || !(OURS.has(place) || place.startsWith(ENGINES))) return;
  event.respondWith(fromNetwork(event, place));
});

/** Whether the server was late with the last answer. */
let isLate = false;

/** @param {FetchEvent} event @param {string} place */
async function fromNetwork(event, place) {
  const kept = () => caches.open(KEPT).then((store) => store.match(place, { ignoreVary: true })).catch(() => undefined);
  const fetching = fetch(event.request);
  // An answer that comes too late for this visit is there for the next.
  event.waitUntil(fetching.then((response) => keep(place, response), () => {}));
  try {
    const response = await Promise.race([fetching, late()]);
    isLate = !response;
    return response ?? (await kept()) ?? (await fetching);
  } catch (error) {
    const response = await kept();
    if (response) return response;
    throw error;
  }
}

/** @returns {Promise<undefined>} */
const late = () => new Promise((resolve) => setTimeout(resolve, isLate ? LITTLE_PATIENCE : PATIENCE));

/** @param {string} place @param {Response} response */
async function keep(place, response) {
  // A redirect that the browser is to follow itself has no address.
  if (!response.ok || !response.url) return;
  const copy = response.clone();
  try {
    await (await caches.open(KEPT)).put(place, copy);
  } catch {
    // A full store is no reason to show nothing.
  }
}
