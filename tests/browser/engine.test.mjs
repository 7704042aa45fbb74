// The builds against one another in one page: burn's network, the CPU engine, the same with fused multiplications, and
// the GPU engine give the same numbers for any shape. The GPU engine alone: no allocation while it works, and what it
// does when it cannot go on. It computes on a software adapter here.
/* global builds, load -- of the page */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ENGINE, openStage, randomWeights } from './support.mjs';

/** Largest difference of two builds' values over the largest value; all compute in f32, in another order. */
const TOLERANCE = 1e-4;

const stage = openStage({ webgpu: true });

/** A page that can fetch `weights` at `/weights` and has the builds in `builds`, by name. */
async function openBuilds(weights) {
  const page = await (await stage.browser.newContext()).newPage();
  await page.route('**/weights', (route) => route.fulfill({ path: weights, contentType: 'application/octet-stream' }));
  await page.goto(`${stage.site.address}static/favicon.svg`);
  await page.evaluate(async (engine) => {
    globalThis.builds = {};
    for (const build of ['burn', 'cpu', 'relaxed', 'webgpu']) {
      const wasm = await import(`${engine}pkg/${build}/meanflow.js`);
      await wasm.default();
      builds[build] = wasm;
    }
    globalThis.load = async (build) =>
      builds[build].Generator.load(new Uint8Array(await (await fetch('/weights')).arrayBuffer()));
  }, stage.site.address + ENGINE);
  return page;
}

const NET = { image_size: 8, channels: 3, patch: 2, width: 32, depth: 2, heads: 2 };

/** What each shape is there for; `count`, `nfe` and `dtype` where they are not 1, 1 and f32. */
const SHAPES = {
  'preset browser-s, whole': {
    net: { image_size: 32, channels: 4, patch: 4, width: 128, depth: 6, heads: 4 },
    dtype: 'f16',
  },
  'preset browser-m, with classes': {
    net: { image_size: 32, channels: 3, patch: 4, width: 160, depth: 2, heads: 5, classes: 10 },
    count: 5,
  },
  'width and heads of dit-s/2, 256 tokens': {
    net: { image_size: 32, channels: 4, patch: 2, width: 384, depth: 1, heads: 6 },
    dtype: 'f16',
  },
  'width and heads of dit-b/4': {
    net: { image_size: 16, channels: 4, patch: 4, width: 768, depth: 1, heads: 12 },
    dtype: 'f16',
  },
  'width and heads of dit-m/2 and dit-l/2': {
    net: { image_size: 4, channels: 4, patch: 2, width: 1024, depth: 1, heads: 16 },
    dtype: 'f16',
  },
  'width and heads of dit-xl/2': {
    net: { image_size: 6, channels: 4, patch: 2, width: 1152, depth: 1, heads: 16 },
    dtype: 'f16',
  },
  'grey, patches of 9 values, told t and r, image output': {
    net: {
      ...NET,
      image_size: 9,
      channels: 1,
      patch: 3,
      width: 20,
      heads: 5,
      mlp_ratio: 3,
      times: 't,r',
      output: 'image',
    },
    count: 3,
    nfe: 3,
  },
  'pixels as patches, heads of 6 features, all times, classes': {
    net: { ...NET, image_size: 6, patch: 1, width: 36, heads: 6, times: 't,r,h', classes: 3 },
    count: 7,
    // More conditions than are kept at once.
    nfe: 30,
  },
  'heads of 3 features, told h, image output': {
    net: { ...NET, image_size: 10, channels: 4, patch: 5, width: 12, heads: 4, times: 'h', output: 'image' },
    count: 65,
  },
  'one token, the widest head': { net: { ...NET, channels: 1, patch: 8, width: 256, heads: 1, mlp_ratio: 1 }, nfe: 2 },
};

for (const [name, { net, count = 1, nfe = 1, dtype = 'f32' }] of Object.entries(SHAPES)) {
  test(`the engine computes what the network does: ${name}`, async () => {
    const page = await openBuilds(randomWeights(net, dtype));
    const found = await page.evaluate(
      async ({ count, nfe }) => {
        const images = {};
        for (const build of Object.keys(builds)) {
          images[build] = await (await load(build)).images({ seed: 3n, count, nfe });
        }
        const largest = images.burn.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        // A comparison with NaN is false, so it must not be the one that lets through.
        const worst = (other) =>
          images.burn.reduce((most, x, i) => (Math.abs(x - other[i]) <= most ? most : Math.abs(x - other[i])), 0);
        return Object.values(images).map((values) => ({ values: values.length, error: worst(values) / largest }));
      },
      { count, nfe },
    );
    assert.equal(found.length, 4);
    for (const { values, error } of found) {
      assert.equal(values, count * net.channels * net.image_size ** 2);
      assert.ok(error <= TOLERANCE, `relative error ${error}`);
    }
    await page.context().close();
  });
}

test('what the engine cannot run it refuses in words, and the CPU runs it', async () => {
  const page = await openBuilds(randomWeights({ ...NET, width: 260, heads: 1, depth: 1 }));
  const refusal = await page.evaluate(() => load('webgpu').then(() => 'none', (error) => error.message));
  assert.match(refusal, /heads have 260 features/);
  assert.equal(
    await page.evaluate(async () => (await (await load('cpu')).generate({ seed: 1n, count: 1, nfe: 1 })).length),
    8 * 8 * 4,
  );
  await page.context().close();
});

test('once warm the engine makes nothing new, and a call of a network takes 2 + 5 depth dispatches', async () => {
  const page = await openBuilds(randomWeights({ ...NET, channels: 4 }));
  const { made, dispatches, moved } = await page.evaluate(async () => {
    const counts = { made: 0, dispatches: 0 };
    const count = (type, method, what) => {
      const original = type.prototype[method];
      type.prototype[method] = function (...given) {
        counts[what]++;
        return original.apply(this, given);
      };
    };
    for (const what of ['Buffer', 'BindGroup', 'ComputePipeline', 'ShaderModule']) {
      count(GPUDevice, `create${what}`, 'made');
    }
    count(GPUComputePassEncoder, 'dispatchWorkgroups', 'dispatches');
    const model = await load('webgpu');
    if (counts.made === 0) throw new Error('the counters do not count');
    const first = await model.generate({ seed: 0n, count: 4, nfe: 1 });
    counts.made = 0;
    for (let seed = 0; seed < 100; seed += 4) await model.generate({ seed: BigInt(seed), count: 4 });
    const { made } = counts;
    counts.dispatches = 0;
    const again = await model.generate({ seed: 0n, count: 1, nfe: 1 });
    // The same picture, whatever batch it is in and whatever was drawn before.
    return { made, dispatches: counts.dispatches, moved: again.filter((byte, i) => byte !== first[i]).length };
  });
  assert.deepEqual({ made, dispatches, moved }, { made: 0, dispatches: 2 + 5 * NET.depth + 1, moved: 0 });
  await page.context().close();
});

test('a second request during a first is refused, and the first is served', async () => {
  const page = await openBuilds(randomWeights(NET));
  const answers = await page.evaluate(async () => {
    const model = await load('webgpu');
    const one = () => model.generate({ seed: 1n }).then((rgba) => rgba.length, (error) => error.message);
    return [...(await Promise.all([one(), one()])), await one()];
  });
  assert.deepEqual([answers[0], answers[2]], [8 * 8 * 4, 8 * 8 * 4]);
  assert.match(answers[1], /at work/);
  await page.context().close();
});

test('a lost GPU is reported, requests fail with the reason, and loading again opens another', async () => {
  const page = await openBuilds(randomWeights(NET));
  const { reason, failure, same } = await page.evaluate(async () => {
    const devices = [];
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...given) {
      devices.push(await request.apply(this, given));
      return devices.at(-1);
    };
    const model = await load('webgpu');
    const before = await model.generate({ seed: 1n, count: 1, nfe: 1 });
    const lost = builds.webgpu.deviceLost();
    devices[0].destroy();
    const reason = await lost;
    const failure = await model.generate({ seed: 1n, count: 1, nfe: 1 }).then(() => 'none', (error) => error.message);
    const after = await (await load('webgpu')).generate({ seed: 1n, count: 1, nfe: 1 });
    if (devices.length !== 2) throw new Error(`${devices.length} devices were opened`);
    return { reason, failure, same: before.every((byte, i) => byte === after[i]) };
  });
  assert.match(reason, /destroy/i);
  assert.match(failure, /the GPU was lost/);
  assert.ok(same, 'the picture is another one');
  await page.context().close();
});

test('a network that the engines do not have is computed by burn, and the next one by the engine again', async () => {
  const unet = { kind: 'unet', multipliers: [1, 2], attention: [] };
  const net = { ...NET, patch: 1, heads: 1, depth: 1, classes: 3, architecture: unet };
  const page = await openBuilds(randomWeights(net));
  await page.route('**/plain', (route) =>
    route.fulfill({ path: randomWeights(NET), contentType: 'application/octet-stream' }),
  );
  const { pixels, reference } = await page.evaluate(async (site) => {
    const { Engine } = await import(`${site}web/engine.js`);
    const engine = new Engine('cpu');
    const draw = async (source) => {
      await engine.load(source);
      let drawn;
      await engine.generate({ seed: 4n, count: 1, nfe: 2 }, ({ rgba }) => (drawn = [...rgba]));
      return drawn;
    };
    const pixels = [await draw('/weights'), await draw('/plain'), await draw('/weights')];
    const reference = [...(await (await load('burn')).generate({ seed: 4n, count: 1, nfe: 2 }))];
    engine.close();
    return { pixels, reference };
  }, stage.site.address);
  assert.deepEqual(pixels[0], reference);
  assert.deepEqual(pixels[2], reference);
  assert.notDeepEqual(pixels[1], reference);
  await page.context().close();
});

test('a damaged file is refused by every build in the same words', async () => {
  const page = await openBuilds(randomWeights(NET));
  const refusals = await page.evaluate(async () => {
    const bytes = new Uint8Array(await (await fetch('/weights')).arrayBuffer());
    const refused = (wasm, file) => wasm.Generator.load(file).then(() => 'none', (error) => error.message);
    const renamed = bytes.slice();
    renamed[new TextDecoder('latin1').decode(bytes).indexOf('mlp.fc1.bias')] = 'q'.charCodeAt(0);
    return Promise.all(
      [bytes.slice(0, 5000), renamed].map(async (file) => [
        await refused(builds.burn, file.slice()),
        await refused(builds.cpu, file.slice()),
        await refused(builds.webgpu, file),
      ]),
    );
  });
  // burn's lists everything that is wrong, the engines what they meet first.
  for (const [burn, ...engines] of refusals) {
    for (const engine of engines) assert.ok(burn.startsWith(engine), `${burn}, but ${engine}`);
  }
  assert.match(refusals[0][0], /truncated/);
  assert.match(refusals[1][0], /missing/);
  await page.context().close();
});

test('along the velocity, and from noise that is given, the engine draws what the CPU draws', async () => {
  const page = await openBuilds(randomWeights({ ...NET, classes: 3 }));
  const differences = await page.evaluate(async () => {
    const models = [await load('cpu'), await load('webgpu')];
    const noise = builds.cpu.noise(9n, 2 * 3 * 8 * 8);
    const ways = [
      (model) => model.generate({ seed: 5n, count: 3, classIndex: 1, nfe: 4, solver: 'euler' }),
      (model) => model.generate({ initialNoise: noise, classIndex: 2 }),
      (model) => model.generate({ initialNoise: noise, nfe: 3, solver: 'euler' }),
      // Between classes, from seeds and from noise.
      (model) => model.generate({ seed: 5n, count: 3, nfe: 2, blend: [0, 0.6, 2, 0.4] }),
      (model) => model.generate({ initialNoise: noise, blend: Float32Array.of(0, 1, 1, 1, 2, 2) }),
    ];
    const worst = [];
    for (const way of ways) {
      const [cpu, webgpu] = [await way(models[0]), await way(models[1])];
      if (cpu.length !== webgpu.length) throw new Error(`${webgpu.length} bytes, not ${cpu.length}`);
      worst.push(cpu.reduce((most, byte, i) => Math.max(most, Math.abs(byte - webgpu[i])), 0));
    }
    const [euler, average] = [await models[1].generate({ seed: 5n, count: 3, classIndex: 1, nfe: 4, solver: 'euler' }), await models[1].generate({ seed: 5n, count: 3, classIndex: 1, nfe: 4 })];
    if (euler.every((byte, i) => byte === average[i])) throw new Error('both ways draw the same');
    const [mixed, first] = [
      await models[1].generate({ seed: 5n, blend: [0, 0.5, 2, 0.5] }),
      await models[1].generate({ seed: 5n, classIndex: 0 }),
    ];
    if (mixed.every((byte, i) => byte === first[i])) throw new Error('a mixture is one of its classes');
    return worst;
  });
  // Rounding may tip a byte.
  assert.ok(differences.every((difference) => difference <= 1), differences.join());
  const refusals = await page.evaluate(async () => {
    const model = await load('webgpu');
    const refused = (request) => request.then(() => 'none', (error) => error.message);
    return Promise.all([
      refused(model.generate({ seed: 1n, classIndex: 1, nfe: 2, solver: 'heun' })),
      refused(model.generate({ initialNoise: new Float32Array(100), classIndex: 1 })),
      refused(model.invert({ values: new Float32Array(192), classIndex: 1, nfe: 2 })),
    ]);
  });
  for (const [i, words] of ['not heun', 'each takes 192', 'CPU build only'].entries()) {
    assert.ok(refusals[i].includes(words), refusals[i]);
  }
  await page.context().close();
});
