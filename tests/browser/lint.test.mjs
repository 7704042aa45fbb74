// The scripts as they are written: their types.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const WEB = fileURLToPath(new URL('../../web/', import.meta.url));

/** Runs a tool of web/node_modules in web/, and fails with what it says. */
function run(tool, ...args) {
  const { status, stdout, stderr } = spawnSync(join(WEB, 'node_modules/.bin', tool), args, { cwd: WEB, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${tool}:\n${stdout}${stderr}`);
}

test('what browsers run has the types that it says', () => run('tsc', '-p', '.'));
