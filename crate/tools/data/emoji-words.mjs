// The sets `faces`, 32 × 32 RGBA: faces of Twemoji's parts with captions; and `emoji-words`: the same, and emoji in
// three styles.
import { EDGE, PARTS, captionsOf, drawFace, faceSvg } from './faces.mjs';
import {
  NOTO_NOTICE, document, iconName, isMain, random, rasterizer, readIconSet, readJson, shuffled, writeSet,
} from './shared.mjs';

const SIZE = 32;
const FACES = { train: 36_000, test: 2_000 };
/** How often each emoji is in the set, with captions of its own each time: a caption names one of few pictures. */
const REPEATS = 12;

/** The labels of a picture that is no face made of parts. */
const NO_FACE = Object.fromEntries(['colour', ...Object.keys(PARTS)].map((kind) => [kind, 'none']));

/** The styles by their words. The first is that of the faces, and of a caption that names none. */
const STYLES = { twemoji: 'twemoji', noto: 'noto', fluent: 'fluent-emoji-flat' };

/** Groups of Unicode's emoji that are things one can point at, and faces; no people, flags, letters or signs. */
const SUBGROUPS = new RegExp([
  '^(animal|cat|face|food|monkey|musical|plant)-', '^transport-(air|ground|water)$', '^(dishware|drink|event|game)$',
  '^(award-medal|clothing|heart|household|light-video|lock|sky-weather|sport|tool|writing)$',
].join('|'));

/**
 * What is left out by its name: what resembles another picture but for a detail, what shows letters or signs, and what
 * looks smeared when it is right.
 */
const LEFT_OUT = new RegExp([
  'shaking', 'oncoming', 'arrival', 'departure', 'moon', 'sun behind', ' suit$', 'joker', 'mahjong', 'flower playing',
  'place medal', 'waving', 'locked with', 'hammer and', 'reminder', 'ticket', 'construction', 'seat$', 'chain',
  'link$', 'prayer', 'minibus', 'trolley', 'tram car', 'light rail', 'monorail', 'high-speed', 'station', 'bus stop',
  'heart decoration', 'heart exclamation', 'two-hump', 'without snow', 'stop sign', 'white cane',
].join('|'));

/** What the renderer ends the process at, by the names of Noto's drawings. */
const CRASHES = ['package', 'rainbow-flag'];

const nameOf = ({ label }) => label.toLowerCase().replaceAll('-', ' ');

/** The keywords of an emoji that have no word of its name. */
export function keywordsOf({ label, tags = [] }) {
  const known = new Set(nameOf({ label }).split(' '));
  return tags.filter((tag) => /^[a-z ]+$/.test(tag) && !tag.split(' ').some((word) => known.has(word)));
}

/** The captions of an emoji: its name, with a few of its keywords, and keywords alone, in a style. */
export function captionsOfEmoji(emoji, style, next) {
  const name = nameOf(emoji);
  const some = shuffled(keywordsOf(emoji), next).slice(0, 3);
  const captions = [`${name}, ${style} style`, [name, ...some, `${style} style`].join(', ')];
  // Two keywords mostly mean one picture.
  if (some.length > 1) captions.push([...some, `${style} style`].join(', '));
  // Without its style a caption means one picture all the same.
  return style === 'twemoji' ? [name, ...captions] : captions;
}

/** The emoji of the set that all styles have, each with its drawings by their styles. */
function chooseEmoji(emoji, subgroups, styles) {
  const drawingOf = (style, one) => {
    const name = iconName(style, one);
    return CRASHES.includes(name) ? undefined : style.icons[name];
  };
  const chosen = emoji.filter(({ label, subgroup }) => {
    const name = subgroups[subgroup] ?? '';
    return SUBGROUPS.test(name) && !LEFT_OUT.test(label);
  });
  return chosen
    .map((one) => ({ ...one, drawings: Object.values(styles).map((style) => drawingOf(style, one)) }))
    .filter(({ drawings }) => drawings.every(Boolean));
}

const MIT = (holder) => `MIT License

Copyright (c) ${holder}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`;

const TWEMOJI = `Twemoji, https://github.com/jdecked/twemoji
Copyright (c) 2022-present Jason Sofonia & Justine De Caires
Copyright (c) 2014-2021 Twitter
Graphics licensed under CC BY 4.0: https://creativecommons.org/licenses/by/4.0/
The faces that are put together of its parts, also in other colours, are changes of its graphics.
`;

const LICENCE = `The pictures of the set emoji-words are drawn from three sets of emoji, at 32 x 32 pixels.

${TWEMOJI}
${NOTO_NOTICE}
Fluent Emoji, https://github.com/microsoft/fluentui-emoji
${MIT('Microsoft Corporation.')}
The captions are made of the names and keywords of Emojibase, https://github.com/milesj/emojibase
${MIT('2017-2019 Miles Johnson')}`;

async function main() {
  const rasterize = await rasterizer();
  const styles = Object.fromEntries(Object.entries(STYLES).map(([word, name]) => [word, readIconSet(name)]));
  const { subgroups } = readJson('emojibase-data/meta/groups.json');
  const emoji = chooseEmoji(readJson('emojibase-data/en/data.json'), subgroups, styles);

  const splits = {};
  for (const [split, count] of Object.entries(FACES)) {
    const next = random(`faces of ${split}`);
    splits[split] = Array.from({ length: count }, () => {
      const face = drawFace(next, split);
      const png = rasterize(document(faceSvg(face, styles.twemoji.icons), EDGE, SIZE));
      return { png, captions: captionsOf(face, next), labels: { ...face, emoji: 'none' } };
    });
  }
  writeSet('faces', splits, `The pictures of the set faces are put together of parts of emoji, at 32 x 32 pixels.\n\n${TWEMOJI}`);
  const next = random('emoji');
  const [names, keywords] = [[], []];
  for (const one of emoji) {
    const labels = { ...NO_FACE, emoji: one.label };
    Object.entries(styles).forEach(([style, { width }], i) => {
      const { body, width: own = width } = one.drawings[i];
      const png = rasterize(document(body, own, SIZE));
      for (let n = 0; n < REPEATS; n++) splits.train.push({ png, captions: captionsOfEmoji(one, style, next), labels });
      const captions = captionsOfEmoji(one, style, next);
      names.push({ png, captions: [captions[0]], labels });
      if (keywordsOf(one).length > 1) keywords.push({ png, captions: [captions.at(-1)], labels });
    });
  }
  console.log(`${emoji.length} emoji in ${Object.keys(styles).length} styles`);
  writeSet('emoji-words', { ...splits, train: shuffled(splits.train, random('order')) }, LICENCE);
  // Each emoji once, asked for by its name or by keywords alone: what `meanflow read-back` measures.
  writeSet('emoji-names', { train: names }, LICENCE);
  writeSet('emoji-keywords', { train: keywords }, LICENCE);
}

if (isMain(import.meta.url)) await main();
