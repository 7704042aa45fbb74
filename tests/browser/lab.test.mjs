// The laboratory: training in the page, for real.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { CELLS, drawnFrom, drawnPoints, drawnText } from '../../web/lab/cells.js';
import { DEFAULTS, forTrainer, readSettings, writeSettings } from '../../web/lab/settings.js';
import { meansOf } from '../../web/lab/plot.js';
import { heldToNative } from './learn.mjs';
import { open as openPage, openStage, servedWhile, settled, statusSays } from './support.mjs';

const stage = openStage({ webgpu: false });
/** Milliseconds for some hundred steps on a busy machine. */
const PATIENCE = 240_000;

/** Opens the laboratory, once it has begun. */
const open = (query = '') => openPage(stage.browser, `${stage.site.address}lab.html${query}`);

const isIn = (page, state) =>
  page.waitForFunction((state) => document.body.dataset.state === state, state, { timeout: PATIENCE });
/** How far one call's samples are from the data. */
const distance = async (page) => Number(await page.textContent('#distance'));
/** Steps taken, as the page has it. */
const steps = async (page) => Number((await page.textContent('#facts')).match(/step ([\d,]+)/)[1].replace(',', ''));

test('of the same seed the losses are those of the native trainer', async () => {
  await heldToNative(await open(), stage.site.address);
});

test('two moons are learnt in one call; with a wrong tangent they are not, though its residual falls', async () => {
  const apart = {};
  for (const tangent of ['v01', 'v00']) {
    const page = await open(`?steps=500&tangent=${tangent}`);
    const noise = await distance(page);
    await page.click('#start');
    await isIn(page, 'done');
    apart[tangent] = (await distance(page)) / noise;
    assert.match(await page.textContent('#status'), /^Learnt in 500 steps, [\d.]+ s\.$/);
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
  const said = `${apart.v01} of the noise's distance from the data with (v, 0, 1), ${apart.v00} with (v, 0, 0)`;
  assert.ok(apart.v01 < 0.45 && apart.v00 > 1.5 * apart.v01, said);
});

test('it starts, pauses, takes one step, goes on and begins anew, by keyboard', async () => {
  const page = await open('?seed=5');
  assert.equal(await steps(page), 0);
  const noise = await distance(page);
  await page.focus('#start');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => /step [1-9]/.test(document.getElementById('facts').textContent));
  assert.equal(await page.textContent('#start'), 'Pause');
  await page.keyboard.press('Enter');
  await isIn(page, 'paused');
  const paused = await steps(page);
  await page.waitForTimeout(400);
  assert.equal(await steps(page), paused);
  await page.click('#step');
  await statusSays(page, new RegExp(`after ${paused + 1} step`));
  await page.click('#anew');
  await statusSays(page, /learnt nothing yet/);
  assert.equal(await steps(page), 0);
  assert.equal(await distance(page), noise, 'of the same seed');
  await page.click('#start');
  await page.waitForFunction(() => /step [1-9]/.test(document.getElementById('facts').textContent));
  // Another choice begins anew, and goes on.
  await page.click('#objective label:has([value=shortcut])');
  assert.match(page.url(), /\?objective=shortcut&seed=5$/);
  assert.ok(await page.isHidden('#tangent-field'));
  assert.match(await page.textContent('#words'), /two half steps/);
  await isIn(page, 'running');
  assert.deepEqual(page.problems, []);
});

test('two laboratories of the same seed learn side by side, each in its own way', async () => {
  const page = await openPage(stage.browser, `${stage.site.address}lab.html?data=spiral&seed=9`);
  await page.click('#beside');
  await page.waitForURL(/compare\.html/);
  const ready = () =>
    page.waitForFunction(() => !document.getElementById('start').disabled, undefined, { timeout: PATIENCE });
  await ready();
  const [left, right] = ['left', 'right'].map((id) => page.frames().find((frame) => frame.parentFrame() && frame.url().includes('tangent') === (id === 'right')));
  assert.match(right.url(), /data=spiral.*tangent=v00.*seed=9/);
  const apart = async () => Promise.all([left, right].map(async (frame) => frame.textContent('#distance')));
  const [a, b] = await apart();
  assert.equal(a, b, 'they begin alike');
  await page.click('#step');
  const taken = (frame, count) =>
    frame.waitForFunction(
      (count) => document.getElementById('facts').textContent.startsWith(`step ${count} `) && document.body.dataset.state === 'paused',
      count, { timeout: PATIENCE },
    );
  await Promise.all([taken(left, 1), taken(right, 1)]);
  await statusSays(page, /^Paused: .* there is [\d.]+ on the left, [\d.]+ on the right\.$/);
  await page.click('#start');
  const runs = (frame, state) =>
    frame.waitForFunction((state) => document.body.dataset.state === state, state, { timeout: PATIENCE });
  await Promise.all([left, right].map((frame) => runs(frame, 'running')));
  assert.equal(await page.textContent('#start'), 'Pause both');
  await page.click('#start');
  await Promise.all([left, right].map((frame) => runs(frame, 'paused')));
  // What both have goes from one to the other, what one is taught does not; the address has both.
  await left.click('#data label:has([value=two-moons])');
  await right.waitForURL(/lab\.html\?tangent=v00&seed=9&framed/);
  await left.click('#objective label:has([value=shortcut])');
  await page.waitForURL((url) => url.searchParams.get('left') === 'objective=shortcut&seed=9');
  assert.equal(new URL(page.url()).searchParams.get('right'), 'tangent=v00&seed=9');
  await page.setViewportSize({ width: 390, height: 800 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
  assert.deepEqual(page.problems, []);
});

test('a page that nobody sees does not train', async () => {
  const page = await open();
  await page.click('#start');
  await page.waitForFunction(() => /step [1-9]/.test(document.getElementById('facts').textContent));
  const hide = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await hide(true);
  await page.waitForTimeout(1500);
  const before = await steps(page);
  await page.waitForTimeout(1000);
  assert.equal(await steps(page), before);
  await hide(false);
  await page.waitForFunction(
    (before) => Number(document.getElementById('facts').textContent.match(/step ([\d]+)/)?.[1]) > before,
    before,
  );
});

test('what is drawn is learnt, by hand or by keyboard, and is part of the address', async () => {
  const page = await open('?data=drawn');
  assert.match(await page.textContent('#status'), /Draw points/);
  assert.ok(await page.isDisabled('#start'));
  const sheet = page.locator('#sheet');
  await sheet.scrollIntoViewIfNeeded();
  const box = await sheet.boundingBox();
  await page.mouse.move(box.x + 30, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + 120, box.y + 40, { steps: 5 });
  await page.mouse.up();
  await page.waitForFunction(() => !document.getElementById('start').disabled);
  const drawn = new URL(page.url()).searchParams.get('drawn');
  const points = drawnPoints(drawnFrom(drawn));
  assert.ok(points.length > 30 && points.every(([x, y]) => y > 0.5 && y < 1.5 && x > -1.7 && x < 1.3), String(points));
  await page.focus('#sheet');
  for (const key of ['ArrowDown', 'ArrowDown', ' ', 'Shift+ArrowDown']) await page.keyboard.press(key);
  const more = new URL(page.url()).searchParams.get('drawn');
  assert.ok(drawnPoints(drawnFrom(more)).length > points.length);
  await page.click('#step');
  await statusSays(page, /after 1 step/);
  const again = await open(new URL(page.url()).search);
  assert.ok(!(await again.isDisabled('#start')));
  await again.click('#clear');
  await statusSays(again, /Draw points/);
  assert.deepEqual(page.problems, []);
});

test('the address holds every choice, and nothing that makes no sense', () => {
  const query = '?data=spiral&objective=mean-flow&tangent=v11&share=75&times=uniform&power=0.5&steps=2500&seed=18446744073709551615';
  const settings = readSettings(query);
  assert.equal(writeSettings(settings), query);
  assert.equal(writeSettings(readSettings('?data=x&share=30&seed=-1&power=&drawn=!&tangent=v00&more=1')), '?tangent=v00');
  const { settings: json, points } = forTrainer(settings);
  assert.equal(points, 'spiral');
  assert.match(json, /"seed":18446744073709551615,/);
  const { objective, times, weight } = JSON.parse(json);
  assert.deepEqual(objective, { kind: 'mean-flow', direction: '(v, 1, 1)' });
  assert.deepEqual([times, weight], [{ uniform: 1, interval_probability: 0.75 }, { p: 0.5 }]);
  assert.deepEqual(JSON.parse(forTrainer({ ...DEFAULTS, objective: 'shortcut' }).settings).objective, { kind: 'shortcut' });
});

test('drawn cells fit into an address and come back', () => {
  const cells = drawnFrom('').map((_, i) => i % 7 === 0 || i === CELLS * CELLS - 1);
  assert.deepEqual(drawnFrom(drawnText(cells)), cells);
  assert.equal(drawnText(drawnFrom('')), '');
  assert.deepEqual(drawnFrom('no cells?'), drawnFrom(''));
  const [[x, y]] = drawnPoints(drawnFrom('B'));
  assert.ok(Math.abs(x + 1.95) < 1e-9 && Math.abs(y - 1.95) < 1e-9);
});

test('curves are means of stretches, of the steps that have a number', () => {
  assert.deepEqual(meansOf([1, 3, NaN, 5, NaN, NaN], 2), [2, 5, NaN]);
});

test('the story leads to the laboratory, of which nothing is loaded before', async () => {
  let page;
  const served = await servedWhile(stage.site.server, async () => {
    page = await stage.open('?count=1&seed=4&backend=cpu');
    await page.locator('a[href="lab.html"]').scrollIntoViewIfNeeded();
    await page.waitForTimeout(1000);
  });
  assert.ok(served.includes('page.js'), served.join());
  assert.deepEqual(served.filter((name) => /^lab|^worker\.js/.test(name)), []);
  await page.click('a[href="lab.html"]');
  await settled(page);
  assert.match(page.url(), /lab\.html$/);
});
