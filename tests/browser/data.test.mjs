// The recipes of the data sets, as far as they need no package: choice by a seed, parts that go together, captions.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { facesOf } from '../../crate/tools/data/emoji-faces.mjs';
import { captionsOfEmoji } from '../../crate/tools/data/emoji-words.mjs';
import { PARTS, captionsOf, clash, drawFace, elementsOf, faceSvg } from '../../crate/tools/data/faces.mjs';
import * as people from '../../crate/tools/data/people.mjs';
import { hash, isHeldOut, pick, random, shuffled } from '../../crate/tools/data/shared.mjs';

/** What 500 draws give. */
const many = (draw, split, seed = 'test') => {
  const next = random(seed);
  return Array.from({ length: 500 }, () => draw(next, split));
};

test('a seed decides what is chosen', () => {
  // Another value would make another set.
  assert.equal(hash('heart eyes\nsmile'), 343863771);
  assert.deepEqual(many(drawFace, 'train'), many(drawFace, 'train'));
  assert.notDeepEqual(many(drawFace, 'train'), many(drawFace, 'train', 'another'));
  assert.deepEqual(shuffled([1, 2, 3, 4], random('a')).sort(), [1, 2, 3, 4]);
  const next = random('weights');
  const chosen = Array.from({ length: 1000 }, () => pick(['a', 'b'], next, (item) => (item === 'a' ? 3 : 1)));
  assert.ok(Math.abs(chosen.filter((item) => item === 'a').length - 750) < 50);
});

test('about a tenth of the combinations is held out', () => {
  const held = Array.from({ length: 10_000 }, (_, i) => isHeldOut([`eyes ${i % 100}`, `mouth ${i}`], 0.1));
  assert.ok(Math.abs(held.filter(Boolean).length - 1000) < 100);
});

test('training shows no pair of the test split', () => {
  const pair = ({ eyes, mouth }) => `${eyes}, ${mouth}`;
  const [train, held] = ['train', 'test'].map((split) => new Set(many(drawFace, split).map(pair)));
  assert.ok([...train].every((one) => !held.has(one)));
  assert.ok(many(people.drawPerson, 'train').every((person) => !people.hasHeldOutPair(person)));
  assert.ok(many(people.drawPerson, 'test').every(people.hasHeldOutPair));
});

test('parts that are in one another’s way are not drawn together', () => {
  const face = { ...Object.fromEntries(Object.keys(PARTS).map((kind) => [kind, 'none'])), colour: 'yellow' };
  const plain = { ...face, eyes: 'round eyes', mouth: 'smile' };
  assert.ok(!clash(plain));
  assert.ok(!clash({ ...plain, extra: 'long nose' }));
  assert.ok(clash({ ...plain, extra: 'long nose', mouth: 'mask' }));
  assert.ok(clash({ ...plain, eyes: 'sunglasses', brows: 'raised brows' }));
  assert.ok(clash({ ...plain, colour: 'white', mouth: 'mask' }));
  assert.ok(many(drawFace, 'train').every((one) => !clash(one)));
  assert.ok(many(people.drawPerson, 'train').every((one) => one.mouth !== 'pacifier' || one.facialHair === 'none'));
});

test('captions name what a picture has and nothing else', () => {
  const face = {
    colour: 'red', eyes: 'heart eyes', mouth: 'smile', brows: 'none', tears: 'streaming tears', cheeks: 'none',
    hat: 'cowboy hat', extra: 'none',
  };
  const [fixed, said, mixed] = captionsOf(face, random('captions'));
  assert.equal(fixed, 'red face, heart eyes, smile, streaming tears, cowboy hat');
  assert.equal(said, 'crying cowboy red face with heart eyes, smile');
  assert.deepEqual(mixed.split(', ').sort(), fixed.split(', ').sort());

  const person = {
    skinColor: '92594b', hairColor: 'f2cf6b', hair: 'long', eyes: 'glasses', facialHair: 'beardMustache',
    nose: 'smallRound', mouth: 'smile', clothingColor: 'e24553', body: 'squared',
  };
  assert.equal(
    people.captionsOf(person, random('captions'))[0],
    'brown skin, blonde long hair, glasses, beard, smile, red shirt',
  );
  assert.equal(
    people.captionsOf({ ...person, hair: 'bald' }, random('captions'))[0],
    'brown skin, bald, glasses, blonde beard, smile, red shirt',
  );

  const labels = people.labelsOf(person);
  assert.deepEqual([labels.hairColor, labels.nose, labels.facialHair], ['blonde', 'none', 'beard']);
  assert.equal(people.labelsOf({ ...person, hair: 'bald' }).hairColor, 'blonde', 'of the beard');
  assert.equal(people.labelsOf({ ...person, hair: 'bald', facialHair: 'none' }).hairColor, 'none', 'nothing shows it');

  const apple = { label: 'red apple', tags: ['apple', 'fruit', 'ripe'] };
  assert.deepEqual(captionsOfEmoji(apple, 'noto', random('captions')).map((text) => text.split(', ').sort()), [
    ['noto style', 'red apple'], ['fruit', 'noto style', 'red apple', 'ripe'], ['fruit', 'noto style', 'ripe'],
  ]);
  assert.equal(captionsOfEmoji(apple, 'twemoji', random('captions'))[0], 'red apple');
});

test('the faces of Noto are those that are round and still, each with its own drawing', () => {
  const subgroups = ['face-smiling', 'face-negative', 'animal-mammal'];
  const emoji = [
    { label: 'grinning face', hexcode: '1F600', subgroup: 0 },
    { label: 'smiling face', hexcode: '263A-FE0F', subgroup: 0 },
    { label: 'shaking face', hexcode: '1FAE8', subgroup: 0 },
    { label: 'face without a drawing', hexcode: '1FAFF', subgroup: 0 },
    { label: 'skull', hexcode: '1F480', subgroup: 1 },
    { label: 'dog', hexcode: '1F415', subgroup: 2 },
  ];
  const chars = { '1f600': 'grinning', '263a': 'smiling', '1fae8': 'shaking', '1f480': 'skull', '1f415': 'dog' };
  const icons = Object.fromEntries(Object.values(chars).map((name) => [name, { body: name }]));
  assert.deepEqual(facesOf(emoji, subgroups, { icons, chars }), [
    { name: 'grinning face', icon: { body: 'grinning' } },
    { name: 'smiling face', icon: { body: 'smiling' } },
  ]);
});

test('a face is drawn of the elements of its parts, in its colours', () => {
  assert.deepEqual(
    elementsOf('<circle r="1"/><g><path d="M0 0"/><path/></g><path d="M1 1"></path>'),
    ['<circle r="1"/>', '<g><path d="M0 0"/><path/></g>', '<path d="M1 1"></path>'],
  );
  const path = (name, i) => `<path id="${name} ${i}" fill="#664500"/>`;
  const icon = (name) => ({ body: Array.from({ length: 12 }, (_, i) => path(name, i)).join('') });
  const icons = new Proxy({}, { get: (_, name) => icon(name) });
  const none = Object.fromEntries(Object.keys(PARTS).map((kind) => [kind, 'none']));
  const svg = faceSvg({ ...none, colour: 'purple', eyes: 'heart eyes', mouth: 'smile' }, icons);
  assert.deepEqual([...svg.matchAll(/id="(.*?)"/g)].map(([, id]) => id), [
    'slightly-smiling-face 1', 'smiling-face-with-heart-eyes 2',
  ]);
  assert.ok(!svg.includes('#664500'));
});

test('what blends with the picture is the group that a mask makes', () => {
  assert.equal(
    people.withBlending('<g mask="url(#a)"><path d="M0 0" style="mix-blend-mode:overlay" opacity=".36"/></g><g/>'),
    '<g mask="url(#a)" style="mix-blend-mode:overlay"><path d="M0 0" opacity=".36"/></g><g/>',
  );
});
