// The set `emoji-faces`, 32 × 32 RGBA: the faces of Noto Emoji, each with its name, which is its class.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { document, isMain, rasterizer, writeSet } from './shared.mjs';

const SIZE = 32;

/** Groups of Unicode's emoji: round faces with one expression. */
const SUBGROUPS = /^face-(affection|concerned|glasses|hand|hat|negative|neutral-skeptical|sleepy|smiling|tongue|unwell)$/;

/** What is no face, and faces that are drawn with blurred lines of motion. */
const LEFT_OUT = ['skull', 'skull and crossbones', 'shaking face', 'head shaking horizontally', 'head shaking vertically'];

const LICENCE = `The pictures of the set emoji-faces are drawn from Noto Emoji, at 32 x 32 pixels.

Noto Emoji, https://github.com/googlefonts/noto-emoji
Copyright Google Inc. and contributors
Images licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0

The names are those of Emojibase, https://github.com/milesj/emojibase, MIT License, Copyright (c) 2017-2019 Miles Johnson
`;

/** The faces: name and SVG of each, in Unicode's order. */
export function facesOf(emoji, subgroups, { icons, chars }) {
  return emoji
    .filter(({ label, subgroup }) => SUBGROUPS.test(subgroups[subgroup] ?? '') && !LEFT_OUT.includes(label))
    .map(({ label, hexcode }) => {
      const code = hexcode.toLowerCase();
      return { name: label, icon: icons[chars[code] ?? chars[code.replaceAll('-fe0f', '')]] };
    })
    .filter(({ icon }) => icon);
}

async function main() {
  const require = createRequire(import.meta.url);
  const read = (name) => JSON.parse(readFileSync(require.resolve(name), 'utf8'));
  const { icons, width = 16 } = read('@iconify-json/noto/icons.json');
  const noto = { icons, chars: read('@iconify-json/noto/chars.json') };
  const { subgroups } = read('emojibase-data/meta/groups.json');
  const rasterize = await rasterizer();
  const faces = facesOf(read('emojibase-data/en/data.json'), subgroups, noto);
  const train = faces.map(({ name, icon }) => {
    const png = rasterize(document(icon.body, icon.width ?? width, SIZE));
    return { png, captions: [name], labels: { face: name } };
  });
  writeSet('emoji-faces', { train }, LICENCE);
}

if (isMain(import.meta.url)) await main();
