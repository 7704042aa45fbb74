// Writes the scripts and wasm of the site, or of the npm package: `node bundle.mjs site|package FOLDER`. Each script
// comes with all that it imports in one file, without what only people read, and each wasm with short names for what it
// imports and exports.
//
// A visit then waits for one script where it would wait for twenty, and a Worker for one where it would for three, one
// after the other. What is fetched by its address stays beside them: Workers, wasm, and the build that few models need.
//
// The package has the site's engine, and scripts that other bundlers can still read.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

import { engineFolder, nameByContent } from './engine-folder.mjs';

const WEB = fileURLToPath(new URL('../', import.meta.url));
const SITE = join(WEB, '../dist/web');
/**
 * What pages load, and parts of the element for those who use them alone: the name in the site, by the source in web/.
 */
const SCRIPTS = {
  'page/page.js': 'page.js',
  'lab/lab.js': 'lab.js',
  'lab/compare.js': 'lab-compare.js',
  'lab/teach.js': 'lab-teach.js',
  'element/mean-flow.js': 'mean-flow.js',
  'engine/engine.js': 'engine.js',
  'engine/failover.js': 'failover.js',
  'engine/store.js': 'store.js',
};
const BUILDS = ['cpu', 'relaxed', 'webgpu'];

const [what, folder] = process.argv.slice(2);
/** What the single file holds, as modules. */
const asModule = (text) => `export default ${JSON.stringify(text)};`;
const INLINE = {
  'inline:worker': () => asModule(readFileSync(join(folder, engineFolder(folder), 'worker-cpu.js'), 'utf8')),
  'inline:wasm': () => asModule(readFileSync(join(folder, engineFolder(folder), 'pkg/cpu/meanflow_bg.wasm'), 'hex')),
};
/** Modules of the package that are others in the site: no bundler leaves its files behind, or reads its addresses. */
const FOR_SITE = {
  './spare.js': () => 'export const orSpare = (download) => download();',
  './addresses.js': () =>
    `export const FOLDER = '${engineFolder(folder)}';\nexport const addressOf = (file) => new URL(\`./\${FOLDER}\${file}\`, import.meta.url);`,
};
/** New names of what each build's wasm imports and exports, by the old ones. */
const renamed = new Map();

await { site, package: forPackage }[what]();

async function site() {
  const engine = 'engine/new/';
  for (const build of BUILDS) renamed.set(build, shorten(build, engine));
  for (const build of BUILDS) {
    await write(`engine/worker-${build}.js`, { to: `${engine}worker-${build}.js`, given: true });
    // For those who bring their own Worker and bundler.
    await write(`engine/pkg/${build}/meanflow.js`, { to: `${engine}pkg/${build}/meanflow.js`, minify: false });
  }
  await write('engine/burn.js', { to: `${engine}burn.js`, given: true });
  for (const file of ['meanflow.js', 'meanflow_bg.wasm']) {
    cpSync(join(WEB, 'engine/pkg/burn', file), join(folder, engine, 'pkg/burn', file));
  }
  nameByContent(folder);
  // What trains is no part of the engine, nor of the package.
  renamed.set('learn', shorten('learn', 'lab/new/', 'meanflow_bg.wasm'));
  for (const worker of ['worker.js', 'drawings-worker.js']) await write(`lab/${worker}`, { to: `lab/new/${worker}` });
  nameByContent(folder, 'lab');
  for (const [script, to] of Object.entries(SCRIPTS)) await write(script, { to });
  // The bench counts the engine's bytes.
  await write('bench/bench.js', { to: 'bench.js', external: { 'engine/engine.js': './engine.js' } });
  // The element with the Worker and the wasm of the CPU's build inside.
  const banner =
    '/*! Holds WebAssembly of others: their notices are in THIRD_PARTY.txt, which goes where this file goes. */';
  await write('element/inline.js', { to: 'mean-flow.inline.js', holds: true, banner });
}

async function forPackage() {
  const engine = engineFolder(SITE);
  cpSync(join(SITE, engine), join(folder, engine), { recursive: true });
  cpSync(join(SITE, 'mean-flow.inline.js'), join(folder, 'mean-flow.inline.js'));
  const made = await rolldown({
    input: { 'mean-flow': join(WEB, 'element/mean-flow.js'), engine: join(WEB, 'engine/failover.js') },
    platform: 'browser',
    plugins: [plugin()],
  });
  // What both share is named by its content, too.
  await made.write({ dir: folder, format: 'esm', entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' });
  await made.close();
}

/** Writes the wasm of a build, and returns its new names by the old ones. */
function shorten(build, engine, file = `pkg/${build}/meanflow_bg.wasm`) {
  const to = join(folder, engine, file);
  mkdirSync(dirname(to), { recursive: true });
  const from = join(WEB, 'engine/pkg', build, 'meanflow_bg.wasm');
  const said = execFileSync(
    join(WEB, 'node_modules/.bin/wasm-opt'),
    ['--minify-imports-and-exports-and-modules', from, '-o', to],
    { encoding: 'utf8' },
  );
  const { imports, exports } = JSON.parse(said);
  return {
    // One module of imports: the script itself.
    module: imports[0][0],
    imports: new Map(imports.map(([, name, short]) => [name, short])),
    exports: new Map(exports.map(([name, short]) => [name, short])),
  };
}

/** The script of a build, by the new names. */
function rename(code, { module, imports, exports }) {
  const short = (names, name) => names.get(name) ?? name;
  const script = code
    .replace(JSON.stringify(module), '"a"')
    .replaceAll(/\b__wb\w+(?=: )/g, (name) => short(imports, name))
    .replaceAll(/\bwasm\.(\w+)/g, (_, name) => `wasm.${short(exports, name)}`);
  for (const name of imports.keys()) if (script.includes(`${name}: `)) throw new Error(`${name} kept its name`);
  return script;
}

/**
 * Bundles a script of web/.
 * @param {string} script
 * @param {{to: string, external?: Record<string, string>, given?: boolean, minify?: boolean, holds?: boolean, banner?:
 *   string}} options `external`: sources that stay apart, with the addresses that they are imported by
 */
async function write(script, { to, external = {}, given = false, minify = true, holds = false, banner = '' }) {
  const plugins = [plugin({ external, given, holds, others: { ...INLINE, ...FOR_SITE } })];
  const made = await rolldown({ input: join(WEB, script), platform: 'browser', plugins });
  await made.write({
    file: join(folder, to),
    format: 'esm',
    minify,
    codeSplitting: false,
    comments: { annotation: false },
    banner,
  });
  await made.close();
}

/**
 * `given`: whether the wasm is given to a build's script, which then need not look for it; `holds`: whether the CPU's
 * build may be inside, else nothing is left of the question; `others`: modules in the place of files.
 */
function plugin({ external = {}, given = false, holds = true, others = INLINE } = {}) {
  return {
    name: 'meanflow',
    resolveId: (id, importer) => {
      if (id in others) return id;
      const address = importer && external[relative(WEB, resolve(dirname(importer), id))];
      return address ? { id: address, external: true } : undefined;
    },
    load: (id) => others[id]?.(),
    transform: (code, id) => {
      if (basename(id) === 'addresses.js') return others === INLINE ? withFolder(code) : undefined;
      if (basename(id) === 'worker-address.js') return code.replaceAll("URL('./", `URL('./${engineFolder(folder, 'lab')}`);
      if (basename(id) !== 'meanflow.js') return holds ? undefined : code.replaceAll('isInlined()', 'false');
      const names = renamed.get(basename(dirname(id)));
      const script = names ? rename(code, names) : code;
      // Some bundlers follow every address, also in what they only carry along.
      return given ? script.replace(/new URL\('meanflow_bg\.wasm', import\.meta\.url\)/, 'undefined') : script;
    },
  };
}

/** addresses.js with the folder of the engine's files. */
function withFolder(code) {
  const engine = engineFolder(folder);
  return code.replaceAll("new URL('./", `new URL('./${engine}`).replace("FOLDER = ''", `FOLDER = '${engine}'`);
}
