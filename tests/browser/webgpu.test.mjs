// The WebGPU build through real WebGPU, on a software adapter: slow, so few and small pictures.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';

import { ROOT, fromEngine, nativePicture, openStage, overWhite, psnr, trainTinyModel, wall } from './support.mjs';

/** Least agreement of WebGPU and native pictures, both computed in f32. */
const LEAST_PSNR = 45;

const stage = openStage({ webgpu: true });

test('on WebGPU the page shows the pictures of the native build', async () => {
  const page = await stage.open(`?backend=webgpu&seed=11&count=2`);
  assert.equal(await page.textContent('#backend'), 'WebGPU');
  for (const [i, picture] of (await wall(page)).entries()) {
    const native = nativePicture(join(ROOT, 'static/models/emoji.safetensors'), { seed: 11 + i });
    const agreement = psnr(picture, overWhite(native));
    assert.ok(agreement >= LEAST_PSNR, `picture ${i}: ${agreement.toFixed(1)} dB`);
  }
  assert.deepEqual(page.problems, []);
});

test('on WebGPU every byte of a class-conditional model agrees, in one step and in three', async () => {
  const weights = trainTinyModel();
  const page = await stage.open(`?backend=cpu&count=1`);
  for (const nfe of [1, 3]) {
    const rgba = await fromEngine(page, { backend: 'webgpu', weights, seed: 5, count: 1, nfe, classIndex: 1 });
    const agreement = psnr(rgba, nativePicture(weights, { seed: 5, nfe, className: 'rust' }));
    assert.ok(agreement >= LEAST_PSNR, `${nfe} steps: ${agreement.toFixed(1)} dB`);
  }
});

test('a GPU beside the CPU that turns out slower is not taken, and the page says so without a flicker', async () => {
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  // The adapter of the tests, presented as a real GPU.
  await page.addInitScript(() => {
    for (const name of ['vendor', 'architecture', 'device', 'description']) Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => 'real' });
    Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });
    globalThis.states = [];
    addEventListener('DOMContentLoaded', () => new MutationObserver(() => states.push(document.body.dataset.state)).observe(document.body, { attributeFilter: ['data-state'] }));
  });
  await page.goto(`${stage.site.address}?count=1&seed=4`);
  await page.waitForFunction(() => document.getElementById('notice').textContent.includes('slower'), undefined, { timeout: 120_000 });
  assert.equal(await page.textContent('#backend'), 'CPU');
  assert.deepEqual(await page.evaluate(() => states.filter((state, i) => state !== states[i - 1])), ['loading', 'ready']);
});

test('a software adapter is not taken unasked: the CPU is faster', async () => {
  const page = await stage.open(`?count=1`);
  assert.equal(await page.textContent('#backend'), 'CPU');
  assert.match(await page.textContent('#notice'), /software/);
});
