// The npm package in other people's projects: plain HTML, Vite, webpack, and a server that only imports it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';

import { serve } from '../../web/tools/serve.mjs';
import { ROOT, nativePicture, openStage, overWhite, psnr, temporaryFolder } from './support.mjs';

const stage = openStage({ webgpu: false });
const TOOLS = join(ROOT, 'web/node_modules');
const WEIGHTS = join(ROOT, 'static/models/emoji.safetensors');
const PAGE = (script) => `<!doctype html><html lang="en"><title>A project</title>${script}<mean-flow src="emoji.safetensors" seed="7" backend="cpu"></mean-flow></html>`;

let archive;
before(() => {
  execFileSync('bash', [join(ROOT, 'web/tools/build-package.sh')]);
  const folder = temporaryFolder();
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: join(ROOT, 'dist-npm'), encoding: 'utf8' }));
  archive = join(folder, filename);
});

/** A project that has the package installed, with these files. */
function project(files) {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'package.json'), '{"name": "project", "private": true, "type": "module"}');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', archive], { cwd: folder });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** Opens what a project built, and compares the element's picture with the native one. */
async function showsThePicture(folder) {
  cpSync(WEIGHTS, join(folder, 'emoji.safetensors'));
  const { server, address } = await serve(folder);
  const page = await stage.browser.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  try {
    await page.goto(address);
    await drawn(page, problems);
    await agrees(page);
  } finally {
    await page.close();
    server.close();
  }
}

/** Waits for the element's picture. */
async function drawn(page, problems) {
  const ready = () => document.querySelector('mean-flow').toBlob?.().then(() => true, () => false);
  const end = Date.now() + 60_000;
  while (!(await page.evaluate(ready))) {
    const said = await page.evaluate(() => document.querySelector('mean-flow').shadowRoot?.querySelector('[role=status]').textContent);
    if (said || Date.now() > end) throw new Error(`no picture; the element says: ${said}; the page: ${problems.join('; ')}`);
    await page.waitForTimeout(100);
  }
}

async function agrees(page) {
  const picture = await page.evaluate(async () => {
    const bitmap = await createImageBitmap(await document.querySelector('mean-flow').toBlob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
    context.fillStyle = '#fff';
    context.fillRect(0, 0, bitmap.width, bitmap.height);
    context.drawImage(bitmap, 0, 0);
    return Array.from(context.getImageData(0, 0, bitmap.width, bitmap.height).data).filter((_, i) => i % 4 < 3);
  });
  assert.ok(psnr(picture, overWhite(nativePicture(WEIGHTS, { seed: 7 }))) >= 45);
}

test('plain HTML', async () => {
  await showsThePicture(project({ 'index.html': PAGE('<script type="module" src="node_modules/@meanflow/element/mean-flow.js"></script>') }));
});

test('Vite', async () => {
  const folder = project({
    'index.html': PAGE('<script type="module" src="/main.js"></script>'),
    'main.js': "import '@meanflow/element';",
    'vite.config.js': "export default { base: './', worker: { format: 'es' }, logLevel: 'warn' };",
  });
  execFileSync('node', [join(TOOLS, 'vite/bin/vite.js'), 'build'], { cwd: folder, stdio: 'pipe' });
  await showsThePicture(join(folder, 'dist'));
});

test('webpack', async () => {
  const folder = project({ 'main.js': "import '@meanflow/element';" });
  execFileSync('node', [join(TOOLS, 'webpack-cli/bin/cli.js'), '--mode', 'production', '--entry', './main.js', '--output-path', join(folder, 'dist')], {
    cwd: folder,
    stdio: 'pipe',
    env: { ...process.env, NODE_PATH: TOOLS },
  });
  writeFileSync(join(folder, 'dist/index.html'), PAGE('<script src="main.js"></script>'));
  await showsThePicture(join(folder, 'dist'));
});

test('a server may import it, and gets the class without a document', () => {
  const folder = project({ 'server.js': "import { MeanFlowElement } from '@meanflow/element'; console.log(typeof MeanFlowElement, typeof document);" });
  assert.equal(execFileSync('node', ['server.js'], { cwd: folder, encoding: 'utf8' }).trim(), 'function undefined');
});

test('it comes with the licences of what its wasm holds', () => {
  const folder = join(project({}), 'node_modules/@meanflow/element');
  for (const file of ['LICENSE-MIT', 'LICENSE-APACHE', 'THIRD_PARTY.txt']) assert.ok(readFileSync(join(folder, file), 'utf8').length > 1000, file);
});

test('the manifest and the types name what the element has', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'web/package/custom-elements.json'), 'utf8'));
  const [declaration] = manifest.modules[0].declarations;
  const source = readFileSync(join(ROOT, 'web/mean-flow.js'), 'utf8');
  const observed = source.match(/observedAttributes = \[(.*?)\]/)[1].match(/[\w-]+/g);
  assert.deepEqual(declaration.attributes.map(({ name }) => name).sort(), observed.sort());
  for (const { name } of declaration.events) assert.ok(source.includes(`@fires ${name} `), name);
  for (const { name } of declaration.cssProperties) assert.ok(source.includes(name), name);
  const types = readFileSync(join(ROOT, 'web/package/mean-flow.d.ts'), 'utf8');
  for (const { name, kind, readonly } of declaration.members) {
    const declared = kind === 'method' ? `${name}\\(` : readonly ? `(get|readonly) ${name}\\b` : `set ${name}\\(value`;
    for (const text of [types, source]) assert.match(text, new RegExp(`^  (async )?${declared}`, 'm'), name);
  }
  // Every attribute is a property too, but for the folder that all elements share.
  const camel = (name) => name.replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());
  const fields = declaration.members.filter(({ kind, readonly }) => kind === 'field' && !readonly).map(({ name }) => name);
  assert.deepEqual(fields.sort(), observed.filter((name) => name !== 'assets').map(camel).sort());
});

const TYPED = `import { MeanFlowElement, type Generated, type ModelInfo } from '@meanflow/element';
import { Ladder } from '@meanflow/element/engine.js';
import init, { Generator } from '@meanflow/element/wasm/cpu';

const element: MeanFlowElement = document.createElement('mean-flow');
element.seed = 7;
element.label = 'cat:0.6,dog:0.4';
[element.columns, element.controls, element.backend, element.src] = [3, true, 'cpu', undefined];
const given: { label?: string } = {};
void element.generate({ count: 3, label: given.label, signal: AbortSignal.timeout(1000) }).then((made) => made?.pictures[0].width);
element.addEventListener('error', ({ detail: { code, cause } }) => console.log(code === 'download', cause.message));
element.removeEventListener('ready', (event) => console.log(event.detail.name));
element.addEventListener('ready', ({ detail }) => { const info: ModelInfo = detail; console.log(info.classes); });
element.addEventListener('device-lost', ({ detail: { reason, losses } }) => console.log(reason.length + losses));
element.addEventListener('recovered', ({ detail: { backend } }) => console.log(backend === 'webgpu'));
const made: Promise<Generated | undefined> = element.generate({ seed: 8n, steps: 2 });
const ladder = new Ladder('cpu');
void ladder.load('emoji.safetensors').then((info) => 'stale' in info || info.notice);
void ladder.generate({ seed: 1, count: 2, nfe: 1, blend: [0, 0.5, 1, 0.5] }, (report) => 'rgba' in report && report.rgba.length);
void init().then(() => Generator.load(new Uint8Array())).then((model: Generator) => model.info);
export { made };
`;

test('its types hold in a TypeScript project, and catch mistakes', () => {
  const options = JSON.stringify({ compilerOptions: { strict: true, noEmit: true, target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext', lib: ['es2022', 'esnext.disposable', 'dom'], types: [] }, include: ['*.ts'] });
  const check = (source) => {
    const folder = project({ 'tsconfig.json': options, 'user.ts': source });
    return execFileSync(join(TOOLS, '.bin/tsc'), ['-p', folder], { encoding: 'utf8' });
  };
  check(TYPED);
  assert.throws(() => check(TYPED.replace('element.seed = 7', "element.seed = 'seven'")), ({ stdout }) => /user\.ts.*TS2322/.test(stdout));
});
