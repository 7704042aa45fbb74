// Writes the documents as pages of the site: `node build-guide.mjs SITE`, into SITE/guide, each after guide.html. They
// need no script, and link to one another by relative addresses. A link, an anchor or an image that leads nowhere ends
// the build, with file and line. RUST_API, a folder that `cargo doc` has left, goes along.
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { escape, read, render } from './guide-markdown.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** What becomes a page, by groups of the navigation: files of the repository, with their names there. */
const GROUPS = {
  Guide: {
    'docs/guide/README.md': 'Overview',
    'docs/guide/train.md': 'Train',
    'docs/guide/data.md': 'Data',
    'docs/guide/evaluate.md': 'Evaluate',
    'docs/guide/program.md': 'The program',
    'docs/guide/embed.md': 'Embed',
    'docs/guide/page.md': 'The demo page',
    'docs/guide/import.md': 'Import and export',
    'docs/guide/python.md': 'Python',
    'docs/guide/scale.md': 'Scale',
  },
  Measurements: {
    'docs/benchmarks/README.md': 'Benchmarks',
    'docs/benchmarks/web-cpu.md': 'The page on the CPU',
    'docs/benchmarks/web-cores.md': 'The page on all cores',
    'docs/benchmarks/web-webgpu.md': 'The page on WebGPU',
    'docs/benchmarks/train-cpu.md': 'A training step',
    'docs/benchmarks/sample-cpu.md': 'Native sampling',
    'docs/benchmarks/learn.md': 'Training in the page',
    'docs/reproduction/README.md': 'Reproduction',
    'docs/reproduction/objectives.md': 'Objectives',
    'docs/reproduction/ablations.md': 'Ablations',
    'docs/one-call/README.md': 'One call against many',
    'docs/one-call/faces.md': 'Faces by words, by calls',
    'docs/read-back/README.md': 'Read back',
    'docs/read-back/nouns-words.md': 'Nouns by words',
    'docs/read-back/faces.md': 'Faces by words',
    'docs/read-back/people.md': 'People by words',
    'docs/parity.md': 'Parity',
    'docs/published.md': 'Settings of the papers',
  },
  Project: {
    'docs/architecture.md': 'Architecture',
    'docs/testing.md': 'Testing',
    'docs/CONTRIBUTING.md': 'Contributing',
    'docs/CHANGELOG.md': 'Changelog',
    'docs/SECURITY.md': 'Security',
    'THIRD_PARTY.md': 'Third-party material',
  },
};

/** {@link GROUPS}, and the cards of the shipped models with the titles that they have. */
export function groupsOf(root = ROOT) {
  const cards = readdirSync(join(root, 'static/models')).filter((name) => name.endsWith('.md'));
  const titled = cards.map((name) => {
    const [, title] = readFileSync(join(root, 'static/models', name), 'utf8').match(/^# (.*)$/m);
    return [`static/models/${name}`, title];
  });
  return { ...GROUPS, Models: Object.fromEntries(titled) };
}

/** The file of a document's page in the folder of the guide. */
export function fileOf(source) {
  const name = source.replace(/^docs\/(guide\/)?|^static\//, '').replace(/(^|\/)README\.md$|\.md$/, '');
  return `${name.toLowerCase().replaceAll(/[/_]/g, '-') || 'index'}.html`;
}

/**
 * Writes the guide into a folder.
 * @param {string} to
 * @param {{root?: string, groups?: Record<string, Record<string, string>>, rustApi?: string}} options `root`: the
 *   repository; `groups`: its pages; `rustApi`: a folder of rustdoc
 * @throws where a link leads nowhere, or a document holds HTML
 */
export function buildGuide(to, { root = ROOT, groups = groupsOf(root), rustApi } = {}) {
  const named = Object.values(groups).flatMap((group) => Object.entries(group));
  const pages = named.map(([source, label]) => ({ source, label, ...read(readFileSync(join(root, source), 'utf8')) }));
  const site = { root, groups, pages, rustApi, problems: [], images: new Set() };
  site.repository = readFileSync(join(root, 'crate/Cargo.toml'), 'utf8').match(/^repository = "(.*)"$/m)?.[1];
  if (rustApi && !existsSync(join(rustApi, 'meanflow/index.html'))) throw new Error(`${rustApi} is no rustdoc of meanflow`);
  const template = readFileSync(new URL('guide.html', import.meta.url), 'utf8');
  const [policy] = readFileSync(join(root, 'index.html'), 'utf8').match(/<meta http-equiv="Content-Security-Policy".*>/);
  mkdirSync(to, { recursive: true });
  for (const page of pages) {
    const parts = { policy, ...partsOf(site, page) };
    writeFileSync(join(to, fileOf(page.source)), template.replaceAll(/\{(\w+)\}/g, (_, name) => parts[name]));
  }
  if (site.problems.length > 0) throw new Error(site.problems.join('\n'));
  for (const image of site.images) cpSync(join(root, image), join(to, image.replace('docs/', '')));
  if (rustApi) cpSync(rustApi, join(to, 'api/rust'), { recursive: true });
}

/** What a page puts into the template. */
function partsOf(site, page) {
  const refuse = (line, what) => site.problems.push(`${page.source}:${line}: ${what}`);
  const text = render(page, {
    refuse,
    addressOf: (link, line) => addressOf(site, page, link, (what) => refuse(line, what)),
  });
  const [before, after] = [-1, 1].map((step) => site.pages[site.pages.indexOf(page) + step]);
  const to = (other, rel) => other && `<a rel="${rel}" href="${fileOf(other.source)}">${escape(other.label)}</a>`;
  return {
    title: escape(page.title ?? page.label),
    description: escape(page.description || page.label),
    script: text.includes('<mean-flow ') ? '<script type="module" src="../web/mean-flow.js"></script>' : '',
    navigation: navigation(site, page),
    text: page.title ? text : `<h1>${escape(page.label)}</h1>\n${text}`,
    source: site.repository ? `<a href="${onGitHub(site, page.source)}">${page.source}</a>` : page.source,
    before: to(before, 'prev') ?? '',
    after: to(after, 'next') ?? '',
  };
}

/**
 * Where a link of a page leads: to an address; or to a file of the repository, if nobody knows where that is published.
 * @returns {{address?: string, path?: string}}
 */
function addressOf(site, page, link, refuse) {
  if (/^[a-z][\w+.-]*:/i.test(link)) return { address: link };
  const [path, anchor] = decodeURI(link).split('#');
  const target = path ? join(dirname(page.source), path).replaceAll('\\', '/').replace(/\/$/, '') : page.source;
  if (target.startsWith('..') || !existsSync(join(site.root, target))) refuse(`${link} leads nowhere`);
  const other = site.pages.find(({ source }) => source === target);
  if (other) {
    if (anchor && !other.anchors.has(anchor)) refuse(`${target} has no heading for #${anchor}`);
    return { address: (other === page ? '' : fileOf(target)) + (anchor ? `#${anchor}` : '') };
  }
  if (/\.(svg|png|jpg)$/.test(target)) {
    if (target.startsWith('static/')) return { address: `../${target}` };
    site.images.add(target);
    return { address: target.replace('docs/', '') };
  }
  return site.repository ? { address: onGitHub(site, target) } : { path: target };
}

function onGitHub({ root, repository }, path) {
  const isFolder = existsSync(join(root, path)) && statSync(join(root, path)).isDirectory();
  return `${repository}/${isFolder ? 'tree' : 'blob'}/HEAD/${path}`;
}

/** Lists of all pages: of the current one with its sections, and of a folder's pages only where one of them is read. */
function navigation(site, page) {
  const folderOf = (source) => (/^docs\/(?!guide)\w[\w-]*\//.test(source) ? dirname(source) : source);
  const isInside = (source) => !source.endsWith('README.md') && folderOf(source) !== source;
  const item = ([source, label]) => {
    const isCurrent = source === page.source;
    const sections = page.sections.map(({ anchor, text }) => `<li><a href="#${anchor}">${escape(text)}</a></li>`);
    const below = isCurrent && sections.length > 1 ? `<ul>${sections.join('')}</ul>` : '';
    const link = `<a href="${fileOf(source)}"${isCurrent ? ' aria-current="page"' : ''}>${escape(label)}</a>`;
    return `<li${isInside(source) ? ' class="inside"' : ''}>${link}${below}</li>`;
  };
  const isShown = ([source]) => !isInside(source) || folderOf(source) === folderOf(page.source);
  const lists = Object.entries(site.groups).map(
    ([name, group]) => `<p>${name}</p><ul>${Object.entries(group).filter(isShown).map(item).join('')}</ul>`,
  );
  const rust = site.rustApi ? '<li><a href="api/rust/meanflow/index.html">Rust</a></li>' : '';
  const api = `<p>API</p><ul><li><a href="embed.html#reference">&lt;mean-flow&gt;</a></li>${rust}</ul>`;
  return [lists[0], api, ...lists.slice(1)].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  try {
    buildGuide(join(process.argv[2], 'guide'), { rustApi: process.env.RUST_API });
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
