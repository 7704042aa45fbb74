// Hostile surroundings: policies of pages and servers, servers that send something else, browsers that lack something.
// Either it works all the same, or the message names the file, the cause and what helps.
import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { serve } from '../../web/tools/serve.mjs';
import {
  FIRST,
  DIST,
  ROOT,
  beforeWorkers,
  launch,
  openStage,
  problemsOf,
  randomWeights,
  settled,
  temporaryFolder,
  wall,
} from './support.mjs';

const stage = openStage({ webgpu: false });
const MODEL = 'static/models/emoji.safetensors';
const page = async () => (await stage.browser.newContext({ serviceWorkers: 'block' })).newPage();

/** Serves a folder for a test, with headers, and with an answer of its own to some requests. */
async function serveWith(t, { folder = DIST, headers = () => ({}), answer = () => false }) {
  const site = await serve(folder);
  t.after(() => {
    site.server.closeAllConnections();
    site.server.close();
  });
  const [serveFile] = site.server.listeners('request');
  site.server.removeAllListeners('request');
  site.server.on('request', (request, response) => {
    for (const [name, value] of Object.entries(headers(request.url))) response.setHeader(name, value);
    if (!answer(request, response)) serveFile(request, response);
  });
  return site;
}

/** How the element of a page ends up: drawn, or the error's words. */
async function outcome(page) {
  await page.waitForFunction(() => document.getElementById('a')?.complete || globalThis.failed, undefined, {
    timeout: 60_000,
  });
  return page.evaluate(() => globalThis.failed ?? 'drawn');
}

const element = (origin) =>
  `<script type="module" nonce="abc" src="${origin}web/mean-flow.js"></script><mean-flow id="a" backend="cpu" seed="7" src="${origin}${MODEL}"></mean-flow>`;
const LISTEN =
  "document.addEventListener('error', ({ detail }) => { if (detail) globalThis.failed = detail.message; }, true);";

/** Opens a page with a body and headers, at an origin. */
async function visit(origin, body, headers = {}) {
  const opened = await page();
  await opened.addInitScript(LISTEN);
  await opened.route('**/test.html', (route) =>
    route.fulfill({ contentType: 'text/html', headers, body: `<!doctype html><title>A page</title>${body}` }),
  );
  await opened.goto(`${origin}test.html`);
  return opened;
}

const ISOLATED = { 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Opener-Policy': 'same-origin' };

test('on a page with a Cross-Origin-Embedder-Policy the element draws, from its own origin and from another', async (t) => {
  const site = await serveWith(t, { headers: () => ISOLATED });
  const own = await visit(site.address, element('/'), ISOLATED);
  assert.equal(await outcome(own), 'drawn');
  assert.equal(await own.evaluate(() => crossOriginIsolated), true);
  // The other origin need not send such headers.
  const other = await visit(site.address, element(stage.site.address), ISOLATED);
  assert.equal(await outcome(other), 'drawn');
});

test('where such a page has the header and its Worker has not, the error says so', async () => {
  const opened = await visit(stage.site.address, element('/'), ISOLATED);
  assert.match(await outcome(opened), /worker-\w+\.js did not load: .*Cross-Origin-Embedder-Policy must come with it/);
});

for (const [what, policy, expected] of [
  [
    'worker-src blob: alone',
    (origin) =>
      `default-src 'none'; script-src 'nonce-abc' ${origin} 'wasm-unsafe-eval'; connect-src ${origin}; worker-src blob:`,
    /^drawn$/,
  ],
  [
    'no Workers',
    (origin) =>
      `default-src 'none'; script-src 'nonce-abc' ${origin} 'wasm-unsafe-eval'; connect-src ${origin}; worker-src 'none'`,
    /worker-src/,
  ],
  [
    'no wasm',
    (origin) => `default-src 'none'; script-src 'nonce-abc' ${origin}; connect-src ${origin}; worker-src blob:`,
    /'wasm-unsafe-eval' in script-src/,
  ],
  [
    'trusted types of another name',
    (origin) =>
      `script-src 'nonce-abc' ${origin} 'wasm-unsafe-eval'; require-trusted-types-for 'script'; trusted-types other`,
    /Policy "mean-flow" disallowed/,
  ],
]) {
  test(`a policy with ${what}, and the scripts on another origin: ${expected.test('drawn') ? 'pictures' : 'words that say what must be allowed'}`, async (t) => {
    const site = await serveWith(t, { folder: temporaryFolder() });
    const opened = await visit(site.address, element(stage.site.address), {
      'Content-Security-Policy': policy(new URL(stage.site.address).origin),
    });
    assert.match(await outcome(opened), expected);
  });
}

test('every page has the same policy, the bench works under it, and no other site may frame them', async (t) => {
  const policy = (file) =>
    /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(readFileSync(join(DIST, file), 'utf8'))?.[1];
  assert.match(policy('index.html'), /form-action 'none'/);
  assert.equal(policy('web/bench.html'), policy('index.html'));

  const bench = await page();
  const refused = [];
  bench.on(
    'console',
    (message) => /Content Security Policy|Content-Security-Policy/.test(message.text()) && refused.push(message.text()),
  );
  await bench.goto(`${stage.site.address}web/bench.html?only=ours-cpu&batches=1&repeats=1`);
  await bench.waitForFunction(() => globalThis.result, undefined, { timeout: 60_000 });
  assert.equal(await bench.evaluate(() => globalThis.result.error), undefined);
  assert.deepEqual(refused, []);

  const foreign = await serveWith(t, { folder: temporaryFolder() });
  for (const [origin, shown] of [[stage.site.address, true], [foreign.address, false]]) {
    const outer = await visit(origin, `<iframe src="${stage.site.address}?count=1"></iframe>`);
    const frame = await (await outer.waitForSelector('iframe')).contentFrame();
    await outer.waitForTimeout(500);
    assert.equal(
      await frame.evaluate(() => Boolean(document.getElementById('gallery'))).catch(() => false),
      shown,
      `framed by ${origin}`,
    );
  }
});

test('opened as a file the page says why it cannot run, and which command serves it', async () => {
  const opened = await page();
  await opened.goto(pathToFileURL(join(DIST, 'index.html')).href);
  assert.match(
    await settled(opened, 'error'),
    /cannot run from a file: .*"python3 -m http\.server" and open http:\/\/localhost:8000/,
  );
  assert.ok(await opened.isVisible('#poster'), 'no pictures from earlier');
});

const HTML = { contentType: 'text/html', body: '<!doctype html><title>Not found</title>' };
const POINTER =
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 2012345\n';
for (const [what, before, expected] of [
  [
    'a web page in place of weights',
    (page) => page.route('**/*.safetensors', (route) => route.fulfill(HTML)),
    new RegExp(`${FIRST.file} is not usable: the server sent a web page in its place`),
  ],
  [
    'a pointer of Git LFS in place of weights',
    (page) =>
      page.route('**/*.safetensors', (route) =>
        route.fulfill({ contentType: 'application/octet-stream', body: POINTER }),
      ),
    new RegExp(`${FIRST.file} is not usable: it is a Git LFS pointer`),
  ],
  [
    'a web page in place of wasm',
    (page) => page.route('**/*.wasm', (route) => route.fulfill(HTML)),
    /meanflow_bg\.wasm is not usable as WebAssembly: the server sent a web page in its place/,
  ],
  [
    'a web page in place of the list of models',
    (page) => page.route('**/models.json', (route) => route.fulfill(HTML)),
    /models\.json is not usable: the server sent a web page in its place/,
  ],
  [
    'no list of models',
    (page) => page.route('**/models.json', (route) => route.abort()),
    /cannot download models\.json: /,
  ],
  [
    'WebAssembly switched off',
    (page) => page.addInitScript(() => delete globalThis.WebAssembly),
    /WebAssembly, which computes the pictures, is switched off in this browser/,
  ],
]) {
  test(`${what}: the message names file and cause`, async () => {
    const opened = await page();
    const problems = problemsOf(opened);
    await before(opened);
    await opened.goto(`${stage.site.address}?seed=3&count=1`);
    assert.match(await settled(opened, 'error'), expected);
    assert.deepEqual(problems, []);
    await opened.context().close();
  });
}

for (const [name, ending] of [
  [FIRST.file, '.safetensors'],
  ['meanflow_bg.wasm', '.wasm'],
  ['models.json', 'models.json'],
]) {
  test(`a connection that is cut in the middle of ${name} is told with its name`, async (t) => {
    const site = await serveWith(t, {
      answer: (request, response) => {
        if (!request.url.split('?')[0].endsWith(ending)) return false;
        response.writeHead(200, {
          'Content-Type': ending === '.wasm' ? 'application/wasm' : 'application/octet-stream',
          'Content-Length': 100_000,
        });
        response.write(Buffer.from('\0asm\x01\0\0\0'), () => setTimeout(() => response.destroy(), 50));
        return true;
      },
    });
    const opened = await page();
    await opened.goto(`${site.address}?seed=3&count=1`);
    assert.match(await settled(opened, 'error'), new RegExp(`the download of ${name.replace('.', '\\.')} broke off`));
    await opened.context().close();
  });
}

test('by plain http, where browsers withhold stores, checksums and WebGPU, there are pictures, and the reason for the CPU', async () => {
  const browser = await launch({ webgpu: false, args: ['--host-resolver-rules=MAP plain.test 127.0.0.1'] });
  try {
    const opened = await browser.newPage();
    const problems = problemsOf(opened);
    await opened.goto(`${stage.site.address.replace('localhost', 'plain.test')}?seed=3&count=2`);
    await settled(opened);
    assert.deepEqual(await opened.evaluate(() => [isSecureContext, typeof crypto.subtle, typeof globalThis.caches]), [
      false,
      'undefined',
      'undefined',
    ]);
    assert.equal((await wall(opened)).length, 2);
    assert.match(
      await opened.textContent('#notice'),
      /Not on WebGPU: browsers offer it to pages that come by https only/,
    );
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});

/** A GPU that the page is told of, and that its Worker does not find. */
const pretendGpu = (page) => page.addInitScript(() => {
  const adapter = { info: { vendor: 'a vendor', isFallbackAdapter: false } };
  Object.defineProperty(Navigator.prototype, 'gpu', { get: () => ({ requestAdapter: async () => adapter }) });
});

test('an adapter that the page has and the Worker has not: the CPU draws and the reason is told; asked for, it is an error', async () => {
  const opened = await page();
  await pretendGpu(opened);
  await opened.goto(`${stage.site.address}?seed=3&count=2`);
  await settled(opened);
  await opened.waitForFunction(() => /Not on WebGPU/.test(document.getElementById('notice').textContent), undefined, {
    timeout: 30_000,
  });
  assert.match(await opened.textContent('#notice'), /Not on WebGPU: .*adapter/i);
  assert.equal(await opened.textContent('#backend'), 'CPU');
  await opened.goto(`${stage.site.address}?seed=3&count=2&backend=webgpu`);
  assert.match(await settled(opened, 'error'), /WebGPU.*adapter/i);
});

test('a model whose network call takes minutes can be left at once: its Worker is ended', async () => {
  const slow = randomWeights(
    { image_size: 128, channels: 4, patch: 2, width: 128, depth: 24, heads: 2, mlp_ratio: 4, classes: 0 },
    'f16',
  );
  const opened = await page();
  await opened.goto(`${stage.site.address}?seed=3&count=2&backend=cpu`);
  await settled(opened);
  await opened.setInputFiles('#file', slow);
  await opened.waitForFunction(() => document.getElementById('status').textContent === 'Generating…', undefined, {
    timeout: 60_000,
  });
  await opened.waitForTimeout(1500);
  const began = Date.now();
  await opened.check('input[name=model][value=tiles]', { force: true });
  await settled(opened);
  const waited = Date.now() - began;
  assert.match(opened.url(), /model=tiles/);
  assert.ok(waited < 6000, `${waited} ms`);
  for (let i = 0; i < 50 && opened.workers().length > 1; i++) await opened.waitForTimeout(100);
  assert.equal(opened.workers().length, 1);
});

test('so can one whose reading takes minutes', async () => {
  const opened = await page();
  await beforeWorkers(
    opened,
    "addEventListener('message', ({ data }) => { if (data.name === 'slow.safetensors') for (const end = Date.now() + 60_000; Date.now() < end; ); });",
  );
  await opened.goto(`${stage.site.address}?seed=3&count=2&backend=cpu`);
  await settled(opened);
  const slow = join(temporaryFolder(), 'slow.safetensors');
  copyFileSync(join(ROOT, MODEL), slow);
  await opened.setInputFiles('#file', slow);
  await opened.waitForTimeout(1000);
  const began = Date.now();
  await opened.check('input[name=model][value=tiles]', { force: true });
  await settled(opened);
  assert.match(opened.url(), /model=tiles/);
  assert.ok(Date.now() - began < 6000, `${Date.now() - began} ms`);
});
