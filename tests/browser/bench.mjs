// Times of the page in headless Chromium: from an empty cache to the first picture, also by a slow line, and per
// picture once warm. The WebGPU here is a software adapter: its time shows that the build works, not what a GPU does.
import { serve } from '../../web/tools/serve.mjs';
import { DIST, launch, openQuietly, settled } from './support.mjs';

/** A slow line, such as many phones have. */
const LINE = { megabits: 10, latency: 40 };

const site = await serve(DIST);
for (const { backend, count, runs } of [
  { backend: 'cpu', count: 16, runs: 5 },
  { backend: 'webgpu', count: 1, runs: 3 },
]) {
  const browser = await launch({ webgpu: backend === 'webgpu' });
  for (const model of ['nouns', 'emoji', 'tiles']) {
    const { cold, warm } = await measure(browser, { backend, model, count, runs });
    const where = backend === 'cpu' ? 'CPU' : 'WebGPU (software adapter)';
    if (backend === 'cpu') {
      const slow = await measure(browser, { backend, model, count, runs: 0, line: LINE });
      console.log(
        `page ${model} by a line of ${LINE.megabits} Mbit/s and ${LINE.latency} ms: first picture after ${(slow.cold / 1000).toFixed(2)} s from an empty cache`,
      );
    }
    console.log(
      `page ${model} on ${where}: first picture after ${(cold / 1000).toFixed(2)} s from an empty cache, then ${warm.toFixed(1)} ms per picture at batch ${Math.min(count, 2)}`,
    );
  }
  await browser.close();
}
site.server.close();

/** Milliseconds to the first picture, and the median per picture of `runs` walls. */
async function measure(browser, { backend, model, count, runs, line }) {
  const page = await openQuietly(await browser.newContext());
  if (line) await slowDown(page, line);
  await page.addInitScript(() => {
    new MutationObserver((_, observer) => {
      if (!document.querySelector('[data-shows=picture]')) return;
      globalThis.firstPicture = performance.now();
      observer.disconnect();
    }).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ['data-shows'] });
  });
  await page.goto(`${site.address}?backend=${backend}&model=${model}&count=${count}`);
  const times = [];
  for (let run = 0; run <= runs; run++) {
    await settled(page);
    if (run > 0) times.push(Number((await page.textContent('#speed')).replace(',', '')));
    if (run < runs) await page.click('#new-seed');
  }
  const cold = await page.evaluate(() => globalThis.firstPicture);
  await page.context().close();
  return { cold, warm: times.sort((a, b) => a - b)[Math.floor(times.length / 2)] };
}

/** The page downloads from its main thread, so its own session is what there is to slow down. */
async function slowDown(page, { megabits, latency }) {
  const session = await page.context().newCDPSession(page);
  const throughput = (megabits * 1e6) / 8;
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', {
    offline: false,
    latency,
    downloadThroughput: throughput,
    uploadThroughput: throughput,
  });
}
