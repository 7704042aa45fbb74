// Page, guide and element under the rules of axe (WCAG 2.2 AA), light and dark, wide and narrow.
/* global axe -- of the page */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { serve } from '../../web/tools/serve.mjs';
import { open, openStage, require, temporaryFolder } from './support.mjs';

const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

const stage = openStage({ webgpu: false });

/** What axe finds wrong, in words. */
async function violations(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate((rules) => axe.run({ runOnly: rules }), RULES);
  return found.violations.map(
    ({ id, help, nodes }) =>
      `${id}: ${help}: ${nodes.map(({ target, failureSummary }) => `${target} (${failureSummary.replaceAll(/\s+/g, ' ')})`).join('; ')}`,
  );
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    test(`the page, ${colorScheme}, ${width} wide`, async () => {
      // The policy of the page forbids axe's script too.
      const page = await stage.open('?model=tiles&seed=3&count=8&backend=cpu', {
        bypassCSP: true,
        colorScheme,
        viewport: { width, height: 900 },
      });
      await page.locator('#race').scrollIntoViewIfNeeded();
      assert.deepEqual(await violations(page), []);
      await page.locator('#gallery button').first().click();
      assert.deepEqual(await violations(page), [], 'with a picture open');
    });
  }
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    test(`the laboratory, ${colorScheme}, ${width} wide`, async () => {
      const page = await open(stage.browser, `${stage.site.address}lab.html?data=drawn&drawn=AAAAAAAAAAH&power=1`, {
        bypassCSP: true,
        colorScheme,
        viewport: { width, height: 900 },
      });
      assert.deepEqual(await violations(page), []);
      await page.click('#step');
      await page.waitForFunction(() => document.body.dataset.state === 'paused');
      assert.deepEqual(await violations(page), [], 'after a step');
    });
  }
}

for (const [colorScheme, width] of [['light', 1280], ['dark', 390]]) {
  test(`two laboratories, ${colorScheme}, ${width} wide`, async () => {
    const options = { state: 'ready', bypassCSP: true, colorScheme, viewport: { width, height: 900 } };
    const page = await open(stage.browser, `${stage.site.address}compare.html`, options);
    assert.deepEqual(await violations(page), []);
  });
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    test(`teaching drawings, ${colorScheme}, ${width} wide`, async () => {
      const options = { state: 'empty', bypassCSP: true, colorScheme, viewport: { width, height: 900 } };
      const page = await open(stage.browser, `${stage.site.address}teach.html`, options);
      assert.deepEqual(await violations(page), []);
      await page.click('#examples');
      await page.waitForFunction(() => document.body.dataset.state === 'ready');
      assert.deepEqual(await violations(page), [], 'with drawings');
    });
  }
}

for (const colorScheme of ['light', 'dark']) {
  for (const width of [1280, 390]) {
    test(`the guide, ${colorScheme}, ${width} wide`, async () => {
      const page = await stage.browser.newPage({ bypassCSP: true, colorScheme, viewport: { width, height: 900 } });
      for (const name of ['embed', 'architecture', 'models-nouns']) {
        await page.goto(`${stage.site.address}guide/${name}.html`);
        assert.deepEqual(await violations(page), [], name);
      }
      await page.close();
    });
  }
}

test('an error is told to a screen reader', async () => {
  const page = await stage.open('?seed=3&count=1&backend=cpu', { bypassCSP: true });
  const broken = join(temporaryFolder(), 'broken.safetensors');
  writeFileSync(broken, 'no weights');
  await page.setInputFiles('#file', broken);
  await page.waitForFunction(() => document.body.dataset.state === 'error');
  assert.match(await page.getByRole('status').first().textContent(), /broken\.safetensors/);
  assert.deepEqual(await violations(page), []);
});

test('the element, with its button', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'index.html'), `<!doctype html><html lang="en"><title>A post</title><main><h1>A post</h1>
    <script type="module" src="${stage.site.address}web/mean-flow.js"></script>
    <mean-flow src="${stage.site.address}static/models/emoji.safetensors" seed="7" count="2" backend="cpu" controls></mean-flow></main></html>`,
  );
  const { server, address } = await serve(folder);
  const page = await stage.browser.newPage();
  await page.goto(address);
  await page.evaluate(
    () => new Promise((done) => document.querySelector('mean-flow').addEventListener('generate', done)),
  );
  assert.deepEqual(await violations(page), []);
  const [picture] = await page.getByRole('img', { name: /2 pictures generated by the model emoji/ }).all();
  assert.ok(picture, 'the pictures have no name');
  await page.close();
  server.close();
});
