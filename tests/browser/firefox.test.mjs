// The page and the element in Firefox, which has no WebGPU on Linux: the CPU draws, and says why.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { findFirefox } from '../../web/tools/browser.mjs';
import { serve } from '../../web/tools/serve.mjs';
import { heldToNative } from './learn.mjs';
import {
  FIRST,
  FIRST_PROMPT,
  DIST,
  nativeOverWhite,
  problemsOf,
  psnr,
  require,
  serveForeignPage,
  servedWhile,
  shipped,
  text,
  variance,
  wall,
} from './support.mjs';

const { default: puppeteer } = await import(require.resolve('puppeteer-core'));

const stage = {};
before(async () => {
  // As visitors have it; the driver lets files load files.
  const extraPrefsFirefox = { 'security.fileuri.strict_origin_policy': true };
  stage.browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: findFirefox(),
    headless: true,
    extraPrefsFirefox,
  });
  stage.site = await serve(DIST, { prefix: '/somewhere/' });
});
after(async () => {
  await stage.browser?.close();
  stage.site?.server.close();
});

async function open(address, done) {
  const page = await stage.browser.newPage();
  page.problems = problemsOf(page);
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()));
  await page.goto(address);
  await page.waitForFunction(done, { timeout: 60_000 });
  return page;
}

const isSettled = () => document.body.dataset.state !== 'loading';

test('what trains gives the losses of the native trainer', async () => {
  const page = await open(`${stage.site.address}lab.html`, isSettled);
  await heldToNative(page, stage.site.address);
  assert.deepEqual(page.problems, []);
});

test('the page draws the native pictures on the CPU, says so and why, under its policy and without an error', async () => {
  let page;
  const served = await servedWhile(
    stage.site.server,
    async () => (page = await open(`${stage.site.address}?seed=4&count=3`, isSettled)),
  );
  // What the page begins early is what its engine then takes.
  for (const file of ['meanflow_bg.wasm', FIRST.file]) {
    assert.equal(served.filter((name) => name === file).length, 1, file);
  }
  assert.equal(await text(page, 'status'), '');
  assert.equal(await text(page, 'backend'), 'CPU');
  assert.match(await text(page, 'notice'), /^Not on WebGPU: .+\.$/);
  const pictures = await wall(page);
  for (const [i, picture] of pictures.entries()) {
    assert.ok(variance(picture) > 100, 'a blank picture');
    const native = nativeOverWhite(shipped(FIRST.id), { seed: 4 + i, prompt: FIRST_PROMPT });
    assert.ok(psnr(picture, native) >= 40, `picture ${i} is not the native one`);
  }
  assert.deepEqual(page.problems, []);
});

test('WebGPU that is asked for and not there is an error in words', async () => {
  const page = await open(`${stage.site.address}?seed=4&count=1&backend=webgpu`, isSettled);
  assert.equal(await page.evaluate(() => document.body.dataset.state), 'error');
  assert.match(await text(page, 'status'), /WebGPU cannot be used: this browser does not offer it/);
});

test('the element draws in somebody else\'s page, and its events tell of it', async () => {
  const { server, address } = await serveForeignPage(stage.site.address);
  try {
    const page = await open(address, () => told.includes('generate') || told.includes('error'));
    const told = await page.evaluate(() => told);
    assert.ok(
      told.includes('progress') && told.indexOf('ready') < told.indexOf('generate') && !told.includes('error'),
      told.join(),
    );
    const badge = await page.evaluate(
      () => document.querySelector('mean-flow').shadowRoot.querySelector('[part=badge]').textContent,
    );
    assert.equal(badge, 'CPU');
    assert.deepEqual(page.problems, []);
  } finally {
    server.close();
  }
});

test('opened as a file the page says why it cannot run', async () => {
  const page = await open(pathToFileURL(join(DIST, 'index.html')).href, () => document.body?.dataset.state === 'error');
  assert.match(await text(page, 'status'), /cannot run from a file.*python3 -m http\.server/);
});
