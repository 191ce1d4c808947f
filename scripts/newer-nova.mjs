// Gets the newest Nova for the tests, beside the one that Debian has: from the Python package index into .cache/nova/venv, everything
// of a known version (test/rig/nova/constraints.txt). It takes a minute or two, once.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run } from './stages.mjs';

/** The newest when this was written; it needs Python 3.11, which Debian 12 has. */
const NEWEST = 'nova==34.0.0';
/** Debian's own Python; another one may be first on the PATH. */
const PYTHON = '/usr/bin/python3';
const HOME = join(ROOT, '.cache/nova');
const VENV = join(HOME, 'venv');
/** Written last, with what was installed. */
const COMPLETE = join(HOME, 'complete');
const CONSTRAINTS = join(ROOT, 'test/rig/nova/constraints.txt');

/** Sees to it that the newest Nova is in .cache/nova/venv. Resolves with why it is not, or with null. */
export async function installNewerNova() {
  const wanted = `${NEWEST}\n${readFileSync(CONSTRAINTS, 'utf8')}`;
  if (existsSync(COMPLETE) && readFileSync(COMPLETE, 'utf8') === wanted) return null;
  if (!existsSync(PYTHON)) return `no newer Nova: there is no ${PYTHON}`;
  process.stderr.write(`       installing ${NEWEST} below .cache\n`);
  rmSync(HOME, { recursive: true, force: true });
  mkdirSync(HOME, { recursive: true });
  const made = await run([PYTHON, '-m', 'venv', VENV]);
  if (made.status !== 0) return `no newer Nova: ${made.output.slice(-500)}`;
  const words = ['install', '--quiet', '--no-input', '--disable-pip-version-check', '-c', CONSTRAINTS, NEWEST];
  const got = await run([join(VENV, 'bin/pip'), ...words]);
  if (got.status !== 0) return `no newer Nova: pip failed:\n${got.output.slice(-1000)}`;
  writeFileSync(COMPLETE, wanted);
  return null;
}
