// A browser by the W3C's WebDriver protocol: WebKit, which neither Playwright nor Puppeteer drives as distributions
// build it.
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';

import { findWebKit } from '../../web/tools/browser.mjs';

/** Milliseconds for the driver to start, and for a page to come to what a test waits for. */
const START = 20_000;
const PATIENCE = 180_000;

/** Whether there is a WebKit here, and the screen that it needs. */
export function hasWebKit() {
  try {
    return Boolean(findWebKit()) && !spawnSync('xvfb-run', ['--help'], { stdio: 'ignore' }).error;
  } catch {
    return false;
  }
}

/** Starts WebKit on a screen that nobody sees; `env` are variables of its environment. */
export async function launchWebKit(env = {}) {
  const port = await freePort();
  // A group of its own: the driver, the browser and the screen end together.
  const driver = spawn('xvfb-run', ['-a', '-s', '-screen 0 1400x1000x24', findWebKit(), `--port=${port}`], {
    stdio: 'ignore',
    detached: true,
    env: { ...process.env, ...env },
  });
  const failed = new Promise((_, reject) => driver.once('error', reject));
  const end = () => {
    try {
      process.kill(-driver.pid, 'SIGTERM');
    } catch {
      // It has ended already.
    }
  };
  process.once('exit', end);
  const call = (method, path, body) => Promise.race([failed, request(port, method, path, body)]);
  for (const began = Date.now(); ; await setTimeout(50)) {
    if (
      await call('GET', '/status').then(
        ({ ready }) => ready,
        (error) => driver.pid === undefined && Promise.reject(error),
      )
    ) {
      break;
    }
    if (Date.now() - began > START) throw new Error('the driver of WebKit does not start');
  }
  const { sessionId } = await call('POST', '/session', { capabilities: { alwaysMatch: {} } });
  const at = `/session/${sessionId}`;
  await call('POST', `${at}/timeouts`, { script: PATIENCE, pageLoad: PATIENCE });
  return {
    goto: (url) => call('POST', `${at}/url`, { url }),
    reload: () => call('POST', `${at}/refresh`, {}),
    resize: (width, height) => call('POST', `${at}/window/rect`, { width, height }),
    screenshot: async () => Buffer.from(await call('GET', `${at}/screenshot`), 'base64'),
    /** What a function of the page gives, awaited; as Playwright's. */
    async evaluate(run, argument = null) {
      const script = `const done = arguments[arguments.length - 1]; Promise.resolve().then(() => (${run})(arguments[0])).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
      const { value, error } = await call('POST', `${at}/execute/async`, { script, args: [argument] });
      if (error) throw new Error(error);
      return value;
    },
    /** Drags with the mouse from one point of the window to another. */
    async drag(from, to) {
      const move = ([x, y]) => ({ type: 'pointerMove', x: Math.round(x), y: Math.round(y), duration: 50 });
      const actions = [move(from), { type: 'pointerDown', button: 0 }, move(to), { type: 'pointerUp', button: 0 }];
      await call('POST', `${at}/actions`, {
        actions: [{ type: 'pointer', id: 'mouse', parameters: { pointerType: 'mouse' }, actions }],
      });
    },
    async waitFor(isSo, argument) {
      for (const began = Date.now(); !(await this.evaluate(isSo, argument)); await setTimeout(50)) {
        if (Date.now() - began > PATIENCE) throw new Error(`in vain: ${isSo}`);
      }
    },
    async close() {
      await call('DELETE', at).catch(() => {});
      end();
    },
  };
}

async function request(port, method, path, body) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
  return value;
}

export function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
