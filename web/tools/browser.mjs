// Where the system's Chromium is, and how it starts headless with WebGPU on the software adapter SwiftShader.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Path of a Chromium: $CHROMIUM, or the first found on the PATH. */
export function findChromium() {
  const found = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  const path = [process.env.CHROMIUM, ...found, ownOfPlaywright()].find((candidate) => candidate && existsSync(candidate));
  if (!path) throw new Error('no Chromium found; install one or set CHROMIUM to its path');
  return path;
}

/** The browser that `playwright-core install chromium` leaves. */
function ownOfPlaywright() {
  try {
    return createRequire(new URL('../package.json', import.meta.url))('playwright-core').chromium.executablePath();
  } catch {
    return undefined; // not installed yet
  }
}

/** Arguments: quiet, and with `webgpu` a real WebGPU that computes in software. */
export function chromiumArguments({ webgpu }) {
  const quiet = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return webgpu ? [...quiet, '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'] : [...quiet, '--disable-gpu'];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) console.log(findChromium());
