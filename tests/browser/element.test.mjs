// <mean-flow> as frameworks and impatient visitors use it: values of any type, requests that end, elements that leave.
/* global meanFlow -- of the page */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { serve } from '../../web/tools/serve.mjs';
import {
  DIST,
  decode,
  nativePicture,
  openStage,
  overWhite,
  problemsOf,
  psnr,
  shipped,
  temporaryFolder,
} from './support.mjs';

const stage = openStage({ webgpu: false });
const MODEL = '/static/models/emoji.safetensors';

/** A page on the site's own origin with this body; the element's class is there once it has loaded. */
async function visit(body, { before = () => {}, module = '/web/mean-flow.js', context } = {}) {
  const page = await (context ?? (await stage.browser.newContext({ serviceWorkers: 'block' }))).newPage();
  page.problems = problemsOf(page);
  await page.route('**/test.html', (route) =>
    route.fulfill({
      contentType: 'text/html',
      body: `<!doctype html><title>A page</title><style>mean-flow { width: 80px; float: left }</style>${body}<script type="module">import * as module from '${module}'; globalThis.meanFlow = module;</script>`,
    }),
  );
  await before(page);
  await page.goto(`${stage.site.address}test.html`);
  await page.waitForFunction(() => globalThis.meanFlow);
  return page;
}

const element = (attributes = '') => `<mean-flow id="a" backend="cpu" src="${MODEL}" ${attributes}></mean-flow>`;
const drawn = (page, id = 'a') =>
  page.waitForFunction((id) => document.getElementById(id).complete, id, { timeout: 60_000 });

test('values are taken as frameworks pass them', async () => {
  const page = await visit(element('seed="7"'));
  await drawn(page);
  const said = await page.evaluate(() => {
    const a = document.getElementById('a');
    const after = (name, ...values) =>
      values.map((value) => {
        a[name] = value;
        return a.getAttribute(name);
      });
    return [
      after('label', 'cat', undefined),
      after('label', 'cat', null),
      after('controls', true, false),
      after('columns', 3, undefined),
      after('backend', 'webgpu', 'cpu'),
      after('alt', 'A face', false),
    ];
  });
  assert.deepEqual(said, [['cat', null], ['cat', null], ['', null], ['3', null], ['webgpu', 'cpu'], ['A face', null]]);
  // A request takes its own fields, and no others.
  const kept = await page.evaluate(async () => {
    const a = document.getElementById('a');
    await a.generate(
      JSON.parse('{"label": null, "seed": 9, "count": 2, "innerHTML": "<b>no</b>", "__proto__": {"seed": 1}}'),
    );
    return [a instanceof meanFlow.MeanFlowElement, a.innerHTML, String(a.seed), a.pictures.length];
  });
  assert.deepEqual(kept, [true, '', '9', 2]);
  assert.deepEqual(page.problems, []);
});

test('numbers that are none are errors with words and a code, not zero', async () => {
  const page = await visit(element('seed="7"'));
  await drawn(page);
  const refused = (changes) =>
    page.evaluate(
      (changes) =>
        document
          .getElementById('a')
          .generate(changes)
          .then(
            () => 'drawn',
            ({ message, code }) => `${code}: ${message}`,
          ),
      changes,
    );
  for (const seed of ['7.5', '-1', '1e3', '18446744073709551616', 'seven']) {
    assert.equal(
      await refused({ seed }),
      `attribute: seed="${seed}" is no whole number from 0 to 18446744073709551615`,
    );
  }
  assert.match(await refused({ seed: '7', count: '0' }), /^attribute: count="0" is no whole number from 1 to 256/);
  assert.match(
    await refused({ count: 1, steps: '2000' }),
    /^attribute: steps="2000" is no whole number from 1 to 1024/,
  );
  assert.match(await refused({ steps: 1, label: 'dog' }), /^class: the model has no class "dog"/);
  assert.equal(await refused({ label: null }), 'drawn');
});

test('properties that were set before the element was known work', async () => {
  const page = await visit(
    `<mean-flow id="a" backend="cpu" controls></mean-flow><script>const a = document.getElementById('a'); a.src = '${MODEL}'; a.seed = 7;</script>`,
  );
  await drawn(page);
  assert.equal(await page.evaluate(() => document.getElementById('a').getAttribute('seed')), '7');
  await page.evaluate(() => (document.getElementById('a').seed = 8));
  await page.waitForFunction(
    () => document.getElementById('a').getAttribute('seed') === '8' && document.getElementById('a').complete,
  );
});

test('an element that was just put in place answers with its pictures, and they are drawn once', async () => {
  const page = await visit('');
  const [result, events] = await page.evaluate(async (src) => {
    const events = [];
    const a = Object.assign(document.createElement('mean-flow'), { id: 'a', backend: 'cpu', src });
    for (const type of ['ready', 'generate']) a.addEventListener(type, () => events.push(type));
    document.body.append(a);
    const { seed, count, pictures } = await a.generate({ seed: 5, count: 2 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    a.seed = 6;
    await new Promise((resolve) => a.addEventListener('generate', resolve, { once: true }));
    return [[String(seed), count, pictures.length, pictures[0].width], events];
  }, MODEL);
  assert.deepEqual(result, ['5', 2, 2, 32]);
  assert.deepEqual(events, ['ready', 'generate', 'generate']);
});

test('a PNG holds the very pixels of the picture, also where canvases are guarded', async () => {
  const page = await visit(element('seed="7"'), {
    // As Firefox's protection against fingerprinting: every read of a canvas is noise.
    before: (page) =>
      page.addInitScript(() => {
        CanvasRenderingContext2D.prototype.getImageData = (x, y, width, height) =>
          new ImageData(
            Uint8ClampedArray.from({ length: 4 * width * height }, () => 256 * Math.random()),
            width,
            height,
          );
        HTMLCanvasElement.prototype.toBlob = (then) => then(new Blob([]));
      }),
  });
  await drawn(page);
  const bytes = await page.evaluate(async () => [
    ...new Uint8Array(await (await document.getElementById('a').toBlob()).arrayBuffer()),
  ]);
  const file = join(temporaryFolder(), 'a.png');
  writeFileSync(file, Uint8Array.from(bytes));
  const { data } = decode(Uint8Array.from(bytes), { checkCrc: true });
  const native = nativePicture(shipped('emoji'), { seed: 7 });
  assert.equal(data.length, native.length);
  assert.ok(psnr(overWhite([...data]), overWhite(native)) >= 45);
});

/**
 * How long another element of the model waits for its first picture, in milliseconds, after `end` has ended a long
 * request.
 */
const waitAfter = (page, end) =>
  page.evaluate(async (end) => {
    const a = document.getElementById('a');
    const rest = () => new Promise((resolve) => setTimeout(resolve, 300));
    const one = document.createElement('mean-flow');
    Object.assign(one, { backend: 'cpu', src: a.src, seed: 1 });
    document.body.append(one);
    await one.generate();
    const { milliseconds } = await one.generate({ seed: 2 });
    const long = a.generate({ count: 32, steps: 200 }).catch((error) => error.name);
    await rest();
    const began = performance.now();
    new Function('a', end)(a);
    await one.generate({ seed: 3 });
    return [performance.now() - began, milliseconds, await Promise.race([long, rest()]), a.complete];
  }, end);

for (const [what, end] of [
  ['aborted', 'a.abort()'],
  ['removed', 'a.remove()'],
  ['replaced', 'a.generate({ count: 1, steps: 1 })'],
]) {
  test(`a request that was ${what} lets the next one through at once`, async () => {
    const page = await visit(element('seed="7"'));
    await drawn(page);
    const [waited, call] = await waitAfter(page, end);
    // What is asked: one call's time and 50 ms. A busy machine stretches both, so the call is counted three times.
    assert.ok(waited < 3 * call + 150, `${waited} ms, where a call takes ${call}`);
  });
}

test('an AbortSignal ends a request, and its reason is what the caller gets', async () => {
  const page = await visit(element('seed="7"'));
  await drawn(page);
  const [name, before] = await page.evaluate(async () => {
    const a = document.getElementById('a');
    const controller = new AbortController();
    const long = a.generate({ count: 32, steps: 200, signal: controller.signal }).then(
      () => 'drawn',
      (error) => error.name,
    );
    setTimeout(() => controller.abort(), 100);
    return [
      await long,
      await a.generate({ signal: AbortSignal.abort(new RangeError('early')) }).then(
        () => 'drawn',
        (error) => error.name,
      ),
    ];
  });
  assert.deepEqual([name, before], ['AbortError', 'RangeError']);
});

test('two galleries of one model take turns', async () => {
  const page = await visit(element('seed="7"') + element('seed="7"').replace('id="a"', 'id="b"'));
  await Promise.all([drawn(page, 'a'), drawn(page, 'b')]);
  const order = await page.evaluate(async () => {
    const order = [];
    const run = (id, changes) => document.getElementById(id).generate(changes).then(() => order.push(id));
    await Promise.all([run('a', { count: 64, steps: 8, seed: 1 }), run('b', { count: 4, steps: 1, seed: 2 })]);
    return order;
  });
  assert.deepEqual(order, ['b', 'a'], 'the small one waited for the large one');
});

test('another src leaves the old engine: Workers do not pile up', async () => {
  const page = await visit(element('seed="7"'));
  await drawn(page);
  await page.evaluate(async (model) => {
    for (let i = 0; i < 6; i++) {
      await document
        .getElementById('a')
        .generate(Object.assign(document.getElementById('a'), { src: `${model}?v=${i}` }) && {});}
  }, MODEL);
  assert.equal(page.workers().length, 1);
  await page.evaluate(() => document.getElementById('a').dispose());
  await page.waitForTimeout(200);
  assert.equal(page.workers().length, 0);
  await page.evaluate(() => document.getElementById('a').generate({ seed: 2 }));
  assert.equal(page.workers().length, 1);
});

test('a large gallery is drawn by several Workers where there are cores, and is the same', async () => {
  const page = await visit(element('seed="7"'), {
    before: (page) =>
      page.addInitScript(() => Object.defineProperty(navigator, 'hardwareConcurrency', { get: () => 2 })),
  });
  await drawn(page);
  const alike = await page.evaluate(async () => {
    const a = document.getElementById('a');
    const { pictures } = await a.generate({ count: 128, seed: 100 });
    const [first, last] = [
      (await a.generate({ count: 1, seed: 100 })).pictures[0],
      (await a.generate({ count: 1, seed: 227 })).pictures[0],
    ];
    return [
      pictures.length,
      ...[
        [pictures[0], first],
        [pictures[127], last],
      ].map(([x, y]) => x.data.every((value, i) => value === y.data[i])),
    ];
  });
  assert.deepEqual(alike, [128, true, true]);
  assert.equal(page.workers().length, 2);
});

test('a Worker that does not start is a plain error, before anything else is asked for', async () => {
  for (const answer of [{ status: 404, body: '' }, { contentType: 'text/html', body: '<!doctype html>' }]) {
    const asked = [];
    const page = await visit(element('seed="7"'), { before: async (page) => {
      await page.route('**/worker-*.js', (route) => route.fulfill(answer));
      page.on('request', (request) => asked.push(new URL(request.url()).pathname));
    } });
    const events = await page.evaluate(async () => {
      const events = [];
      const a = document.getElementById('a');
      for (const type of ['ready', 'device-lost', 'error']) {
        a.addEventListener(type, ({ detail }) => events.push([type, detail?.code]));
      }
      await a.generate({ seed: 3 }).catch(() => {});
      return events;
    });
    assert.deepEqual(events.filter(([type]) => type !== 'error'), []);
    assert.ok(events.length >= 1 && events.every(([, code]) => code === 'worker'), JSON.stringify(events));
    assert.ok(!asked.includes('/undefined'), asked.join());
    assert.deepEqual(page.problems, []);
  }
});

test('neither a store that fails nor a GPU that never answers keeps pictures back', async () => {
  const scripts = [
    'Cache.prototype.match = () => Promise.reject(new DOMException("Unexpected internal error.", "UnknownError"));',
    'CacheStorage.prototype.open = () => new Promise(() => {}); CacheStorage.prototype.match = () => new Promise(() => {});',
    'Object.defineProperty(globalThis, "caches", { get() { throw new DOMException("no", "SecurityError"); } });',
    'Object.defineProperty(Navigator.prototype, "gpu", { get: () => ({ requestAdapter: () => new Promise(() => {}) }) });',
    'Object.defineProperty(Navigator.prototype, "gpu", { get: () => ({}) });',
  ];
  let usual = 0;
  for (const script of ['', ...scripts]) {
    const context = await stage.browser.newContext({ serviceWorkers: 'block' });
    const page = await context.newPage();
    await page.addInitScript(script);
    const began = Date.now();
    await page.goto(`${stage.site.address}?seed=3&count=2`);
    await page.waitForFunction(() => document.body.dataset.state !== 'loading', undefined, { timeout: 30_000 });
    const waited = Date.now() - began;
    usual ||= waited;
    assert.equal(await page.evaluate(() => document.body.dataset.state), 'ready', script);
    // What is asked: a second more. A busy machine stretches both.
    assert.ok(waited < 2 * usual + 1500, `${script}: ${waited} ms, usually ${usual}`);
    await context.close();
  }
});

test('one file is enough: the element with its engine inside, from a server that has nothing else', async () => {
  const folder = temporaryFolder();
  const { copyFileSync } = await import('node:fs');
  copyFileSync(join(DIST, 'web/mean-flow.inline.js'), join(folder, 'mean-flow.js'));
  copyFileSync(join(DIST, MODEL), join(folder, 'emoji.safetensors'));
  writeFileSync(
    join(folder, 'index.html'),
    '<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src \'self\'; script-src \'self\' \'wasm-unsafe-eval\'; worker-src blob:"><script type="module" src="mean-flow.js"></script><mean-flow id="a" src="emoji.safetensors" seed="7"></mean-flow>',
  );
  const { server, address } = await serve(folder);
  const page = await stage.browser.newPage();
  const missing = [];
  page.on(
    'response',
    (response) => response.status() >= 400 && !response.url().endsWith('favicon.ico') && missing.push(response.url()),
  );
  try {
    await page.goto(address);
    await page.waitForFunction(() => document.getElementById('a').complete, undefined, { timeout: 60_000 });
    assert.deepEqual(missing, []);
    assert.equal(await page.evaluate(() => document.getElementById('a').info.backend), 'cpu');
  } finally {
    await page.close();
    server.close();
  }
});

test('the engine may lie elsewhere: assets names the folder', async () => {
  const page = await visit(`<mean-flow id="a" assets="/elsewhere" backend="cpu" src="${MODEL}" seed="7"></mean-flow>`, {
    before: (page) =>
      page.route('**/elsewhere/**', async (route) =>
        route.fulfill({ response: await route.fetch({ url: route.request().url().replace('/elsewhere/', '/web/') }) }),
      ),
  });
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  await drawn(page);
});

test('a text is a seed: the same everywhere', async () => {
  const page = await visit(element('seed-text="alice@example.org"'));
  await drawn(page);
  const [seed, other] = await page.evaluate(async () => [
    String((await document.getElementById('a').generate({ steps: 2 })).seed),
    String(meanFlow.seedFromText('foobar')),
  ]);
  // FNV-1a of 64 bits, as its authors list it.
  assert.equal(other, String(0x85944171f73967e8n));
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from('alice@example.org')) {
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & (2n ** 64n - 1n);
  }
  assert.equal(seed, String(hash));
});

test('a policy that takes trusted types, and a sandboxed frame, show pictures', async () => {
  for (const [policy, attributes] of [
    ["require-trusted-types-for 'script'", ''],
    [undefined, 'sandbox="allow-scripts"'],
  ]) {
    const context = await stage.browser.newContext({ serviceWorkers: 'block' });
    const page = await context.newPage();
    const inner = `<!doctype html>${policy ? `<meta http-equiv="Content-Security-Policy" content="${policy}">` : ''}<script type="module" src="/web/mean-flow.js"></script>${element('seed="7"')}`;
    await page.route('**/inner.html', (route) =>
      route.fulfill({ contentType: 'text/html', headers: { 'Access-Control-Allow-Origin': '*' }, body: inner }),
    );
    await page.route('**/outer.html', (route) =>
      route.fulfill({
        contentType: 'text/html',
        body: `<!doctype html><iframe ${attributes} src="inner.html" width="300" height="300"></iframe>`,
      }),
    );
    await page.goto(`${stage.site.address}outer.html`);
    const frame = await (await page.waitForSelector('iframe')).contentFrame();
    await frame.waitForFunction(() => document.getElementById('a')?.complete, undefined, { timeout: 60_000 });
    await context.close();
  }
});
