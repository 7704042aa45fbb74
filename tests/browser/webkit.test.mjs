// The page and the element in WebKit, the third engine: the CPU draws, offline too, and PNG files hold the pictures.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { serve } from '../../web/tools/serve.mjs';
import { DIST, ROOT, nativePicture, overWhite, psnr, temporaryFolder, variance, wall } from './support.mjs';
import { hasWebKit, launchWebKit } from './webdriver.mjs';

const { decode } = await import(createRequire(new URL('../../web/package.json', import.meta.url)).resolve('fast-png'));
const MODEL = join(ROOT, 'static/models/emoji.safetensors');
const there = { skip: !hasWebKit() && 'skipped: no WebKit' };

const stage = {};
before(async () => {
  if (there.skip) return;
  stage.browser = await launchWebKit();
  stage.site = await serve(DIST, { prefix: '/somewhere/' });
});
after(async () => {
  await stage.browser?.close();
  stage.site?.server.close();
});

/** Opens the page and waits until it has settled. */
async function open(address) {
  await stage.browser.goto(address);
  await settled();
  return stage.browser;
}

async function settled() {
  await stage.browser.waitFor(() => document.body?.dataset.state !== 'loading');
  const [state, message] = await stage.browser.evaluate(() => [document.body.dataset.state, document.getElementById('status').textContent]);
  assert.equal(state, 'ready', message);
}

const text = (page, id) => page.evaluate((id) => document.getElementById(id).textContent, id);

test('the page draws the native pictures on the CPU, says so and why', there, async () => {
  const page = await open(`${stage.site.address}?model=emoji&seed=4&count=3`);
  assert.equal(await text(page, 'backend'), 'CPU');
  assert.match(await text(page, 'notice'), /^Not on WebGPU: .+\.$/);
  for (const [i, picture] of (await wall(page)).entries()) {
    assert.ok(variance(picture) > 100, 'a blank picture');
    assert.ok(psnr(picture, overWhite(nativePicture(MODEL, { seed: 4 + i }))) >= 40, `picture ${i} is not the native one`);
  }
});

test('each legend stands beside its choices, and nothing sticks out sideways', there, async () => {
  const page = await open(`${stage.site.address}?model=tiles&seed=4&count=3`);
  const fields = await page.evaluate(() =>
    [...document.querySelectorAll('#controls fieldset:not([hidden])')].map((field) => {
      const middle = (selector) => {
        const { top, height, left, right } = field.querySelector(selector).getBoundingClientRect();
        return { y: top + height / 2, left, right };
      };
      return { name: field.querySelector('legend').textContent, legend: middle('legend'), first: middle('.choices label, .choices select') };
    }),
  );
  assert.deepEqual(fields.map(({ name }) => name), ['Model', 'Class', 'Sampling']);
  for (const { name, legend, first } of fields) {
    assert.ok(Math.abs(legend.y - first.y) <= 3, `${name} stands ${legend.y - first.y} pixels away from its line`);
    assert.ok(legend.right <= first.left, `${name} lies over its choices`);
    assert.ok(Math.abs(first.left - fields[0].first.left) <= 1, `${name}: its choices begin elsewhere`);
  }
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0);
});

test('after one visit the page works with the server gone', there, async (t) => {
  const site = await serve(DIST);
  const end = () => {
    site.server.closeAllConnections();
    return new Promise((done) => site.server.close(done));
  };
  t.after(end);
  const page = await open(`${site.address}?count=2&seed=4`);
  const pictures = await wall(page);
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
  await page.waitFor(() => navigator.serviceWorker.controller !== null);
  await end();
  await page.reload();
  await settled();
  assert.deepEqual(await wall(page), pictures);
});

test('the element draws in somebody else\'s page, its events tell of it, and its PNG holds the very pixels', there, async () => {
  const folder = temporaryFolder();
  const listen = `globalThis.told = []; for (const type of ['progress', 'ready', 'generate', 'error']) document.addEventListener(type, (event) => told.push(event.type), true);`;
  const element = `<mean-flow src="${stage.site.address}static/models/emoji.safetensors" seed="9" controls></mean-flow>`;
  writeFileSync(join(folder, 'index.html'), `<!doctype html><script>${listen}</script><script type="module" src="${stage.site.address}web/mean-flow.js"></script>${element}`);
  const { server, address } = await serve(folder);
  try {
    const page = stage.browser;
    await page.goto(address);
    await page.waitFor(() => told.includes('generate') || told.includes('error'));
    const told = await page.evaluate(() => told);
    assert.ok(told.includes('progress') && told.indexOf('ready') < told.indexOf('generate') && !told.includes('error'), told.join());
    const png = await page.evaluate(async () => [...new Uint8Array(await (await document.querySelector('mean-flow').toBlob()).arrayBuffer())]);
    const { data, width } = decode(Uint8Array.from(png), { checkCrc: true });
    assert.equal(width, 32);
    assert.ok(psnr(overWhite([...data]), overWhite(nativePicture(MODEL, { seed: 9 }))) >= 45);
  } finally {
    server.close();
  }
});

test('opened as a file the page says why it cannot run', there, async () => {
  const page = stage.browser;
  await page.goto(pathToFileURL(join(DIST, 'index.html')).href);
  await page.waitFor(() => document.body.dataset.state === 'error');
  assert.match(await text(page, 'status'), /cannot run from a file.*python3 -m http\.server/);
});
