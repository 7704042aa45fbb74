// The service worker: visits without a network, and with one that is worse than none; what is kept, and what is left
// alone.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { serve } from '../../web/tools/serve.mjs';
import { DIST, openStage, settled, temporaryFolder, wall } from './support.mjs';

const stage = openStage({ webgpu: false });
const QUERY = '?count=1&seed=4&backend=cpu';

/** A page of the site in a context of its own, of which the service worker has taken hold. */
async function visit(address, context) {
  context ??= await stage.browser.newContext();
  const page = await context.newPage();
  await page.goto(address);
  await settled(page);
  await page.evaluate(() => navigator.serviceWorker.ready);
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  return page;
}

/** Ends a server and what is still connected to it. */
function end(server) {
  server.closeAllConnections();
  return new Promise((done) => server.close(done));
}

/** What lies in a store of the page's origin. */
const kept = (page, name = 'meanflow-page') =>
  page.evaluate(async (name) => (await (await caches.open(name)).keys()).map(({ url }) => url), name);

test('one copy of the page is kept, whatever its address asks for, and those of earlier versions go', async () => {
  const context = await stage.browser.newContext();
  const before = await context.newPage();
  await before.goto(`${stage.site.address}static/favicon.svg`);
  await before.evaluate(async () => {
    const store = await caches.open('meanflow-page');
    for (const old of ['/?seed=1', '/?seed=2', '/index.html']) await store.put(old, new Response('old'));
  });
  const page = await visit(stage.site.address + QUERY, context);
  for (const query of ['?count=1&seed=5', 'index.html?count=1&seed=6', '?count=1&seed=7#explore']) {
    await page.goto(stage.site.address + query);
    await settled(page);
  }
  await page.waitForTimeout(300);
  const addresses = await kept(page);
  assert.deepEqual(addresses.filter((address) => /[?#]|\/index\.html$/.test(address)), []);
  assert.equal(addresses.filter((address) => address === stage.site.address).length, 1);
  await context.close();
});

test('files of other applications on the same origin are neither taken nor touched', async () => {
  const context = await stage.browser.newContext();
  const other = await context.newPage();
  await other.goto(`${stage.site.address}static/favicon.svg`);
  await other.evaluate(async () => {
    const store = await caches.open('another-application');
    // Of its own, and by mistake or malice of ours.
    for (const name of ['/another/app.js', '/web/page.js', '/']) {
      await store.put(name, new Response('document.body.textContent = "another application"'));
    }
    // Another copy of this site, in a folder below.
    await (await caches.open('meanflow-page')).put('/another/copy/web/page.js', new Response('another copy'));
  });
  const page = await visit(stage.site.address + QUERY, context);
  const pictures = await wall(page);
  await context.setOffline(true);
  await page.reload();
  await settled(page);
  assert.deepEqual(await wall(page), pictures);
  assert.equal(
    await page.evaluate(() =>
      fetch('/another/app.js').then(
        () => 'answered',
        () => 'left to the network',
      ),
    ),
    'left to the network',
  );
  assert.equal((await kept(page, 'another-application')).length, 3);
  assert.ok((await kept(page)).includes(`${stage.site.address}another/copy/web/page.js`));
  await context.close();
});

test('the newest page wins, with a query too, and is the one that is kept', async (t) => {
  const folder = temporaryFolder();
  cpSync(DIST, folder, { recursive: true });
  const { server, address } = await serve(folder);
  t.after(() => end(server));
  const page = await visit(address + QUERY);
  writeFileSync(
    join(folder, 'index.html'),
    readFileSync(join(folder, 'index.html'), 'utf8').replace(/<title>.*?<\/title>/, '<title>newer</title>'),
  );
  await page.goto(address + QUERY);
  await settled(page);
  assert.equal(await page.title(), 'newer');
  await page.waitForTimeout(300);
  await end(server);
  await page.goto(`${address}?count=1&seed=9`);
  await settled(page);
  assert.equal(await page.title(), 'newer');
  await page.context().close();
});

test('a server that accepts and never answers is waited for once, then the page comes from the store', async (t) => {
  const { server, address } = await serve(DIST);
  t.after(() => end(server));
  const page = await visit(address + QUERY);
  const pictures = await wall(page);
  server.removeAllListeners('request');
  let asked = 0;
  server.on('request', () => (asked += 1));
  const began = Date.now();
  await page.goto(address + QUERY);
  await settled(page);
  const waited = Date.now() - began;
  assert.deepEqual(await wall(page), pictures);
  assert.ok(asked > 0, 'the server was not asked');
  // Four seconds for the first answer; each file of a visit would wait as long again.
  assert.ok(waited > 3500 && waited < 9000, `${waited} ms`);
  await page.context().close();
});
