// The hand-over from the CPU to the GPU and back: its rules with engines made of paper, and once in a real browser.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { backendName } from '../../web/engine/backend.js';
import { FailoverEngine } from '../../web/engine/failover.js';
import { ROOT, beforeWorkers, openStage, psnr, settled, temporaryFolder, trainTinyModel, wall } from './support.mjs';

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

function stubFailover({ cpu = { milliseconds: 50 }, gpu = { milliseconds: 5 }, shared = false } = {}) {
  const engines = { cpu: new PaperEngine(cpu), webgpu: new PaperEngine(gpu) };
  const failover = new FailoverEngine(undefined, {
    shared,
    choose: async () => ({ backend: 'webgpu', reason: '' }),
    open: (backend) => engines[backend],
  });
  return { failover, engines };
}

/** The colour of the one picture of a seed. */
async function colour(failover, seed) {
  let seen;
  await failover.generate({ seed, count: 1, nfe: 1 }, ({ rgba }) => (seen = rgba[0]));
  return seen;
}

test('the CPU answers at once, then the GPU takes over with the same picture', async () => {
  const { failover, engines } = stubFailover();
  const change = once(failover, 'change');
  assert.equal((await failover.load('cat')).backend, 'cpu');
  const picture = await colour(failover, 7);
  assert.equal((await change)[0].detail.backend, 'webgpu');
  engines.cpu.fails = () => true;
  assert.equal(await colour(failover, 7), picture);
});

test('the CPU loads the model while the browser still looks for a GPU', async () => {
  const cpu = new PaperEngine({ milliseconds: 50 });
  let answer;
  const failover = new FailoverEngine(undefined, {
    choose: () => new Promise((resolve) => (answer = resolve)),
    open: () => cpu,
  });
  const loading = failover.load('cat');
  for (let i = 0; i < 10; i++) await undefined;
  assert.deepEqual(cpu.loaded, ['cat']);
  answer({ backend: 'cpu', reason: 'no GPU' });
  assert.equal((await loading).notice, 'no GPU');
});

test('the badge says which arithmetic the GPU is at work in', async () => {
  const { failover, engines } = stubFailover();
  engines.webgpu.arithmetic = 'f16';
  engines.cpu.arithmetic = 'f32';
  const change = once(failover, 'change');
  assert.equal(backendName(await failover.load('cat')), 'CPU');
  await colour(failover, 7);
  assert.equal(backendName((await change)[0].detail), 'WebGPU f16');
  assert.equal(backendName({ backend: 'webgpu', arithmetic: 'f32' }), 'WebGPU');
});

for (const [what, gpu, reason] of [
  ['draws another picture', { milliseconds: 5, shift: 60 }, /differs/],
  ['is slower', { milliseconds: 80 }, /slower/],
  ['fails', { milliseconds: 5, fails: () => true }, /the device is lost/],
]) {
  test(`a GPU that ${what} is not taken, and the reason is told`, async () => {
    const { failover, engines } = stubFailover({ gpu });
    const change = once(failover, 'change');
    await failover.load('cat');
    await colour(failover, 7);
    const [{ detail }] = await change;
    assert.equal(detail.backend, 'cpu');
    assert.match(detail.notice, reason);
    assert.ok(engines.webgpu.closed);
    assert.equal(await colour(failover, 8), 'cat'.length + 8);
  });
}

test('a GPU whose clocks were idle in its first run is timed again, three times at most', async () => {
  for (const [times, backend] of [[[80, 70, 40], 'webgpu'], [[80, 70, 60, 40], 'cpu']]) {
    const { failover, engines } = stubFailover();
    // The first run compiles the shaders.
    const runs = [999, ...times];
    Object.defineProperty(engines.webgpu, 'milliseconds', { get: () => runs.shift() });
    const change = once(failover, 'change');
    await failover.load('cat');
    await colour(failover, 7);
    assert.equal((await change)[0].detail.backend, backend, times.join());
  }
});

test('a GPU that fails later is replaced by the CPU, which answers the same request', async () => {
  let lost = false;
  const { failover, engines } = stubFailover({ gpu: { milliseconds: 5, fails: () => lost } });
  const up = once(failover, 'change');
  await failover.load('cat');
  await colour(failover, 7);
  await up;
  await failover.load('horse');
  lost = true;
  const down = once(failover, 'change');
  assert.equal(await colour(failover, 9), 'horse'.length + 9);
  assert.match((await down)[0].detail.notice, /WebGPU failed: the device is lost/);
  assert.ok(engines.webgpu.closed);
});

test('a model chosen while the GPU gets ready is the one it takes over with', async () => {
  const { failover, engines } = stubFailover();
  const change = once(failover, 'change');
  await failover.load('cat');
  await failover.load('horse');
  await colour(failover, 7);
  await change;
  assert.equal(engines.webgpu.loaded.at(-1), 'horse');
  assert.equal(await colour(failover, 7), 'horse'.length + 7);
});

test('a model whose download is under way while the GPU takes over is the one that the GPU draws', async () => {
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const { failover } = stubFailover({
    cpu: { milliseconds: 50, loads: (source) => (source === 'horse' ? held : undefined) },
  });
  const change = once(failover, 'change');
  await failover.load('cat');
  await colour(failover, 7);
  const horse = failover.load('horse');
  await change;
  release();
  assert.equal((await horse).backend, 'webgpu');
  assert.equal(await colour(failover, 7), 'horse'.length + 7);
});

/** A failover whose GPU is at work. */
async function climbed(options) {
  const parts = stubFailover(options);
  const change = once(parts.failover, 'change');
  await parts.failover.load('cat');
  await colour(parts.failover, 7);
  await change;
  return parts;
}

test('a GPU that fails at two requests hands both to the CPU, once', async () => {
  let lost = false;
  const { failover } = await climbed({ gpu: { milliseconds: 5, fails: () => lost }, shared: true });
  lost = true;
  let changes = 0;
  failover.addEventListener('change', () => changes++);
  assert.deepEqual(await Promise.all([colour(failover, 8), colour(failover, 9)]), ['cat'.length + 8, 'cat'.length + 9]);
  assert.equal(changes, 1);
});

test('a newer request ends an older one, unless the engine is shared: then they take turns', async () => {
  for (const shared of [false, true]) {
    const { failover } = stubFailover({ gpu: { milliseconds: 80 }, shared });
    await failover.load('cat');
    await colour(failover, 7);
    const order = [];
    const request = (name, count) =>
      failover.generate({ seed: 1, count, nfe: 1 }, ({ first }) => order.push(`${name}${first}`));
    const results = await Promise.all([request('a', 5), request('b', 3)]);
    assert.deepEqual(results.map(({ stale }) => Boolean(stale)), [!shared, false]);
    assert.deepEqual(order, shared ? ['a0', 'b0', 'a2', 'b2', 'a4'] : ['b0', 'b2']);
  }
});

test('a request that is aborted ends before its next part, and the others go on', async () => {
  const { failover } = stubFailover({ gpu: { milliseconds: 80 }, shared: true });
  await failover.load('cat');
  const controller = new AbortController();
  const seen = [];
  const ended = failover.generate({ seed: 1, count: 100, nfe: 1 }, ({ first }) => {
    seen.push(first);
    if (first === 4) controller.abort();
  }, controller.signal);
  const other = failover.generate({ seed: 1, count: 9, nfe: 1 }, () => {});
  assert.ok((await ended).stale);
  assert.equal((await other).stale, undefined);
  assert.deepEqual(seen, [0, 2, 4]);
  assert.ok(
    (await failover.generate({ seed: 1, count: 1, nfe: 1 }, () => seen.push('after'), AbortSignal.abort())).stale,
  );
  assert.deepEqual(seen, [0, 2, 4]);
});

test('a long gallery is drawn by several Workers, each picture once; one that fails is done without', async () => {
  const opened = [];
  const open = () => {
    const engine = new PaperEngine({ milliseconds: 80, fails: () => opened.indexOf(engine) === 2 });
    engine.weights = async () => 'cat';
    engine.drawn = 0;
    const { generate } = engine;
    engine.generate = async (...request) => {
      // As the event loop of a page turns between two parts.
      await new Promise((resolve) => setTimeout(resolve));
      const result = await generate.apply(engine, request);
      engine.drawn += request[0].count;
      return result;
    };
    opened.push(engine);
    return engine;
  };
  const failover = new FailoverEngine('cpu', {
    workers: 3,
    choose: async () => ({ backend: 'cpu', reason: '' }),
    open,
  });
  await failover.load('cat');
  await failover.generate({ seed: 0, count: 3, nfe: 1 }, () => {});
  assert.equal(opened.length, 1, 'a few pictures are not worth another Worker');
  const seen = new Map();
  await failover.generate({ seed: 5, count: 99, nfe: 1 }, ({ first, rgba, labels }) =>
    labels.forEach((_, i) => seen.set(first + i, [...rgba.subarray(4 * i, 4 * i + 4)])),
  );
  assert.equal(opened.length, 3);
  assert.deepEqual([...seen.keys()].sort((a, b) => a - b), Array.from({ length: 99 }, (_, i) => i));
  assert.ok(opened[0].drawn > 0 && opened[1].drawn > 10, opened.map(({ drawn }) => drawn).join());
  assert.ok(opened[2].closed && !opened[1].closed);
  failover.close();
  assert.ok(opened.every(({ closed }) => closed));
});

test('a GPU that cannot load a model leaves it to the CPU, but a bad file is no fault of the GPU', async () => {
  const refuse = (bad) => async (source) => {
    if (source === bad) throw new Error(`${source} is refused`);
  };
  const bad = await climbed({
    cpu: { milliseconds: 50, loads: refuse('toad') },
    gpu: { milliseconds: 5, loads: refuse('toad') },
  });
  await assert.rejects(bad.failover.load('toad'), /toad is refused/);
  assert.equal(await colour(bad.failover, 7), 'cat'.length + 7);
  assert.ok(!bad.engines.webgpu.closed, 'a bad file cost the GPU');

  const full = await climbed({ gpu: { milliseconds: 5, loads: refuse('whale') } });
  assert.equal((await full.failover.load('whale')).backend, 'cpu');
  assert.equal(await colour(full.failover, 7), 'whale'.length + 7);
  assert.ok(full.engines.webgpu.closed);
});

/** A failover whose engines are new ones each time, and that notes its events. */
function failoverOfMany({ wanted, ...kinds }) {
  const [opened, events] = [[], []];
  const open = (backend) => {
    const engine = new PaperEngine(kinds[backend] ?? { milliseconds: backend === 'cpu' ? 50 : 5 });
    opened.push({ backend, engine });
    return engine;
  };
  const failover = new FailoverEngine(wanted, {
    choose: async () => ({ backend: wanted ?? 'webgpu', reason: '' }),
    open,
  });
  for (const type of ['change', 'device-lost', 'recovered']) {
    failover.addEventListener(type, ({ detail }) => events.push([type, detail]));
  }
  return {
    failover,
    opened,
    events,
    of: (backend) => opened.filter((entry) => entry.backend === backend).map(({ engine }) => engine),
  };
}

const lose = (engine) => {
  engine.generate = async () => {
    throw Object.assign(new Error('the device is lost'), { lost: true });
  };
};

test('a lost GPU is replaced once, the request is answered meanwhile, and after a second loss the CPU stays', async () => {
  const { failover, events, of } = failoverOfMany({});
  const first = once(failover, 'change');
  await failover.load('cat');
  const picture = await colour(failover, 7);
  await first;
  for (const losses of [1, 2]) {
    const recovered = once(failover, 'recovered');
    lose(of('webgpu').at(-1));
    assert.equal(await colour(failover, 7), picture, 'the request was not made again');
    const [{ detail }] = await recovered;
    assert.equal(detail.backend, losses === 1 ? 'webgpu' : 'cpu');
    assert.equal(of('webgpu').length, losses === 1 ? 2 : 2, 'a GPU that was lost twice is not tried again');
    assert.deepEqual(events.filter(([type]) => type === 'device-lost').at(-1)[1], {
      reason: 'the device is lost',
      losses,
    });
    assert.equal(await colour(failover, 8), picture + 1);
  }
  assert.match(events.at(-1)[1].notice, /lost 2 times/);
  assert.equal(of('cpu').length, 1);
});

test('a GPU that is lost while nobody asks is replaced too', async () => {
  const { failover, of } = failoverOfMany({});
  const up = once(failover, 'change');
  await failover.load('cat');
  await colour(failover, 7);
  await up;
  const recovered = once(failover, 'recovered');
  of('webgpu')[0].onlost('unplugged');
  assert.equal((await recovered)[0].detail.backend, 'webgpu');
  assert.ok(of('webgpu')[0].closed && of('webgpu').length === 2);
});

test('where the GPU was asked for, it is begun anew, and after a second loss the CPU takes its place', async () => {
  const { failover, events, of } = failoverOfMany({ wanted: 'webgpu' });
  await failover.load('cat');
  const [engine] = of('webgpu');
  const works = engine.generate;
  for (const losses of [1, 2]) {
    engine.generate = async () => {
      engine.generate = works;
      if (losses === 1) assert.equal(engine.loaded.length, 1);
      throw Object.assign(new Error('the device is lost'), { lost: true });
    };
    assert.equal(await colour(failover, 7), 'cat'.length + 7);
    assert.equal(events.at(-1)[1].backend, losses === 1 ? 'webgpu' : 'cpu');
  }
  assert.deepEqual(engine.loaded, ['cat', 'cat']);
});

test('a request that ends with the lost engine is answered by the next, and not as a bitmap again', async () => {
  const { failover, of } = failoverOfMany({ wanted: 'webgpu' });
  await failover.load('cat');
  const [engine] = of('webgpu');
  const [works, asked] = [engine.generate, []];
  // The loss is told before the request fails, and closing the engine ends it with another error.
  engine.generate = async () => {
    engine.generate = async (request, ...rest) => {
      asked.push(request.mix.bitmap);
      return works.call(engine, request, ...rest);
    };
    engine.onlost('a canvas took it');
    throw new Error('the engine was closed');
  };
  let seen;
  await failover.generate(
    { seed: 7, count: 1, nfe: 1, mix: { corners: [], place: [0, 0], bitmap: true } },
    ({ rgba }) => (seen = rgba[0]),
  );
  assert.equal(seen, 'cat'.length + 7);
  assert.deepEqual(asked, [false]);
});

test('a GPU whose canvas fails stays, and draws the square by reading back from then on', async () => {
  const { failover, engines } = await climbed();
  const changes = [];
  failover.addEventListener('change', ({ detail }) => changes.push(detail.backend));
  const [works, asked] = [engines.webgpu.generate, []];
  engines.webgpu.generate = async (request, ...rest) => {
    asked.push(request.mix.bitmap);
    if (request.mix.bitmap) throw new Error('no frame');
    return works.call(engines.webgpu, request, ...rest);
  };
  for (const seed of [7, 8]) {
    const mix = { corners: [], place: [0, 0], bitmap: true };
    let seen;
    await failover.generate({ seed, count: 1, nfe: 1, mix }, ({ rgba }) => (seen = rgba[0]));
    assert.equal(seen, 'cat'.length + seed);
  }
  assert.deepEqual(asked, [true, false, false]);
  assert.deepEqual([changes, engines.webgpu.closed], [[], false]);
});

test('a Worker that ends is begun anew and asked again, once', async () => {
  const { failover, events, of } = failoverOfMany({ wanted: 'cpu' });
  await failover.load('cat');
  const [engine] = of('cpu');
  const works = engine.generate;
  engine.generate = async () => {
    engine.generate = works;
    throw Object.assign(new Error('the engine was ended'), { lost: true });
  };
  assert.equal(await colour(failover, 7), 'cat'.length + 7);
  assert.deepEqual(events.map(([type]) => type), ['device-lost', 'recovered']);
  lose(engine);
  await assert.rejects(colour(failover, 7), /the device is lost/);
});

const stage = openStage({ webgpu: true });

test('in a browser WebGPU takes over from the CPU with the same picture', async () => {
  const weights = readFileSync(trainTinyModel(), 'base64');
  const page = await stage.open(`?backend=cpu&count=1`);
  const [before, after] = await page.evaluate(async (weights) => {
    const { FailoverEngine } = await import(new URL('web/failover.js', document.baseURI).href);
    // The software adapter of the tests is slower than the CPU, which real GPUs are not.
    const failover = new FailoverEngine(undefined, { softwareWillDo: true, slowerWillDo: true });
    const change = new Promise((resolve) => failover.addEventListener('change', ({ detail }) => resolve(detail)));
    const picture = async (backend) => {
      const pictures = [];
      await failover.generate({ seed: 3, count: 1, nfe: 1 }, ({ rgba }) => pictures.push(...rgba));
      return { backend, pictures };
    };
    const file = new File([Uint8Array.from(atob(weights), (c) => c.charCodeAt(0))], 'tiny.safetensors');
    const first = await picture((await failover.load(file)).backend);
    const { backend, notice } = await change;
    if (backend !== 'webgpu') throw new Error(notice);
    return [first, await picture(backend)];
  }, weights);
  assert.deepEqual([before.backend, after.backend], ['cpu', 'webgpu']);
  assert.ok(before.pictures.every((value, i) => Math.abs(value - after.pictures[i]) <= 2), 'the pictures differ');
});

/** Opens the page with what its Worker makes of GPU devices kept, so that a test can destroy them. */
async function openWithDevices(query) {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await beforeWorkers(page, `const request = GPUAdapter.prototype.requestDevice;
    self.devices = [];
    GPUAdapter.prototype.requestDevice = async function (...how) {
      const device = await request.apply(this, how);
      self.devices.push(device);
      return device;
    };`);
  await page.goto(stage.site.address + query);
  await settled(page);
  return page;
}

/** Another picture, and then that of the seed 3 again. */
async function drawSeedThreeAgain(page) {
  await page.click('#new-seed');
  await settled(page);
  await page.fill('#seed', '3');
  await page.press('#seed', 'Enter');
  await page.waitForFunction(() => /seed=3$/.test(location.search));
  await settled(page);
}

test('in a browser a destroyed device is replaced, with the same pictures; a second one is not', async () => {
  const page = await openWithDevices('?backend=webgpu&seed=3&count=1');
  const before = await wall(page);
  for (const backend of ['WebGPU', 'CPU']) {
    await page.evaluate(() => (document.getElementById('backend').textContent = '…'));
    await page.workers()[0].evaluate(() => self.devices.at(-1).destroy());
    await page.waitForFunction((name) => document.getElementById('backend').textContent === name, backend, {
      timeout: 120_000,
    });
    await settled(page);
    await drawSeedThreeAgain(page);
    assert.ok(psnr((await wall(page))[0], before[0]) >= 40, `the picture on ${backend} is another one`);
  }
  assert.match(await page.textContent('#notice'), /lost 2 times/);
});

test('in a browser a Worker that is killed is begun anew, and the element tells of it', async () => {
  const page = await stage.open('?backend=cpu&seed=3&count=1');
  const before = await wall(page);
  const told = page.evaluate(async () => {
    const { MeanFlowElement } = await import(new URL('web/mean-flow.js', document.baseURI).href);
    const element = new MeanFlowElement();
    Object.assign(element, { src: 'static/models/emoji.safetensors', seed: 3 });
    element.setAttribute('backend', 'cpu');
    document.body.prepend(element);
    await new Promise((resolve) => element.addEventListener('generate', resolve));
    const events = [];
    for (const type of ['device-lost', 'recovered']) element.addEventListener(type, () => events.push(type));
    document.title = 'drawn';
    await new Promise((resolve) => element.addEventListener('recovered', resolve));
    await element.generate({ seed: 4 });
    return [events, element.shadowRoot.querySelector('[part=badge]').textContent];
  });
  await page.waitForFunction(() => document.title === 'drawn', undefined, { timeout: 60_000 });
  assert.equal(page.workers().length, 2);
  for (const worker of page.workers()) await worker.evaluate(() => self.close()).catch(() => {});
  assert.deepEqual(await told, [['device-lost', 'recovered'], 'CPU']);
  await drawSeedThreeAgain(page);
  assert.ok(psnr((await wall(page))[0], before[0]) >= 60);
  assert.deepEqual(page.problems, []);
});

test('in a browser a trap of the engine leaves no dead page, and neither does a second one', async () => {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  // The Worker as it is written, in its parts.
  await page.route(/\/web\/engine\/\w+\/(worker-\w+|engine-worker|latent)\.js$/, async (route) => {
    const name = new URL(route.request().url()).pathname.split('/').pop();
    const [script, at] = [
      readFileSync(join(ROOT, 'web/engine', name), 'utf8'),
      'async generate({ noise, mix, ...asked }, { report, signal }) {',
    ];
    assert.equal(script.includes(at), name === 'engine-worker.js');
    // More numbers than there is memory for: a panic of the real thing.
    const body = script.replace(at, `${at} if (self.trap) { self.trap = false; wasm.noise(1n, 3_000_000_000); }`);
    await route.fulfill({ body, contentType: 'text/javascript' });
  });
  await page.goto(`${stage.site.address}?backend=cpu&seed=3&count=1`);
  await settled(page);
  const before = await wall(page);
  for (const seed of [4, 3]) {
    const [worker] = page.workers();
    await worker.evaluate(() => (self.trap = true));
    const ended = new Promise((resolve) => worker.once('close', resolve));
    await page.fill('#seed', String(seed));
    await page.press('#seed', 'Enter');
    await ended;
    await settled(page);
    assert.equal(await page.textContent('#status'), '');
  }
  assert.ok(psnr((await wall(page))[0], before[0]) >= 60);
  await context.close();
});

test('weights that say another picture of their seed are refused, and the reason is told', async () => {
  const weights = readFileSync('static/models/emoji.safetensors');
  const at = weights.indexOf('\\"means\\":[') + 12;
  // The first mean by another of the same length.
  weights.write(
    weights.toString('latin1', at, at + 3).replace(/\d/, (digit) => String(9 - Number(digit))),
    at,
    'latin1',
  );
  const file = join(temporaryFolder(), 'forged.safetensors');
  writeFileSync(file, weights);
  const page = await stage.open('?backend=cpu&seed=3&count=1');
  await page.setInputFiles('#file', file);
  assert.match(await settled(page, 'error'), /forged\.safetensors.*picture of the seed 0/);
});
