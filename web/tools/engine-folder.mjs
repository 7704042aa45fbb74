// Where a built site or package keeps the engine's Workers and wasm, and a site those of the laboratory: in a folder
// that is named by what they hold, so that no script meets the files of another version.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';

/** The folder in `web`, such as `engine/1f0c5a9b/`; `whose` is `engine` or `lab`. */
export function engineFolder(web, whose = 'engine') {
  const [name, ...others] = readdirSync(join(web, whose));
  if (!name || others.length > 0) {
    throw new Error(`${join(web, whose)} holds ${name ? 'several versions' : 'nothing'}`);
  }
  return `${whose}/${name}/`;
}

/** Gives the one folder in `engine/`, or in `lab/`, its name. */
export function nameByContent(web, whose = 'engine') {
  const folder = join(web, engineFolder(web, whose));
  renameSync(folder, join(web, whose, hashOf(folder)));
}

/** What a folder is named by: its scripts and wasm. */
export function hashOf(folder) {
  const hash = createHash('sha256');
  const files = readdirSync(folder, { recursive: true }).filter((name) => /\.(js|wasm)$/.test(name)).sort();
  for (const file of files) hash.update(`${file}\n`).update(readFileSync(join(folder, file)));
  return hash.digest('hex').slice(0, 8);
}
