// What browsers are held to when they train: losses of the native trainer, written by the Rust test of the playground.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { LAB, ROOT } from './support.mjs';

const FIXTURE = join(ROOT, 'tests/fixtures/playground.json');
/** Largest relative difference of a loss. */
const TOLERANCE = 1e-4;

/** Has the Worker of a page of the site train as natively, whichever driver the page is of; `site` is its address. */
export async function heldToNative(page, site) {
  const worker = `${site}${LAB}worker.js`;
  // As text: the settings hold numbers that JavaScript has not.
  const text = readFileSync(FIXTURE, 'utf8');
  const kept = JSON.parse(text);
  const settings = [...text.matchAll(/"settings":(\{.*?\}),"points"/g)].map(([, json]) => json);
  assert.equal(settings.length, kept.length);
  let largest = 0;
  const runs = kept.map(({ points, measured }, i) => ({
    begin: { settings: settings[i], points },
    steps: measured.length,
  }));
  const all = await page.evaluate(train, { worker, runs });
  for (const [i, { measured }] of kept.entries()) {
    const ours = all[i];
    assert.equal(ours.length, 3 * measured.length);
    for (const [step, { loss, interval, instant }] of measured.entries()) {
      for (const [j, expected] of [loss, interval, instant].entries()) {
        const number = ours[3 * step + j];
        assert.equal(number === null, expected === null, `step ${step} of ${settings[i]}`);
        if (expected === null) continue;
        const difference = Math.abs(number - expected) / Math.abs(expected);
        largest = Math.max(largest, difference);
        assert.ok(difference <= TOLERANCE, `${number}, natively ${expected}, at step ${step} of ${settings[i]}`);
      }
    }
    // For real: it is the loss of a network that learns.
    const mean = (from) => measured.slice(from, from + 5).reduce((sum, { loss }) => sum + loss, 0);
    assert.ok(mean(measured.length - 5) < mean(0), settings[i]);
  }
  return largest;
}

/** In the page: the measures of the first steps of each run, with null where there is no number. */
async function train({ worker: address, runs }) {
  const worker = new Worker(address, { type: 'module' });
  const ask = (question) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve(data));
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ id: 1, time: 1, ...question });
    });
  try {
    const all = [];
    for (const { begin, steps } of runs) {
      await ask({ begin });
      const { frame } = await ask({ advance: { steps, milliseconds: Infinity } });
      all.push(Array.from(frame.measured, (number) => (Number.isNaN(number) ? null : number)));
    }
    return all;
  } finally {
    worker.terminate();
  }
}
