// Writes the licence notices of what the wasm builds link, as the licences ask of whoever passes them on: `node
// licenses.mjs FILE`. The texts are those in the packages' own folders; of a choice of licences, one is enough.
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** The features of what build-wasm.sh builds. */
const BUILDS = ['cpu', 'cpu,relaxed', 'webgpu', 'burn', 'learn'];
/** Names under which packages keep their texts. */
const TEXTS = /^(licen[cs]e|copying|notice|unlicense|copyright)/i;
/** The licence that is taken where there is a choice, and how its text is known. */
const PREFERRED = [['MIT', /permission is hereby granted, free of charge/i], ['Apache-2.0', /apache license/i]];

const [file] = process.argv.slice(2);
const packages = linked();
const groups = new Map();
for (const one of packages) {
  const text = textOf(one);
  groups.set(text, [...(groups.get(text) ?? []), one]);
}
const rule = '='.repeat(80);
// What comes with the compiler is no package of this build.
const standard = [
  [
    'The Rust Project Contributors',
    { name: "Rust's standard library", repository: 'https://github.com/rust-lang/rust' },
  ],
  ['2014 Alex Crichton', { name: 'dlmalloc', repository: 'https://github.com/alexcrichton/dlmalloc-rs' }],
].map(([owner, one]) => [`Copyright (c) ${owner}\n\n${grant()}`, [{ ...one, license: 'MIT OR Apache-2.0' }]]);
const sections = [...standard, ...groups].map(
  ([text, those]) => `${rule}\n${those.map(title).join('\n')}\n\n${text}\n`,
);
writeFileSync(
  file,
  `The WebAssembly modules in this folder hold parts of the packages below, under these licences.\n\n${sections.join('\n')}`,
);
console.log(`${file}: notices of ${packages.length} packages`);

function title({ name, version, license, repository }) {
  return [name, version, `(${license})`, repository ?? `https://crates.io/crates/${name}`].filter(Boolean).join(' ');
}

/** The packages that end up in a module: not those that only run while it is built. */
function linked() {
  const cargo = (...asked) =>
    execFileSync('cargo', asked, { cwd: join(ROOT, 'crate'), encoding: 'utf8', maxBuffer: 2 ** 28 });
  const target = 'wasm32-unknown-unknown';
  // The tree knows which features a build has, and the metadata where a package lies.
  const tree = (features) =>
    cargo(
      'tree',
      '--locked',
      '--target',
      target,
      '--no-default-features',
      '--features',
      features,
      '--edges',
      'normal,no-proc-macro',
      '--prefix',
      'none',
      '--format',
      '{p}',
    );
  const names = new Set(BUILDS.flatMap((features) => tree(features).match(/^\S+ v\S+/gm)));
  const { packages } = JSON.parse(
    cargo(
      'metadata',
      '--locked',
      '--format-version',
      '1',
      '--filter-platform',
      target,
      '--no-default-features',
      '--features',
      BUILDS.join(),
    ),
  );
  // Without a source it is of this repository.
  return packages
    .filter(({ name, version, source }) => source && names.has(`${name} v${version}`))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/** The text that goes along with a package. */
function textOf({ name, license, authors, manifest_path: manifest }) {
  const folder = dirname(manifest);
  const texts = readdirSync(folder)
    .filter((entry) => TEXTS.test(entry))
    .map((entry) => readText(join(folder, entry)))
    .filter(Boolean);
  for (const [id, known] of PREFERRED) {
    const text = (license ?? '').includes(id) && texts.find((text) => known.test(text));
    if (text) return text;
  }
  if (texts.length > 0) return texts.join('\n\n');
  // Some packages leave their texts in the repository that they come from.
  if ((license ?? '').includes('MIT')) {
    return `Copyright (c) ${authors.join(', ') || `the authors of ${name}`}\n\n${grant()}`;
  }
  throw new Error(`${name} comes without the text of its licence, ${license}`);
}

function readText(path) {
  try {
    return readFileSync(path, 'utf8').replaceAll('\r\n', '\n').trim();
  } catch {
    return ''; // a folder of that name
  }
}

/** The text of the MIT licence, without the line that says whose it is. */
function grant() {
  const text = readFileSync(join(ROOT, 'LICENSE-MIT'), 'utf8');
  return text.slice(text.indexOf('Permission is hereby granted')).trim();
}
