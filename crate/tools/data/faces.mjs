// Faces put together of the parts of Twemoji's faces: which parts there are, which go together, and their words.
import { isHeldOut, pick, shuffled } from './shared.mjs';

/** Edge of Twemoji's drawings. */
export const EDGE = 36;

/** The yellow of the faces and the brown of what is on them: both change with the colour of a face. */
const SKIN = /#ffcc4d|#ffcb4c/g;
const LINES = /#664500|#65471b|#66471b/g;

/** Colours of a face: its own, and that of eyes and mouth, as Twemoji has them. Yellow is what most faces are. */
export const COLOURS = {
  yellow: { skin: '#ffcc4d', lines: '#664500', weight: 5 },
  red: { skin: '#dd2e44', lines: '#292f33' },
  green: { skin: '#77b255', lines: '#292f33' },
  blue: { skin: '#50a5e6', lines: '#1c4f7c' },
  purple: { skin: '#aa8dd8', lines: '#553788' },
  white: { skin: '#e1e8ed', lines: '#292f33' },
};

/** What is left of a drawing above, below or between heights. */
const above = (y) => [0, 0, EDGE, y];
const below = (y) => [0, y, EDGE, EDGE - y];
const between = (top, bottom) => [0, top, EDGE, bottom - top];

/**
 * A part: the elements of a drawing by their numbers, what of them is kept, and where it is moved. `as` is what one
 * calls somebody who has it, as in "crying cowboy"; `weight` is how often it is drawn, 1 where it is not said.
 */
const part = (icon, elements, { keep, move, ...rest } = {}) => ({ from: [{ icon, elements, keep, move }], ...rest });
const none = (weight) => ({ from: [], weight });

const ROUND = 'grinning-face';
const SMILING = 'grinning-face-with-smiling-eyes';

/** The parts of each kind in the order in which they are drawn. Of `none` a caption says nothing. */
export const PARTS = {
  cheeks: {
    none: none(5),
    'pink cheeks': part('smiling-face-with-smiling-eyes', [1, 2], { as: 'blushing' }),
  },
  brows: {
    none: none(3),
    'raised brows': part('hushed-face', [2]),
    'worried brows': part('worried-face', [1], { keep: above(13) }),
    'angry brows': part('face-with-steam-from-nose', [1], { keep: above(14), as: 'angry' }),
    'one raised brow': part('face-with-raised-eyebrow', [3], { keep: above(14), move: [0, -2] }),
  },
  mouth: {
    smile: part('slightly-smiling-face', [1]),
    'toothy grin': part(ROUND, [1, 2]),
    'gritted teeth': part('grimacing-face', [3, 4]),
    frown: part('slightly-frowning-face', [1]),
    'flat mouth': part('neutral-face', [3]),
    'crooked mouth': part('face-with-diagonal-mouth', [3]),
    smirk: part('smirking-face', [1], { keep: below(22) }),
    'wavy mouth': part('face-with-spiral-eyes', [1], { keep: below(21) }),
    'zigzag mouth': part('confounded-face', [1], { keep: below(23.5) }),
    'open mouth': part('face-with-open-mouth', [1]),
    'wailing mouth': part('weary-face', [1, 2], { keep: below(18.5) }),
    'kissing mouth': part('kissing-face', [3], { as: 'kissing' }),
    'tongue out': part('face-with-tongue', [3, 4, 5]),
    'licking tongue': part('face-savoring-food', [1, 2, 3], { keep: below(19.5) }),
    'money tongue': part('money-mouth-face', [1, 2, 4]),
    'buck teeth': part('nerd-face', [1, 2, 3, 4], { keep: below(20) }),
    'zipped mouth': part('zipper-mouth-face', [2]),
    'drooling mouth': part('drooling-face', [1, 2], { keep: below(21), as: 'drooling' }),
    'green vomit': part('face-vomiting', [1, 2, 3, 4, 5, 6], { keep: below(19), as: 'vomiting' }),
    'censored mouth': part('face-with-symbols-on-mouth', [2, 3], { as: 'swearing' }),
    mask: part('face-with-medical-mask', [2], { move: [0, 3], as: 'masked' }),
    'black moustache': part('disguised-face', [2]),
    'hand over mouth': part('face-with-hand-over-mouth', [2], { move: [0, 1], as: 'giggling' }),
    'no mouth': { from: [] },
  },
  eyes: {
    'round eyes': part(ROUND, [3, 4], { weight: 2 }),
    'tall eyes': part('grinning-face-with-big-eyes', [1, 2], { noBrows: true }),
    'smiling eyes': part(SMILING, [1], { keep: above(18.5) }),
    'squinting eyes': part('grinning-squinting-face', [3]),
    'closed eyes': part('sleepy-face', [1], { keep: [6.5, 16.5, 23, 5] }),
    'flat eyes': part('expressionless-face', [1], { keep: above(20) }),
    'bored eyes': part('unamused-face', [1], { keep: between(15.4, 20) }),
    'sly eyes': part('smirking-face', [1], { keep: [6, 16, 23.5, 5] }),
    'winking eye': {
      from: [
        { icon: 'winking-face', elements: [1] },
        { icon: 'winking-face', elements: [2], keep: [18, 14.2, 10.6, 6] },
      ],
      as: 'winking',
    },
    'rolling eyes': part('face-with-rolling-eyes', [1, 2, 3], { keep: above(20) }),
    'wide eyes': part('flushed-face', [3, 4, 5, 6]),
    'pleading eyes': part('pleading-face', [2, 3, 4, 5, 6], { as: 'pleading' }),
    'crazy eyes': part('zany-face', [1, 2, 3, 4], { as: 'crazy' }),
    'crossed out eyes': part('face-with-crossed-out-eyes', [2], { keep: [7, 11, 22, 9] }),
    'spiral eyes': part('face-with-spiral-eyes', [1], { keep: above(20), as: 'dizzy', noBrows: true }),
    'tired eyes': part('face-with-bags-under-eyes', [1, 3, 4, 5, 6], { keep: between(13.5, 24), as: 'tired' }),
    'dollar eyes': part('money-mouth-face', [3], { noBrows: true, as: 'rich' }),
    'heart eyes': part('smiling-face-with-heart-eyes', [2], { noBrows: true }),
    'star eyes': part('star-struck', [3], { noBrows: true }),
    sunglasses: part('smiling-face-with-sunglasses', [1], { noBrows: true, as: 'cool' }),
    'black glasses': {
      from: [{ icon: ROUND, elements: [3, 4] }, { icon: 'nerd-face', elements: [5] }],
      noBrows: true,
      as: 'nerdy',
    },
    monocle: part('face-with-monocle', [1, 2, 4, 5, 7], { noBrows: true }),
  },
  tears: {
    none: none(6),
    'one tear': part('smiling-face-with-tear', [4]),
    'tears of joy': part('face-with-tears-of-joy', [3], { as: 'laughing' }),
    'streaming tears': part('loudly-crying-face', [2, 4], { as: 'crying' }),
    'sweat drop': part('grinning-face-with-sweat', [3], { as: 'sweating' }),
  },
  hat: {
    none: none(6),
    'cowboy hat': part('cowboy-hat-face', [1, 2, 3], { keep: above(16), as: 'cowboy' }),
    'party hat': part('partying-face', [4, 5], { as: 'partying' }),
    halo: part('smiling-face-with-halo', [2, 3, 4, 5], { as: 'angel' }),
    horns: part('smiling-face-with-horns', [1], { as: 'devil' }),
    'head bandage': part('face-with-head-bandage', [2, 3, 4], { as: 'injured' }),
  },
  extra: {
    none: none(10),
    'thinking hand': part('thinking-face', [4], { as: 'thinking' }),
    'open hands': part('smiling-face-with-open-hands', [2, 4], { move: [0, 3.5], as: 'hugging' }),
    'three hearts': part('smiling-face-with-hearts', [2, 3], { as: 'loving' }),
    'blue snoring z': part('sleeping-face', [3, 4, 5, 6, 7, 8], { as: 'sleeping' }),
    thermometer: part('face-with-thermometer', [4, 6, 7, 8, 9], { as: 'sick' }),
    'long nose': part('lying-face', [2], { as: 'lying' }),
    'white steam': part('face-with-steam-from-nose', [2, 3], { as: 'steaming' }),
  },
};

const KINDS = Object.keys(PARTS);

/** Mouths that leave room for what is held before the face. */
const SMALL_MOUTHS = ['smile', 'frown', 'flat mouth', 'crooked mouth', 'smirk', 'wavy mouth', 'zigzag mouth'];

/** What goes with extras that need room; where a kind is not named, all of it does. */
const ROOM = {
  'open hands': { tears: ['none', 'sweat drop'], mouth: ['smile', 'toothy grin', 'open mouth', 'kissing mouth'] },
  'thinking hand': { tears: ['none', 'sweat drop'], mouth: SMALL_MOUTHS },
  'three hearts': { tears: ['none'], cheeks: ['none'], hat: ['none', 'halo'] },
  'blue snoring z': {
    tears: ['none'],
    hat: ['none'],
    brows: ['none'],
    eyes: ['closed eyes', 'flat eyes', 'smiling eyes', 'squinting eyes'],
  },
  thermometer: { tears: ['none', 'sweat drop'], mouth: SMALL_MOUTHS },
  'long nose': { tears: ['none', 'sweat drop'], cheeks: ['none'], mouth: SMALL_MOUTHS },
  'white steam': { tears: ['none', 'sweat drop'], mouth: ['frown', 'flat mouth', 'zigzag mouth', 'gritted teeth'] },
};

/** Eyes that reach up to where hats are: they are drawn above these. */
const HIGH_EYES = [
  'crazy eyes', 'rolling eyes', 'tall eyes', 'dollar eyes', 'spiral eyes', 'heart eyes', 'star eyes', 'monocle',
];

/** Whether parts, one of each kind by its name, are in one another's way. */
export function clash(face) {
  const { colour, brows, eyes, mouth, tears, hat, extra } = face;
  if (brows !== 'none' && (PARTS.eyes[eyes].noBrows || ['head bandage', 'halo', 'horns'].includes(hat))) return true;
  if (['head bandage', 'halo'].includes(hat) && HIGH_EYES.includes(eyes)) return true;
  if (tears === 'sweat drop' && ['horns', 'head bandage', 'halo'].includes(hat)) return true;
  if (tears === 'streaming tears' && mouth === 'hand over mouth') return true;
  if (tears === 'one tear' && ['censored mouth', 'mask', 'licking tongue', 'zipped mouth'].includes(mouth)) return true;
  // What has the colour of the face is not seen.
  const isWhite = mouth === 'mask' || extra === 'white steam';
  const isRed = eyes === 'heart eyes' || hat === 'party hat';
  if ({ blue: tears !== 'none', red: isRed, white: isWhite }[colour]) return true;
  return Object.entries(ROOM[extra] ?? {}).some(([kind, names]) => !names.includes(face[kind]));
}

/** The share of pairs of eyes and mouth that training never shows. */
export const HELD_OUT = 0.1;

/** A face of random parts that go together; `split` is `train` or `test`. */
export function drawFace(next, split) {
  for (;;) {
    const choose = (kind) => pick(Object.keys(PARTS[kind]), next, (name) => PARTS[kind][name].weight ?? 1);
    const face = Object.fromEntries(KINDS.map((kind) => [kind, choose(kind)]));
    face.colour = pick(Object.keys(COLOURS), next, (name) => COLOURS[name].weight ?? 1);
    if (!clash(face) && isHeldOut([face.eyes, face.mouth], HELD_OUT) === (split === 'test')) return face;
  }
}

/** Captions of a face: its parts in a fixed order, as one would say it, and in any order. */
export function captionsOf(face, next) {
  const parts = ['eyes', 'mouth', 'brows', 'tears', 'cheeks', 'hat', 'extra'];
  const named = parts.filter((kind) => face[kind] !== 'none');
  const words = named.map((kind) => face[kind]);
  const base = `${face.colour} face`;
  // Eyes and mouth keep their words, which say more.
  const called = named.filter((kind) => !['eyes', 'mouth'].includes(kind) && PARTS[kind][face[kind]].as);
  const others = named.filter((kind) => !called.includes(kind)).map((kind) => face[kind]);
  const callings = called.map((kind) => `${PARTS[kind][face[kind]].as} `).join('');
  return [
    [base, ...words].join(', '),
    `${callings}${base} with ${others.join(', ')}`,
    shuffled([base, ...words], next).join(', '),
  ];
}

/** The elements of a drawing that lie in no other. */
export function elementsOf(body) {
  const elements = [];
  let [depth, start] = [0, 0];
  for (const { 0: tag, 1: closes, 2: isEmpty, index } of body.matchAll(/<(\/?)[a-zA-Z][^>]*?(\/?)>/g)) {
    if (depth === 0) start = index;
    if (closes) depth -= 1;
    else if (!isEmpty) depth += 1;
    if (depth === 0) elements.push(body.slice(start, index + tag.length));
  }
  return elements;
}

/** What a part draws. */
function drawPart({ from }, icons, name) {
  return from.map(({ icon, elements, keep, move }, i) => {
    const all = elementsOf(icons[icon].body);
    let body = elements.map((element) => all[element]).join('');
    if (keep) {
      const [id, [x, y, width, height]] = [`${name.replaceAll(' ', '-')}-${i}`, keep];
      body = `<clipPath id="${id}"><rect x="${x}" y="${y}" width="${width}" height="${height}"/></clipPath>`
        + `<g clip-path="url(#${id})">${body}</g>`;
    }
    return move ? `<g transform="translate(${move})">${body}</g>` : body;
  }).join('');
}

/** A face as SVG, out of Twemoji's drawings by their names. */
export function faceSvg(face, icons) {
  const { skin, lines } = COLOURS[face.colour];
  const draw = (kind) => drawPart(PARTS[kind][face[kind]], icons, face[kind]).replace(SKIN, skin);
  const drawLines = (kind) => draw(kind).replace(LINES, lines);
  // Beneath a brim that is wider than the head, the head is smaller.
  const head = (body) => (face.hat === 'cowboy hat' ? `<g transform="translate(3 6) scale(0.83)">${body}</g>` : body);
  const hat = face.hat === 'horns' ? draw('hat').replaceAll('#aa8dd8', skin) : draw('hat');
  const [below, above] = HIGH_EYES.includes(face.eyes) ? ['', drawLines('eyes')] : [drawLines('eyes'), ''];
  return head(`<circle cx="18" cy="18" r="18" fill="${skin}"/>${draw('cheeks')}${drawLines('brows')}`
    + `${drawLines('mouth')}${below}`) + hat + head(`${above}${draw('tears')}${draw('extra')}`);
}
