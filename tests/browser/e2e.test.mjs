// The whole road, from a folder of PNG files to pictures in the page; and what the page says when something is wrong.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { serve } from '../../web/tools/serve.mjs';
import {
  FIRST,
  DIST,
  meanflow,
  nativeOverWhite,
  open,
  openStage,
  pixelsOf,
  problemsOf,
  psnr,
  settled,
  startMeanflow,
  temporaryFolder,
  trainTinyModel,
  wall,
} from './support.mjs';

const stage = openStage({ webgpu: false });

let weights;
before(() => {
  weights = trainTinyModel();
});

const mean = (picture, channel) =>
  picture.filter((_, i) => i % 3 === channel).reduce((sum, value) => sum + value, 0) / (picture.length / 3);

test('from a folder of images to pictures in the page: train, export, open the file', async () => {
  const page = await stage.open(`?seed=1&count=8`);
  await page.setInputFiles('#file', weights);
  await page.waitForSelector('#class-field:not([hidden])');
  await settled(page);
  assert.deepEqual(await page.$$eval('input[name=class]', (inputs) => inputs.map(({ value }) => value)), [
    '',
    'moss',
    'rust',
  ]);
  assert.match(await page.textContent('#about'), /two colours.*CC0-1\.0/);

  // Moss is greener than red, rust is redder than green: the pictures are what was asked for, in one step.
  for (const [name, sign] of [['moss', 1], ['rust', -1]]) {
    await page.check(`input[name=class][value=${name}]`, { force: true });
    await settled(page);
    const pictures = await wall(page);
    for (const [i, picture] of pictures.entries()) {
      assert.ok(sign * (mean(picture, 1) - mean(picture, 0)) > 10, `${name} ${i} has the wrong colour`);
    }
    const native = nativeOverWhite(weights, { seed: 1, className: name });
    assert.ok(psnr(pictures[0], native) >= 45, `${name} differs from the native picture`);
  }
});

/** A copy of the weights file with its bytes changed. */
function changed(name, change) {
  const file = join(temporaryFolder(), name);
  writeFileSync(file, change(readFileSync(weights)));
  return file;
}

const REFUSED = [
  [
    'truncated weights',
    'cut.safetensors',
    (bytes) => bytes.subarray(0, bytes.length / 2),
    /cut\.safetensors: .*truncated/,
  ],
  [
    'another format version',
    'new.safetensors',
    (bytes) => replace(bytes, '\\"format_version\\":1', '\\"format_version\\":9'),
    /new\.safetensors: .*format version 9.*reads version 1/,
  ],
  [
    'a file of another kind',
    'cat.safetensors',
    () => Buffer.from('these are words, not weights'),
    /cat\.safetensors: not usable as MeanFlow weights/,
  ],
  ['an empty file', 'empty.safetensors', () => Buffer.alloc(0), /empty\.safetensors: .*0 bytes/],
];
for (const [what, name, change, message] of REFUSED) {
  test(`${what}: a clear message, and the model before stays usable`, async () => {
    const page = await stage.open(`?seed=1&count=2`);
    const before = await wall(page);
    await page.setInputFiles('#file', changed(name, change));
    await page.waitForFunction(() => document.body.dataset.state === 'error');
    assert.match(await page.textContent('#status'), message);
    await page.click('#new-seed');
    await settled(page);
    assert.notDeepEqual(await wall(page), before);
  });
}

function replace(bytes, from, to) {
  const at = bytes.indexOf(from);
  assert.ok(at > 0 && from.length === to.length, `${from} is not in the file`);
  return Buffer.concat([bytes.subarray(0, at), Buffer.from(to), bytes.subarray(at + from.length)]);
}

test('weights that are not there are named', async () => {
  const copy = temporaryFolder();
  cpSync(DIST, copy, { recursive: true });
  rmSync(join(copy, 'static/models', FIRST.file));
  const broken = await serve(copy);
  try {
    const page = await open(stage.browser, broken.address, { state: 'error' });
    assert.match(await page.textContent('#status'), new RegExp(`cannot download ${FIRST.file}: the server answered 404`));
    // Another model can still be chosen.
    await page.check('input[name=model][value=tiles]', { force: true });
    await settled(page);
    assert.equal(await page.isVisible('#class-field'), true);
  } finally {
    broken.server.close();
  }
});

test('without WebGPU the page says so when it is asked for, and runs on the CPU when it is not', async () => {
  const page = await stage.open(`?backend=webgpu`, { state: 'error' });
  assert.match(await page.textContent('#status'), /WebGPU cannot be used: this browser/);
  const other = await stage.open(`?count=1`);
  assert.equal(await other.textContent('#backend'), 'CPU');
  assert.match(await other.textContent('#notice'), /Not on WebGPU: this browser/);
});

test('without JavaScript there are pictures all the same', async () => {
  const context = await stage.browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(stage.site.address);
  const drawn = await page
    .locator('noscript img')
    .evaluate((image) => image.complete && image.naturalWidth)
    .catch(() => 0);
  assert.ok(drawn > 100, 'the sample grid is not shown');
});

test('where no engine starts, there are pictures from earlier and the reason', async () => {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.route('**/*.wasm', (route) => route.fulfill({ status: 404, body: 'not here' }));
  await page.goto(`${stage.site.address}?seed=3`);
  const message = await settled(page, 'error');
  assert.match(message, /meanflow_bg\.wasm|404|cannot download/);
  assert.ok((await page.isVisible('#poster')) && !(await page.isVisible('#gallery')));
  assert.ok(
    await page.evaluate(() =>
      document
        .getElementById('poster')
        .decode()
        .then(() => document.getElementById('poster').naturalWidth > 0),
    ),
  );
  // Once it starts, they make room.
  await page.unroute('**/*.wasm');
  await page.check('input[name=model] >> nth=1', { force: true });
  await settled(page);
  assert.ok(!(await page.isVisible('#poster')) && (await page.isVisible('#gallery')));
});

test('an exported folder is a page of its own on any host', async () => {
  const folder = join(temporaryFolder(), 'site');
  meanflow('export', join(weights, '../run'), '--web', folder, '--site', DIST, '--dtype', 'f32');
  const { server, address } = await serve(folder, { prefix: '/blog/post/' });
  const page = await stage.browser.newPage();
  const problems = problemsOf(page);
  try {
    await page.goto(address);
    await page.waitForFunction(
      () => document.querySelector('mean-flow').shadowRoot?.querySelectorAll('canvas').length === 12,
      undefined,
      { timeout: 60_000 },
    );
    await page.waitForFunction(
      () =>
        document
          .querySelector('mean-flow')
          .toBlob(11)
          .then(
            () => true,
            () => false,
          ),
      undefined,
      { timeout: 60_000 },
    );
    const shown = await pixelsOf(page, 'canvas', 'mean-flow');
    assert.ok(psnr(shown[3], nativeOverWhite(weights, { seed: 3 })) >= 40);
    assert.match(
      await page.textContent('pre'),
      /<mean-flow src="tiny\.safetensors" seed="0" count="12" columns="6" controls><\/mean-flow>/,
    );
    assert.ok(await page.evaluate(async () => (await fetch('poster.png')).ok));
    assert.deepEqual(problems, []);
    await page.goto(pathToFileURL(join(folder, 'index.html')).href);
    await page.waitForFunction(() =>
      /cannot run from a file.*python3 -m http\.server/.test(document.querySelector('[role=status]').textContent),
    );
  } finally {
    await page.close();
    server.close();
  }
  assert.throws(
    () => meanflow('export', join(weights, '../run'), '--web', folder, '--site', folder + '-missing'),
    ({ stderr }) => /holds no built page/.test(stderr),
  );
});

test('a run that is served draws its newest weights, and shows its samples', async () => {
  const run = join(weights, '../run');
  const { said, end } = await startMeanflow('serve', run, '--site', DIST, '--port', '0');
  const page = await stage.browser.newPage();
  const problems = problemsOf(page);
  try {
    await page.goto(said.match(/http:\/\/localhost:\d+\//)[0]);
    const drawn = () => document.querySelector('mean-flow')?.shadowRoot?.querySelectorAll('canvas').length === 12;
    await page.waitForFunction(drawn, undefined, { timeout: 60_000 });
    assert.match(await page.textContent('#progress'), /^step [\d,]+ of [\d,]+ · not training$/);
    assert.match(await page.textContent('#weights'), /^Step \d+: each picture is one call/);
    const decoded = await page.$eval('img', (image) => image.decode().then(() => image.naturalWidth));
    assert.ok(decoded > 0);
    assert.deepEqual(problems, []);
  } finally {
    end();
  }
  // Once the program is gone the page says so.
  await page.waitForFunction(() => document.body.dataset.state === 'error');
  assert.match(await page.textContent('#progress'), /does not answer/);
  await page.close();
});
