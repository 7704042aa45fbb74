// The tables and the plots of `make bench-web`, one of each for a kind of backend.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

import { ROOT } from './support.mjs';

/** Who is compared, by kind of backend; ours come first. */
export const KINDS = {
  cpu: { 'ours-cpu': 'ours, CPU', 'ort-wasm': 'ONNX Runtime Web, wasm', 'tfjs-wasm': 'TensorFlow.js, wasm' },
  cores: { 'ours-workers': 'ours, CPU, all cores', 'ort-threads': 'ONNX Runtime Web, wasm, threads' },
  webgpu: {
    'ours-webgpu': 'ours, WebGPU',
    'ort-webgpu': 'ONNX Runtime Web, WebGPU',
    'tfjs-webgpu': 'TensorFlow.js, WebGPU',
  },
};
const BATCHES = [1, 16, 64];
const HEADS = [
  'runtime, MB brotli',
  'peak memory, MB',
  'first picture, ms, empty cache',
  'warm cache',
  ...BATCHES.map((batch) => `ms a picture, batch ${batch}`),
];

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function spread(values, digits) {
  const of = (value) => value.toFixed(digits);
  return values.length === 1
    ? of(values[0])
    : `${of(median(values))} (${of(Math.min(...values))}–${of(Math.max(...values))})`;
}

const table = (heads, rows) => [
  `| | ${heads.join(' | ')} |`,
  `|${'---|'.repeat(heads.length + 1)}`,
  ...rows.map((row) => `| ${row.join(' | ')} |`),
];

/**
 * @param {keyof KINDS} kind
 * @param rounds results of each round, by contender
 * @param limits the GPU's
 */
export function write(kind, rounds, limits, net) {
  const names = KINDS[kind];
  const [ours, ...rivals] = Object.keys(names);
  const of = (name, read) => rounds.map((round) => read(round[name])).filter((value) => value !== undefined);
  const cell = (name, batch) => {
    const single = of(name, ({ batches }) => batches[batch]?.times).flat().sort((a, b) => a - b);
    const middle = spread(of(name, ({ batches }) => batches[batch]?.median), 1);
    return single.length < 20 ? middle : `${middle}, 95 %: ${single[Math.floor(0.95 * single.length)].toFixed(1)}`;
  };
  const rows = Object.entries(names).map(([name, title]) => [
    title,
    (rounds[0][name].bytes / 1e6).toFixed(2),
    spread(of(name, ({ memory }) => memory / 1e6), 0),
    spread(of(name, ({ first }) => first), 0),
    spread(of(name, ({ again }) => again), 0),
    ...BATCHES.map((batch) => cell(name, batch)),
  ]);
  const ratios = rivals.map((theirs) => {
    const ratio = (read) =>
      spread(
        rounds.filter((round) => read(round[ours])).map((round) => read(round[theirs]) / read(round[ours])),
        2,
      );
    const reads = [
      ({ memory }) => memory,
      ({ first }) => first,
      ({ again }) => again,
      ...BATCHES.map(
        (batch) =>
          ({ batches }) =>
            batches[batch]?.median,
      ),
    ];
    return [
      `${names[theirs]} to ours`,
      (rounds[0][theirs].bytes / rounds[0][ours].bytes).toFixed(1),
      ...reads.map(ratio),
    ];
  });
  const about = `${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${cpus().length} cores, headless Chromium, ${kind === 'webgpu' ? 'WebGPU on SwiftShader, ' : ''}${rounds.length} rounds, medians (smallest–largest): \`make bench-web\`.${kind === 'webgpu' ? ' Batch 64: one round.' : ''}`;
  const text = [
    about,
    '',
    'A DiT of 6 blocks, width 192, 64 tokens, random weights. Memory is the most that the processes of page and GPU held.',
    '',
    ...table(HEADS, rows),
    '',
    'How many times more the rival takes, of single rounds:',
    '',
    ...table(HEADS, ratios),
    '',
    ...(kind !== 'webgpu' ? [] : [distance(limits, net, median(of(ours, ({ batches }) => batches[16].median))), '']),
    `![First picture and warm pictures](web-${kind}.svg)`, '',
  ];
  writeFileSync(join(ROOT, `docs/benchmarks/web-${kind}.md`), text.join('\n'));
  const middle = (name, read) => median(of(name, read));
  const medians = (name) => ({
    first: middle(name, ({ first }) => first),
    one: middle(name, ({ batches }) => batches[1].median),
    sixteen: middle(name, ({ batches }) => batches[16].median),
  });
  writeFileSync(join(ROOT, `docs/benchmarks/web-${kind}.svg`), plot(names, medians, rounds.length));
  console.log(text.join('\n'));
}

/** What a picture would take at the rates that the adapter was seen to have. */
function distance({ operations, bytes }, { image_size, channels, patch, width, depth, mlp_ratio }, milliseconds) {
  const tokens = (image_size / patch) ** 2;
  const weights = depth * (4 + 2 * mlp_ratio) * width ** 2 + 2 * channels * patch ** 2 * width;
  const needed = 2 * tokens * (weights + 2 * depth * tokens * width);
  // Weights in half precision; what goes in and out of the five passes of a block, in single precision.
  const moved = 2 * weights + 4 * tokens * width * depth * (12 + 2 * mlp_ratio);
  const least = 1000 * (needed / operations + moved / bytes);
  const giga = (value) => (value / 1e9).toFixed(1);
  return `The adapter multiplies ${giga(operations)} GFLOP and copies ${giga(bytes)} GB a second. A picture's ${(needed / 1e6).toFixed(0)} MFLOP and ${(moved / 1e6).toFixed(1)} MB would take ${least.toFixed(1)} ms at these rates; in a batch of 16 it takes ours ${(milliseconds / least).toFixed(1)} times that.`;
}

/**
 * Bars of medians.
 * @param {Record<string, string>} names
 * @param {(name: string) => {first: number, one: number, sixteen: number}} medians in milliseconds
 */
function plot(names, medians, rounds) {
  const [left, bar, wide] = [220, 22, 380];
  const lines = [];
  let y = 8;
  for (const [title, read] of [
    ['First picture, empty cache, ms', 'first'],
    ['Then a picture, one at a time, ms', 'one'],
    ['Sixteen at a time, ms each', 'sixteen'],
  ]) {
    lines.push(`<text x="${left}" y="${y + 14}" font-weight="600">${title}</text>`);
    y += 24;
    const most = Math.max(...Object.keys(names).map((name) => medians(name)[read]));
    for (const [name, title] of Object.entries(names)) {
      const value = medians(name)[read];
      const length = (wide * value) / most;
      lines.push(
        `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${title}</text>`,
        `<rect x="${left}" y="${y + 2}" width="${length.toFixed(1)}" height="${bar - 6}" rx="2" fill="${name.startsWith('ours') ? '#d9480f' : '#868e96'}"/>`,
        `<text x="${(left + length + 6).toFixed(1)}" y="${y + 14}">${value < 100 ? value.toFixed(1) : value.toFixed(0)}</text>`,
      );
      y += bar;
    }
    y += 12;
  }
  const style =
    '<style>text { font: 13px system-ui, sans-serif; fill: #495057 } @media (prefers-color-scheme: dark) { text { fill: #ced4da } }</style>';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 ${y}" width="680" height="${y}" role="img" aria-label="Medians of ${rounds} rounds">${style}${lines.join('')}</svg>\n`;
}
