// The npm package in other people's projects: plain HTML, Vite, webpack, and a server that only imports it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';

import { serve } from '../../web/tools/serve.mjs';
import {
  ROOT,
  elementPicture,
  nativeOverWhite,
  openStage,
  problemsOf,
  psnr,
  shipped,
  temporaryFolder,
} from './support.mjs';

const stage = openStage({ webgpu: false });
const TOOLS = join(ROOT, 'web/node_modules');
const WEIGHTS = shipped('emoji');
const PAGE = (script) =>
  `<!doctype html><html lang="en"><title>A project</title>${script}<mean-flow src="emoji.safetensors" seed="7" backend="cpu"></mean-flow></html>`;

let archive;
before(() => {
  execFileSync('bash', [join(ROOT, 'web/tools/build-package.sh')]);
  const folder = temporaryFolder();
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
      cwd: join(ROOT, 'dist-npm'),
      encoding: 'utf8',
    }),
  );
  archive = join(folder, filename);
});

/** A project that has the package installed, with these files. */
function project(files) {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'package.json'), '{"name": "project", "private": true, "type": "module"}');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', archive], {
    cwd: folder,
  });
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
  const problems = problemsOf(page);
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
    const said = await page.evaluate(
      () => document.querySelector('mean-flow').shadowRoot?.querySelector('[role=status]').textContent,
    );
    if (said || Date.now() > end) {
      throw new Error(`no picture; the element says: ${said}; the page: ${problems.join('; ')}`);
    }
    await page.waitForTimeout(100);
  }
}

async function agrees(page) {
  assert.ok(psnr(await elementPicture(page), nativeOverWhite(WEIGHTS, { seed: 7 })) >= 45);
}

test('plain HTML', async () => {
  await showsThePicture(
    project({
      'index.html': PAGE('<script type="module" src="node_modules/@meanflow/element/mean-flow.js"></script>'),
    }),
  );
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
  execFileSync(
    'node',
    [
      join(TOOLS, 'webpack-cli/bin/cli.js'),
      '--mode',
      'production',
      '--entry',
      './main.js',
      '--output-path',
      join(folder, 'dist'),
    ],
    {
      cwd: folder,
      stdio: 'pipe',
      env: { ...process.env, NODE_PATH: TOOLS },
    },
  );
  writeFileSync(join(folder, 'dist/index.html'), PAGE('<script src="main.js"></script>'));
  await showsThePicture(join(folder, 'dist'));
});

test('a server may import it, and gets the class without a document', () => {
  const folder = project({
    'server.js':
      "import { MeanFlowElement } from '@meanflow/element'; console.log(typeof MeanFlowElement, typeof document);",
  });
  assert.equal(execFileSync('node', ['server.js'], { cwd: folder, encoding: 'utf8' }).trim(), 'function undefined');
});

test('it comes with the licences of what its wasm holds', () => {
  const folder = join(project({}), 'node_modules/@meanflow/element');
  for (const file of ['LICENSE-MIT', 'LICENSE-APACHE', 'THIRD_PARTY.txt']) {
    assert.ok(readFileSync(join(folder, file), 'utf8').length > 1000, file);
  }
});

test('code, types, manifest and guide name the same', async () => {
  const built = (name) => readFileSync(join(ROOT, 'dist-npm', name), 'utf8');
  const declaration = JSON.parse(built('custom-elements.json')).modules[0].declarations.find(
    ({ tagName }) => tagName === 'mean-flow',
  );
  const { MeanFlowElement } = await import('../../web/element/mean-flow.js');
  const source = readFileSync(join(ROOT, 'web/element/mean-flow.js'), 'utf8');
  const types = built('types/element/mean-flow.d.ts');
  const names = (list) => list.map(({ name }) => name).sort();
  const found = (text, pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))].sort();
  /** The names in a type of the types. */
  const keys = (type) =>
    found(types.match(new RegExp(`^export type ${type} = \\{$(.*?)^\\};$`, 'ms'))[1], /^ {4}"?([\w-]+)"?\??:/gm);

  const observed = [...MeanFlowElement.observedAttributes].sort();
  assert.deepEqual(names(declaration.attributes), observed);
  assert.deepEqual(keys('MeanFlowAttributes'), observed);
  // Every attribute is a property too.
  const camel = (name) => name.replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());
  const writable = declaration.members.filter(
    ({ kind, readonly, static: shared }) => kind === 'field' && !readonly && !shared,
  );
  assert.deepEqual(names(writable), observed.map(camel).sort());
  const own = Object.getOwnPropertyDescriptors(MeanFlowElement.prototype);
  for (const { name, kind, readonly, static: shared, type } of declaration.members) {
    if (kind === 'method') assert.equal(typeof own[name].value, 'function', name);
    else if (!shared) {
      assert.deepEqual(
        [typeof own[name].get, typeof own[name].set],
        ['function', readonly ? 'undefined' : 'function'],
        name,
      );
    }
    if (kind === 'field') assert.notEqual(type?.text ?? 'any', 'any', name);
    assert.match(
      types,
      new RegExp(`^ {4}(static )?${kind === 'method' ? `${name}\\(` : `get ${name}\\(\\)`}`, 'm'),
      name,
    );
  }
  // What the code tells, styles and builds.
  const told = [
    ...found(source, /#tell\('([\w-]+)'/g),
    ...found(source, /const types = \['change', (.*?)\]/g).flatMap((list) => found(list, /'([\w-]+)'/g)),
  ].sort();
  assert.deepEqual(names(declaration.events), told);
  assert.deepEqual(keys('MeanFlowEventMap'), told);
  assert.deepEqual(names(declaration.cssProperties), found(source, /var\((--mean-flow-\w+)/g));
  assert.deepEqual(names(declaration.cssParts), found(source, /(?:make\('\w+', |part = )'(\w+)'/g));

  const table = readFileSync(join(ROOT, 'docs/guide/embed.md'), 'utf8').match(/^\| `<mean-flow>` \|.*?\n\n/ms)[0];
  const row = (title) => table.match(new RegExp(`^\\| ${title}.*$`, 'm'))[0];
  for (const name of observed) assert.ok(row('attributes').includes(`\`${name}\``), name);
  for (const { name, kind, readonly } of declaration.members) {
    if (readonly) assert.ok(row('state').includes(`\`${name}\``), name);
    if (kind === 'method') assert.ok(row('methods').includes(`\`${name}(`), name);
  }
  for (const name of told) assert.ok(row('events').includes(`\`${name}\``), name);
  for (const { name } of declaration.cssProperties) assert.ok(row('styling').includes(`\`${name}\``), name);
});

test('the engine is one file, by its subpath and by its plain path', () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'dist-npm/package.json'), 'utf8'));
  assert.deepEqual(exports['./engine'], exports['./engine.js']);
  assert.equal(exports['./engine'].default, './engine.js');
  assert.match(readFileSync(join(ROOT, 'dist-npm/engine.js'), 'utf8'), /export \{.*\bFailoverEngine\b/);
});

test('the recipes of the guide are the files of tested projects', () => {
  const guide = readFileSync(join(ROOT, 'docs/guide/embed.md'), 'utf8');
  const blocks = [...guide.matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const quoted = [...guide.matchAll(/\]\(\.\.\/\.\.\/(tests\/embed\/[^)]+)\)[^\n]*\n\n```\w+\n(.*?)^```$/gms)];
  assert.equal(quoted.length, blocks.length, 'each block names its file');
  for (const [, file, text] of quoted) assert.equal(text, readFileSync(join(ROOT, file), 'utf8'), file);
  const tests = readFileSync(join(ROOT, 'tests/embed/embed.test.mjs'), 'utf8');
  for (const [, file] of quoted) assert.ok(tests.includes(`'${file.split('/')[2]}`), `${file} is of no tested project`);
});

const TYPED = `import { MeanFlowElement, type Generated, type ModelInfo } from '@meanflow/element';
import { FailoverEngine } from '@meanflow/element/engine.js';
import init, { Generator, type GenerateRequest } from '@meanflow/element/wasm/cpu';

const element: MeanFlowElement = document.createElement('mean-flow');
element.seed = 7;
element.label = 'cat:0.6,dog:0.4';
element.prompt = 'a cat';
[element.columns, element.controls, element.backend, element.src] = [3, true, 'cpu', undefined];
const given: { label?: string } = {};
void element.generate({ count: 3, label: given.label, signal: AbortSignal.timeout(1000) }).then((made) => made?.pictures[0].width);
element.addEventListener('error', ({ detail: { code, cause } }) => console.log(code === 'download', cause.message));
element.removeEventListener('ready', (event) => console.log(event.detail.name));
element.addEventListener('ready', ({ detail }) => { const info: ModelInfo = detail; console.log(info.classes); });
element.addEventListener('device-lost', ({ detail: { reason, losses } }) => console.log(reason.length + losses));
element.addEventListener('recovered', ({ detail: { backend } }) => console.log(backend === 'webgpu'));
const made: Promise<Generated | undefined> = element.generate({ seed: 8n, steps: 2 });
const engine = new FailoverEngine('cpu');
void engine.load('emoji.safetensors').then((info) => 'stale' in info || info.notice);
void engine.generate({ seed: 1, count: 2, nfe: 1, blend: [0, 0.5, 1, 0.5] }, (report) => 'rgba' in report && report.rgba.length);
void init().then(() => Generator.load(new Uint8Array())).then(async (model: Generator) => {
  const request: GenerateRequest = { seed: 1n, count: 2, blend: [0, 0.5, 1, 0.5], solver: 'euler' };
  const pixels: Uint8Array = await model.generate(request, () => Promise.resolve(true));
  return [pixels, model.info.classes, await model.invert({ values: new Float32Array(192), nfe: 2 })];
});
export { made };
`;

test('its types hold in a TypeScript project, and catch mistakes', () => {
  const options = JSON.stringify({
    compilerOptions: {
      strict: true,
      noEmit: true,
      target: 'es2022',
      module: 'nodenext',
      moduleResolution: 'nodenext',
      lib: ['es2022', 'esnext.disposable', 'dom'],
      types: [],
    },
    include: ['*.ts'],
  });
  const check = (source) => {
    const folder = project({ 'tsconfig.json': options, 'user.ts': source });
    return execFileSync(join(TOOLS, '.bin/tsc'), ['-p', folder], { encoding: 'utf8' });
  };
  check(TYPED);
  assert.throws(
    () => check(TYPED.replace('element.seed = 7', "element.seed = 'seven'")),
    ({ stdout }) => /user\.ts.*TS2322/.test(stdout),
  );
});
