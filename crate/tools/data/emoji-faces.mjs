// The set `emoji-faces`, 32 × 32 RGBA: the faces of Noto Emoji, each with its name, which is its class.
import { NOTO_NOTICE, document, iconName, isMain, rasterizer, readIconSet, readJson, writeSet } from './shared.mjs';

const SIZE = 32;

/** Groups of Unicode's emoji: round faces with one expression. */
const SUBGROUPS = /^face-(affection|concerned|glasses|hand|hat|negative|neutral-skeptical|sleepy|smiling|tongue|unwell)$/;

/** What is no face, and faces that are drawn with blurred lines of motion. */
const LEFT_OUT = ['skull', 'skull and crossbones', 'shaking face', 'head shaking horizontally', 'head shaking vertically'];

const LICENCE = `The pictures of the set emoji-faces are drawn from Noto Emoji, at 32 x 32 pixels.

${NOTO_NOTICE}
The names are those of Emojibase, https://github.com/milesj/emojibase, MIT License, Copyright (c) 2017-2019 Miles Johnson
`;

/** The faces: name and SVG of each, in Unicode's order. */
export function facesOf(emoji, subgroups, noto) {
  return emoji
    .filter(({ label, subgroup }) => SUBGROUPS.test(subgroups[subgroup] ?? '') && !LEFT_OUT.includes(label))
    .map((one) => ({ name: one.label, icon: noto.icons[iconName(noto, one)] }))
    .filter(({ icon }) => icon);
}

async function main() {
  const noto = readIconSet('noto');
  const { subgroups } = readJson('emojibase-data/meta/groups.json');
  const rasterize = await rasterizer();
  const faces = facesOf(readJson('emojibase-data/en/data.json'), subgroups, noto);
  const train = faces.map(({ name, icon }) => {
    const png = rasterize(document(icon.body, icon.width ?? noto.width, SIZE));
    return { png, captions: [name], labels: { face: name } };
  });
  writeSet('emoji-faces', { train }, LICENCE);
}

if (isMain(import.meta.url)) await main();
