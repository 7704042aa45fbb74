// The page in Chromium on the CPU build: what a visitor sees and does, down to the pixels.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import {
  FIRST,
  FIRST_PROMPT,
  ENGINE,
  ROOT,
  fromEngine,
  nativeOverWhite,
  nativePicture,
  open,
  openStage,
  overWhite,
  psnr,
  servedWhile,
  settled,
  shipped,
  variance,
  wall,
} from './support.mjs';

/** Least agreement of browser and native pictures. */
const MIN_PSNR = 45;

// Under a sub-path, as project pages are.
const stage = openStage({ webgpu: false, prefix: '/some/where/' });

test('a visitor sees a wall of pictures without a click', async () => {
  const page = await stage.open(`?seed=3`);
  const pictures = await wall(page);
  assert.equal(pictures.length, 56);
  for (const [i, picture] of pictures.entries()) assert.ok(variance(picture) > 100, `picture ${i} is blank`);
  assert.equal(new Set(pictures.map(String)).size, pictures.length, 'two seeds gave the same picture');
  assert.equal(await page.textContent('#backend'), 'CPU');
  assert.match(await page.textContent('#speed'), /^[\d.,]+$/);
  assert.deepEqual(page.problems, []);
});

test('what the first picture waits for is on its way before the page asks for it, and comes once', async () => {
  for (const [query, weights] of [['', FIRST.id], ['&model=emoji', 'emoji'], ['&model=unknown', FIRST.id]]) {
    const context = await stage.browser.newContext({ serviceWorkers: 'block' });
    const page = await context.newPage();
    const awaited = ['meanflow_bg.wasm', `${weights}.safetensors`];
    const begun = Promise.all(awaited.map((file) => page.waitForRequest(`**/${file}`)));
    // The page's own script waits, so nothing but the early one can have begun them, however busy the machine is.
    await page.route('**/web/page.js', async (route) => {
      await begun.catch(() => {});
      await route.continue();
    });
    const served = await servedWhile(stage.site.server, async () => {
      await Promise.all([begun, page.goto(`${stage.site.address}?count=1${query}`)]);
      await settled(page);
    });
    for (const file of awaited) assert.equal(served.filter((name) => name === file).length, 1, `${query}: ${file}`);
    assert.equal(served.filter((name) => name.endsWith('.safetensors')).length, 1, query);
    await context.close();
  }
});

test('where the script that begins early comes late, nothing is downloaded twice', async () => {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.route('**/preload.js', async (route) => {
    await settled(page);
    await route.continue();
  });
  const served = await servedWhile(stage.site.server, async () => {
    await page.goto(`${stage.site.address}?count=1`);
    await settled(page);
  });
  for (const file of ['preload.js', 'meanflow_bg.wasm', FIRST.file]) {
    assert.equal(served.filter((name) => name === file).length, 1, file);
  }
});

test('the pictures of the page are those of the native build', async () => {
  const page = await stage.open(`?backend=cpu&seed=41&count=3`);
  for (const [i, picture] of (await wall(page)).entries()) {
    const agreement = psnr(picture, nativeOverWhite(shipped(FIRST.id), { seed: 41 + i, prompt: FIRST_PROMPT }));
    assert.ok(agreement >= MIN_PSNR, `picture ${i}: ${agreement.toFixed(1)} dB`);
  }
});

test('the class-conditional model agrees with the native build too, in several steps', async () => {
  const page = await stage.open(`?backend=cpu&model=tiles&class=item/potion&steps=4&seed=5&count=2`);
  for (const [i, picture] of (await wall(page)).entries()) {
    const native = nativePicture(shipped('tiles'), { seed: 5 + i, className: 'item/potion', nfe: 4 });
    assert.ok(psnr(picture, overWhite(native)) >= MIN_PSNR, `picture ${i}`);
  }
});

test('every byte of the engine agrees with the native build, alpha included', async () => {
  const page = await stage.open(`?backend=cpu&count=1`);
  const request = { seed: 12345678901, count: 1, nfe: 1 };
  const rgba = await fromEngine(page, { backend: 'cpu', weights: shipped('emoji'), ...request });
  const agreement = psnr(rgba, nativePicture(shipped('emoji'), request));
  assert.ok(agreement >= MIN_PSNR, `${agreement.toFixed(1)} dB`);
});

test('a seed gives the same noise bits as the native build', async () => {
  const page = await stage.open(`?backend=cpu&count=1`);
  const fixture = JSON.parse(readFileSync(join(ROOT, 'tests/fixtures/noise.json'), 'utf8'));
  const bits = await page.evaluate(async ({ seed, values, engine }) => {
    const module = await import(new URL(`${engine}pkg/cpu/meanflow.js`, document.baseURI).href);
    await module.default();
    return Array.from(new Uint32Array(module.noise(BigInt(seed), values.length).buffer));
  }, { ...fixture, engine: ENGINE });
  assert.deepEqual(bits, fixture.values);
});

test('a seed in the address is a set of pictures; a new seed is another', async () => {
  const first = await stage.open(`?seed=9&count=4`);
  const second = await stage.open(`?seed=9&count=4`);
  const pictures = await wall(first);
  assert.deepEqual(await wall(second), pictures);
  await first.click('#new-seed');
  await settled(first);
  assert.notDeepEqual(await wall(first), pictures);
  assert.doesNotMatch(first.url(), /seed=9\b/);
  // The address of what is shown now shows it again.
  const again = await open(stage.browser, first.url());
  assert.deepEqual(await wall(again), await wall(first));
});

test('the switches change the pictures: steps, model, class', async () => {
  const page = await stage.open(`?model=faces&seed=2&count=4`);
  const oneStep = await wall(page);
  await page.check('input[name=steps][value="4"]', { force: true });
  await settled(page);
  assert.notDeepEqual(await wall(page), oneStep);
  assert.match(await page.textContent('#facts'), /4 network calls each/);

  assert.ok(await page.isHidden('#class-field'), 'a model without classes offers classes');
  await page.check('input[name=model][value=tiles]', { force: true });
  await page.waitForSelector('#class-field:not([hidden])');
  await settled(page);
  const any = await wall(page);
  await page.check('input[name=class][value="item/book"]', { force: true });
  await settled(page);
  const books = await wall(page);
  assert.notDeepEqual(books, any);
  assert.match(page.url(), /class=item%2Fbook/);
  assert.match(await page.getAttribute('#gallery button', 'aria-label'), /^Book, seed 2$/);
});

test('a list of many classes with long names stays in its column', async () => {
  const page = await stage.open('?model=emoji&seed=1&count=2&backend=cpu');
  const [list, field] = await Promise.all(['#class-field select', '#class-field'].map((one) => page.locator(one).boundingBox()));
  assert.ok(list.x + list.width <= field.x + field.width + 0.5, `${list.width} of ${field.width}`);
  await page.selectOption('#class-field select', 'star-struck');
  await settled(page);
  assert.match(await page.getAttribute('#gallery button', 'aria-label'), /^Star struck, seed 1$/);
});

test('a picture opens beside its noise and is saved as a PNG', async () => {
  const page = await stage.open(`?model=nouns&seed=6&count=2`);
  await page.click('#gallery button:nth-child(2)');
  assert.match(await page.textContent('#detail-title'), /^[A-Z][a-z ]+, seed 7$/);
  const shown = await page.evaluate(() =>
    ['noise', 'picture'].map((part) =>
      document.querySelector(`[data-part=${part}]`).getContext('2d').getImageData(0, 0, 32, 32).data.join(),
    ),
  );
  assert.notEqual(shown[0], shown[1]);
  const download = page.waitForEvent('download');
  await page.click('[data-part=save]');
  const file = await download;
  assert.equal(file.suggestedFilename(), 'nouns-7.png');
  assert.equal(readFileSync(await file.path()).subarray(1, 4).toString(), 'PNG');
});

test('progress is told in bytes', async () => {
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  await page.addInitScript(() => {
    globalThis.told = [];
    addEventListener('DOMContentLoaded', () => {
      const bytes = document.getElementById('bytes');
      new MutationObserver(() => globalThis.told.push(bytes.textContent)).observe(bytes, { childList: true });
    });
  });
  await page.goto(`${stage.site.address}?count=1`);
  await settled(page);
  const told = await page.evaluate(() => globalThis.told);
  const amounts = told.map((text) => text.match(/^([\d.]+ MB) of ([\d.]+ MB)$/)).filter(Boolean);
  assert.ok(amounts.length > 0, `no progress among ${told.join(' | ')}`);
  const last = amounts.at(-1);
  assert.equal(last[1], last[2], 'the last report is not complete');
});

for (const [name, width] of [['a desktop', 1280], ['a phone', 390]]) {
  test(`nothing sticks out sideways on ${name}`, async () => {
    const page = await stage.open(`?model=tiles&seed=1&count=12`, { viewport: { width, height: 800 } });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels`);
  });
}

test('pictures between classes are those of the native build, and a link and a saved picture hold the place', async () => {
  const between = 'item/potion:0.6,item/book:0.4';
  const page = await stage.open(`?model=tiles&class=${between}&seed=4&count=2&backend=cpu`);
  const native = overWhite(
    nativePicture(shipped('tiles'), { seed: 5, className: between }),
  );
  assert.ok(psnr((await wall(page))[1], native) >= 40);
  assert.ok(await page.isChecked('input[name=class][value="item/potion"]'));
  assert.equal(await page.inputValue('#mix-with select'), 'item/book');
  await page.click('#gallery button');
  assert.match(await page.textContent('#detail-title'), /60 % Potion, 40 % Book, seed 4/);
  await page.click('#detail form button');
  // The slider is the share of the second class.
  const before = await wall(page);
  await page.focus('#mix-share');
  await page.keyboard.press('ArrowRight');
  await page.waitForFunction(() => /potion%3A0\.55%2Citem%2Fbook%3A0\.45/.test(location.search));
  await settled(page);
  assert.ok(psnr((await wall(page))[1], before[1]) < 60, 'another share, the same picture');
  await page.selectOption('#mix-with select', '');
  await settled(page);
  const alone = overWhite(
    nativePicture(shipped('tiles'), { seed: 5, className: 'item/potion' }),
  );
  await page.waitForFunction(() => /class=item%2Fpotion&/.test(location.search));
  await settled(page);
  assert.ok(psnr((await wall(page))[1], alone) >= 40);
});
