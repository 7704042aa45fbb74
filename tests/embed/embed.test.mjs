// <mean-flow> in other people's projects: `npm pack` installed, built or served as they would, opened in Chromium. What
// is checked is the picture: byte for byte the one that plain HTML draws of the same model and seed.
//
// `make test-embed` runs all; with MEANFLOW_EMBED=quick those that take long are skipped.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

import { serve } from '../../web/tools/serve.mjs';
import { ROOT, launch, psnr, randomWeights } from '../browser/support.mjs';
import { freePort } from '../browser/webdriver.mjs';

const HERE = join(ROOT, 'tests/embed');
const TOOLS = join(HERE, 'node_modules');
const PACKAGE = join(TOOLS, '@meanflow/element');
/** Projects are built here, where they find the installed packages. */
const BUILT = join(HERE, 'built');
/** The model of the projects, and one that is computed by a build which the Worker asks for itself. */
const WEIGHTS = {
  'emoji.safetensors': join(ROOT, 'static/models/emoji.safetensors'),
  'other.safetensors': randomWeights({
    image_size: 8,
    channels: 3,
    patch: 2,
    width: 32,
    depth: 2,
    heads: 2,
    times: 'h',
    classes: 3,
    architecture: {
      kind: 'in-context',
      hidden: 48,
      class_tokens: 2,
      guidance_tokens: 1,
      interval_tokens: 1,
      time_tokens: 2,
    },
  }),
};
/** Milliseconds for a server that compiles first, on a busy machine. */
const PATIENCE = 120_000;
const QUICK = process.env.MEANFLOW_EMBED === 'quick';
const ENVIRONMENT = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', ASTRO_TELEMETRY_DISABLED: '1' };

let browser;
/**
 * What plain HTML draws, by the engine of the package's files and by that inside the bundle: the picture of each seed.
 */
const reference = {};

before(async () => {
  rmSync(BUILT, { recursive: true, force: true });
  mkdirSync(BUILT);
  execFileSync('bash', [join(ROOT, 'web/tools/build-package.sh')]);
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--pack-destination', BUILT], {
      cwd: join(ROOT, 'dist-npm'),
      encoding: 'utf8',
    }),
  );
  const archive = join(BUILT, filename);
  execFileSync(
    'npm',
    ['install', '--no-save', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', archive],
    { cwd: HERE },
  );
  // What Vite has prepared of an earlier package.
  rmSync(join(TOOLS, '.vite'), { recursive: true, force: true });
  browser = await launch({ webgpu: false });
  reference.files = await draw(await staticSite(await plain()), [7, 8], true);
  reference.bundle = await draw(await staticSite(await inline()), [7, 8]);
});

after(() => browser?.close());

/** Opens a page, and has its element draw these seeds, and the `other` model. */
async function draw({ address, end }, seeds, other = false) {
  const page = await browser.newPage();
  try {
    await page.goto(address);
    const pictures = {};
    for (const seed of seeds) {
      await page.evaluate(
        (seed) =>
          customElements.whenDefined('mean-flow').then(() => document.querySelector('mean-flow').generate({ seed })),
        seed,
      );
      pictures[seed] = await pictureOf(page);
    }
    if (other) pictures.other = await drawOther(page);
    return pictures;
  } finally {
    await page.close();
    await end();
  }
}

/** The picture of the other model. */
async function drawOther(page) {
  await page.evaluate(async () => {
    const element = document.querySelector('mean-flow');
    element.src = element.src.replace('emoji', 'other');
    await element.generate({ seed: 7 });
  });
  return pictureOf(page);
}

/** The bytes of the element's picture, as text. */
const pictureOf = (page) =>
  page.evaluate(() => String.fromCharCode(...document.querySelector('mean-flow').pictures[0].data));

function copyWeights(folder) {
  for (const [name, file] of Object.entries(WEIGHTS)) cpSync(file, join(folder, name));
}

/** A project as a folder of its own, with the weights where development servers look for them. */
function project(name, from = name) {
  const folder = join(BUILT, name);
  cpSync(join(HERE, from), folder, { recursive: true });
  copyWeights(join(folder, 'public'));
  return folder;
}

/** Runs a tool by its name in `node_modules/.bin`, or by its file. */
function run(folder, tool, ...args) {
  try {
    execFileSync(join(TOOLS, tool.includes('/') ? tool : `.bin/${tool}`), args, {
      cwd: folder,
      env: { ...ENVIRONMENT, NODE_ENV: 'production' },
      stdio: 'pipe',
    });
  } catch (error) {
    throw new Error(`${tool} ${args.join(' ')} failed:\n${error.stdout}\n${error.stderr}`, { cause: error });
  }
}

/** A folder on a static server. */
async function staticSite(folder) {
  copyWeights(folder);
  const { server, address } = await serve(folder);
  return { address, end: () => server.close() };
}

/** A development server, or one that a framework brings. */
async function started(folder, tool, ...args) {
  const port = await freePort();
  const log = join(folder, 'server.log');
  const output = openSync(log, 'w');
  // A process group of its own: it may start others.
  const server = spawn(process.execPath, [join(TOOLS, tool), ...args, '--port', String(port)], {
    cwd: folder,
    env: ENVIRONMENT,
    stdio: ['ignore', output, output],
    detached: true,
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const end = async () => {
    if (server.exitCode === null) process.kill(-server.pid, 'SIGTERM');
    await ended;
  };
  const address = `http://localhost:${port}/`;
  for (const until = Date.now() + PATIENCE; ; await setTimeout(100)) {
    if (await fetch(address).then(({ ok }) => ok, () => false)) return { address, end };
    if (server.exitCode === null && Date.now() < until) continue;
    await end();
    throw new Error(`${tool} ${args.join(' ')} serves nothing:\n${readFileSync(log, 'utf8')}`);
  }
}

/**
 * @param {{address: string, end: () => void}} site
 * @param {{engine: 'files' | 'bundle', button?: boolean}} options `button`: it asks for the next seed
 */
async function showsThePicture({ address, end }, { engine, button = false }) {
  const page = await browser.newPage();
  const said = [];
  page.on('pageerror', (error) => said.push(error.message));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && said.push(message.text()));
  try {
    await page.goto(address);
    await drawn(page, 7, said);
    assert.ok(
      (await pictureOf(page)) === reference[engine][7],
      `the picture is not that of plain HTML\n${said.join('\n')}`,
    );
    assert.ok(
      page.workers().every((worker) => worker.url().startsWith('blob:') === (engine === 'bundle')),
      page
        .workers()
        .map((worker) => worker.url())
        .join(),
    );
    if (button) {
      await page.click('button:text("Another")');
      await drawn(page, 8, said);
      assert.ok((await pictureOf(page)) === reference[engine][8], 'the second picture is not that of plain HTML');
    }
    if (engine === 'files') {
      assert.ok((await drawOther(page)) === reference.files.other, 'the other model gives another picture');
    }
  } finally {
    await page.close();
    await end();
  }
}

async function drawn(page, seed, said) {
  try {
    await page.waitForFunction((seed) => {
      const element = document.querySelector('mean-flow');
      return element?.complete && element.seed === BigInt(seed);
    }, seed, { timeout: 60_000, polling: 100 });
  } catch (error) {
    const status = await page.evaluate(
      () => document.querySelector('mean-flow')?.shadowRoot?.querySelector('[role=status]').textContent,
    );
    throw new Error(`no picture; the element says "${status}"; the console:\n${said.join('\n')}`, { cause: error });
  }
}

/** A test of one project; `make` leaves a folder, or starts a server. */
function embeds(name, make, { engine = 'files', quick = false, button } = {}) {
  test(name, { skip: QUICK && !quick ? 'takes long: make test-embed' : false }, async () => {
    const made = await make();
    await showsThePicture(typeof made === 'string' ? await staticSite(made) : made, { engine, button });
  });
}

async function plain() {
  const folder = project('plain');
  cpSync(PACKAGE, join(folder, 'mean-flow'), { recursive: true });
  return folder;
}

async function inline() {
  const folder = project('inline');
  cpSync(join(PACKAGE, 'mean-flow.inline.js'), join(folder, 'mean-flow.inline.js'));
  return folder;
}

/** The page of a project beside what a bundler wrote to dist/. */
function withPage(folder, page = 'index.html') {
  cpSync(join(folder, page), join(folder, 'dist/index.html'));
  return join(folder, 'dist');
}

const withEngine = (folder) => {
  cpSync(join(PACKAGE, 'engine'), join(folder, 'engine'), { recursive: true });
  return folder;
};

test('both engines draw the same to the eye', () => {
  const bytes = (picture) => Array.from(picture, (c) => c.charCodeAt(0));
  assert.ok(psnr(bytes(reference.files[7]), bytes(reference.bundle[7])) >= 45);
  assert.notEqual(reference.files[7], reference.files[8]);
});

embeds('plain HTML', () => join(BUILT, 'plain'), { quick: true });
embeds('plain HTML, one file', () => join(BUILT, 'inline'), { quick: true, engine: 'bundle' });
embeds(
  'an import map',
  () => {
    const folder = project('import-map');
    cpSync(PACKAGE, join(folder, 'mean-flow'), { recursive: true });
    return folder;
  },
  { quick: true },
);
embeds(
  'WordPress: a block of HTML',
  () => {
    const folder = project('wordpress');
    const uploads = join(folder, 'wp-content/uploads');
    cpSync(PACKAGE, join(uploads, 'mean-flow'), { recursive: true });
    copyWeights(uploads);
    writeFileSync(
      join(folder, 'index.html'),
      `<!doctype html><html lang="en"><title>A post</title><article>\n${readFileSync(join(folder, 'block.html'), 'utf8')}</article></html>`,
    );
    return folder;
  },
  { quick: true },
);

embeds('esbuild, esm', () => {
  const folder = project('esbuild', 'script');
  run(folder, 'esbuild', 'main.js', '--bundle', '--format=esm', '--outdir=dist');
  return withPage(folder);
}, { quick: true, engine: 'bundle' });
embeds('esbuild, esm, the engine beside it', () => {
  const folder = project('esbuild-engine', 'script');
  run(folder, 'esbuild', 'main.js', '--bundle', '--format=esm', '--outdir=dist');
  return withEngine(withPage(folder));
}, { quick: true });
embeds('esbuild, iife', () => {
  const folder = project('esbuild-iife', 'script');
  run(folder, 'esbuild', 'main.js', '--bundle', '--format=iife', '--outdir=dist');
  return withPage(folder, 'classic.html');
}, { quick: true, engine: 'bundle' });
embeds('esbuild, iife, assets', () => {
  const folder = project('esbuild-assets', 'script');
  cpSync(join(HERE, 'assets/main.js'), join(folder, 'main.js'));
  run(folder, 'esbuild', 'main.js', '--bundle', '--format=iife', '--outdir=dist');
  withEngine(join(folder, 'dist/static'));
  return withPage(folder, 'classic.html');
}, { quick: true });

const ROLLUP = ['rollup', 'main.js', '--plugin', 'node-resolve', '--format', 'es', '--dir', 'dist'];
embeds('Rollup', () => {
  const folder = project('rollup', 'script');
  run(folder, ...ROLLUP);
  return withPage(folder);
}, { quick: true, engine: 'bundle' });
embeds('Rollup, the engine beside it', () => {
  const folder = project('rollup-engine', 'script');
  run(folder, ...ROLLUP);
  return withEngine(withPage(folder));
}, { quick: true });

embeds(
  'Rollup, iife',
  () => {
    const folder = project('rollup-iife', 'script');
    run(
      folder,
      'rollup',
      'main.js',
      '--plugin',
      'node-resolve',
      '--format',
      'iife',
      '--inlineDynamicImports',
      '--file',
      'dist/main.js',
    );
    return withPage(folder, 'classic.html');
  },
  { quick: true, engine: 'bundle' },
);

embeds('webpack 5', () => {
  const folder = project('webpack', 'script');
  run(folder, 'webpack', '--mode', 'production', '--entry', './main.js', '--output-path', join(folder, 'dist'));
  return withPage(folder, 'classic.html');
}, { quick: true });
embeds('Parcel', () => {
  const folder = project('parcel', 'script');
  run(folder, 'parcel', 'build', 'index.html', '--dist-dir', 'dist', '--cache-dir', 'cache');
  return join(folder, 'dist');
});

for (const version of [5, 6, 7, 8]) {
  const vite = `vite${version < 8 ? version : ''}/bin/vite.js`;
  const build = (folder) => {
    run(folder, vite, 'build');
    return join(folder, 'dist');
  };
  embeds(`Vite ${version}, build`, () => build(project(`vite-${version}`, 'script')), { quick: version === 8 });
  embeds(
    `Vite ${version}, dev`,
    () => started(project(`vite-${version}-dev`, 'script'), vite, '--strictPort', '--force'),
    { engine: version < 8 ? 'bundle' : 'files' },
  );
  if (version < 8) {
    embeds(`Vite ${version}, dev, not optimised`, () =>
      started(project(`vite-${version}-excluded`, 'old-vite'), vite, '--strictPort', '--force'),
    );
  }
}

for (const framework of ['react', 'vue', 'svelte']) {
  embeds(`${framework}, built by Vite`, () => {
    const folder = project(framework);
    run(folder, 'vite', 'build');
    return join(folder, 'dist');
  }, { button: true });
}
embeds('Astro', () => {
  const folder = project('astro');
  run(folder, 'astro', 'build');
  return join(folder, 'dist');
});

for (const bundler of ['turbopack', 'webpack']) {
  embeds(
    `Next 16, ${bundler}, build`,
    () => {
      const folder = project(`next-${bundler}`, 'next');
      run(folder, 'next', 'build', `--${bundler}`);
      return started(folder, 'next/dist/bin/next', 'start');
    },
    { button: true },
  );
  embeds(
    `Next 16, ${bundler}, dev`,
    () => started(project(`next-${bundler}-dev`, 'next'), 'next/dist/bin/next', 'dev', `--${bundler}`),
    { button: true },
  );
}

/**
 * How each framework's templates write the element, in TypeScript: what must hold, and what must not where `7` is a
 * word.
 */
const JSX = '<mean-flow src="emoji.safetensors" seed={7} count="3" label={undefined} controls={false} class="wide" />';
const TYPED = {
  React: [readFileSync(join(HERE, 'react/App.tsx'), 'utf8').replace('seed={seed}', 'seed={7}'), '--jsx', 'react-jsx'],
  Preact: [
    `import '@meanflow/element';\nexport const use = ${JSX};`,
    '--jsx',
    'react-jsx',
    '--jsxImportSource',
    'preact',
  ],
  Solid: [
    `import '@meanflow/element';\nexport const use = ${JSX};`,
    '--jsx',
    'preserve',
    '--jsxImportSource',
    'solid-js',
  ],
  Vue: [
    "import '@meanflow/element';\nimport type { GlobalComponents } from 'vue';\nexport const use: InstanceType<GlobalComponents['mean-flow']>['$props'] = { seed: {7} };",
  ],
  Svelte: [
    "import '@meanflow/element';\nimport type { SvelteHTMLElements } from 'svelte/elements';\nexport const use: SvelteHTMLElements['mean-flow'] = { seed: {7}, class: 'wide' };",
  ],
};
for (const [framework, [source, ...options]] of Object.entries(TYPED)) {
  test(`${framework} knows the element's types`, () => {
    const folder = join(BUILT, `${framework}-types`);
    mkdirSync(folder);
    const check = (source) => {
      writeFileSync(join(folder, 'use.tsx'), source);
      execFileSync(
        join(ROOT, 'web/node_modules/.bin/tsc'),
        [
          '--noEmit',
          '--strict',
          '--target',
          'es2022',
          '--module',
          'esnext',
          '--moduleResolution',
          'bundler',
          '--skipLibCheck',
          '--types',
          '',
          ...options,
          'use.tsx',
        ],
        { cwd: folder, encoding: 'utf8' },
      );
    };
    const seeded = (value) => (options.length > 0 ? source.replace('{7}', `{${value}}`) : source.replace('{7}', value));
    check(seeded('7'));
    assert.throws(() => check(seeded("'seven'")), ({ stdout }) => /use\.tsx.*TS2322/.test(stdout));
  });
}

test('publint finds nothing', () => {
  const said = execFileSync(process.execPath, [join(TOOLS, 'publint/src/cli.js'), join(ROOT, 'dist-npm'), '--strict'], {
    encoding: 'utf8',
  });
  assert.match(said, /All good!/);
});

test('Are The Types Wrong finds nothing', () => {
  const { version } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
  const archive = join(BUILT, `meanflow-element-${version}.tgz`);
  // The package is for modules; require() of old Node.js is not among its readers.
  execFileSync(
    process.execPath,
    [join(TOOLS, '@arethetypeswrong/cli/dist/index.js'), archive, '--profile', 'esm-only'],
    { encoding: 'utf8' },
  );
});
