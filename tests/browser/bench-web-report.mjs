// The tables and the plot of `make bench-web`.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

import { ROOT } from './support.mjs';

const NAMES = {
  'ours-cpu': 'ours, CPU',
  'ort-wasm': 'ONNX Runtime Web, wasm',
  'tfjs-wasm': 'TensorFlow.js, wasm',
  'ours-webgpu': 'ours, WebGPU',
  'ort-webgpu': 'ONNX Runtime Web, WebGPU',
  'tfjs-webgpu': 'TensorFlow.js, WebGPU',
};
const BATCHES = [1, 16, 64];
const PAIRS = [['ours-cpu', 'ort-wasm'], ['ours-cpu', 'tfjs-wasm'], ['ours-webgpu', 'ort-webgpu'], ['ours-webgpu', 'tfjs-webgpu']];
const HEADS = ['runtime, MB brotli', 'peak memory, MB', 'first picture, ms, empty cache', 'warm cache', ...BATCHES.map((batch) => `ms a picture, batch ${batch}`)];

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

function spread(values, digits) {
  const of = (value) => value.toFixed(digits);
  return values.length === 1 ? of(values[0]) : `${of(median(values))} (${of(Math.min(...values))}–${of(Math.max(...values))})`;
}

const table = (heads, rows) => [`| | ${heads.join(' | ')} |`, `|${'---|'.repeat(heads.length + 1)}`, ...rows.map((row) => `| ${row.join(' | ')} |`)];

/** @param rounds results of each round, by contender */
export function write(rounds, limits, net) {
  const of = (name, read) => rounds.map((round) => read(round[name])).filter((value) => value !== undefined);
  const cell = (name, batch) => {
    const single = of(name, ({ batches }) => batches[batch]?.times).flat().sort((a, b) => a - b);
    const middle = spread(of(name, ({ batches }) => batches[batch]?.median), 1);
    return single.length < 20 ? middle : `${middle}, 95 %: ${single[Math.floor(0.95 * single.length)].toFixed(1)}`;
  };
  const rows = Object.entries(NAMES).map(([name, title]) => [
    title,
    (rounds[0][name].bytes / 1e6).toFixed(2),
    spread(of(name, ({ memory }) => memory / 1e6), 0),
    spread(of(name, ({ first }) => first), 0),
    spread(of(name, ({ again }) => again), 0),
    ...BATCHES.map((batch) => cell(name, batch)),
  ]);
  const ratios = PAIRS.map(([ours, theirs]) => {
    const ratio = (read) => spread(rounds.filter((round) => read(round[ours])).map((round) => read(round[theirs]) / read(round[ours])), 2);
    const reads = [({ memory }) => memory, ({ first }) => first, ({ again }) => again, ...BATCHES.map((batch) => ({ batches }) => batches[batch]?.median)];
    return [`${NAMES[theirs]} to ours`, (rounds[0][theirs].bytes / rounds[0][ours].bytes).toFixed(1), ...reads.map(ratio)];
  });
  const about = `${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model}, ${cpus().length} cores, headless Chromium, WebGPU on SwiftShader, ${rounds.length} rounds, medians (smallest–largest): \`make bench-web\`. Batch 64 on WebGPU: one round.`;
  const text = [
    about, '', 'A DiT of 6 blocks, width 192, 64 tokens, random weights. Memory is the most that the processes of page and GPU held.', '',
    ...table(HEADS, rows), '',
    'How many times more the rival takes, of single rounds:', '', ...table(HEADS, ratios), '',
    distance(limits, net, median(of('ours-webgpu', ({ batches }) => batches[16].median))), '',
    '![First picture and warm pictures](web.svg)', '',
  ];
  writeFileSync(join(ROOT, 'docs/benchmarks/web.md'), text.join('\n'));
  const middle = (name, read) => median(of(name, read));
  const medians = (name) => ({ first: middle(name, ({ first }) => first), one: middle(name, ({ batches }) => batches[1].median), sixteen: middle(name, ({ batches }) => batches[16].median) });
  writeFileSync(join(ROOT, 'docs/benchmarks/web.svg'), plot(medians, rounds.length));
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
 * Bars of medians, those of each kind of backend on a scale of their own.
 * @param {(name: string) => {first: number, one: number, sixteen: number}} medians in milliseconds
 */
function plot(medians, rounds) {
  const [left, bar, wide] = [220, 22, 380];
  const lines = [];
  let y = 8;
  for (const kind of [['ours-cpu', 'ort-wasm', 'tfjs-wasm'], ['ours-webgpu', 'ort-webgpu', 'tfjs-webgpu']]) {
    for (const [title, read] of [['First picture, empty cache, ms', 'first'], ['Then a picture, one at a time, ms', 'one'], ['Sixteen at a time, ms each', 'sixteen']]) {
      lines.push(`<text x="${left}" y="${y + 14}" font-weight="600">${title}</text>`);
      y += 24;
      const values = kind.map((name) => medians(name)[read]);
      kind.forEach((name, i) => {
        const length = (wide * values[i]) / Math.max(...values);
        lines.push(
          `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${NAMES[name]}</text>`,
          `<rect x="${left}" y="${y + 2}" width="${length.toFixed(1)}" height="${bar - 6}" rx="2" fill="${name.startsWith('ours') ? '#d9480f' : '#868e96'}"/>`,
          `<text x="${(left + length + 6).toFixed(1)}" y="${y + 14}">${values[i] < 100 ? values[i].toFixed(1) : values[i].toFixed(0)}</text>`,
        );
        y += bar;
      });
      y += 12;
    }
    y += 8;
  }
  const style = '<style>text { font: 13px system-ui, sans-serif; fill: #495057 } @media (prefers-color-scheme: dark) { text { fill: #ced4da } }</style>';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 680 ${y}" width="680" height="${y}" role="img" aria-label="Medians of ${rounds} rounds">${style}${lines.join('')}</svg>\n`;
}
