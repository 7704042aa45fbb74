// The page's parts that need no browser: noise between noises, pictures that know how they were made, the plane.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { test } from 'node:test';

import { readAddress, writeAddress } from '../../web/page/address.js';
import { chooseBackend } from '../../web/engine/backend.js';
import { blendText, classesOf, partsOf } from '../../web/engine/classes.js';
import { download } from '../../web/engine/download.js';
import { between, blendAt, slerp } from '../../web/engine/latent.js';
import { average, derivative, velocity, way } from '../../web/page/flow2d.js';
import { Questions, WorkerLost } from '../../web/lab/questions.js';
import { Team, takeAll } from '../../web/lab/team.js';
import { recipeOf, withRecipe } from '../../web/element/png.js';
import { hashOf } from '../../web/tools/engine-folder.mjs';
import { DIST, ENGINE, LAB, ROOT, decode, encode } from './support.mjs';

/** Normal numbers that follow from a seed. */
function normals(seed, count) {
  let state = seed;
  const uniform = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

const length = (x) => Math.hypot(...x);

test('between two noises lies noise of the same length, and at the ends they themselves', () => {
  const [a, b] = [normals(1, 3072), normals(2, 3072)];
  for (const at of [0, 0.25, 0.5, 1]) assert.ok(Math.abs(length(slerp(a, b, at)) / length(a) - 1) < 0.03, `at ${at}`);
  // The straight line between them is shorter by 1/√2 in its middle.
  assert.ok(length(a.map((x, i) => (x + b[i]) / 2)) / length(a) < 0.75);
  assert.deepEqual(slerp(a, b, 0), a);
  assert.ok(length(slerp(a, b, 1).map((x, i) => x - b[i])) < 1e-3);
  assert.ok(slerp(a, a, 0.3).every(Number.isFinite));
});

test('each corner of the square is the noise that stands there', () => {
  const corners = [3, 4, 5, 6].map((seed) => normals(seed, 100));
  for (const [i, place] of [[0, 0], [1, 0], [0, 1], [1, 1]].entries()) {
    assert.ok(length(between(corners, place).map((x, k) => x - corners[i][k])) < 1e-4, `corner ${i}`);
  }
});

test('the noises of a square are drawn once, not in every frame of a drag, and anew for another model', async () => {
  const drawn = [];
  const build = {
    async default() {},
    async openDevice() {},
    deviceLost: () => new Promise(() => {}),
    classOf: () => undefined,
    noise(seed, count) {
      drawn.push(Number(seed));
      return normals(Number(seed), count);
    },
    ModelLoader: class {
      push() {}
      async finish() {
        return { info: { channels: 1, width: 4, height: 4, classes: [] }, free() {}, generate: async (asked) => asked };
      }
    },
  };
  const waiting = new Map();
  const reports = [];
  globalThis.self = {
    postMessage({ id, report, result, error }) {
      if (report) reports.push(report.rgba);
      else waiting.get(id)?.(error ?? result);
    },
  };
  const { serve } = await import('../../web/engine/engine-worker.js');
  serve(build, 'cpu');
  const ask = (id, task, request) => {
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    self.onmessage({ data: { id, task, ...request } });
    return answer;
  };
  let last = 0;
  const load = async () => {
    const of = (last += 1);
    self.onmessage({ data: { of, total: 1, piece: new Uint8Array(1) } });
    assert.equal((await ask((last += 1), 'load', { of, name: 'paper' })).backend, 'cpu');
  };
  const frame = async (corners, place) => {
    assert.ok('milliseconds' in (await ask((last += 1), 'generate', { seed: 1n, nfe: 1, mix: { corners, place } })));
    const noises = corners.map((corner) => (corner instanceof Float32Array ? corner : normals(Number(corner), 16)));
    assert.deepEqual(reports.pop().initialNoise, between(noises, place));
  };
  await ask((last += 1), 'start', {});
  await load();
  for (const x of [0.1, 0.2, 0.3]) await frame([1n, 2n, 3n, 4n], [x, 0.5]);
  assert.deepEqual(drawn.splice(0), [1, 2, 3, 4]);
  for (const x of [0.1, 0.2]) await frame([3n, 5n, normals(9, 16), 6n], [x, 0.5]);
  assert.deepEqual(drawn.splice(0).sort(), [3, 5, 6]);
  await load();
  await frame([3n, 5n, 6n, 7n], [0.1, 0.5]);
  assert.deepEqual(drawn, [3, 5, 6, 7]);
});

test('whether there is a GPU is asked of the adapter that the engine opens', async () => {
  const asked = [];
  const gpu = { requestAdapter: async (options) => asked.push(options) && { info: { vendor: 'acme' } } };
  const there = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', { value: { gpu }, configurable: true });
  try {
    assert.equal((await chooseBackend()).backend, 'webgpu');
  } finally {
    if (there) Object.defineProperty(globalThis, 'navigator', there);
    else delete globalThis.navigator;
  }
  // wgpu::PowerPreference::HighPerformance in crate/src/infer/webgpu/device.rs.
  assert.deepEqual(asked, [{ powerPreference: 'high-performance' }]);
});

/** What the scripts of a folder of web/ may import, beside their own. */
const MAY_IMPORT = {
  engine: [],
  element: ['engine'],
  page: ['element', 'engine'],
  lab: ['page', 'element', 'engine'],
  bench: ['element', 'engine'],
};

test('the page builds on the element and the engine, the element on the engine, and the engine on neither', () => {
  const web = join(ROOT, 'web');
  let found = 0;
  for (const [folder, others] of Object.entries(MAY_IMPORT)) {
    for (const name of readdirSync(join(web, folder)).filter((name) => name.endsWith('.js'))) {
      const script = join(folder, name);
      // Types that a comment imports, too.
      for (const [, address] of readFileSync(join(web, script), 'utf8').matchAll(
        /\b(?:from|import)\b[\s(]*'(\.[^']*)'/g,
      )) {
        found += 1;
        const [from, ...inside] = join(folder, address).split('/');
        assert.ok([folder, ...others].includes(from), `${script} imports ${address}`);
        assert.ok(
          inside[0] === 'pkg' || existsSync(join(web, from, ...inside)),
          `${script} imports ${address}, which is not there`,
        );
      }
    }
  }
  assert.ok(found > 50, `${found} imports were found`);
});

test('what is loaded comes in one script', () => {
  for (const name of ['page', 'mean-flow', 'engine', 'worker-cpu', 'worker-relaxed', 'worker-webgpu']) {
    const script = readFileSync(join(DIST, name.startsWith('worker') ? ENGINE : 'web', `${name}.js`), 'utf8');
    assert.doesNotMatch(script, /\bimport\s*[\w{*"'`]|\bfrom\s*["'`]/, name);
    // The address that the page has given: nothing else is fetched before it is needed.
    if (!name.startsWith('worker')) continue;
    assert.match(script.match(/\bimport\([^)]*\)/g)?.join() ?? '', /^import\(\s*(\/\*.*\*\/)?\s*\w+\.script\)$/, name);
    // An address that bundlers would follow.
    assert.ok(!script.includes('import.meta'), name);
  }
});

test('the engine lies in a folder that is named by what it holds, and no script knows another', () => {
  assert.equal(basename(ENGINE), hashOf(join(DIST, ENGINE)));
  const scripts = [
    ...readdirSync(join(DIST, 'web'))
      .filter((name) => name.endsWith('.js'))
      .map((name) => `web/${name}`),
    'sw.js',
  ];
  const named = new Map(
    scripts.map((name) => [
      name,
      [...readFileSync(join(DIST, name), 'utf8').matchAll(/engine\/(\w+)\//g)].map(([, hash]) => hash),
    ]),
  );
  for (const [name, hashes] of named) {
    assert.ok(
      hashes.every((hash) => hash === basename(ENGINE)),
      name,
    );
  }
  for (const name of ['page', 'mean-flow', 'engine', 'failover', 'preload'].map((name) => `web/${name}.js`)) {
    assert.ok(named.get(name).length > 0, name);
  }
  assert.ok(named.get('sw.js').length > 0);
});

test('what trains lies in a folder of its own, which the laboratory alone knows', () => {
  assert.equal(basename(LAB), hashOf(join(DIST, LAB)));
  const knows = (name) => readFileSync(join(DIST, name), 'utf8').includes(`lab/${basename(LAB)}/`);
  const scripts = readdirSync(join(DIST, 'web')).filter((name) => name.endsWith('.js'));
  assert.deepEqual([...scripts.map((name) => `web/${name}`), 'sw.js'].filter(knows), ['web/lab-teach.js', 'web/lab.js']);
});

test('each corner of the square has its class, and between them lie shares of all', () => {
  for (const [i, place] of [
    [0, 0],
    [1, 0],
    [0, 1],
    [1, 1],
  ].entries()) {
    assert.deepEqual(blendAt([7, 8, 9, 7], place), [[7, 8, 9, 7][i], 1]);
  }
  assert.deepEqual(blendAt([1, 2, 3, 4], [0.25, 0.5]), [1, 0.375, 2, 0.125, 3, 0.375, 4, 0.125]);
  assert.deepEqual(blendAt([1, 2, 3, 4], [0.5, 0]), [1, 0.5, 2, 0.5]);
});

test('in the plane u + (t − r) du/dt is v, and a step along u ends where the way ends', () => {
  for (const [z, r, t] of [[[0.3, -1.7], 0.2, 0.8], [[-1.5, 0.4], 0, 1], [[1.1, 1.2], 0.5, 0.6]]) {
    const [u, v, du] = [average(z, r, t), velocity(z, t), derivative(z, r, t)];
    u.forEach((value, axis) => assert.ok(Math.abs(value + (t - r) * du[axis] - v[axis]) < 1e-4, `${z}, ${r}, ${t}`));
    const [end, jumped] = [way(z, t, r).at(-1), z.map((value, axis) => value - (t - r) * u[axis])];
    assert.ok(length(end.map((value, axis) => value - jumped[axis])) < 1e-9);
  }
  // Near r = t the average is the velocity itself.
  const [u, v] = [average([0.7, -0.2], 0.699, 0.7), velocity([0.7, -0.2], 0.7)];
  assert.ok(length(u.map((value, axis) => value - v[axis])) < 1e-2 * length(v));
});

const PICTURE = encode({ width: 2, height: 2, data: Uint8Array.from({ length: 16 }, (_, i) => 13 * i), channels: 4 });
const RECIPE = {
  model: 'tiles',
  sha256: 'ab',
  seed: '18446744073709551615',
  className: 'Köpfe/日本',
  prompt: 'a 🦈, “鲨鱼”',
  guidance: 2.5,
  steps: 4,
  place: [0.25, 1],
};

test('a saved picture keeps its recipe and stays the same picture', () => {
  const png = withRecipe(PICTURE, RECIPE);
  assert.deepEqual(decode(png).data, decode(PICTURE).data);
  // A decoder that checks every chunk finds the text too.
  assert.deepEqual(JSON.parse(decode(png, { checkCrc: true }).text.MeanFlow), RECIPE);
  assert.deepEqual(recipeOf(png), { ...RECIPE, seed: 2n ** 64n - 1n });
});

test('pictures without a recipe, or with one that makes no sense, have none', () => {
  assert.equal(recipeOf(PICTURE), undefined);
  assert.equal(recipeOf(new TextEncoder().encode('no picture')), undefined);
  for (const wrong of [{ seed: '-1' }, { seed: 'x' }, { steps: 0 }, { steps: '2' }, { steps: 1.5 }, { prompt: 7 }]) {
    assert.equal(recipeOf(withRecipe(PICTURE, { ...RECIPE, ...wrong })), undefined, JSON.stringify(wrong));
  }
  assert.equal(recipeOf(withRecipe(PICTURE, { ...RECIPE, place: [2, 0] })).place, undefined);
  // Cut anywhere, it is no recipe, and no endless loop.
  const png = withRecipe(PICTURE, RECIPE);
  for (let end = 0; end < 200; end++) recipeOf(png.subarray(0, end));
});

test('a place in the square stands in the address', () => {
  const defaults = { model: 'emoji', seed: 1n, nfe: 1, count: 56 };
  const choice = { ...defaults, place: [0.25, 1], className: undefined, backend: undefined };
  assert.equal(writeAddress(choice, defaults), '?at=0.25%2C1&seed=1');
  assert.deepEqual(readAddress('?at=0.25,1&seed=1', defaults).place, [0.25, 1]);
  for (const wrong of ['1.5,0', '0.2', '0.2,', 'a,b', '-0.1,0']) {
    assert.equal(readAddress(`?at=${wrong}`, defaults).place, undefined, wrong);
  }
});

test('addresses and saved pictures say how strongly pictures are guided, where they are', () => {
  const defaults = { seed: 7n, nfe: 1, count: 56 };
  const read = (query) => readAddress(query, defaults).guidance;
  assert.equal(read('?guidance=3.5'), 3.5);
  for (const none of ['', '?guidance=', '?guidance=1', '?guidance=0.5', '?guidance=101', '?guidance=x']) {
    assert.equal(read(none), undefined, none);
  }
  assert.equal(writeAddress(readAddress('?guidance=3.5&seed=7', defaults), defaults), '?guidance=3.5&seed=7');
  for (const wrong of [1, 0.5, 101, '2', null, [2]]) {
    assert.equal(recipeOf(withRecipe(PICTURE, { ...RECIPE, guidance: wrong })), undefined, String(wrong));
  }
  assert.ok(recipeOf(withRecipe(PICTURE, { ...RECIPE, guidance: undefined })));
});

test('classes are read from text: a name, a place between names, or nothing known', () => {
  const known = ['cat', 'dog', 'item/potion', 'a:1'];
  assert.deepEqual(classesOf(undefined, known), {});
  assert.deepEqual(classesOf('', known), {});
  assert.deepEqual(classesOf('dog', known), { classIndex: 1 });
  assert.deepEqual(classesOf('a:1', known), { classIndex: 3 }, 'a name may hold a colon');
  assert.deepEqual(classesOf('cat:3, item/potion:1', known), { blend: [0, 0.75, 2, 0.25] });
  for (const text of [
    'cow',
    'cat:0,dog:1',
    'cat:1,cow:1',
    'cat:x,dog:1',
    'cat,dog',
    'cat:-1,dog:2',
    'cat:1,dog:1,cat:1,dog:1,cat:1',
  ]) {
    assert.equal(classesOf(text, known), undefined, text);
  }
  assert.equal(blendText('cat', 'dog', 0.6), 'cat:0.6,dog:0.4');
  assert.equal(blendText('cat', 'dog', 1), 'cat');
  assert.deepEqual(partsOf('cat:0.6,dog:0.4').map(([name]) => name), ['cat', 'dog']);
});

test('an answer that is fine and has no file is an error with the answer', async () => {
  const server = createServer((_, response) => response.writeHead(204).end());
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  globalThis.location = { href: `http://127.0.0.1:${server.address().port}/` };
  try {
    const taken = download('a/model.safetensors', () => {}, () => assert.fail('there is nothing to take'));
    await assert.rejects(taken, { message: /^cannot download model\.safetensors: the server answered 204/, code: 'download' });
  } finally {
    delete globalThis.location;
    server.close();
  }
});

test('what the wasm links of others is named with its licence, beside the wasm', () => {
  const notices = readFileSync(join(DIST, 'web/THIRD_PARTY.txt'), 'utf8');
  const sections = notices
    .split(/^={80}\n/m)
    .slice(1)
    .map((section) => section.split(/\n\n([^]*)/));
  const named = new Set(
    sections.flatMap(([titles]) =>
      titles
        .split('\n')
        .map((title) => title.replace(/ (\d[^ ]*)? ?\(.*/, (_, version) => (version ? `-${version}` : ''))),
    ),
  );
  for (const [titles, text] of sections) assert.match(text, /permission|licen[cs]e/i, titles);
  // Code that can panic says where it comes from.
  const builds = ['cpu', 'relaxed', 'webgpu', 'burn'].map((build) => join(ENGINE, `pkg/${build}`));
  const linked = new Set(
    [...builds, LAB].flatMap(
      (folder) =>
        readFileSync(join(DIST, folder, 'meanflow_bg.wasm'), 'latin1').match(
          /[a-z][\w-]*-\d+\.\d+\.\d+(?=\/src\/)/g,
        ) ?? [],
    ),
  );
  assert.ok(linked.size > 5, [...linked].join());
  // What comes with the compiler has its version.
  for (const one of linked) assert.ok(named.has(one) || named.has(one.replace(/-\d+\.\d+\.\d+$/, '')), one);
  // The single file holds the wasm, and says so.
  assert.match(readFileSync(join(DIST, 'web/mean-flow.inline.js'), 'utf8').slice(0, 200), /^\/\*!.*THIRD_PARTY\.txt/);
});

/** What learns drawings, in two shares: a weight each, which every step moves by the sum of the gradients. */
class FakeDrawings {
  weights = [0, 0];
  gradients = (index) => Float32Array.of(index + 1, index + 1);
  update(sum, index) {
    this.weights[index] += sum[index];
    return Float32Array.of(this.weights[index]);
  }
  take = ([weight], index) => (this.weights[index] = weight);
  endStep() {}
  step = () => (this.weights = this.weights.map((weight) => weight + 3));
}

/** What a helper does in place of an answer. */
const FAILURES = {
  dies: (worker) => worker.onerror({ preventDefault() {}, message: 'gone' }),
  errs: (worker, id) => worker.onmessage({ data: { id, error: 'out of memory' } }),
  forgets: (worker, id) => worker.onmessage({ data: { id } }),
};

/** Has Workers be helpers of a team, which answer as they are told to. */
function withHelpers(t, { failsAt = () => false, how = 'dies', begins = () => {} }) {
  const ended = [];
  globalThis.self = { location: { href: 'https://example.org/worker.js' } };
  globalThis.Worker = class {
    /** @type {FakeDrawings | undefined} */
    #drawings;
    constructor() {
      begins();
    }
    async postMessage({ id, begin, share, gradients, sum, moved }) {
      await undefined;
      if (begin) this.#drawings = new FakeDrawings();
      if (!this.#drawings) return this.onmessage?.({ data: { id, error: 'nothing has begun' } });
      if (failsAt({ begin, gradients, sum, moved })) return FAILURES[how](this, id);
      let values;
      if (gradients) values = this.#drawings.gradients(share.index);
      if (sum) values = this.#drawings.update(sum, share.index);
      if (moved) takeAll(this.#drawings, moved, share);
      this.onmessage?.({ data: { id, values } });
    }
    terminate() {
      ended.push(this);
    }
  };
  t.mock.method(console, 'warn', () => {});
  t.after(() => {
    delete globalThis.self;
    delete globalThis.Worker;
  });
  return ended;
}

for (const [what, failsAt, expected, how] of [
  ['learns', () => false, [6, 6]],
  ['cannot begin', ({ begin }) => begin, [6, 6]],
  ['fails before the weights move', ({ gradients }) => gradients, [6, 6]],
  ['gives no gradients', ({ gradients }) => gradients, [6, 6], 'forgets'],
  // What the other would have moved stays where it was for one step.
  ['fails while they move', ({ sum }) => sum, [6, 3]],
  ['fails as it takes them', ({ moved }) => moved, [6, 6]],
  // It would be out of step.
  ['cannot take them', ({ moved }) => moved, [6, 6], 'errs'],
]) {
  test(`a Worker whose helper ${what} takes every step`, async (t) => {
    const ended = withHelpers(t, { failsAt, how });
    const drawings = new FakeDrawings();
    const team = new Team(drawings, { settings: '', rgb: new Uint8Array() }, 2);
    assert.equal(team.size, 1, 'none has begun');
    await team.start();
    await team.step();
    await team.step();
    assert.deepEqual(drawings.weights, expected);
    assert.equal(team.size, what === 'learns' ? 2 : 1);
    // That training is slower from then on is said once.
    assert.equal(console.warn.mock.callCount(), what === 'learns' ? 0 : 1);
    team.end();
    assert.ok(ended.length > 0, 'the helper is ended');
    await team.start();
    assert.equal(team.size, 1, 'it stays alone');
  });
}

test('where no Worker can be started, one learns alone', async (t) => {
  withHelpers(t, {
    begins() {
      throw new Error('no nested Workers');
    },
  });
  const drawings = new FakeDrawings();
  const team = new Team(drawings, { settings: '', rgb: new Uint8Array() }, 3);
  await team.start();
  await team.step();
  assert.deepEqual([drawings.weights, team.size], [[3, 3], 1]);
});

test('a Worker that does not answer in time is lost, and the next question starts another', async (t) => {
  let [count, isSilent] = [0, true];
  globalThis.Worker = class {
    constructor() {
      count += 1;
    }
    async postMessage({ id }) {
      await undefined;
      if (!isSilent) this.onmessage({ data: { id, good: true } });
    }
    terminate() {}
  };
  t.after(() => delete globalThis.Worker);
  const questions = new Questions(() => new URL('https://example.org/worker.js'), 30);
  const both = [questions.ask({}), questions.ask({})].map((asked) => asked.catch((error) => error));
  for (const error of await Promise.all(both)) assert.ok(error instanceof WorkerLost, String(error));
  isSilent = false;
  const { good } = await questions.ask({});
  // One that answered is not lost later on.
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual([good, (await questions.ask({})).good, count], [true, true, 2]);
  questions.end();
});
