// The documents as pages of the site: each is there and is found, every link leads somewhere, none scrolls sideways,
// and the element in one of them draws.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

import { buildGuide, fileOf, groupsOf } from '../../web/tools/build-guide.mjs';
import { drawFlowchart } from '../../web/tools/flowchart.mjs';
import { DIST, ROOT, elementPicture, openStage, problemsOf, temporaryFolder, variance } from './support.mjs';

const GUIDE = join(DIST, 'guide');
const PAGES = readdirSync(GUIDE).filter((name) => name.endsWith('.html'));
const html = (file) => readFileSync(file, 'utf8');
const stage = openStage({ webgpu: false, prefix: '/some/where/' });

test('every document is a page, and the navigation leads to each', () => {
  const sources = Object.values(groupsOf()).flatMap((group) => Object.keys(group));
  for (const folder of ['docs', 'docs/guide', 'static/models']) {
    for (const name of readdirSync(join(ROOT, folder)).filter((name) => name.endsWith('.md'))) {
      assert.ok(sources.includes(`${folder}/${name}`), `${folder}/${name} is no page of the guide`);
    }
  }
  assert.deepEqual(PAGES.toSorted(), sources.map(fileOf).sort());
  const reached = new Set(['index.html']);
  for (const page of reached) {
    const [navigation] = html(join(GUIDE, page)).match(/<nav .*?<\/nav>/s);
    for (const [, file] of navigation.matchAll(/href="([\w-]+\.html)"/g)) reached.add(file);
  }
  assert.deepEqual([...reached].sort(), PAGES.toSorted());
});

test('every link and anchor of the guide, and of the pages that lead to it, leads somewhere', () => {
  const pages = [...PAGES.map((page) => join(GUIDE, page)), ...['index', 'lab', 'teach'].map((page) => join(DIST, `${page}.html`))];
  let found = 0;
  for (const page of pages) {
    for (const [, link] of html(page).matchAll(/<[^>]* (?:href|src)="([^"]*)"/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [path, anchor] = link.split('#');
      let file = path ? join(dirname(page), path) : page;
      if (existsSync(file) && statSync(file).isDirectory()) file = join(file, 'index.html');
      assert.ok(!link.startsWith('/') && file.startsWith(DIST) && existsSync(file), `${page} links to ${link}`);
      assert.ok(!anchor || html(file).includes(` id="${anchor}"`), `${page}: ${link} has no anchor`);
      found++;
    }
  }
  assert.ok(found > 2000, `${found} links were found`);
});

/** The text of the one page of a repository that holds `files`, by their paths. */
function guideOf(files, { repository = '', rustApi } = {}) {
  const root = temporaryFolder();
  const all = {
    'crate/Cargo.toml': repository && `repository = "${repository}"\n`,
    'index.html': '<meta http-equiv="Content-Security-Policy" content="default-src \'self\'">',
    ...files,
  };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const pages = Object.keys(files).filter((path) => path.startsWith('docs/') && path.endsWith('.md'));
  const groups = { Guide: Object.fromEntries(pages.map((path) => [path, path])) };
  buildGuide(join(root, 'guide'), { root, groups, rustApi: rustApi && join(root, rustApi) });
  return html(join(root, 'guide/index.html'));
}

test('what leads nowhere is refused, with file and line', () => {
  const text = [
    '# Title',
    'A [page](other.md#a-b),\nand [none](none.md).',
    '| | |\n|---|---|\n| a | [b](other.md#c) |',
    '![a picture](../none.png)',
    '<b>bold</b>',
    '<!-- live: <script></script> -->',
  ].join('\n\n');
  const files = { 'docs/guide/README.md': text, 'docs/guide/other.md': '# A b' };
  assert.throws(() => guideOf(files), (error) => {
    assert.deepEqual(error.message.split('\n'), [
      'docs/guide/README.md:4: none.md leads nowhere',
      'docs/guide/README.md:8: docs/guide/other.md has no heading for #c',
      'docs/guide/README.md:10: ../none.png leads nowhere',
      'docs/guide/README.md:12: the guide has no HTML: <b>',
      'docs/guide/README.md:12: the guide has no HTML: </b>',
      'docs/guide/README.md:14: the guide has no HTML: <!-- live: <script></script> -->',
    ]);
    return true;
  });
});

test('links lead to pages, to the repository where its address is known, and else say where a file is', () => {
  const text = [
    '# `a` title…?\n\n## Same\n\n## Same\n\n[first](#same), [second](#same-1), [other](../other.md#x)',
    '[`main.rs`](../../crate/main.rs) and [the folder](../../crate/)',
    '| | n |\n|---|--:|\n| a | 1 |\n\n<!-- nobody sees this -->',
  ].join('\n\n');
  const files = { 'docs/guide/README.md': text, 'docs/other.md': '# X', 'crate/main.rs': '' };
  const alone = guideOf(files);
  assert.match(alone, /<h1 id="a-title"><code class="whole">a<\/code> title…\?<\/h1>/);
  assert.match(alone, /<a href="#same">first<\/a>, <a href="#same-1">second<\/a>, <a href="other.html#x">other<\/a>/);
  assert.match(alone, /<code class="whole">crate\/main.rs<\/code> and the folder \(<code class="whole">crate<\/code>\)/);
  assert.match(alone, /<td><\/td>\n<th class="right">n<\/th>/);
  assert.ok(!alone.includes('nobody'));
  const published = guideOf(files, { repository: 'https://github.com/a/b' });
  assert.match(published, /<a href="https:\/\/github.com\/a\/b\/blob\/HEAD\/crate\/main.rs"><code/);
  assert.match(published, /<a href="https:\/\/github.com\/a\/b\/tree\/HEAD\/crate">the folder<\/a>/);
});

test('the documentation of the crate goes along where there is one', () => {
  const files = { 'docs/guide/README.md': '# A', 'target/doc/meanflow/index.html': '' };
  const link = 'href="api/rust/meanflow/index.html"';
  assert.ok(!guideOf(files).includes(link));
  assert.ok(guideOf(files, { rustApi: 'target/doc' }).includes(link));
  assert.throws(() => guideOf(files, { rustApi: 'docs' }), /docs is no rustdoc of meanflow/);
});

test('a flowchart is drawn, and one that is not understood is left as text', () => {
  const drawn = drawFlowchart('flowchart LR\n  subgraph a["A"]\n    b["b<br>first"] --> c["c"]\n  end\n  c -- "x" --> b');
  assert.match(drawn, /^<div.*><svg.* aria-label="b to c, c to b">/);
  assert.equal(drawFlowchart('sequenceDiagram\n  a->>b: x'), undefined);
});

test('no page scrolls sideways, on a desktop or a phone, and none says an error', async () => {
  const page = await stage.browser.newPage({ colorScheme: 'dark' });
  const problems = problemsOf(page);
  page.on('console', (message) => message.type() === 'error' && problems.push(`${page.url()}: ${message.text()}`));
  page.on('response', (response) => response.status() < 400 || problems.push(`${response.url()}: ${response.status()}`));
  for (const name of PAGES) {
    await page.goto(`${stage.site.address}guide/${name}`);
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 900 });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${name} is ${wide} wide on ${width}`);
    }
  }
  assert.deepEqual(problems, []);
  await page.close();
});

test('the list of pages is at the side of a desktop, and folded on a phone', async () => {
  const page = await stage.browser.newPage({ viewport: { width: 1280, height: 900 } });
  await page.goto(`${stage.site.address}guide/index.html`);
  const train = page.getByRole('navigation').getByRole('link', { name: 'Train', exact: true });
  assert.equal(await train.count(), 1);
  await page.setViewportSize({ width: 390, height: 900 });
  assert.equal(await train.count(), 0);
  await page.getByText('Contents').click();
  await train.click();
  await page.waitForURL('**/guide/train.html');
  await page.close();
});

test('the element beside its recipe draws in one call', async () => {
  const page = await stage.browser.newPage();
  const problems = problemsOf(page);
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  await page.addInitScript(() => {
    globalThis.made = new Promise((done) =>
      document.addEventListener('generate', ({ detail }) => done([detail.count, detail.nfe]), true),
    );
  });
  await page.goto(`${stage.site.address}guide/embed.html`);
  await page.locator('mean-flow').scrollIntoViewIfNeeded();
  assert.deepEqual(await page.evaluate(() => globalThis.made), [1, 1]);
  assert.ok(variance(await elementPicture(page)) > 500);
  assert.deepEqual(problems, []);
  await page.close();
});
