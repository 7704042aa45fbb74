// The hand-over from the CPU to the GPU and back: its rules with engines made of paper, and once in a real browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Ladder } from '../../web/ladder.js';
import { openStage, trainTinyModel } from './support.mjs';

/** An engine that draws flat pictures of a colour that the model and the seed decide. */
class PaperEngine {
  constructor({ milliseconds, shift = 0, fails = () => false, loads = async () => {} }) {
    Object.assign(this, { milliseconds, shift, fails, loads, loaded: [], closed: false });
  }

  async load(source) {
    await this.loads(source);
    this.loaded.push(source);
    return { name: source };
  }

  async generate({ seed, count }, onPictures) {
    await undefined;
    if (this.fails()) throw new Error('the device is lost');
    const colour = this.loaded.at(-1).length + Number(seed) + this.shift;
    onPictures({ first: 0, rgba: new Uint8Array(4 * count).fill(colour), labels: Array(count).fill(undefined) });
    return { milliseconds: this.milliseconds };
  }

  close() {
    this.closed = true;
  }
}

function paperLadder({ cpu = { milliseconds: 50 }, gpu = { milliseconds: 5 } } = {}) {
  const engines = { cpu: new PaperEngine(cpu), webgpu: new PaperEngine(gpu) };
  const ladder = new Ladder(undefined, { choose: async () => ({ backend: 'webgpu', reason: '' }), open: (backend) => engines[backend] });
  return { ladder, engines };
}

/** The colour of the one picture of a seed. */
async function colour(ladder, seed) {
  let seen;
  await ladder.generate({ seed, count: 1, nfe: 1 }, ({ rgba }) => (seen = rgba[0]));
  return seen;
}

test('the CPU answers at once, then the GPU takes over with the same picture', async () => {
  const { ladder, engines } = paperLadder();
  const change = once(ladder, 'change');
  assert.equal((await ladder.load('cat')).backend, 'cpu');
  const picture = await colour(ladder, 7);
  assert.equal((await change)[0].detail.backend, 'webgpu');
  engines.cpu.fails = () => true;
  assert.equal(await colour(ladder, 7), picture);
});

for (const [what, gpu, reason] of [
  ['draws another picture', { milliseconds: 5, shift: 60 }, /differs/],
  ['is slower', { milliseconds: 80 }, /slower/],
  ['fails', { milliseconds: 5, fails: () => true }, /the device is lost/],
]) {
  test(`a GPU that ${what} is not taken, and the reason is told`, async () => {
    const { ladder, engines } = paperLadder({ gpu });
    const change = once(ladder, 'change');
    await ladder.load('cat');
    await colour(ladder, 7);
    const [{ detail }] = await change;
    assert.equal(detail.backend, 'cpu');
    assert.match(detail.notice, reason);
    assert.ok(engines.webgpu.closed);
    assert.equal(await colour(ladder, 8), 'cat'.length + 8);
  });
}

test('a GPU that fails later is replaced by the CPU, which answers the same request', async () => {
  let lost = false;
  const { ladder, engines } = paperLadder({ gpu: { milliseconds: 5, fails: () => lost } });
  const up = once(ladder, 'change');
  await ladder.load('cat');
  await colour(ladder, 7);
  await up;
  await ladder.load('horse');
  lost = true;
  const down = once(ladder, 'change');
  assert.equal(await colour(ladder, 9), 'horse'.length + 9);
  assert.match((await down)[0].detail.notice, /WebGPU failed: the device is lost/);
  assert.ok(engines.webgpu.closed);
});

test('a model chosen while the GPU gets ready is the one it takes over with', async () => {
  const { ladder, engines } = paperLadder();
  const change = once(ladder, 'change');
  await ladder.load('cat');
  await ladder.load('horse');
  await colour(ladder, 7);
  await change;
  assert.equal(engines.webgpu.loaded.at(-1), 'horse');
  assert.equal(await colour(ladder, 7), 'horse'.length + 7);
});

test('a model whose download is under way while the GPU takes over is the one that the GPU draws', async () => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const { ladder } = paperLadder({ cpu: { milliseconds: 50, loads: (source) => (source === 'horse' ? held : undefined) } });
  const change = once(ladder, 'change');
  await ladder.load('cat');
  await colour(ladder, 7);
  const horse = ladder.load('horse');
  await change;
  release();
  assert.equal((await horse).backend, 'webgpu');
  assert.equal(await colour(ladder, 7), 'horse'.length + 7);
});

/** A ladder whose GPU is at work. */
async function climbed(options) {
  const parts = paperLadder(options);
  const change = once(parts.ladder, 'change');
  await parts.ladder.load('cat');
  await colour(parts.ladder, 7);
  await change;
  return parts;
}

test('a GPU that fails at two requests hands both to the CPU, once', async () => {
  let lost = false;
  const { ladder } = await climbed({ gpu: { milliseconds: 5, fails: () => lost } });
  lost = true;
  let changes = 0;
  ladder.addEventListener('change', () => changes++);
  assert.deepEqual(await Promise.all([colour(ladder, 8), colour(ladder, 9)]), ['cat'.length + 8, 'cat'.length + 9]);
  assert.equal(changes, 1);
});

test('a GPU that cannot load a model leaves it to the CPU, but a bad file is no fault of the GPU', async () => {
  const refuse = (bad) => async (source) => {
    if (source === bad) throw new Error(`${source} is refused`);
  };
  const bad = await climbed({ cpu: { milliseconds: 50, loads: refuse('toad') }, gpu: { milliseconds: 5, loads: refuse('toad') } });
  await assert.rejects(bad.ladder.load('toad'), /toad is refused/);
  assert.equal(await colour(bad.ladder, 7), 'cat'.length + 7);
  assert.ok(!bad.engines.webgpu.closed, 'a bad file cost the GPU');

  const full = await climbed({ gpu: { milliseconds: 5, loads: refuse('whale') } });
  assert.equal((await full.ladder.load('whale')).backend, 'cpu');
  assert.equal(await colour(full.ladder, 7), 'whale'.length + 7);
  assert.ok(full.engines.webgpu.closed);
});

const stage = openStage({ webgpu: true });

test('in a browser WebGPU takes over from the CPU with the same picture', async () => {
  const weights = readFileSync(trainTinyModel(), 'base64');
  const page = await stage.open(`?backend=cpu&count=1`);
  const [before, after] = await page.evaluate(async (weights) => {
    const { Ladder } = await import(new URL('web/ladder.js', document.baseURI).href);
    // The software adapter of the tests is slower than the CPU, which real GPUs are not.
    const ladder = new Ladder(undefined, { softwareWillDo: true, slowerWillDo: true });
    const change = new Promise((resolve) => ladder.addEventListener('change', ({ detail }) => resolve(detail)));
    const picture = async (backend) => {
      const pictures = [];
      await ladder.generate({ seed: 3, count: 1, nfe: 1 }, ({ rgba }) => pictures.push(...rgba));
      return { backend, pictures };
    };
    const file = new File([Uint8Array.from(atob(weights), (c) => c.charCodeAt(0))], 'tiny.safetensors');
    const first = await picture((await ladder.load(file)).backend);
    const { backend, notice } = await change;
    if (backend !== 'webgpu') throw new Error(notice);
    return [first, await picture(backend)];
  }, weights);
  assert.deepEqual([before.backend, after.backend], ['cpu', 'webgpu']);
  assert.ok(before.pictures.every((value, i) => Math.abs(value - after.pictures[i]) <= 2), 'the pictures differ');
});
