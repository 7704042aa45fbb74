// The scripts as they are written: their types, and the rules of eslint.config.mjs.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Runs a tool of web/node_modules, and fails with what it says. */
function run(tool, ...args) {
  const path = join(ROOT, 'web/node_modules/.bin', tool);
  const { status, stdout, stderr } = spawnSync(path, args, { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${tool}:\n${stdout}${stderr}`);
}

test('what browsers run has the types that it says', () => run('tsc', '-p', 'web'));

test('no script breaks a rule', () => run('eslint', '--config', 'web/eslint.config.mjs', 'web', 'tests', 'crate/tools'));
