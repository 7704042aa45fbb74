// Writes what the program carries of the built site: `node page-archive.mjs DIST FILE`. That is the element with its
// engines, and no model; a tar, compressed by Brotli, which `meanflow serve` and `meanflow export --web` read.
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';

/** Files of the demo page, the bench and the laboratory, and the element once more in one file. */
const LEFT_OUT = /^web\/(bench\.(html|js)|page\.js|preload\.js|mean-flow\.inline\.js|lab\.js|lab\/.*)$/;
/** Kilobytes: what each program grows by. */
const BUDGET = 560;
const BLOCK = 512;

const [site, file] = process.argv.slice(2);
const names = readdirSync(join(site, 'web'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(join(site, '/').length).replaceAll('\\', '/'))
  .filter((name) => !LEFT_OUT.test(name))
  .sort();
const tar = Buffer.concat([...names.flatMap(entry), Buffer.alloc(2 * BLOCK)]);
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

/** A file in a tar, by the same bytes whoever packs it. @param {string} name */
function entry(name) {
  const bytes = readFileSync(join(site, name));
  const header = Buffer.alloc(BLOCK);
  const octal = (/** @type {number} */ value, /** @type {number} */ digits) =>
    value.toString(8).padStart(digits - 1, '0');
  /** @type {[number, string][]} */
  const fields = [
    [0, name],
    [100, octal(0o644, 8)],
    [108, octal(0, 8)],
    [116, octal(0, 8)],
    [124, octal(bytes.length, 12)],
    [136, octal(0, 12)],
    // The sum of the header's bytes counts its own field as spaces.
    [148, ' '.repeat(8)],
    [156, '0'],
    [257, 'ustar\0' + '00'],
  ];
  if (Buffer.byteLength(name) > 100) throw new Error(`${name} is too long for a tar`);
  for (const [at, text] of fields) header.write(text, at);
  header.write(`${octal(header.reduce((sum, byte) => sum + byte), 7)}\0 `, 148);
  return [header, bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)];
}
