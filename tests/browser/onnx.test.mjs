// The ONNX form of a network through ONNX Runtime, against the CPU build on the same noise.
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';

import { cpuBuild, meanflow, randomWeights, require } from './support.mjs';

const ort = require('onnxruntime-web');
const { wasm } = await cpuBuild();

const IN_CONTEXT = {
  kind: 'in-context',
  hidden: 50,
  class_tokens: 2,
  guidance_tokens: 1,
  interval_tokens: 3,
  time_tokens: 2,
};
const TINY = { image_size: 8, channels: 3, patch: 2, width: 24, depth: 2, heads: 3, mlp_ratio: 4, classes: 3 };
/** Of three words in a prompt, one is known, one is made of two parts, and one is missing. */
const WORDS = { vocabulary: 6, buckets: 9, tokens: 3 };
const PROMPT = 'word00004 ab';

for (const [what, net, dtype = 'f16'] of [
  ['with classes', TINY],
  ['of exact weights', TINY, 'f32'],
  ['without classes', { ...TINY, classes: 0, channels: 1, patch: 4 }],
  ['told r and t', { ...TINY, times: 't,r' }],
  ['told all times', { ...TINY, times: 't,r,h' }],
  ['told t alone', { ...TINY, times: 't' }],
  ['with a decoder', { ...TINY, times: 't', decoder_depth: 1 }],
  ['that gives images', { ...TINY, output: 'image' }],
  ['told the scale of guidance', { ...TINY, guidance: 'scale' }],
  ['told guidance', { ...TINY, guidance: 'scale-and-interval' }],
  ['with tokens in front', { ...TINY, times: 'h', architecture: IN_CONTEXT }],
  [
    'with tokens in front, told guidance',
    {
      ...TINY,
      times: 'h',
      guidance: 'scale-and-interval',
      output: 'image',
      architecture: { ...IN_CONTEXT, bottleneck: 7, positions: 'plane' },
    },
  ],
  ['told words by keys and values', { ...TINY, classes: 0, text: { ...WORDS, conditioning: 'keys-values' } }],
  ['told words in front of the patches', { ...TINY, classes: 0, text: { ...WORDS, conditioning: 'in-context' } }],
  ['told words by modulation', { ...TINY, classes: 0, text: { ...WORDS, conditioning: 'adaln' } }],
  [
    'of the size of the page',
    { ...TINY, image_size: 32, channels: 4, patch: 4, width: 128, depth: 6, heads: 4, classes: 0 },
  ],
]) {
  test(`a network ${what} is the same in ONNX Runtime`, async () => {
    const weights = randomWeights(net, dtype);
    const graph = `${weights}.onnx`;
    meanflow('repack', weights, '--onnx', graph, '--dtype', dtype);
    const model = await wasm.Generator.load(readFileSync(weights));
    const session = await ort.InferenceSession.create(readFileSync(graph));
    const { image_size: size, channels, classes } = net;
    const values = channels * size * size;
    const [seed, count, label] = [3, 2, classes ? 1 : undefined];
    const prompt = net.text && PROMPT;
    const ours = await model.images({ seed, count, classIndex: label, prompt });
    const noise = Float32Array.from([0, 1].flatMap((i) => [...wasm.noise(BigInt(seed + i), values)]));
    const feeds = {
      z: new ort.Tensor('float32', noise, [count, channels, size, size]),
      r: new ort.Tensor('float32', new Float32Array(count), [count]),
      t: new ort.Tensor('float32', new Float32Array(count).fill(1), [count]),
    };
    if (classes) feeds.label = new ort.Tensor('int64', new BigInt64Array(count).fill(BigInt(label)), [count]);
    if (net.text) {
      const { vocabulary, buckets, tokens } = net.text;
      // `ab` is the trigrams ^ab and ab$, by FNV-1a of their letters in UTF-32.
      const row = (letters) => {
        let hash = 0x811c9dc5;
        for (const letter of letters) {
          for (const byte of new Uint8Array(Uint32Array.of(letter.codePointAt(0)).buffer)) {
            hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
          }
        }
        return vocabulary + (hash % buckets);
      };
      const rows = [4, 0, row('^ab'), row('ab$'), vocabulary + buckets, 0];
      const factors = [1, 0, Math.SQRT1_2, Math.SQRT1_2, 1, 0];
      const twice = (values) => [...values, ...values];
      feeds.prompt_rows = new ort.Tensor('int64', BigInt64Array.from(twice(rows).map(BigInt)), [count, tokens, 2]);
      feeds.prompt_factors = new ort.Tensor('float32', Float32Array.from(twice(factors)), [count, tokens, 2]);
    }
    const { u } = await session.run(feeds);
    assert.deepEqual(u.dims, [count, channels, size, size]);
    let [most, apart] = [0, 0];
    for (let i = 0; i < ours.length; i++) {
      most = Math.max(most, Math.abs(ours[i]));
      apart = Math.max(apart, Math.abs(noise[i] - u.data[i] - ours[i]));
    }
    assert.ok(apart <= 1e-4 * most, `${apart} of ${most}`);
  });
}

test('a network that has no ONNX form is refused with the reason', () => {
  const architecture = { kind: 'unet', multipliers: [1, 2], attention: [] };
  const weights = randomWeights({ ...TINY, patch: 1, heads: 1, depth: 1, architecture });
  const command = () => meanflow('repack', weights, '--onnx', `${weights}.onnx`);
  assert.throws(
    command,
    ({ status, stderr }) => status === 1 && /only Diffusion Transformers/.test(stderr.toString()),
  );
});

test('weights in half precision are written so', () => {
  const weights = randomWeights({ ...TINY, width: 192 });
  const [half, exact] = ['f16', 'f32'].map((dtype) => {
    const graph = `${weights}.${dtype}.onnx`;
    meanflow('repack', weights, '--onnx', graph, '--dtype', dtype);
    return statSync(graph).size;
  });
  assert.ok(half < 0.52 * exact, `${half} of ${exact} bytes`);
});
