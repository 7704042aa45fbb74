// Writes the site's scripts and wasm: `node bundle.mjs FOLDER`, which is the site's web/. Each script comes with all that it imports
// in one file, without what only people read, and each wasm with short names for what it imports and exports.
//
// A visit then waits for one script where it would wait for twenty, and a Worker for one where it would for three, one after the
// other. What is fetched by its address stays beside them: Workers, wasm, and the build that few models need.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const WEB = fileURLToPath(new URL('../', import.meta.url));
/** What pages load, and parts of the element for those who use them alone. */
const SCRIPTS = ['page', 'mean-flow', 'engine', 'ladder', 'store', 'bench'];
const BUILDS = ['cpu', 'relaxed', 'webgpu'];

const [folder] = process.argv.slice(2);
/** What the single file holds, as modules. */
const asModule = (text) => `export default ${JSON.stringify(text)};`;
const INLINE = {
  'inline:worker': () => asModule(readFileSync(join(folder, 'worker-cpu.js'), 'utf8')),
  'inline:wasm': () => asModule(readFileSync(join(folder, 'pkg/cpu/meanflow_bg.wasm'), 'hex')),
};

const renamed = new Map(BUILDS.map((build) => [build, shorten(build)]));
// The bench counts the engine's bytes.
for (const script of SCRIPTS) await bundle(script, script === 'bench' ? ['./engine.js'] : []);
for (const build of BUILDS) for (const script of [`worker-${build}`, `pkg/${build}/meanflow`]) await bundle(script, []);
// The element with the Worker and the wasm of the CPU's build inside.
await bundle('inline', [], 'mean-flow.inline', '/*! Holds WebAssembly of others: their notices are in THIRD_PARTY.txt, which goes where this file goes. */');

/** Writes the wasm of a build, and returns its new names by the old ones. */
function shorten(build) {
  const to = join(folder, 'pkg', build, 'meanflow_bg.wasm');
  mkdirSync(dirname(to), { recursive: true });
  const from = join(WEB, 'pkg', build, 'meanflow_bg.wasm');
  const said = execFileSync(join(WEB, 'node_modules/.bin/wasm-opt'), ['--minify-imports-and-exports-and-modules', from, '-o', to], { encoding: 'utf8' });
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

async function bundle(script, apart, name = script, banner = '') {
  const transform = (code, id) => (basename(id) === 'meanflow.js' ? rename(code, renamed.get(basename(dirname(id)))) : undefined);
  const external = ['./pkg/burn/meanflow.js', ...apart];
  const made = await rolldown({ input: join(WEB, `${script}.js`), external, platform: 'browser', plugins: [{ name: 'short names', transform }, { name: 'inline', resolveId: (id) => (id in INLINE ? id : undefined), load: (id) => INLINE[id]?.() }] });
  await made.write({ file: join(folder, `${name}.js`), format: 'esm', minify: true, codeSplitting: false, comments: { annotation: false }, banner });
  await made.close();
}
