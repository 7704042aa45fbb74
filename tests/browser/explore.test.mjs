// What is below the wall: the square between four noises, pictures that are saved and made again, the race, kept
// weights.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';

import { withRecipe } from '../../web/element/png.js';
import { serve } from '../../web/tools/serve.mjs';
import {
  FIRST,
  DIST,
  ENGINE,
  encode,
  nativeOverWhite,
  nativePicture,
  open,
  openStage,
  overWhite,
  pixelsOf,
  psnr,
  randomWeights,
  settled,
  statusSays,
  temporaryFolder,
  variance,
  wall,
} from './support.mjs';

const stage = openStage({ webgpu: false });

/** Pixels of the first canvas that a selector finds, as RGB over white. */
const pixels = async (page, selector) => (await pixelsOf(page, selector))[0];

const LIVE = '#explore [data-part=picture]';

/** Waits until the square has drawn its corners. */
async function square(page) {
  await page.locator('#explore').scrollIntoViewIfNeeded();
  await page.waitForFunction(
    () => document.querySelector('[data-part=corner3]').width === document.querySelector('#gallery canvas').width,
  );
  return page.locator('[data-part=pad]').boundingBox();
}

/** Waits until the live picture is another one than `before`. */
async function changed(page, before, selector = LIVE) {
  for (let i = 0; i < 200; i++) {
    const now = await pixels(page, selector);
    if (psnr(now, before) < 60) return now;
    await page.waitForTimeout(25);
  }
  throw new Error('the picture did not change');
}

test('dragging to a corner of the square shows the picture of its seed, and between corners another', async () => {
  const page = await stage.open('?seed=7&count=4&backend=cpu');
  const seeds = await wall(page);
  const pad = await square(page);
  const middle = await pixels(page, LIVE);
  assert.ok(variance(middle) > 500, 'the middle is blank');
  for (const seed of seeds) assert.ok(psnr(seed, middle) < 40, 'the middle is a corner');
  await page.mouse.move(pad.x + pad.width / 2, pad.y + pad.height / 2);
  await page.mouse.down();
  await page.mouse.move(pad.x + pad.width + 20, pad.y - 20, { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction(() => location.search.includes('at=1%2C0'));
  await changed(page, middle);
  await page.waitForTimeout(200);
  assert.ok(psnr(await pixels(page, LIVE), seeds[1]) >= 45, 'the top right corner is not the second seed');
  assert.match(await page.textContent('[data-part=pace]'), /^\d+$/);
  assert.deepEqual(page.problems, []);
});

test('corners of different classes keep them, unless one is chosen', async () => {
  for (const query of [
    '?model=tiles&seed=40&count=4&backend=cpu',
    '?model=tiles&class=item/book&seed=40&count=4&backend=cpu',
  ]) {
    const page = await stage.open(query);
    const labels = await page
      .locator('#gallery button')
      .evaluateAll((tiles) => new Set(tiles.map((tile) => tile.getAttribute('aria-label').split(',')[0])).size);
    assert.ok(query.includes('class') ? labels === 1 : labels > 1, `${labels} classes on the wall`);
    await square(page);
    for (const [i, seed] of (await wall(page)).entries()) {
      assert.ok(
        psnr(await pixels(page, `[data-part=corner${i}]`), seed) >= 45,
        `corner ${i} of ${query} is not the picture of its seed`,
      );
    }
  }
});

test('the square is there for the keyboard, and its place is a link', async () => {
  const page = await stage.open('?seed=7&count=4&backend=cpu');
  await square(page);
  const before = await pixels(page, LIVE);
  await page.focus('[data-part=across]');
  for (let i = 0; i < 5; i++) await page.keyboard.press('ArrowRight');
  await changed(page, before);
  await page.waitForTimeout(200);
  const shown = await pixels(page, LIVE);
  assert.match(page.url(), /at=0\.75%2C0\.5/);
  const again = await open(stage.browser, page.url());
  await square(again);
  assert.ok(psnr(await pixels(again, LIVE), shown) >= 60);
});

/** Saves a picture by clicking something, and gives the path of the file. */
async function saved(page, selector) {
  const download = page.waitForEvent('download');
  await page.click(selector);
  const folder = temporaryFolder();
  const file = join(folder, (await download).suggestedFilename());
  await (await download).saveAs(file);
  return file;
}

test('a saved picture, opened again, brings back its model, class, steps and seed, and is checked', async () => {
  const page = await stage.open('?model=tiles&class=item/potion&steps=4&seed=31&count=3&backend=cpu');
  await page.click('#gallery button:nth-child(3)');
  const file = await saved(page, '[data-part=save]');
  const other = await stage.open('?seed=1&count=3&backend=cpu');
  await other.setInputFiles('#file', file);
  await statusSays(other, /made again/);
  assert.match(await other.textContent('#status'), /the same picture \(every pixel agrees\)/);
  assert.match(other.url(), /model=tiles/);
  assert.match(other.url(), /class=item%2Fpotion&steps=4/);
  assert.match(other.url(), /seed=33/);
  assert.ok(await other.isChecked('input[name=class][value="item/potion"]'));

  // A picture that is not what its recipe says is found out.
  const forged = readFileSync(file);
  const at = forged.indexOf('"seed":"33"');
  forged.write('"seed":"34"', at);
  writeFileSync(file, forged);
  await other.setInputFiles('#file', file);
  await statusSays(other, /another picture/);
});

test('a picture by weights that were opened comes back with them, when another model is at work', async () => {
  const page = await stage.open('?seed=5&count=3&backend=cpu');
  await page.setInputFiles(
    '#file',
    randomWeights({ image_size: 8, channels: 3, patch: 4, width: 32, depth: 1, heads: 2 }),
  );
  await page.waitForFunction(() => document.querySelector('#gallery canvas').width === 8);
  await settled(page);
  await page.click('#gallery button:nth-child(2)');
  const file = await saved(page, '[data-part=save]');
  await page.click('#detail form button');
  await page.check('input[name=model][value=tiles]', { force: true });
  await page.waitForSelector('#class-field:not([hidden])');
  await settled(page);
  await page.setInputFiles('#picture-file', file);
  await statusSays(page, /made again: the same picture/);
  assert.equal(
    await page
      .locator('#gallery canvas')
      .first()
      .evaluate((canvas) => canvas.width),
    8,
  );
  assert.match(page.url(), /seed=6$/);
});

test('a picture of the square comes back with its place', async () => {
  const page = await stage.open('?seed=12&count=2&backend=cpu&at=0.3,0.8');
  await square(page);
  const shown = await pixels(page, LIVE);
  const file = await saved(page, '#explore-save');
  const other = await stage.open('?seed=1&count=2&backend=cpu');
  await other.setInputFiles('#picture-file', file);
  await statusSays(other, /made again/);
  assert.match(await other.textContent('#status'), /the same picture/);
  assert.ok(psnr(await pixels(other, LIVE), shown) >= 60);
});

test('a picture of the visitor becomes noise, and that noise the picture again', async () => {
  const page = await stage.open('?model=nouns&seed=12&count=1&backend=cpu');
  // The model's own picture is one that it can make.
  await page.click('#gallery button');
  const file = await saved(page, '[data-part=save]');
  const bytes = readFileSync(file);
  const bare = join(temporaryFolder(), 'mine.png');
  // Without its recipe it is a picture like any other.
  const start = bytes.indexOf('tEXtMeanFlow') - 4;
  writeFileSync(
    bare,
    Buffer.concat([bytes.subarray(0, start), bytes.subarray(start + 12 + bytes.readUInt32BE(start))]),
  );
  await page.click('#detail form button');
  const original = (await wall(page))[0];
  await page.setInputFiles('#picture-file', bare);
  await page.waitForFunction(() => document.querySelector('[data-part=corner3]').width === 32, undefined, {
    timeout: 60_000,
  });
  await page.waitForTimeout(300);
  const [back, corner] = [await pixels(page, LIVE), await pixels(page, '[data-part=corner0]')];
  assert.ok(psnr(back, corner) >= 60, 'the square does not begin at the picture');
  // Through 64 calls backward, of another network, and one forward something is lost; another face agrees with about 12
  // dB.
  const agreement = psnr(back, original);
  assert.ok(agreement >= 14, `${agreement.toFixed(1)} dB`);
});

test('a file that is no picture is named with its reason', async () => {
  const page = await stage.open('?seed=12&count=1&backend=cpu');
  const file = join(temporaryFolder(), 'broken.png');
  writeFileSync(file, 'no picture');
  await page.setInputFiles('#picture-file', file);
  assert.match(await settledLater(page), /broken\.png is no picture/);
});

/** Drops a file onto the page, as a hand does. */
const drop = (page, bytes, name = 'dropped.png') =>
  page.evaluate(
    ([base64, name]) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(
        new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type: 'image/png' }),
      );
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    },
    [Buffer.from(bytes).toString('base64'), name],
  );

test('a dropped picture whose recipe makes no sense changes nothing but, like any picture, the first corner', async () => {
  const bare = encode({ width: 32, height: 32, data: new Uint8Array(32 * 32 * 4).fill(200), channels: 4 });
  const { sha256 } = JSON.parse(readFileSync(join(DIST, 'static/models/models.json'), 'utf8')).find(
    ({ id }) => id === 'emoji',
  );
  const recipe = { model: 'emoji', sha256, seed: '7', steps: 1 };
  const page = await stage.open('?model=emoji&seed=12&count=1&backend=cpu');
  const [before] = await wall(page);
  const address = () => page.evaluate(() => location.search);
  for (const wrong of [
    { steps: 1e9 },
    { seed: String(2n ** 64n) },
    { seed: '1e3' },
    { steps: '4' },
    { className: 7 },
  ]) {
    await page.evaluate(() => document.querySelector('[data-part=handle]').removeAttribute('style'));
    await drop(page, withRecipe(bare, { ...recipe, ...wrong }));
    await page.waitForFunction(() => document.querySelector('[data-part=handle]').style.left === '0%', undefined, {
      timeout: 60_000,
    });
    assert.match(await address(), /seed=12$/, JSON.stringify(wrong));
    assert.doesNotMatch(await address(), /steps|class/, JSON.stringify(wrong));
    assert.deepEqual((await wall(page))[0], before);
  }
  // A place that is none is left out, and the rest is made.
  for (const place of ['0.5,0.5', [0.5], ['0', '1'], [2, 0]]) {
    await page.evaluate(() => (document.getElementById('status').textContent = ''));
    await drop(page, withRecipe(bare, { ...recipe, place }));
    await statusSays(page, /made again, but it is another picture/);
    assert.match(await address(), /seed=7$/);
    assert.doesNotMatch(await address(), /at=/, JSON.stringify(place));
  }
  assert.deepEqual(page.problems, []);
});

test('a dropped file with a recipe that shows no picture, or of a class that there is not, is an error and changes nothing', async () => {
  const { sha256 } = JSON.parse(readFileSync(join(DIST, 'static/models/models.json'), 'utf8')).find(
    ({ id }) => id === 'tiles',
  );
  const recipe = { model: 'tiles', sha256, seed: '7', steps: 1 };
  const bare = encode({ width: 32, height: 32, data: new Uint8Array(32 * 32 * 4).fill(200), channels: 4 });
  const page = await stage.open('?model=tiles&seed=12&count=1&backend=cpu');
  const [before] = await wall(page);
  // The header stays, and the pixels are gone.
  const png = withRecipe(bare, recipe);
  const undecodable = Buffer.concat([Buffer.from(png.subarray(0, png.length - 40)), Buffer.alloc(40)]);
  for (const [bytes, message] of [
    [undecodable, /dropped\.png is no picture that this browser can read/],
    [
      withRecipe(bare, { ...recipe, className: 'item/spoon' }),
      /class "item\/spoon", which the model tiles does not have/,
    ],
  ]) {
    await page.evaluate(() => (document.body.dataset.state = 'ready'));
    await drop(page, bytes);
    assert.match(await settledLater(page), message);
    assert.match(await page.evaluate(() => location.search), /^\?model=tiles&count=1&backend=cpu&seed=12$/);
    assert.deepEqual((await wall(page))[0], before);
  }
  assert.deepEqual(page.problems, []);
});

async function settledLater(page) {
  await page.waitForFunction(() => document.body.dataset.state === 'error');
  return page.textContent('#status');
}

test('the race is against a network that was trained by Flow Matching, where there is one', async () => {
  const page = await stage.open('?model=nouns&seed=5&count=1&backend=cpu');
  await page.locator('#race').scrollIntoViewIfNeeded();
  await page.waitForFunction(
    () => document.querySelector('#race figure:nth-child(5)').dataset.state === 'done',
    undefined,
    { timeout: 60_000 },
  );
  const weights = join(DIST, 'static/models/nouns-flow-matching.safetensors');
  for (const [i, nfe] of [[2, 1], [4, 4], [5, 8]]) {
    const native = nativeOverWhite(weights, { seed: 5, nfe, solver: 'euler' });
    assert.ok(psnr(await pixels(page, `#race figure:nth-child(${i}) canvas`), native) >= 40, `${nfe} steps`);
  }
  // The tiles have no such counterpart: their own velocity is followed.
  const tiles = await stage.open('?model=tiles&class=item/potion&seed=5&count=1&backend=cpu');
  await tiles.locator('#race').scrollIntoViewIfNeeded();
  await tiles.waitForFunction(
    () => document.querySelector('#race figure:nth-child(4)').dataset.state === 'done',
    undefined,
    { timeout: 60_000 },
  );
  const native = overWhite(
    nativePicture(join(DIST, 'static/models/tiles.safetensors'), {
      seed: 5,
      nfe: 4,
      solver: 'euler',
      className: 'item/potion',
    }),
  );
  assert.ok(psnr(await pixels(tiles, '#race figure:nth-child(4) canvas'), native) >= 40);
});

test('the race shows the one call and the walks, with their times', async () => {
  const page = await stage.open('?seed=5&count=1&backend=cpu');
  const seed = (await wall(page))[0];
  await page.locator('#race').scrollIntoViewIfNeeded();
  await page.waitForFunction(
    () => [...document.querySelectorAll('#race figure')].every((figure) => figure.dataset.state === 'done'),
    undefined,
    { timeout: 60_000 },
  );
  const pictures = await Promise.all(
    [...Array(8).keys()].map((i) => pixels(page, `#race figure:nth-child(${i + 1}) canvas`)),
  );
  assert.ok(psnr(pictures[0], seed) >= 60, 'the one call is not the picture of the wall');
  // One step along v is the mean of everything; the walk goes on to a picture, in ever smaller changes.
  assert.ok(psnr(pictures[1], pictures[7]) < psnr(pictures[6], pictures[7]));
  const times = await page.locator('#race b').allTextContents();
  assert.ok(Number(times[7].replace(',', '')) > 5 * Number(times[1]), times.join(' '));
  await page.click('#race-again');
  await page.waitForFunction(() =>
    [...document.querySelectorAll('#race figure')].some((figure) => figure.dataset.state === 'running'),
  );
  await page.waitForFunction(
    () => [...document.querySelectorAll('#race figure')].every((figure) => figure.dataset.state === 'done'),
    undefined,
    { timeout: 60_000 },
  );
  assert.ok(
    psnr(await pixels(page, '#race figure canvas'), seed) < 40,
    'another noise gives the same picture',
  );
});

test('the plane answers to the keyboard', async () => {
  const page = await stage.open('?seed=5&count=1&backend=cpu');
  const before = await page.textContent('#plane-words');
  await page.focus('#plane');
  await page.keyboard.press('ArrowUp');
  assert.notEqual(await page.textContent('#plane-words'), before);
  await page.fill('#plane-t', '0.5');
  assert.match(await page.innerHTML('#plane'), /class="chord"/);
});

test('the embed code names the page, the weights and the seed', async () => {
  const page = await stage.open('?seed=8&count=1&model=tiles&class=item/book&backend=cpu', {
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  await page.click('#gallery button');
  await page.click('[data-part=embed]');
  const code = await page.evaluate(() => navigator.clipboard.readText());
  const { address } = stage.site;
  assert.equal(
    code,
    `<script type="module" src="${address}web/mean-flow.js"></script>\n<mean-flow src="${address}static/models/tiles.safetensors" seed="8" label="item/book"></mean-flow>`,
  );
});

test('weights are downloaded once, checked, and forgotten when asked to', async () => {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  const fetched = [];
  page.on('request', (request) => request.url().endsWith(FIRST.file) && fetched.push(request.url()));
  for (let visit = 0; visit < 2; visit++) {
    await page.goto(`${stage.site.address}?count=1&seed=1&backend=cpu`);
    await settled(page);
  }
  assert.equal(fetched.length, 1);
  await page.evaluate(async () => (await import(new URL('web/store.js', document.baseURI).href)).forgetWeights());
  await page.reload();
  await settled(page);
  assert.equal(fetched.length, 2);
});

test('weights that are not the announced ones are refused', async () => {
  const context = await stage.browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.route(`**/${FIRST.file}`, (route) => {
    const bytes = readFileSync(join(DIST, 'static/models', FIRST.file));
    bytes[bytes.length - 1] ^= 1;
    return route.fulfill({ body: bytes });
  });
  await page.goto(`${stage.site.address}?count=1&seed=1&backend=cpu`);
  assert.match(await settled(page, 'error'), new RegExp(`${FIRST.file} is not the file that was announced`));
});

test('the announced checksums are those of the shipped weights', () => {
  const models = JSON.parse(readFileSync(join(DIST, 'static/models/models.json'), 'utf8'));
  for (const { file, sha256 } of models.flatMap((model) => [model, model.flowMatching ?? []]).flat()) {
    assert.equal(
      createHash('sha256')
        .update(readFileSync(join(DIST, 'static/models', file)))
        .digest('hex'),
      sha256,
      file,
    );
  }
});

test('after one visit the page works without a network', async () => {
  const context = await stage.browser.newContext();
  const page = await context.newPage();
  await page.goto(`${stage.site.address}?count=2&seed=4&backend=cpu`);
  await settled(page);
  const pictures = await wall(page);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await context.setOffline(true);
  await page.reload();
  await settled(page);
  assert.deepEqual(await wall(page), pictures);
});

test('a newer version takes the place of the kept one, and works without a network', async () => {
  const folder = temporaryFolder();
  cpSync(DIST, folder, { recursive: true });
  const { server, address } = await serve(folder);
  const context = await stage.browser.newContext();
  try {
    const page = await context.newPage();
    const kept = () =>
      page.evaluate(async () => (await (await caches.open('meanflow-page')).keys()).map(({ url }) => url));
    const engine = basename(ENGINE);
    await page.goto(`${address}?count=1&seed=4&backend=cpu`);
    await settled(page);
    const before = await wall(page);
    await page.evaluate(() => navigator.serviceWorker.ready);
    assert.ok((await kept()).some((url) => url.includes(engine)));

    // As a deploy does: another folder, the scripts that name it, and nothing of the former.
    renameSync(join(folder, 'web/engine', engine), join(folder, 'web/engine/newer'));
    for (const name of ['web/page.js', 'web/preload.js', 'sw.js']) {
      writeFileSync(join(folder, name), readFileSync(join(folder, name), 'utf8').replaceAll(engine, 'newer'));
    }
    await page.reload();
    await settled(page);
    assert.deepEqual(await wall(page), before);
    for (
      const end = Date.now() + 20_000;
      (await kept()).some((url) => url.includes(engine));
      await page.waitForTimeout(100)
    ) {
      assert.ok(Date.now() < end, 'the former version is still kept');
    }
    assert.ok((await kept()).some((url) => url.includes('/engine/newer/')));
    await context.setOffline(true);
    await page.reload();
    await settled(page);
    assert.deepEqual(await wall(page), before);
  } finally {
    await context.close();
    server.close();
  }
});

test('a drawing is run backward, by hand or by keyboard, and stands at the first corner', async () => {
  const page = await stage.open('?seed=12&count=1&backend=cpu');
  await square(page);
  const corner = await pixels(page, '[data-part=corner0]');
  await page.click('#drawing summary');
  const sheet = page.locator('[data-part=sheet]');
  const { x, y, width } = await sheet.boundingBox();
  const at = (a, b) => [x + a * width, y + b * width];
  // A yellow face, filled line by line.
  for (let row = 0.12; row < 0.9; row += 0.04) {
    const half = Math.sqrt(Math.max(0, 0.16 - (row - 0.5) ** 2));
    await page.mouse.move(...at(0.5 - half, row));
    await page.mouse.down();
    await page.mouse.move(...at(0.5 + half, row));
    await page.mouse.up();
  }
  await page.check('[data-part=colours] input >> nth=1', { force: true });
  await sheet.focus();
  const blank = await sheet.evaluate((canvas) => canvas.toDataURL());
  for (const key of ['ArrowUp', 'ArrowUp', ' ', 'Shift+ArrowLeft', 'Shift+ArrowLeft']) await page.keyboard.press(key);
  assert.notEqual(await sheet.evaluate((canvas) => canvas.toDataURL()), blank, 'the keyboard draws nothing');
  await page.click('[data-part=use]');
  await page.waitForFunction(
    () => /at=0%2C0/.test(location.search) || document.querySelector('[data-part=handle]').style.left === '0%',
    undefined,
    { timeout: 60_000 },
  );
  await changed(page, corner, '[data-part=corner0]');
  await page.waitForTimeout(500);
  const [shown, first] = [await pixels(page, LIVE), await pixels(page, '[data-part=corner0]')];
  assert.ok(psnr(shown, first) >= 60, 'the square does not begin at the drawing');
  assert.ok(psnr(first, corner) < 30, 'the corner is the old one');
  await page.click('[data-part=clear]');
  assert.ok(
    await sheet.evaluate((canvas) =>
      canvas
        .getContext('2d')
        .getImageData(0, 0, canvas.width, canvas.height)
        .data.every((byte) => byte === 255),
    ),
  );
  assert.deepEqual(page.problems, []);
});
