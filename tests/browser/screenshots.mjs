// Pictures of page and element for docs/screenshots: `make screenshots`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { serve } from '../../web/tools/serve.mjs';
import { DIST, ROOT, launch, open, temporaryFolder } from './support.mjs';

const folder = join(ROOT, 'docs/screenshots');
mkdirSync(folder, { recursive: true });
const site = await serve(DIST);
const browser = await launch({ webgpu: false });
const save = (page, name) =>
  page.screenshot({ path: join(folder, `${name}.jpg`), type: 'jpeg', quality: 82, fullPage: true });

for (const [device, width, query] of [['desktop', 1280, '?seed=9'], ['phone', 390, '?seed=7&model=tiles&count=42']]) {
  for (const colorScheme of ['light', 'dark']) {
    const page = await open(browser, site.address + query + '&backend=cpu&at=0.35,0.4', {
      colorScheme,
      viewport: { width, height: 900 },
    });
    // The lessons wait until somebody looks.
    for (const id of ['explore', 'race']) await page.locator(`#${id}`).scrollIntoViewIfNeeded();
    await page.waitForFunction(
      () => [...document.querySelectorAll('#race figure')].every((figure) => figure.dataset.state === 'done'),
      undefined,
      { timeout: 60_000 },
    );
    await save(page, `page-${device}-${colorScheme}`);
    await page.context().close();
  }
}

const blog = temporaryFolder();
writeFileSync(
  join(blog, 'index.html'),
  `<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>A post</title>
  <style>:root { color-scheme: light dark; } body { max-width: 600px; margin: 40px auto; padding: 0 16px; font: 18px/1.6 Georgia, serif; }</style>
  <script type="module" src="${site.address}web/mean-flow.js"></script>
  <h1>A post with pictures</h1><p>These faces were noise when you opened this page. Nobody has drawn them, and nobody else sees the same ones unless they take the same seed.</p>
  <mean-flow src="${site.address}static/models/emoji.safetensors" seed="7" count="12" columns="6" backend="cpu" controls></mean-flow>
  <p>They are made in your browser, each in one call of a small network.</p></html>`);
const post = await serve(blog);
for (const [device, width] of [['desktop', 1280], ['phone', 390]]) {
  for (const colorScheme of ['light', 'dark']) {
    const page = await browser.newPage({ colorScheme, viewport: { width, height: 500 } });
    await page.goto(post.address);
    await page.evaluate(
      () => new Promise((done) => document.querySelector('mean-flow').addEventListener('generate', done)),
    );
    await save(page, `element-${device}-${colorScheme}`);
    await page.close();
  }
}
for (const [device, width, colorScheme] of [['desktop', 1280, 'light'], ['phone', 390, 'dark']]) {
  const page = await open(browser, `${site.address}teach.html`, {
    state: 'empty',
    colorScheme,
    viewport: { width, height: 900 },
  });
  await page.click('#examples');
  await page.click('#drawings .tile');
  await page.click('#start');
  await page.waitForFunction(() => document.body.dataset.state === 'done', undefined, { timeout: 600_000 });
  await save(page, `teach-${device}-${colorScheme}`);
  await page.context().close();
}
await browser.close();
for (const { server } of [site, post]) server.close();
console.log(`docs/screenshots: page, element and what learns drawings, on a desktop and a phone, light and dark`);
