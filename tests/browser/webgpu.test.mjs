// The WebGPU build through real WebGPU, on a software adapter: slow, so few and small pictures.
/* global states -- of the page */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  FIRST,
  FIRST_PROMPT,
  beforeWorkers,
  fromEngine,
  launch,
  nativePicture,
  open,
  openStage,
  overWhite,
  pixelsOf,
  problemsOf,
  psnr,
  settled,
  shipped,
  trainTinyModel,
  wall,
} from './support.mjs';

/** Least agreement of WebGPU and native pictures, both computed in f32. */
const MIN_PSNR = 45;

const stage = openStage({ webgpu: true });

test('on WebGPU the page shows the pictures of the native build', async () => {
  const page = await stage.open(`?backend=webgpu&seed=11&count=2`);
  assert.equal(await page.textContent('#backend'), 'WebGPU');
  for (const [i, picture] of (await wall(page)).entries()) {
    const native = nativePicture(shipped(FIRST.id), { seed: 11 + i, prompt: FIRST_PROMPT });
    const agreement = psnr(picture, overWhite(native));
    assert.ok(agreement >= MIN_PSNR, `picture ${i}: ${agreement.toFixed(1)} dB`);
  }
  assert.deepEqual(page.problems, []);
});

test('on WebGPU every byte of a class-conditional model agrees, in one step and in three', async () => {
  const weights = trainTinyModel();
  const page = await stage.open(`?backend=cpu&count=1`);
  for (const nfe of [1, 3]) {
    const rgba = await fromEngine(page, { backend: 'webgpu', weights, seed: 5, count: 1, nfe, classIndex: 1 });
    const agreement = psnr(rgba, nativePicture(weights, { seed: 5, nfe, className: 'rust' }));
    assert.ok(agreement >= MIN_PSNR, `${nfe} steps: ${agreement.toFixed(1)} dB`);
  }
});

test('a GPU beside the CPU that turns out slower is not taken, and the page says so without a flicker', async () => {
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  // The adapter of the tests, presented as a real GPU.
  await page.addInitScript(() => {
    for (const name of ['vendor', 'architecture', 'device', 'description']) {
      Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => 'real' });
    }
    Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });
    globalThis.states = [];
    addEventListener('DOMContentLoaded', () =>
      new MutationObserver(() => states.push(document.body.dataset.state)).observe(document.body, {
        attributeFilter: ['data-state'],
      }),
    );
  });
  await page.goto(`${stage.site.address}?count=1&seed=4`);
  await page.waitForFunction(() => document.getElementById('notice').textContent.includes('slower'), undefined, {
    timeout: 120_000,
  });
  assert.equal(await page.textContent('#backend'), 'CPU');
  assert.deepEqual(await page.evaluate(() => states.filter((state, i) => state !== states[i - 1])), [
    'loading',
    'ready',
  ]);
});

test('a software adapter is not taken unasked: the CPU is faster', async () => {
  const page = await stage.open(`?count=1`);
  assert.equal(await page.textContent('#backend'), 'CPU');
  assert.match(await page.textContent('#notice'), /software/);
});

test('the square is drawn from the GPU without reading back, and shows the same pictures', async () => {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  page.problems = problemsOf(page);
  await beforeWorkers(page, `const map = GPUBuffer.prototype.mapAsync;
    self.readings = 0;
    GPUBuffer.prototype.mapAsync = function (...how) { self.readings += 1; return map.apply(this, how); };`);
  const at = (x, y) => `?seed=12&count=1&at=${x},${y}&backend=`;
  await page.goto(`${stage.site.address}${at(0.5, 0.5)}webgpu`);
  await settled(page);
  await squareOf(page);
  const readings = () => page.workers()[0].evaluate(() => self.readings);
  const before = [await readings(), await live(page)];
  await page.focus('[data-part=across]');
  for (let i = 0; i < 4; i++) {
    await page.keyboard.press('ArrowRight');
    await page.waitForTimeout(700);
  }
  await page.waitForFunction(() => /at=0\.7%2C0\.5/.test(location.search));
  await page.waitForTimeout(3000);
  assert.equal(await readings(), before[0], 'a picture was read back');
  const shown = await live(page);
  assert.ok(psnr(shown, before[1]) < 60, 'the picture did not follow the hand');
  const onCpu = await stage.open(`${at(0.7, 0.5)}cpu`);
  await squareOf(onCpu);
  assert.ok(psnr(shown, await live(onCpu)) >= 40, 'another picture than on the CPU');
  assert.deepEqual(page.problems, []);
});

test('where a canvas costs the device, it is replaced once and the square drawn by reading back', async () => {
  const browser = await launch({ webgpu: true, canvas: false });
  try {
    const page = await open(browser, `${stage.site.address}?seed=12&count=1&at=0.7,0.5&backend=webgpu`);
    await squareOf(page);
    assert.equal(await page.textContent('#backend'), 'WebGPU');
    const shown = await live(page);
    const onCpu = await stage.open('?seed=12&count=1&at=0.7,0.5&backend=cpu');
    await squareOf(onCpu);
    assert.ok(psnr(shown, await live(onCpu)) >= 40, 'another picture than on the CPU');
    assert.deepEqual(page.problems, []);
  } finally {
    await browser.close();
  }
});

/** Waits until the square and its corners are drawn. */
async function squareOf(page) {
  await page.locator('#explore').scrollIntoViewIfNeeded();
  await page.waitForFunction(() => document.querySelector('[data-part=corner3]').width === 32, undefined, {
    timeout: 120_000,
  });
  await page.waitForTimeout(500);
}

/** The picture at the chosen place, over white. */
const live = async (page) => (await pixelsOf(page, '[data-part=picture].live'))[0];
