// Prompts from the element and the page to the engine: what is typed is what is drawn, and what is wrong is said.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { replaced, unknownWords, wordsOf } from '../../web/element/prompt.js';
import { recipeOf } from '../../web/element/png.js';
import {
  cpuBuild,
  fromEngine,
  nativePicture,
  openStage,
  overWhite,
  psnr,
  randomWeights,
  text,
  wall,
} from './support.mjs';

const TEXT = { vocabulary: 40, buckets: 64, tokens: 5 };
const NET = { image_size: 8, channels: 4, patch: 4, width: 32, depth: 2, heads: 2, text: TEXT };
const weights = randomWeights(NET);
const PROMPT = 'word00003 other WORD00007';
const stage = openStage({ webgpu: false });

test('words are what stands between spaces and punctuation', () => {
  assert.deepEqual(wordsOf('Crab with  red-square glasses, (GOLD) body.'), [
    'crab', 'with', 'red', 'square', 'glasses', 'gold', 'body',
  ]);
  assert.deepEqual(wordsOf(' \u0000\t<script>x</script> '), ['script', 'x', 'script']);
  assert.deepEqual(wordsOf('🦈 鲨鱼、“ｘ”'), ['🦈', '鲨鱼', 'x']);
  assert.deepEqual(wordsOf(''), []);
});

test('words that are not known come with the known one that is spelt most like them', () => {
  const info = { promptTokens: 4, vocabulary: ['crab', 'glasses', 'shark'] };
  assert.deepEqual(unknownWords('shrak CRAB glases 鲨鱼 shark zzz', info), [
    { word: 'shrak', nearest: 'shark' },
    { word: 'glases', nearest: 'glasses' },
    { word: '鲨鱼', nearest: undefined },
  ]);
});

test('a word is replaced as a whole, wherever it stands', () => {
  assert.equal(replaced('A cart, a Car and a scar-car', 'car', 'crab'), 'a cart, a crab and a scar-crab');
  assert.equal(replaced('ｃａｒ🦈 car', 'car', 'crab'), 'car🦈 crab');
});

test('the request takes prompts, and says what is wrong with one', async () => {
  const { wasm } = await cpuBuild();
  const model = await wasm.Generator.load(readFileSync(weights));
  assert.deepEqual([model.info.promptTokens, model.info.vocabulary.length, model.info.vocabulary[7]], [5, 40, 'word00007']);
  const draw = (request) => model.generate({ seed: 7, ...request });
  const [plain, empty, one, other] = [
    await draw({}), await draw({ prompt: '' }), await draw({ prompt: 'word00001' }), await draw({ prompt: 'word00002' }),
  ];
  assert.deepEqual(empty, plain);
  assert.notDeepEqual(one, plain);
  // From one prompt to another.
  const between = (promptShare) => draw({ prompt: 'word00001', promptTo: 'word00002', promptShare });
  assert.deepEqual([await between(0), await between(1), await between(undefined)], [one, other, other]);
  assert.notDeepEqual(await between(0.5), one);
  // Beyond the last word nothing is read, however long it is.
  const five = 'word00001 word00002 word00003 word00004 word00005';
  assert.deepEqual(await draw({ prompt: `${five} ${'word00006 '.repeat(2000)}` }), await draw({ prompt: five }));
  for (const [request, message] of [
    [{ prompt: 7 }, /^prompt must be a text$/],
    [{ prompt: '', promptTo: 1 }, /^promptTo must be a text$/],
    [{ prompt: '', promptTo: '', promptShare: 2 }, /^promptShare must be a number from 0 to 1$/],
    [{ classIndex: 0 }, /takes a prompt in its place/],
  ]) {
    await assert.rejects(draw(request), { message });
  }
  const wordless = await wasm.Generator.load(readFileSync(randomWeights({ ...NET, text: undefined })));
  assert.equal(wordless.info.promptTokens, 0);
  await assert.rejects(wordless.generate({ prompt: 'crab' }), { message: /the model `random` takes none/ });
});

test('a prompt draws in the page what it draws natively', async () => {
  const page = await stage.open();
  for (const conditioning of ['keys-values', 'in-context', 'adaln']) {
    const file = randomWeights({ ...NET, text: { ...TEXT, conditioning } });
    const ours = await fromEngine(page, { backend: 'cpu', weights: file, seed: 7, count: 1, nfe: 1, prompt: PROMPT });
    const theirs = nativePicture(file, { seed: 7, prompt: PROMPT });
    assert.ok(psnr(overWhite(ours), overWhite(theirs)) > 45, conditioning);
    const empty = nativePicture(file, { seed: 7 });
    assert.ok(psnr(overWhite(ours), overWhite(empty)) < 40, `${conditioning}: the words are read`);
  }
  assert.deepEqual(page.problems, []);
});

/** Opens the weights on the page. */
async function openWeights(page, file) {
  await page.setInputFiles('#file', file);
  await page.waitForFunction(
    (hidden) => document.getElementById('prompt-field').hidden === hidden && document.body.dataset.state === 'ready',
    file !== weights,
    { timeout: 60_000 },
  );
}

const drawn = (page) => page.waitForFunction(() => document.body.dataset.state === 'ready' && !document.querySelector('[aria-busy="true"]'));

test('what is typed on the page is drawn, and words that are not known are marked', async () => {
  const page = await stage.open('?seed=7&count=1&model=emoji&backend=cpu');
  assert.equal(await page.isVisible('#prompt'), false, 'the model takes no prompts');
  await openWeights(page, weights);
  const before = await wall(page);
  await page.fill('#prompt', 'word00003');
  await page.waitForFunction(() => location.search.includes('prompt=word00003'));
  await page.fill('#prompt', PROMPT);
  const expected = nativePicture(weights, { seed: 7, prompt: PROMPT });
  await page.waitForFunction(() => location.search.includes('prompt=word00003+other'));
  for (let tries = 0; ; tries++) {
    await drawn(page);
    const [picture] = await wall(page);
    if (psnr(picture, overWhite(expected)) > 40) break;
    assert.ok(tries < 50, 'the wall shows the picture of the prompt');
    await page.waitForTimeout(100);
  }
  assert.notDeepEqual(await wall(page), before);
  assert.match(await text(page, 'prompt-hint'), /^other is not a word it knows/);
  // The nearest known word is one press away.
  await page.fill('#prompt', 'wrd00003');
  await page.click('#prompt-hint button');
  assert.match(await page.inputValue('#prompt'), /^word0000\d$/);
  assert.equal(await text(page, 'prompt-hint'), '');
  for (const wild of ['', '   ', '鲨鱼 🦈', '<img src=x onerror=alert(1)>', 'a '.repeat(900)]) {
    await page.fill('#prompt', wild);
    await drawn(page);
  }
  assert.match(await text(page, 'prompt-hint'), /It reads the first 5 words/);
  await page.fill('#prompt', '');
  await drawn(page);
  assert.equal(new URL(page.url()).searchParams.has('prompt'), false);
  assert.deepEqual(page.problems, []);
});

test('a slider guides towards the prompt, where the model has guidance as an input', async () => {
  const guided = randomWeights({ ...NET, guidance: 'scale' });
  const page = await stage.open('?seed=7&count=1&model=emoji&backend=cpu&guidance=3');
  assert.equal(await page.isVisible('#guidance'), false, 'the model has no guidance as an input');
  assert.equal(new URL(page.url()).searchParams.has('guidance'), false);
  await openWeights(page, weights);
  assert.equal(await page.isVisible('#guidance'), false);
  await page.setInputFiles('#file', guided);
  await page.waitForFunction(() => !document.getElementById('guidance-field').hidden, undefined, { timeout: 60_000 });
  await page.fill('#prompt', PROMPT);
  await page.waitForFunction(() => location.search.includes('prompt=word00003+other'));
  await drawn(page);
  assert.equal(await text(page, 'guidance-scale'), 'none');
  const [before] = await wall(page);
  await page.getByLabel('Guidance').focus();
  for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowRight');
  assert.equal(new URL(page.url()).searchParams.get('guidance'), '3');
  assert.equal(await text(page, 'guidance-scale'), '3');
  const expected = nativePicture(guided, { seed: 7, prompt: PROMPT, guidance: 3 });
  for (let tries = 0; ; tries++) {
    await drawn(page);
    const [picture] = await wall(page);
    if (psnr(picture, overWhite(expected)) > 40) break;
    assert.ok(tries < 50, 'the wall shows the guided picture');
    await page.waitForTimeout(100);
  }
  assert.ok(psnr(before, overWhite(expected)) < 40, 'guidance changes the picture');
  // A saved picture knows how strongly it was guided, and the code too.
  await page.click('#gallery button');
  const download = page.waitForEvent('download');
  await page.click('#detail [data-part="save"]');
  const path = await (await download).path();
  assert.equal(recipeOf(readFileSync(path)).guidance, 3);
  await page.click('#detail form button');
  await page.getByLabel('Guidance').focus();
  await page.keyboard.press('Home');
  assert.equal(new URL(page.url()).searchParams.has('guidance'), false);
  await drawn(page);
  await page.setInputFiles('#file', { name: 'saved.png', mimeType: 'image/png', buffer: readFileSync(path) });
  await page.waitForFunction(() => document.getElementById('status').textContent.includes('the same picture'));
  assert.equal(await page.inputValue('#guidance'), '3');
  assert.deepEqual(page.problems, []);
});

test('a saved picture knows its prompt, and the link and the code too', async () => {
  const page = await stage.open('?seed=7&count=1&model=emoji&backend=cpu');
  await openWeights(page, weights);
  await page.fill('#prompt', PROMPT);
  await page.waitForTimeout(300);
  await drawn(page);
  await page.click('#gallery button');
  const download = page.waitForEvent('download');
  await page.click('#detail [data-part="save"]');
  const path = await (await download).path();
  assert.equal(recipeOf(readFileSync(path)).prompt, PROMPT);
  await page.click('#detail form button');
  await page.fill('#prompt', 'word00009');
  await drawn(page);
  await page.setInputFiles('#file', { name: 'saved.png', mimeType: 'image/png', buffer: readFileSync(path) });
  await page.waitForFunction(() => document.getElementById('status').textContent.includes('the same picture'));
  assert.equal(await page.inputValue('#prompt'), PROMPT);
  assert.deepEqual(page.problems, []);
});

test('the element draws its prompt, and refuses what its model does not take', async () => {
  const page = await stage.open();
  await page.route('**/words.safetensors', (route) => route.fulfill({ body: readFileSync(weights) }));
  const said = await page.evaluate(
    async (prompt) => {
      await import(new URL('web/mean-flow.js', document.baseURI).href);
      const element = Object.assign(document.createElement('mean-flow'), { backend: 'cpu', src: 'words.safetensors' });
      element.setAttribute('seed', '7');
      document.body.append(element);
      const plain = await element.generate();
      const asked = await element.generate({ prompt });
      const words = element.shadowRoot.querySelector('[part=gallery]').getAttribute('aria-label');
      const taken = [element.getAttribute('prompt'), asked.prompt];
      element.prompt = null;
      const again = await element.generate();
      const other = document.createElement('mean-flow');
      Object.assign(other, { backend: 'cpu', src: 'static/models/emoji.safetensors', prompt: 'crab' });
      document.body.append(other);
      const refusal = (changes) => other.generate(changes).catch((error) => [error.code, error.message]);
      const refused = [
        await refusal(),
        await refusal({ prompt: null, guidance: 2 }),
        await refusal({ guidance: 101 }),
        (await refusal({ guidance: 1 })).guidance,
      ];
      const data = ({ pictures }) => [...pictures[0].data];
      return { plain: data(plain), asked: data(asked), again: data(again), words, taken, refused };
    },
    PROMPT,
  );
  assert.deepEqual(said.taken, [PROMPT, PROMPT]);
  assert.ok(psnr(overWhite(said.asked), overWhite(nativePicture(weights, { seed: 7, prompt: PROMPT }))) > 45);
  assert.deepEqual(said.again, said.plain);
  assert.notDeepEqual(said.asked, said.plain);
  assert.ok(said.words.includes(PROMPT), said.words);
  assert.deepEqual(said.refused, [
    ['prompt', 'the model emoji takes no prompts'],
    ['attribute', 'guidance is no input of the model emoji'],
    ['attribute', 'guidance="101" is no number from 1 to 100'],
    1,
  ]);
});
