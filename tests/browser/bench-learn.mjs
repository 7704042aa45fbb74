// How fast a page trains: `make bench-learn` writes docs/benchmarks/learn.md. Points in the plane beside the program on
// one thread, which takes the same steps, and drawings until each is drawn in one call.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

import { resized } from '../../web/lab/drawing-set.js';
import { SPRITES, spriteBytes } from '../../web/lab/sprites.js';
import { serve } from '../../web/tools/serve.mjs';
import { DIST, LAB, ROOT, launch, temporaryFolder } from './support.mjs';

const ROUNDS = Number(process.env.ROUNDS ?? 3);
/** Steps of a round, after some that are not timed. */
const [WARM, STEPS] = [10, 200];
/** Of 255: a drawing that is as near as this is recognised at a glance. */
const RECOGNISED = 30;

const site = await serve(DIST);
const browser = await launch({ webgpu: false });
const page = await (await browser.newContext()).newPage();
await page.goto(`${site.address}teach.html`);

/** In the page: what a Worker answers to questions, one after the other. */
const asked = (script, questions) =>
  page.evaluate(
    async ({ address, questions }) => {
      const worker = new Worker(address, { type: 'module' });
      const answers = [];
      for (const question of questions) {
        worker.postMessage({ id: 1, ...question });
        const answer = await new Promise((resolve, reject) => {
          worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
          worker.onerror = (event) => reject(new Error(event.message));
        });
        answers.push(answer.frame);
      }
      worker.terminate();
      return answers;
    },
    { address: `${site.address}${LAB}${script}`, questions },
  );
const advance = (steps) => ({ advance: { steps, milliseconds: Infinity }, time: 1 });
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const range = (values, digits) =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;

/** Steps a second of points in the plane; half of the rows have r < t from the first steps on. */
async function points() {
  const settings = JSON.stringify({ steps: 10, objective: { kind: 'improved-mean-flow' } });
  const answers = await asked('worker.js', [
    { begin: { settings, points: 'two-moons' }, ...advance(WARM) },
    advance(STEPS),
  ]);
  return (1000 * STEPS) / answers[1].milliseconds;
}

/** The same by the program on one thread, with its start and the figure that it draws. */
function native() {
  const out = join(temporaryFolder(), 'points.svg');
  const run = (steps) => {
    const began = performance.now();
    const args = ['playground', '--steps', String(steps), '--out', out];
    const env = { ...process.env, RAYON_NUM_THREADS: '1' };
    const { status, stderr } = spawnSync(join(ROOT, 'target/release/meanflow'), args, { env, encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return performance.now() - began;
  };
  // What is not a step is in both.
  return (1000 * STEPS) / (run(STEPS + WARM) - run(WARM));
}

const names = Object.keys(SPRITES);
const rgb = Object.values(SPRITES).map(spriteBytes);

/** What begins with the eight examples. */
function begin(settings, pixels) {
  const bytes = Uint8Array.from(pixels.flatMap((drawn) => [...drawn]));
  return { begin: { settings: JSON.stringify({ names, ...settings }), rgb: bytes } };
}

/** Images a second of so many Workers. */
async function images(size, workers = 1) {
  const pixels = rgb.map((drawn) => resized(drawn, size));
  const answers = await asked('drawings-worker.js', [
    { ...begin({ size, steps: STEPS }, pixels), ...advance(WARM), workers },
    advance(STEPS / 4),
  ]);
  if (answers[1].workers !== workers) throw new Error(`${answers[1].workers} Workers of ${workers} are left`);
  return (32_000 * answers[1].taken) / answers[1].milliseconds;
}

/** Seconds until one call draws each of the eight examples from three noises, and the farthest of them at the end. */
async function learnt(workers) {
  const began = performance.now();
  const pieces = Array.from({ length: 15 }, () => advance(20));
  const [, ...answers] = await asked('drawings-worker.js', [{ ...begin({ steps: 300 }, rgb), workers }, ...pieces]);
  const spent = performance.now() - began;
  const farthest = ({ samples, seeds }) => {
    const apart = rgb.flatMap((drawn, i) =>
      Array.from({ length: seeds }, (_, j) => {
        const picture = samples.subarray((i * seeds + j) * 1024).filter((_, k) => k % 4 < 3);
        return Math.sqrt(drawn.reduce((sum, byte, k) => sum + (picture[k] - byte) ** 2, 0) / drawn.length);
      }),
    );
    return Math.max(...apart);
  };
  const distances = answers.map(farthest);
  const first = distances.findIndex((distance) => distance < RECOGNISED);
  if (first < 0) throw new Error(`not learnt: ${distances.map(Math.round)}`);
  return [(spent * (first + 1)) / pieces.length / 1000, distances.at(-1)];
}

const WHAT = ['points', 'native', 'ratio', 'small', 'two', 'times', 'large', 'seconds', 'apart', 'both'];
const rounds = Object.fromEntries(WHAT.map((what) => [what, []]));
for (let round = 0; round < ROUNDS; round += 1) {
  rounds.points.push(await points());
  rounds.native.push(native());
  rounds.ratio.push(rounds.native.at(-1) / rounds.points.at(-1));
  rounds.small.push(await images(16));
  rounds.two.push(await images(16, 2));
  rounds.times.push(rounds.two.at(-1) / rounds.small.at(-1));
  rounds.large.push(await images(32));
  const [seconds, apart] = await learnt(1);
  rounds.both.push((await learnt(2))[0]);
  rounds.seconds.push(seconds);
  rounds.apart.push(apart);
  const last = Object.entries(rounds).map(([what, values]) => `${what} ${values.at(-1).toFixed(1)}`);
  console.log(`round ${round + 1}: ${last.join(', ')}`);
}
await browser.close();
site.server.close();

const today = new Date().toISOString().slice(0, 10);
const text = `${today}, ${cpus()[0].model}, ${cpus().length} cores, headless Chromium, ${ROUNDS} rounds, medians (smallest–largest): \`make bench-learn\`.

A Worker is one thread, of wasm with vectors of 128 bits and without fused multiplications.

| | in the page | goal |
|---|---|---|
| points in the plane, 256 a step, half of the rows r < t | ${range(rounds.points, 1)} steps/s | 45 |
| these steps by the program on one thread | ${range(rounds.native, 0)}, ${range(rounds.ratio, 1)} times as fast | |
| drawings of 16 × 16, 4 blocks of width 96, 16 tokens | ${range(rounds.small, 0)} images/s | 450 |
| the same by two Workers | ${range(rounds.two, 0)} images/s, ${range(rounds.times, 2)} times as many | 1.7 times |
| drawings of 32 × 32, the same with 64 tokens | ${range(rounds.large, 0)} images/s | |
| eight drawings, until one call draws each from three noises | ${range(rounds.seconds, 0)} s | 90 |
| the same by two Workers | ${range(rounds.both, 0)} s | |

A drawing counts as drawn when its root mean square difference is below ${RECOGNISED} of 255; after 300 steps the farthest of
the 24 pictures was ${range(rounds.apart, 1)}.
`;
writeFileSync(join(ROOT, 'docs/benchmarks/learn.md'), text);
console.log(text);
