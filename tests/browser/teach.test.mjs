// Teach it yours: drawings are learnt in the page, for real, and drawn on another.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { ownName, resized } from '../../web/lab/drawing-set.js';
import { SPRITES, spriteBytes } from '../../web/lab/sprites.js';
import { serve } from '../../web/tools/serve.mjs';
import {
  LAB,
  elementPicture,
  encode,
  meanflow,
  open as openPage,
  openStage,
  pixelsOf,
  statusSays,
  temporaryFolder,
} from './support.mjs';

const stage = openStage({ webgpu: false });
/** Milliseconds for some hundred steps on a busy machine. */
const PATIENCE = 300_000;

const open = (state = 'empty') => openPage(stage.browser, `${stage.site.address}teach.html`, { state });
const isIn = (page, ...states) =>
  page.waitForFunction((states) => states.includes(document.body.dataset.state), states, { timeout: PATIENCE });
const drawings = (page) => pixelsOf(page, '#drawings .tile canvas');
const samples = (page) => pixelsOf(page, '#drawings .samples canvas');
const names = (page) => page.$$eval('#drawings p', (all) => all.map((p) => p.firstChild.textContent));
const choose = (page, name, value) => page.click(`#${name} label:has([value="${value}"])`);
const steps = async (page) => Number((await page.textContent('#facts')).match(/step ([\d,]+)/)[1].replace(',', ''));
/** Waits for further steps. */
const beyond = (page, done) =>
  page.waitForFunction(
    (done) => Number(document.getElementById('facts').textContent.match(/step (\d+)/)?.[1]) > done,
    done,
    { timeout: PATIENCE },
  );
function picture(name, size, colour = [200, 30, 30]) {
  const data = new Uint8Array(3 * size * size).map((_, i) => colour[i % 3]);
  const buffer = Buffer.from(encode({ width: size, height: size, channels: 3, data }));
  return { name, mimeType: 'image/png', buffer };
}

/** Root mean square difference of two pictures. */
const apart = (one, other) => Math.sqrt(one.reduce((sum, byte, i) => sum + (byte - other[i]) ** 2, 0) / one.length);

test('examples are learnt, each is drawn in one call, and the file draws them on another page', async (t) => {
  const page = await open();
  assert.ok(await page.isDisabled('#start'));
  await page.click('#examples');
  await choose(page, 'steps', '300');
  await page.click('#start');
  await isIn(page, 'done');
  const [yours, drawn] = [await drawings(page), await samples(page)];
  assert.deepEqual([yours.length, drawn.length], [8, 24]);
  const distances = drawn.map((sample, i) => apart(sample, yours[Math.floor(i / 3)]));
  assert.ok(distances.every((distance) => distance < 30), `${distances.map(Math.round)} of 255`);

  const download = page.waitForEvent('download');
  await page.click('#download');
  const folder = temporaryFolder();
  await (await download).saveAs(join(folder, 'mine.safetensors'));
  assert.deepEqual(page.problems, []);

  writeFileSync(
    join(folder, 'index.html'),
    `<!doctype html><script type="module" src="${stage.site.address}web/mean-flow.js"></script>
    <mean-flow src="mine.safetensors" label="house" seed="7" backend="cpu"></mean-flow>`,
  );
  const { server, address } = await serve(folder);
  t.after(() => server.close());
  const post = await stage.browser.newPage();
  await post.goto(address);
  await post.waitForFunction(() => document.querySelector('mean-flow').complete, undefined, { timeout: 60_000 });
  const house = yours[(await names(page)).indexOf('house')];
  const there = apart(await elementPicture(post), house);
  assert.ok(there < 30, `${there} of 255 in the element`);

  assert.match(meanflow('inspect', join(folder, 'mine.safetensors')), /mushroom/);
});

test('two Workers that share the steps learn what one learns', async () => {
  const page = await open();
  const rgb = Object.values(SPRITES).flatMap((letters) => [...spriteBytes(letters)]);
  const settings = JSON.stringify({ names: Object.keys(SPRITES), steps: 20, mirror: true, shift: 1 });
  const learnt = (workers) =>
    page.evaluate(
      async ({ address, begin, workers }) => {
        const worker = new Worker(address, { type: 'module' });
        const first = { begin: { ...begin, rgb: Uint8Array.from(begin.rgb) }, workers };
        // Asked at once, they are answered one after the other.
        const asked = [first, { advance: { steps: 6, milliseconds: 1e9 } }, { weights: 'mine' }];
        asked.forEach((question, id) => worker.postMessage({ id, ...question }));
        const answers = [];
        await new Promise((resolve, reject) => {
          worker.onerror = (event) => reject(new Error(event.message));
          worker.onmessage = ({ data }) => {
            if (data.error) reject(new Error(data.error));
            else if (answers.push(data) === asked.length) resolve();
          };
        });
        worker.terminate();
        const { steps, workers: left, samples } = answers[1].frame;
        return { ids: answers.map(({ id }) => id), steps, workers: left, samples: [...samples] };
      },
      { address: `${stage.site.address}${LAB}drawings-worker.js`, begin: { settings, rgb }, workers },
    );
  const [one, two] = [await learnt(1), await learnt(2)];
  assert.deepEqual([one.workers, two.workers, one.steps, two.steps], [1, 2, 6, 6]);
  assert.deepEqual(two.ids, [0, 1, 2]);
  const difference = apart(one.samples, two.samples);
  assert.ok(difference < 1, `${difference} of 255`);
});

test('one draws by hand and by keyboard, fills, takes back, changes and removes', async () => {
  const page = await open();
  const sheet = async () => {
    // With the focus it also shows where the brush is.
    await page.evaluate(() => document.activeElement.blur());
    return (await pixelsOf(page, '#pad'))[0];
  };
  const inked = async (colour) => {
    const rgb = await sheet();
    return rgb.filter((_, i) => i % 3 === 0 && colour.every((byte, c) => rgb[i + c] === byte)).length;
  };
  await page.click('#add');
  await statusSays(page, /sheet is empty/);
  const box = await page.locator('#pad').boundingBox();
  const at = (x, y) => [box.x + ((x + 0.5) / 16) * box.width, box.y + ((y + 0.5) / 16) * box.height];
  await page.mouse.move(...at(3, 4));
  await page.mouse.down();
  await page.mouse.move(...at(12, 4), { steps: 4 });
  await page.mouse.up();
  const black = [0x1d, 0x1b, 0x19];
  assert.equal(await inked(black), 10, 'a line of ten pixels');
  await page.focus('#pad');
  for (const key of ['ArrowDown', 'ArrowDown', ' ', 'Shift+ArrowLeft', 'Shift+ArrowLeft']) await page.keyboard.press(key);
  assert.equal(await inked(black), 13);
  await choose(page, 'colour', '#2f6fd0');
  await choose(page, 'brush', 'fill');
  await page.mouse.click(...at(0, 0));
  assert.equal(await inked([0x2f, 0x6f, 0xd0]), 16 * 16 - 13);
  await page.click('#undo');
  assert.equal(await inked([0x2f, 0x6f, 0xd0]), 0);
  await page.fill('#name', 'lines');
  const drawn = await sheet();
  await page.click('#add');
  assert.deepEqual(await names(page), ['lines']);
  assert.deepEqual((await drawings(page))[0], drawn);
  assert.equal(await inked(black), 0, 'a new sheet');
  await page.click('#drawings .tile');
  assert.deepEqual(await sheet(), drawn);
  await page.click('#clear');
  await page.fill('#name', '<b>blank</b>');
  await page.click('#add');
  assert.deepEqual(await names(page), ['<b>blank</b>']);
  await page.click('#drawings .remove');
  assert.deepEqual(await names(page), []);
  await isIn(page, 'empty');
  assert.deepEqual(page.problems, []);
});

test('a closed page goes on where it was, also after another size and a lost Worker', async () => {
  const page = await open();
  await page.setInputFiles('#files', [picture('red.png', 16), picture('blue.png', 40, [20, 40, 200])]);
  await choose(page, 'size', '32');
  assert.equal((await drawings(page))[0].length, 32 * 32 * 3);
  await page.click('#start');
  await beyond(page, 0);
  await page.click('#start');
  await isIn(page, 'paused');
  const [done, drawn] = [await steps(page), await samples(page)];
  // What is kept is kept before it says that it rests, or a moment later.
  await page.waitForTimeout(1500);
  await page.reload();
  await isIn(page, 'paused');
  assert.equal(await steps(page), done);
  assert.deepEqual(await names(page), ['red', 'blue']);
  assert.deepEqual(await samples(page), drawn, 'the same pictures');
  assert.equal(await page.textContent('#start'), 'Go on');

  const lost = await page.context().newPage();
  await lost.addInitScript(() => {
    globalThis.workers = [];
    globalThis.Worker = class extends Worker {
      constructor(...args) {
        super(...args);
        globalThis.workers.push(this);
      }
    };
  });
  await lost.goto(`${stage.site.address}teach.html`);
  await isIn(lost, 'paused');
  await lost.click('#start');
  await beyond(lost, done);
  await lost.evaluate(() => globalThis.workers[0].dispatchEvent(new ErrorEvent('error', { message: 'gone' })));
  await lost.waitForFunction(() => globalThis.workers.length === 2);
  const after = await steps(lost);
  await beyond(lost, after);
  assert.equal(await lost.evaluate(() => document.body.dataset.state), 'running');
  // Another drawing begins anew.
  await lost.setInputFiles('#files', [picture('green.png', 16, [0, 200, 0])]);
  await isIn(lost, 'ready');
  assert.match(await lost.textContent('#status'), /3 drawings, nothing learnt/);
});

test('what is no drawing is named with its reason, too many are cut off, and nothing is lost where the storage is full', async () => {
  const page = await open();
  const add = (files) => page.setInputFiles('#files', files);
  await add([{ name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('no picture') }, picture('one.png', 20)]);
  await statusSays(page, /1 drawing, .*notes\.txt is no picture/);
  assert.deepEqual(await names(page), ['one']);
  // A photograph: its middle square, each pixel the mean of what falls on it.
  const wide = new Uint8Array(4000 * 3000 * 3).map((_, i) => (Math.floor(i / 3) % 4000 < 2000 ? 250 : 10));
  const photograph = Buffer.from(encode({ width: 4000, height: 3000, channels: 3, data: wide }));
  await add([{ name: 'photograph.png', mimeType: 'image/png', buffer: photograph }]);
  await statusSays(page, /^2 drawings/);
  const [, photo] = await drawings(page);
  assert.deepEqual([photo.length, photo[0], photo[45]], [16 * 16 * 3, 250, 10]);
  const many = Array.from({ length: 70 }, (_, i) => picture(`p${i}.png`, 16, [i, 100, 100]));
  await add(many);
  await statusSays(page, /^64 drawings, .*at most 64/);
  assert.equal((await names(page)).length, 64);
  await add([picture('more.png', 16)]);
  await statusSays(page, /at most 64/);

  const full = await stage.browser.newContext();
  const poor = await full.newPage();
  await poor.addInitScript(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException('full', 'QuotaExceededError');
    };
  });
  await poor.goto(`${stage.site.address}teach.html`);
  await poor.click('#examples');
  await statusSays(poor, /no room to keep it/);
  assert.equal((await names(poor)).length, 8);
  assert.ok(await poor.isEnabled('#start'));
});

test('drawings of another size, and names', () => {
  const heart = spriteBytes(SPRITES.heart);
  assert.equal(heart.length, 16 * 16 * 3);
  assert.equal(Object.values(SPRITES).every((letters) => spriteBytes(letters).length === heart.length), true);
  const large = resized(heart, 32);
  assert.deepEqual([...large.slice(0, 3)], [255, 255, 255]);
  assert.deepEqual(resized(large, 16), heart);
  const checked = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => (Math.floor(i / 3) % 2) * 200);
  assert.ok(resized(checked, 16).every((byte) => byte === 100));
  assert.equal(ownName('a', ['a', 'a 2']), 'a 3');
  assert.equal(ownName('  ', []), 'drawing');
});

test('nothing of it is loaded before it is asked for, and the story leads to it', async () => {
  const page = await stage.open('?count=1&seed=4&backend=cpu');
  await page.click('a[href="teach.html"]');
  await isIn(page, 'empty');
  const loaded = await page.evaluate(() => performance.getEntriesByType('resource').map(({ name }) => name));
  assert.deepEqual(loaded.filter((name) => /wasm|worker/.test(name)), []);
  assert.ok(readFileSync(new URL('../../web/lab/teach.html', import.meta.url), 'utf8').includes('Nothing leaves your device'));
});
