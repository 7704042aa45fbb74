// Writes the types and the manifest of the npm package from the JSDoc of its code: `node types.mjs FOLDER`.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, ts } from '@custom-elements-manifest/analyzer';

const WEB = fileURLToPath(new URL('../', import.meta.url));
const [folder] = process.argv.slice(2);

const OPTIONS = [
  '--allowJs',
  '--declaration',
  '--emitDeclarationOnly',
  '--stripInternal',
  '--target',
  'es2022',
  '--module',
  'esnext',
  '--moduleResolution',
  'bundler',
  '--lib',
  'es2023,dom,dom.iterable,esnext.disposable',
  '--types',
  '',
];
execFileSync(
  join(WEB, 'node_modules/.bin/tsc'),
  [...OPTIONS, '--outDir', join(folder, 'types'), join(WEB, 'element/mean-flow.js'), join(WEB, 'engine/failover.js')],
  { stdio: 'inherit' },
);

/** What the element's users do not call. */
const CALLBACKS = ['connectedCallback', 'disconnectedCallback', 'attributeChangedCallback', '[HEAR]'];
const source = ts.createSourceFile(
  'mean-flow.js',
  readFileSync(join(WEB, 'element/mean-flow.js'), 'utf8'),
  ts.ScriptTarget.ES2022,
  true,
);
const manifest = create({ modules: [source], context: { dev: false } });
const [module] = manifest.modules;
const exported = new Set(module.exports.map(({ declaration }) => declaration.name));
module.declarations = module.declarations
  .filter(({ name }) => exported.has(name))
  .map((declaration) => (declaration.kind === 'class' ? forUsers(declaration) : declaration));
writeFileSync(join(folder, 'custom-elements.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);

/**
 * A class without what is private, what has no words (the setters), and the parameters that the analyzer gives to
 * fields.
 */
function forUsers({ members, events, ...declaration }) {
  return {
    ...declaration,
    members: members
      .filter(({ name, privacy, description }) => privacy !== 'private' && description && !CALLBACKS.includes(name))
      .map(({ parameters, ...member }) => (member.kind === 'method' ? { ...member, parameters } : member)),
    // One that it takes from a call with a variable.
    events: events.filter(({ description }) => description),
  };
}
