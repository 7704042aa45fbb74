// The set `people`, 64 × 64 RGBA: people of the parts of Personas, each attribute of which the caption names.
import { document, isHeldOut, isMain, pick, random, rasterizer, shuffled, writeSet } from './shared.mjs';

const SIZE = 64;
const COUNTS = { train: 40_000, test: 2_000 };

/** The words for Personas' parts and colours; `null` is a part of which a caption says nothing. */
export const WORDS = {
  skinColor: { eeb4a4: 'pale', d78774: 'tan', '92594b': 'brown', '623d36': 'dark' },
  hairColor: {
    '362c47': 'black', '6c4545': 'brown', f27d65: 'ginger', f2cf6b: 'blonde', dee1f5: 'white', e16381: 'pink',
    '5b7cf0': 'blue', '5fae6b': 'green',
  },
  hair: {
    long: 'long hair',
    extraLong: 'very long hair',
    shortCombover: 'short hair',
    shortComboverChops: 'short hair and sideburns',
    bobCut: 'bob',
    bobBangs: 'bob with bangs',
    sideShave: 'side swept hair',
    curly: 'afro',
    curlyHighTop: 'curly hair',
    curlyBun: 'curly bun and pink headband',
    straightBun: 'bun and pink headband',
    bunUndercut: 'top knot',
    pigtails: 'pigtails',
    fade: 'quiff',
    mohawk: 'mohawk',
    buzzcut: 'buzz cut',
    balding: 'bald top',
    bald: 'bald',
    cap: 'orange cap',
    beanie: 'red beanie',
  },
  eyes: {
    open: 'open eyes',
    sleep: 'closed eyes',
    wink: 'wink',
    happy: 'happy eyes',
    glasses: 'glasses',
    sunglasses: 'sunglasses',
  },
  facialHair: {
    none: null,
    beardMustache: 'beard',
    pyramid: 'moustache',
    walrus: 'thick moustache',
    goatee: 'goatee',
    shadow: 'stubble',
    soulPatch: 'soul patch',
  },
  nose: { smallRound: null, wrinkles: 'wrinkles' },
  mouth: {
    smile: 'smile',
    bigSmile: 'grin',
    smirk: 'smirk',
    frown: 'frown',
    surprise: 'open mouth',
    lips: 'pink lips',
    pacifier: 'blue pacifier',
  },
  clothingColor: {
    '456dff': 'blue', '54d7c7': 'turquoise', '7555ca': 'purple', '6dbb58': 'green', e24553: 'red', f3b63a: 'yellow',
    f55d81: 'pink', f4f4fa: 'white', '3a3a44': 'black',
  },
  body: { squared: 'shirt', rounded: 'sweater', small: 'vest', checkered: 'checkered shirt' },
};

/** Hair that shows no colour of its own, or hardly. */
const WITHOUT_COLOUR = ['bald', 'buzzcut', 'cap', 'beanie'];

/** How often parts are drawn, where it is not once. */
const WEIGHTS = { none: 8, smallRound: 5 };

/** The share of pairs of hair and its colour, and of clothes and theirs, that training never shows. */
export const HELD_OUT = 0.1;

/** Whether a person has a pair that is held out. */
export function hasHeldOutPair({ hair, hairColor, body, clothingColor }) {
  return (!WITHOUT_COLOUR.includes(hair) && isHeldOut([hair, hairColor], HELD_OUT))
    || isHeldOut([body, clothingColor], HELD_OUT);
}

/** A person of random parts that go together; `split` is `train` or `test`. */
export function drawPerson(next, split) {
  for (;;) {
    const choose = (words) => pick(Object.keys(words), next, (name) => WEIGHTS[name] ?? 1);
    const person = Object.fromEntries(Object.entries(WORDS).map(([kind, words]) => [kind, choose(words)]));
    const clash = person.mouth === 'pacifier' && person.facialHair !== 'none';
    if (!clash && hasHeldOutPair(person) === (split === 'test')) return person;
  }
}

/** Captions of a person: the attributes in a fixed order, as one would say them, and in any order. */
export function captionsOf(person, next) {
  const word = (kind) => WORDS[kind][person[kind]];
  const isColoured = !WITHOUT_COLOUR.includes(person.hair);
  const hair = isColoured ? `${word('hairColor')} ${word('hair')}` : word('hair');
  // A beard has the colour of the hair: it is named where no hair says it.
  const beard = word('facialHair') && !isColoured ? `${word('hairColor')} ${word('facialHair')}` : word('facialHair');
  const clothes = `${word('clothingColor')} ${word('body')}`;
  const skin = `${word('skinColor')} skin`;
  const rest = [hair, word('eyes'), beard, word('mouth'), word('nose'), clothes].filter(Boolean);
  return [
    [skin, ...rest].join(', '),
    `person with ${skin}, ${shuffled(rest, next).join(', ')}`,
    shuffled([skin, ...rest], next).join(', '),
  ];
}

/** What classifiers learn to name: the words of each attribute, and `none` for what one does not see. */
export function labelsOf(person) {
  const showsColour = !WITHOUT_COLOUR.includes(person.hair) || person.facialHair !== 'none';
  const words = ([kind, words]) => (kind === 'hairColor' && !showsColour ? 'none' : words[person[kind]] ?? 'none');
  return Object.fromEntries(Object.entries(WORDS).map((entry) => [entry[0], words(entry)]));
}

/**
 * The drawing with its blend modes where they work: a group with a mask is drawn by itself, so what blends with the
 * picture below must be the group. Without this, dark faces are grey.
 */
export const withBlending = (body) => body.replace(
  /<g mask="([^"]*)">((?:(?!<\/g>).)*?) style="mix-blend-mode:(\w+)"/g,
  '<g mask="$1" style="mix-blend-mode:$3">$2',
);

const LICENCE = `The pictures of the set people are made of the drawings of Personas by Draftbit
https://personas.draftbit.com/
Designer: Draftbit, https://draftbit.com/
Licensed under CC BY 4.0: https://creativecommons.org/licenses/by/4.0/
Changes: parts are combined at random, some colours of hair and clothes are others, and how colours blend is mended.
Source: the package @dicebear/personas 9.4.3, https://www.dicebear.com/
`;

async function main() {
  const { createAvatar } = await import('@dicebear/core');
  const personas = await import('@dicebear/personas');
  const rasterize = await rasterizer();
  const draw = ({ facialHair, ...person }) => {
    const options = Object.fromEntries(Object.entries(person).map(([kind, name]) => [kind, [name]]));
    const hair = facialHair === 'none' ? {} : { facialHair: [facialHair] };
    const facialHairProbability = hair.facialHair ? 100 : 0;
    // Clipping would draw all of it as one group, in which nothing blends.
    const avatar = createAvatar(personas, { ...options, ...hair, facialHairProbability, clip: false });
    const [, body] = /^<svg[^>]*>(?:<metadata.*?<\/metadata>)?(.*)<\/svg>$/s.exec(avatar.toString());
    return rasterize(document(withBlending(body), SIZE, SIZE));
  };
  const splits = {};
  for (const [split, count] of Object.entries(COUNTS)) {
    const next = random(`people of ${split}`);
    splits[split] = Array.from({ length: count }, () => {
      const person = drawPerson(next, split);
      return { png: draw(person), captions: captionsOf(person, next), labels: labelsOf(person) };
    });
  }
  writeSet('people', splits, LICENCE);
}

if (isMain(import.meta.url)) await main();
