// What must not grow from picture to picture: memory, buffers, dispatches.
/* global draw, engine -- of the page */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { DIST, beforeWorkers, cpuBuild, launch, randomWeights } from './support.mjs';
import { serve } from '../../web/tools/serve.mjs';

const TINY = { image_size: 16, channels: 3, patch: 4, width: 32, depth: 2, heads: 2, mlp_ratio: 2, classes: 3 };

test('a thousand pictures on the CPU take no more memory than the first', async () => {
  const { wasm, memory } = await cpuBuild();
  const model = await wasm.Generator.load(readFileSync(randomWeights(TINY, 'f16')));
  const draw = (seed) => model.generate({ seed, count: 2 });
  for (let i = 0; i < 5; i++) await draw(i);
  const before = memory.buffer.byteLength;
  for (let i = 0; i < 500; i++) await draw(i);
  assert.equal(memory.buffer.byteLength, before);
});

/** Opens the bench page with the tiny network beside it, for `use`, after `prepare`. */
async function onBench({ webgpu, prepare = () => {} }, use) {
  const site = await serve(DIST);
  const browser = await launch({ webgpu });
  try {
    const page = await (await browser.newContext({ serviceWorkers: 'block' })).newPage();
    const weights = readFileSync(randomWeights(TINY, 'f16'));
    await page.route('**/tiny.safetensors', (route) =>
      route.fulfill({ body: weights, contentType: 'application/octet-stream' }),
    );
    await prepare(page);
    await page.goto(`${site.address}web/bench.html`);
    await use(page);
  } finally {
    await browser.close();
    site.server.close();
  }
}

/** Counts what the Worker asks its GPU for. */
const countCalls = (page) =>
  beforeWorkers(page, `self.counts = { buffers: 0, groups: 0, pipelines: 0, dispatches: 0 };
    for (const [owner, method, what] of [[GPUDevice, 'createBuffer', 'buffers'], [GPUDevice, 'createBindGroup', 'groups'], [GPUDevice, 'createComputePipeline', 'pipelines'], [GPUComputePassEncoder, 'dispatchWorkgroups', 'dispatches']]) {
      const real = owner.prototype[method];
      owner.prototype[method] = function (...how) { self.counts[what] += 1; return real.apply(this, how); };
    }`);

test('a hundred pictures on the GPU make no buffer, and each takes the same dispatches', () =>
  onBench({ webgpu: true, prepare: countCalls }, async (page) => {
    await page.evaluate(async () => {
      const { Engine } = await import('./engine.js');
      globalThis.engine = new Engine('webgpu');
      await engine.load('tiny.safetensors');
      globalThis.draw = (seed) => engine.generate({ seed, count: 1, classIndex: 1, nfe: 1 }, () => {});
      for (let i = 0; i < 3; i++) await draw(i);
    });
    const counts = () => page.workers()[0].evaluate(() => ({ ...self.counts }));
    const before = await counts();
    await page.evaluate(async () => {
      for (let i = 0; i < 100; i++) await draw(i);
    });
    const after = await counts();
    assert.deepEqual([after.buffers, after.groups, after.pipelines], [before.buffers, before.groups, before.pipelines]);
    // Patches, five a block, the head, and the bytes.
    assert.equal(after.dispatches - before.dispatches, 100 * (1 + 5 * TINY.depth + 1 + 1));
  }));

test('on the CPU no pause lies between calls of the network, and a newer request is heard there', () =>
  onBench({ webgpu: false }, async (page) => {
    const { pauses, before, stale } = await page.evaluate(async () => {
      const { Engine } = await import('./engine.js');
      const engine = new Engine('cpu');
      await engine.load('tiny.safetensors');
      const pauses = [];
      for (let i = 0; i < 10; i++) {
        const began = performance.now();
        const { milliseconds } = await engine.generate({ seed: i, count: 64, nfe: 1 }, () => {});
        pauses.push(performance.now() - began - milliseconds);
      }
      let before = 0;
      let newer;
      const older = engine.generate({ seed: 0, count: 2000, nfe: 1 }, () => {
        before += 1;
        newer ??= engine.generate({ seed: 1, count: 2, nfe: 1 }, () => {});
      });
      const { stale } = await older;
      await newer;
      return { pauses, before, stale };
    });
    // 32 calls: timers would take four milliseconds before almost each, however fast the machine; a busy one is slow by
    // chance.
    assert.ok(Math.min(...pauses) < 60, `${pauses.map(Math.round)} ms`);
    assert.ok(stale && before < 500, `${before} of 1000 calls before the newer request was heard`);
  }));
