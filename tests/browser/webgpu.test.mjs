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

test('a software adapter is not taken unasked: the CPU is faster', async () => {
  const page = await stage.open(`?count=1`);
  assert.equal(await page.textContent('#backend'), 'CPU');
  assert.match(await page.getAttribute('#backend', 'title'), /software/);
});
