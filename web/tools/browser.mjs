// Where the system's Chromium, Firefox and WebKit are, and how Chromium starts headless with WebGPU on the software
// adapter SwiftShader.
//
//   node browser.mjs [chromium | firefox | webkit]   prints the path, or fails
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Path of a Chromium: $CHROMIUM, or the first found on the PATH. */
export function findChromium() {
  return find('Chromium', [process.env.CHROMIUM, ...onPath(NAMES), ownOfPlaywright()]);
}

/** Path of a Firefox: $FIREFOX, or the first found on the PATH or where setup.sh leaves one. */
export function findFirefox() {
  return find('Firefox', [
    process.env.FIREFOX,
    ...onPath(['firefox-esr', 'firefox']),
    '/Applications/Firefox.app/Contents/MacOS/firefox',
    ownFirefox(),
  ]);
}

/** Path of the driver of a WebKit, which starts the browser itself: $WEBKIT, or the first found on the PATH. */
export function findWebKit() {
  return find('WebKit', [process.env.WEBKIT, ...onPath(['WebKitWebDriver'])]);
}

const onPath = (names) =>
  (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));

function find(browser, candidates) {
  const path = candidates.find((candidate) => candidate && existsSync(candidate));
  if (!path) throw new Error(`no ${browser} found; install one or set ${browser.toUpperCase()} to its path`);
  return path;
}

/** The Firefox that `browsers install firefox --path .tools/browsers` leaves. */
function ownFirefox() {
  const root = fileURLToPath(new URL('../../.tools/browsers/firefox', import.meta.url));
  if (!existsSync(root)) return undefined;
  return readdirSync(root).map((build) => join(root, build, 'firefox/firefox')).find((path) => existsSync(path));
}

/** The browser that `playwright-core install chromium` leaves. */
function ownOfPlaywright() {
  try {
    return createRequire(new URL('../package.json', import.meta.url))('playwright-core').chromium.executablePath();
  } catch {
    return undefined; // not installed yet
  }
}

/**
 * Arguments: quiet, and with `webgpu` a real WebGPU that computes in software; without `canvas`, one that no canvas can
 * show.
 */
export function chromiumArguments({ webgpu, canvas = true }) {
  // Without the check of local networks: a sandboxed frame may then load scripts from this machine, as it may from any
  // server.
  const quiet = [
    '--no-sandbox',
    '--disable-features=LocalNetworkAccessChecks',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ];
  if (!webgpu) return [...quiet, '--disable-gpu'];
  // These let a canvas take pictures from the adapter; without them that costs the device.
  const shown = ['--enable-features=Vulkan', '--use-vulkan=swiftshader', '--use-angle=swiftshader'];
  return [...quiet, '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', ...(canvas ? shown : [])];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const finders = { chromium: findChromium, firefox: findFirefox, webkit: findWebKit };
  console.log(finders[process.argv[2] ?? 'chromium']());
}
