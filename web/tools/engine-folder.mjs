// Where a built site or package keeps the engine's Workers and wasm: in a folder that is named by what they hold, so that no script
// meets the files of another version.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';

/** The folder in `web`, such as `engine/1f0c5a9b/`. */
export function engineFolder(web) {
  const [name, ...others] = readdirSync(join(web, 'engine'));
  if (!name || others.length > 0) throw new Error(`${join(web, 'engine')} holds ${name ? 'several versions' : 'nothing'}`);
  return `engine/${name}/`;
}

/** Gives the one folder in `engine/` its name. */
export function nameByContent(web) {
  const folder = join(web, engineFolder(web));
  const hash = createHash('sha256');
  for (const file of readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).sort()) {
    hash.update(`${file.slice(folder.length)}\n`).update(readFileSync(file));
  }
  renameSync(folder, join(web, 'engine', hash.digest('hex').slice(0, 8)));
}
