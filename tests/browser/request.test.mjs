// The request object of the wasm builds: what it may leave out, and what it says where a field is wrong.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { cpuBuild, randomWeights } from './support.mjs';

const { wasm } = await cpuBuild();
const NET = { image_size: 8, channels: 3, patch: 4, width: 32, depth: 1, heads: 2, classes: 3 };
const model = await wasm.Generator.load(readFileSync(randomWeights(NET)));
/** Values of a picture. */
const EACH = 3 * 8 * 8;

test('what is left out has a default, and noise that is given takes the place of that of the seeds', async () => {
  const plain = await model.generate({});
  assert.equal(plain.length, 4 * 8 * 8);
  assert.deepEqual(await model.generate({ seed: 0n, count: 1, nfe: 1, solver: 'mean-flow' }), plain);
  assert.deepEqual(await model.generate({ seed: null, classIndex: undefined, nfe: 1, another: 'field' }), plain);
  const four = await model.generate({ seed: 2n ** 64n - 2n, count: 4, nfe: 2 });
  assert.deepEqual(await model.generate({ seed: 1, nfe: 2 }), four.slice(3 * 256), 'seeds go on at 0 after the last');
  // Of no class of its own, as noise has no seed.
  const [noise, one] = [wasm.noise(7n, EACH), { seed: 7, classIndex: 1 }];
  assert.deepEqual(await model.generate({ initialNoise: noise, classIndex: 1 }), await model.generate(one));
  assert.notDeepEqual(await model.generate({ initialNoise: noise }), await model.generate({ seed: 7 }));
  const between = { seed: 7, blend: [0, 3, 2, 1] };
  const mixed = await model.generate(between);
  assert.deepEqual(await model.generate({ ...between, blend: Float32Array.of(0, 0.75, 2, 0.25) }), mixed);
  assert.deepEqual(await model.generate({ ...between, classIndex: 1 }), mixed);
});

test('pictures are guided, where that is an input of the network', async () => {
  const told = await wasm.Generator.load(readFileSync(randomWeights({ ...NET, guidance: 'scale-and-interval' })));
  assert.deepEqual([model.info.guidance, told.info.guidance], [false, true]);
  const plain = await told.generate({ seed: 7 });
  assert.deepEqual(await told.generate({ seed: 7, guidance: 1 }), plain);
  const guided = await told.generate({ seed: 7, guidance: 4 });
  assert.notDeepEqual(guided, plain);
  const classIndex = wasm.classOf(7n, 3);
  const given = { initialNoise: wasm.noise(7n, EACH), classIndex, guidance: 4 };
  assert.deepEqual(await told.generate(given), guided);
  for (const guidance of [0.5, 101, NaN]) {
    await assert.rejects(told.generate({ guidance }), { message: 'guidance must be 1 to 100' });
  }
});

const WRONG = [
  [{ seed: -1 }, /^seed must be a whole number from 0 to 18446744073709551615$/],
  [{ seed: 1.5 }, /^seed must be/],
  [{ seed: 2n ** 64n }, /^seed must be/],
  [{ seed: '7' }, /^seed must be/],
  [{ count: 0 }, /^0 pictures were asked for; 1 to 4096 are possible$/],
  [{ count: 1e12 }, /pictures were asked for; 1 to 4096/],
  [{ count: 1.5 }, /^count must be a whole number$/],
  [{ count: '2' }, /^count must be a whole number$/],
  [{ nfe: 0 }, /^0 network calls were asked for; 1 to 1024 are possible$/],
  [{ nfe: -1 }, /^nfe must be a whole number$/],
  [{ classIndex: 3 }, /^class 3 was asked for, but the model has 3 classes$/],
  [{ classIndex: NaN }, /^classIndex must be a whole number$/],
  [{ blend: [0, 1, 2] }, /^blend must be an index and a weight for each class$/],
  [{ blend: [0.5, 1] }, /^blend must be an index and a weight for each class$/],
  [{ blend: [] }, /^0 classes were to be mixed; 1 to 4 are possible$/],
  [{ blend: [0, 1, 1, -1] }, /^classes are mixed by weights above 0$/],
  [{ guidance: '2' }, /^guidance must be a number$/],
  [{ guidance: 2 }, /^guidance is no input of the model$/],
  [{ solver: 'newton' }, /newton/],
  [{ solver: 1 }, /^solver must be the name of a solver$/],
  [{ solver: 'heun' }, /not heun/],
  [{ initialNoise: new Float32Array(100) }, /^100 values are no whole pictures; each takes 192$/],
  [{ initialNoise: new Float32Array(EACH).fill(NaN) }, /cannot hold NaN/],
];

for (const [request, expected] of WRONG) {
  const [[name, value]] = Object.entries(request);
  test(`${name} cannot be ${typeof value === 'object' ? `[${value.slice(0, 3)}]` : String(value)}`, async () => {
    await assert.rejects(model.generate(request), { message: expected });
    // The model goes on.
    assert.equal((await model.generate({})).length, 256);
  });
}

test('what runs backward says the same of its fields', async () => {
  const values = new Float32Array(EACH);
  assert.equal((await model.invert({ values, classIndex: 1, nfe: 2 })).length, EACH);
  await assert.rejects(model.invert({ values }), { message: /^nfe must be a whole number$/ });
  await assert.rejects(model.invert({ nfe: 2 }), { message: /^values must be the numbers of pictures$/ });
  await assert.rejects(model.invert({ values, nfe: 3 }), { message: /two a step/ });
});
