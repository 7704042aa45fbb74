// Writes what the program carries of the built site: `node page-archive.mjs DIST FILE`. That is the element with its
// engines, and no model; a tar, compressed by Brotli, which `meanflow serve` and `meanflow export --web` read.
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';

import { tarEntry, tarOf } from './tar.mjs';

/** Files of the demo page, the bench and the laboratory, and the element once more in one file. */
const LEFT_OUT = /^web\/(bench\.(html|js)|page\.js|preload\.js|mean-flow\.inline\.js|lab(-teach)?\.js|lab\/.*)$/;
/** Kilobytes: what each program grows by. */
const BUDGET = 560;

const [site, file] = process.argv.slice(2);
const names = readdirSync(join(site, 'web'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(join(site, '/').length).replaceAll('\\', '/'))
  .filter((name) => !LEFT_OUT.test(name))
  .sort();
const tar = tarOf(names.flatMap((name) => tarEntry(name, readFileSync(join(site, name)))));
if (!existsSync(file) || !brotliDecompressSync(readFileSync(file)).equals(tar)) {
  mkdirSync(dirname(file), { recursive: true });
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_SIZE_HINT } = constants;
  const params = { [BROTLI_PARAM_QUALITY]: 11, [BROTLI_PARAM_LGWIN]: 24, [BROTLI_PARAM_SIZE_HINT]: tar.length };
  writeFileSync(`${file}.partial`, brotliCompressSync(tar, { params }));
  renameSync(`${file}.partial`, file);
}
const size = readFileSync(file).length / 1000;
if (size > BUDGET) throw new Error(`${file} has ${size.toFixed(1)} kB, and its budget is ${BUDGET} kB`);
console.log(`${file}: ${names.length} files, ${size.toFixed(1)} kB of ${BUDGET}`);
