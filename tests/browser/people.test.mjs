// People as they are: on a phone, with large letters, with colours of their own, reading from right to left, by ear.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { launch, open, openStage } from './support.mjs';

const stage = openStage({ webgpu: false });
const QUERY = '?model=tiles&seed=4&count=4&backend=cpu';

/** By how many pixels something sticks out sideways, and what it is. */
const overflow = (page) =>
  page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    const outside = [...document.querySelectorAll('body *')].filter(
      (element) => element.getBoundingClientRect().right > width + 1 || element.getBoundingClientRect().left < -1,
    );
    return {
      by: document.documentElement.scrollWidth - width,
      what: outside.slice(0, 3).map(({ tagName, className }) => `${tagName}.${className}`),
    };
  });

for (const [what, surface, handle] of [
  ['square', '#explore [data-part=pad]', '#explore [data-part=handle]'],
  ['plane', '#plane', '#plane .noise'],
]) {
  test(`on a phone a swipe over the ${what} scrolls the page, unless it begins on the handle`, async () => {
    const page = await stage.open(QUERY, { viewport: { width: 375, height: 667 }, hasTouch: true, isMobile: true });
    const touch = await page.context().newCDPSession(page);
    await page.locator(surface).evaluate((element) => element.scrollIntoView({ block: 'center' }));
    if (what === 'square') {
      await page.waitForFunction(() =>
        [...document.querySelectorAll('.pad canvas')].every(({ width }) => width === 32),
      );
    }
    const box = (selector) => page.locator(selector).first().boundingBox();
    const place = () =>
      page.evaluate(
        (selector) =>
          [...document.querySelectorAll(selector)]
            .slice(0, 1)
            .map(
              ({ style, attributes }) => `${style.left} ${style.top} ${attributes.cx?.value} ${attributes.cy?.value}`,
            )[0],
        handle,
      );
    const scrolled = () => page.evaluate(() => scrollY);
    const swipe = async (x, y, [right, down]) => {
      const points = (by) => [{ x: x + by * right, y: y + by * down }];
      await touch.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints: points(0) });
      for (let i = 1; i <= 8; i++) {
        await touch.send('Input.dispatchTouchEvent', { type: 'touchMove', touchPoints: points(i / 8) });
      }
      await touch.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
      await page.waitForTimeout(400);
    };
    let [pad, from, at] = [await box(surface), await scrolled(), await place()];
    await swipe(pad.x + 0.2 * pad.width, pad.y + 0.75 * pad.height, [0, -150]);
    assert.ok((await scrolled()) > from + 80, 'the page did not scroll');
    assert.equal(await place(), at, 'the swipe moved the handle');

    from = await scrolled();
    const grip = await box(handle);
    await swipe(grip.x + grip.width / 2, grip.y + grip.height / 2, [30, -60]);
    assert.equal(await scrolled(), from, 'the drag of the handle scrolled the page');
    assert.notEqual(await place(), at, 'the handle did not follow');

    at = await place();
    pad = await box(surface);
    await page.touchscreen.tap(pad.x + 0.3 * pad.width, pad.y + 0.6 * pad.height);
    assert.notEqual(await place(), at, 'a tap did not move the handle');
    assert.deepEqual(page.problems, []);
  });
}

test('with colours of the reader\'s own, what is chosen is seen, and colours to draw with are colours', async () => {
  const page = await stage.open(QUERY, { forcedColors: 'active' });
  await page.locator('#drawing summary').click();
  const swatches = await page
    .locator('.colours span')
    .evaluateAll((spans) => spans.map((span) => getComputedStyle(span).backgroundColor));
  assert.equal(new Set(swatches).size, 7, swatches.join());
  for (const group of ['#models', '#steps']) {
    const outlines = await page
      .locator(`${group} span`)
      .evaluateAll((spans) =>
        spans.map(
          (span) => getComputedStyle(span).outlineStyle !== 'none' && getComputedStyle(span).outlineWidth !== '0px',
        ),
      );
    assert.deepEqual(outlines.filter(Boolean).length, 1, `${group}: ${outlines}`);
  }
  // The handle is not of the colour of the square.
  const [handle, pad] = await page.evaluate(() =>
    ['.handle', '.pad'].map((selector) => getComputedStyle(document.querySelector(selector)).backgroundColor),
  );
  assert.notEqual(handle, pad);
});

for (const width of [1280, 390]) {
  test(`from right to left nothing sticks out sideways, and the square keeps its sides, ${width} wide`, async () => {
    const page = await stage.open(QUERY, { viewport: { width, height: 800 } });
    await page.evaluate(() => (document.documentElement.dir = 'rtl'));
    const { by, what } = await overflow(page);
    assert.ok(by <= 0, `${by} pixels: ${what}`);
    assert.equal(await page.evaluate(() => scrollX), 0);
    await page.evaluate(() => scrollBy(-500, 0));
    assert.equal(await page.evaluate(() => scrollX), 0, 'the page scrolls sideways');
    const slider = page.locator('[data-part=across]');
    await slider.scrollIntoViewIfNeeded();
    const before = await page.locator('.handle').boundingBox();
    await slider.focus();
    await page.keyboard.press('ArrowRight');
    assert.ok((await page.locator('.handle').boundingBox()).x > before.x, 'to the right went to the left');
  });
}

for (const [what, options, size] of [
  ['letters of twice the size', { viewport: { width: 1280, height: 800 } }, 32],
  ['letters of twice the size on a phone', { viewport: { width: 390, height: 800 } }, 32],
  ['200 % zoom', { viewport: { width: 640, height: 400 }, deviceScaleFactor: 2 }, 16],
  ['400 % zoom', { viewport: { width: 320, height: 256 }, deviceScaleFactor: 4 }, 16],
]) {
  test(`with ${what} the text is as large as asked for, and nothing sticks out`, async () => {
    // The reader's setting, which a page cannot see: `rem` and `em` of media queries follow it.
    const browser =
      size === 16
        ? stage.browser
        : await launch({ webgpu: false, args: [`--blink-settings=defaultFontSize=${size}`] });
    try {
      const page = await open(browser, stage.site.address + QUERY, options);
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).fontSize), `${size}px`);
      const { by, what } = await overflow(page);
      assert.ok(by <= 0, `${by} pixels: ${what}`);
      // Nothing is cut off: what a button says fits into it, and no field lies over its neighbour.
      const cut = await page.evaluate(() =>
        [...document.querySelectorAll('button:not(.tile), .choices span, legend')]
          .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1)
          .map(({ textContent }) => textContent),
      );
      assert.deepEqual(cut, []);
      const over = await page.evaluate(() =>
        [...document.querySelectorAll('#controls fieldset:not([hidden])')]
          .filter(
            (field) =>
              field.querySelector('legend').getBoundingClientRect().right >
              field.querySelector('.choices > *').getBoundingClientRect().left + 1,
          )
          .map((field) => field.textContent.trim().slice(0, 20)),
      );
      assert.deepEqual(over, [], 'legends lie over their choices');
    } finally {
      if (browser !== stage.browser) await browser.close();
    }
  });
}

test('the name that an embedder gives the element is that of its pictures', async () => {
  const page = await (await stage.browser.newContext({ serviceWorkers: 'block' })).newPage();
  await page.route('**/test.html', (route) =>
    route.fulfill({
      contentType: 'text/html',
      body: '<!doctype html><script type="module" src="/web/mean-flow.js"></script><mean-flow id="a" aria-label="Two faces" count="2" backend="cpu" src="/static/models/emoji.safetensors"></mean-flow>',
    }),
  );
  await page.goto(`${stage.site.address}test.html`);
  await page.waitForFunction(() => document.getElementById('a').complete, undefined, { timeout: 60_000 });
  assert.equal(await page.getByRole('img', { name: 'Two faces' }).count(), 1);
  const name = (change) => page.evaluate(async (change) => {
    const a = document.getElementById('a');
    new Function('a', change)(a);
    await undefined;
    return a.shadowRoot.querySelector('[role=img]').getAttribute('aria-label');
  }, change);
  assert.equal(await name("a.ariaLabel = 'Two others'"), 'Two others');
  assert.equal(await name("a.alt = 'Twins'"), 'Twins');
  assert.match(
    await name("a.alt = null; a.removeAttribute('aria-label')"),
    /^2 pictures generated by the model emoji, seed 0$/,
  );
});
