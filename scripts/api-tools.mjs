// Gets the two programs that try the HTTP interface by its own description: a linter of OpenAPI documents and a client that makes requests
// of one (redocly from the npm registry, schemathesis from the Python package index), of known versions, into .cache/api.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run } from './stages.mjs';

const LINTER = '@redocly/cli@2.77.0';
const CLIENT = 'schemathesis==4.32.5';
const PYTHON = 'python3';
const HOME = join(ROOT, '.cache/api');
/** Written last, with what was installed. */
const COMPLETE = join(HOME, 'complete');

/** Sees to it that both are there. Resolves with why they are not, or with null. */
export async function installApiTools() {
  const wanted = `${LINTER} ${CLIENT}\n`;
  if (existsSync(COMPLETE) && readFileSync(COMPLETE, 'utf8') === wanted) return null;
  process.stderr.write(`       installing ${wanted.trim()} below .cache\n`);
  rmSync(HOME, { recursive: true, force: true });
  mkdirSync(HOME, { recursive: true });
  const words = ['install', '--quiet', '--no-input', '--disable-pip-version-check', CLIENT];
  for (const command of [
    ['npm', 'install', '--no-save', '--prefix', HOME, LINTER],
    [PYTHON, '-m', 'venv', join(HOME, 'venv')],
    [join(HOME, 'venv/bin/pip'), ...words],
  ]) {
    const { status, output } = await run(command);
    if (status !== 0) return `${command.join(' ')} failed:\n${output.slice(-1000)}`;
  }
  writeFileSync(COMPLETE, wanted);
  return null;
}
