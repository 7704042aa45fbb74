// What the browser tests share: the built site, a real browser, native samples to compare with, a tiny trained model.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export { psnr } from '../../web/engine/psnr.js';

import { chromiumArguments, findChromium } from '../../web/tools/browser.mjs';
import { engineFolder } from '../../web/tools/engine-folder.mjs';
import { serve } from '../../web/tools/serve.mjs';

/** For the packages of web/node_modules. */
export const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
/** Another program's reading and writing of PNG files. */
export const { decode, encode } = await import(require.resolve('fast-png'));

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const DIST = join(ROOT, 'dist');
/** The weights file of a shipped model. */
/** The model that the page begins with, as the list of models has it. */
export const [FIRST] = JSON.parse(readFileSync(join(ROOT, 'static/models/models.json'), 'utf8'));
/** What it draws where nothing is asked for. */
export const FIRST_PROMPT = FIRST.prompts?.[0];

export const shipped = (name) => join(ROOT, `static/models/${name}.safetensors`);
const MEANFLOW = join(ROOT, 'target/release/meanflow');
/** Long enough for a software adapter that compiles every shader on a busy machine. */
const PATIENCE = 180_000;
/** Milliseconds after which a new window is done with itself. */
const QUIET = 3000;

const temporaryFolders = [];
process.on('exit', () => temporaryFolders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

/** A temporary folder that goes with the test run. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'meanflow-'));
  temporaryFolders.push(folder);
  return folder;
}

/** Serves somebody else's page, which has the element of a built site and keeps the types of its events in `told`. */
export function serveForeignPage(site) {
  const folder = temporaryFolder();
  const listen = `globalThis.told = []; for (const type of ['progress', 'ready', 'generate', 'error']) document.addEventListener(type, (event) => told.push(event.type), true);`;
  const element = `<mean-flow src="${site}static/models/emoji.safetensors" seed="9" controls></mean-flow>`;
  writeFileSync(
    join(folder, 'index.html'),
    `<!doctype html><script>${listen}</script><script type="module" src="${site}web/mean-flow.js"></script>${element}`,
  );
  return serve(folder);
}

/**
 * A browser and the built site for the tests of one file.
 * @param {{webgpu: boolean, prefix?: string}} options `prefix`: the sub-path to serve the site under
 */
export function openStage({ webgpu, prefix }) {
  const stage = {
    /** Opens the page at a query, as {@link open}. */
    open: (query = '', options) => open(stage.browser, stage.site.address + query, options),
  };
  before(async () => {
    stage.browser = await launch({ webgpu });
    stage.site = await serve(DIST, { prefix });
  });
  after(async () => {
    await stage.browser?.close();
    stage.site?.server.close();
  });
  return stage;
}

/**
 * Starts Chromium; with `webgpu` it has a real WebGPU on a software adapter, without it has none. Without `canvas` a
 * canvas that shows what that adapter drew costs the device. `args` are further ones of its own.
 */
export function launch({ webgpu, canvas, args = [] }) {
  const executablePath = findChromium();
  return chromium.launch({ executablePath, args: [...chromiumArguments({ webgpu, canvas }), ...args] });
}

/** Has every Worker of the page's engine run `script` before its own. */
export const beforeWorkers = (page, script) =>
  page.route('**/worker-*.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `${script}\n${await response.text()}` });
  });

/** The names of the files that a server is asked to send while `work` goes on. */
export async function servedWhile(server, work) {
  const served = [];
  // To ask whether a file has changed, as the service worker does of all once a page is drawn, downloads nothing.
  const listen = ({ url, headers }) =>
    headers['if-none-match'] || served.push(new URL(url, 'http://localhost').pathname.split('/').pop());
  server.on('request', listen);
  try {
    await work();
  } finally {
    server.off('request', listen);
  }
  return served;
}

/**
 * An empty page to time a visit in: a new window first loads parts of the browser itself, which no visitor waits for.
 */
export async function openQuietly(context) {
  const page = await context.newPage();
  await setTimeout(QUIET);
  return page;
}

/**
 * Opens the page in a context of its own, so with an empty cache, and waits until it has settled.
 * @returns the page; `page.problems` collects errors that nobody handled
 */
export async function open(browser, address, { state = 'ready', ...options } = {}) {
  // A service worker would answer before the routes of a test.
  const context = await browser.newContext({ serviceWorkers: 'block', ...options });
  const page = await context.newPage();
  page.problems = problemsOf(page);
  await page.goto(address);
  await settled(page, state);
  return page;
}

/** Waits for `ready` or `error`, and fails with the page's own words when it is the other one. */
export async function settled(page, state = 'ready') {
  await page.waitForFunction(() => document.body.dataset.state !== 'loading', undefined, { timeout: PATIENCE });
  const [reached, message] = await page.evaluate(() => [
    document.body.dataset.state,
    document.getElementById('status').textContent,
  ]);
  if (reached !== state) throw new Error(`the page is in state ${reached}, not ${state}: ${message}`);
  return message;
}

/** Waits until the page's status says something. */
export function statusSays(page, pattern) {
  const says = (source) => new RegExp(source).test(document.getElementById('status').textContent);
  return page.waitForFunction(says, pattern.source, { timeout: 60_000 });
}

/** What an element of a page says, whichever driver the page is of. */
export const text = (page, id) => page.evaluate((id) => document.getElementById(id).textContent, id);

/** Notes the errors in a page that nobody handled. */
export function problemsOf(page) {
  const problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  return problems;
}

/**
 * Pixels of the canvases that a selector finds, inside `within` where that is given, each as RGB over white: a canvas
 * does not keep the colour of what is transparent.
 */
export function pixelsOf(page, selector, within) {
  return page.evaluate(
    ([selector, within]) => {
      const root = within ? document.querySelector(within).shadowRoot : document;
      return [...root.querySelectorAll(selector)].map((canvas) => {
        const over = document.createElement('canvas');
        [over.width, over.height] = [canvas.width, canvas.height];
        const context = over.getContext('2d');
        context.fillStyle = '#fff';
        context.fillRect(0, 0, over.width, over.height);
        context.drawImage(canvas, 0, 0);
        return Array.from(context.getImageData(0, 0, over.width, over.height).data).filter((_, i) => i % 4 < 3);
      });
    },
    [selector, within],
  );
}

/** The same of the wall's pictures. */
export const wall = (page) => pixelsOf(page, '#gallery canvas');

/** The same of a picture of the first element that a selector finds, as its PNG file has it. */
export function elementPicture(page, selector = 'mean-flow', index = 0) {
  return page.evaluate(
    async ([selector, index]) => {
      const bitmap = await createImageBitmap(await document.querySelector(selector).toBlob(index));
      const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      context.fillStyle = '#fff';
      context.fillRect(0, 0, bitmap.width, bitmap.height);
      context.drawImage(bitmap, 0, 0);
      return Array.from(context.getImageData(0, 0, bitmap.width, bitmap.height).data).filter((_, i) => i % 4 < 3);
    },
    [selector, index],
  );
}

/** RGBA bytes straight from the engine, before any canvas. */
export function fromEngine(page, { backend, weights, ...request }) {
  return page.evaluate(
    async ({ backend, weights, request }) => {
      const { Engine } = await import(new URL('web/engine.js', document.baseURI).href);
      const engine = new Engine(backend);
      const pictures = [];
      const { backend: used } = await engine.load(
        new File([Uint8Array.from(atob(weights), (c) => c.charCodeAt(0))], 'weights.safetensors'),
      );
      if (used !== backend) throw new Error(`${used} ran instead of ${backend}`);
      await engine.generate(request, ({ rgba }) => pictures.push(...rgba));
      engine.close();
      return pictures;
    },
    // As text: the protocol is slow with arrays of numbers.
    { backend, weights: readFileSync(weights, 'base64'), request },
  );
}

/** The CPU's wasm build as others get it, here in Node.js, with its memory. */
export async function cpuBuild() {
  const wasm = await import('../../web/engine/pkg/cpu/meanflow.js');
  const module = readFileSync(new URL('../../web/engine/pkg/cpu/meanflow_bg.wasm', import.meta.url));
  const { memory } = wasm.initSync({ module });
  return { wasm, memory };
}

export function meanflow(...args) {
  return execFileSync(MEANFLOW, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** The program at work: what it prints first, and what ends it. @param {...string} args */
export function startMeanflow(...args) {
  const program = spawn(MEANFLOW, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  process.once('exit', () => program.kill());
  return new Promise((done, failed) => {
    program.once('error', failed);
    program.once('exit', (code) => failed(new Error(`it ended with ${code}`)));
    program.stdout.once('data', (said) => done({ said: String(said), end: () => program.kill() }));
  });
}

/** RGBA bytes of one picture of the native build. */
export function nativePicture(weights, { seed, className, prompt, guidance, nfe = 1, solver = 'mean-flow' }) {
  const out = join(temporaryFolder(), 'picture.png');
  const more = className === undefined ? [] : ['--class', className];
  if (prompt !== undefined) more.push('--prompt', prompt);
  if (guidance !== undefined) more.push('--guidance', String(guidance));
  meanflow(
    'sample',
    weights,
    '--out',
    out,
    '--count',
    '1',
    '--seed',
    String(seed),
    '--nfe',
    String(nfe),
    '--solver',
    solver,
    '--device',
    'cpu',
    ...more,
  );
  return Array.from(decode(readFileSync(out)).data);
}

/** RGBA to RGB over white. */
export function overWhite(rgba) {
  const rgb = [];
  for (let i = 0; i < rgba.length; i += 4) {
    for (let c = 0; c < 3; c++) rgb.push(255 + ((rgba[i + c] - 255) * rgba[i + 3]) / 255);
  }
  return rgb;
}

/** One picture of the native build as RGB over white. */
export const nativeOverWhite = (weights, request) => overWhite(nativePicture(weights, request));

/** Variance of a picture's values: a blank one has none. */
export function variance(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

const TINY = `
name = "tiny"
card = { license = "CC0-1.0", source = "a test", description = "two colours" }
data = { size = 8 }
net = { patch = 4, width = 32, depth = 2, heads = 2 }
train = { steps = 300, batch_size = 16, learning_rate = 5e-3, flow_matching_steps = 80, ramp_steps = 40, warmup_steps = 10, cooldown_steps = 60, ema_decay = 0.98 }
log = { every = 100, sample_every = 300, samples = 4, checkpoint_every = 300 }
`;

/** A model of two classes, moss and rust, trained here on PNG files by the command line; its weights file. */
export function trainTinyModel() {
  const folder = temporaryFolder();
  const colours = { moss: [20, 160, 40], rust: [180, 70, 20] };
  for (const [name, colour] of Object.entries(colours)) {
    mkdirSync(join(folder, 'images', name), { recursive: true });
    for (let i = 0; i < 6; i++) {
      const data = Uint8Array.from({ length: 8 * 8 * 4 }, (_, k) =>
        k % 4 === 3 ? (k < 32 * i ? 0 : 255) : colour[k % 4],
      );
      writeFileSync(join(folder, 'images', name, `${i}.png`), encode({ width: 8, height: 8, data, channels: 4 }));
    }
  }
  writeFileSync(join(folder, 'tiny.toml'), TINY);
  const weights = join(folder, 'tiny.safetensors');
  meanflow(
    'train',
    '--data',
    join(folder, 'images'),
    '--out',
    join(folder, 'run'),
    '--config',
    join(folder, 'tiny.toml'),
  );
  meanflow('export', join(folder, 'run'), '--out', weights, '--dtype', 'f32');
  return weights;
}

/**
 * A weights file of a network with these sizes, all of whose parameters are random: nothing is zero as before training.
 */
export function randomWeights(net, dtype = 'f32') {
  const weights = join(temporaryFolder(), 'random.safetensors');
  meanflow('random-weights', '--net', JSON.stringify(net), '--dtype', dtype, '--out', weights);
  return weights;
}

if (!existsSync(join(DIST, 'index.html'))) throw new Error('the site is not built: run make test-browser');

/** Where the site keeps the engine's Workers and wasm. */
export const ENGINE = `web/${engineFolder(join(DIST, 'web'))}`;
/** The same of what trains. */
export const LAB = `web/${engineFolder(join(DIST, 'web'), 'lab')}`;
