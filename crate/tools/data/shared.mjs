// What the recipes share: seeded choice, drawing, and sets as WebDataset shards.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { tarEntry, tarOf } from '../../../web/tools/tar.mjs';

/** Where sets are written: `runs/data` of the repository, which git ignores. */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../../../runs/data');

/** Whether the script of this address is the one that Node.js was started with. */
export const isMain = (address) => process.argv[1] === fileURLToPath(address);

/** FNV-1a with 32 bits, mixed at the end, as its upper bits hardly depend on the last letters of a text. */
export function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

/** Whether a combination is one of the share that training never shows. It depends on the words alone. */
export const isHeldOut = (words, share) => hash(words.join('\n')) / 2 ** 32 < share;

/** Random numbers in [0, 1) that a text decides: Mulberry32. */
export function random(seed) {
  let state = hash(seed);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One of a list; with `weight`, as often as that says of each. */
export function pick(list, next, weight = () => 1) {
  let left = next() * list.reduce((sum, item) => sum + weight(item), 0);
  return list.find((item) => (left -= weight(item)) < 0) ?? list.at(-1);
}

/** The list in another order (Fisher and Yates). */
export function shuffled(list, next) {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

/** An SVG document of what is drawn in a square of `edge` units, at `size` pixels. */
export const document = (body, edge, size) => '<svg xmlns="http://www.w3.org/2000/svg"'
  + ` xmlns:xlink="http://www.w3.org/1999/xlink" width="${size}" height="${size}" viewBox="0 0 ${edge} ${edge}">`
  + `${body}</svg>`;

/** Draws an SVG document: the bytes of an RGBA PNG. */
export async function rasterizer() {
  const { Resvg } = await import('@resvg/resvg-js');
  return (svg) => new Resvg(svg, { font: { loadSystemFonts: false } }).render().asPng();
}

/** A JSON file of a package. */
export const readJson = (name) => JSON.parse(readFileSync(createRequire(import.meta.url).resolve(name), 'utf8'));

/** An icon set of Iconify: drawings by their names, the edge of one that names none, and names by code points. */
export function readIconSet(name) {
  const { icons, width = 16 } = readJson(`@iconify-json/${name}/icons.json`);
  return { icons, width, chars: readJson(`@iconify-json/${name}/chars.json`) };
}

/** What an icon set calls an emoji of Emojibase. */
export function iconName({ chars }, { hexcode }) {
  const code = hexcode.toLowerCase();
  return chars[code] ?? chars[code.replaceAll('-fe0f', '')];
}

export const NOTO_NOTICE = `Noto Emoji, https://github.com/googlefonts/noto-emoji
Copyright Google Inc. and contributors
Images licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
`;

/** Pictures of a shard: beyond that there is another. */
const SHARD = 10_000;

/**
 * Writes a set: shards of `train` and `test` with pictures `{ png, captions, labels }`, of which the labels go into a
 * JSON file, and beside the folder, where the trainer does not read, the licence of the drawings.
 */
export function writeSet(name, splits, licence) {
  const folder = join(ROOT, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [split, pictures] of Object.entries(splits)) {
    for (let first = 0; first < pictures.length; first += SHARD) {
      const entries = pictures.slice(first, first + SHARD).flatMap(({ png, captions, labels }, i) => {
        const key = String(first + i).padStart(6, '0');
        return Object.entries({ png, txt: `${captions.join('\n')}\n`, json: JSON.stringify(labels) })
          .flatMap(([extension, content]) => tarEntry(`${key}.${extension}`, Buffer.from(content)));
      });
      const shard = `${name}-${split}-${String(first / SHARD).padStart(2, '0')}.tar`;
      writeFileSync(join(folder, shard), tarOf(entries));
    }
  }
  writeFileSync(join(ROOT, `${name}.LICENSE.txt`), licence);
  const counts = Object.entries(splits).map(([split, pictures]) => `${pictures.length} ${split}`);
  console.log(`${folder}: ${counts.join(', ')}`);
}
