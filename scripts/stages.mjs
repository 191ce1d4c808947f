// Stages of a test run: programs that are started, timed and counted. A stage's output is kept and shown only when it
// failed, or as it comes when there is only one.

import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const RESULTS = join(ROOT, '.cache/results');

/** The script of a package's program, to be run by a Node of our choice. */
export function programOf(name, program = name) {
  const home = join(ROOT, 'node_modules', name);
  const { bin } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  return join(home, typeof bin === 'string' ? bin : bin[program]);
}

/** Runs a program in the checkout. Resolves with its status (128 + n for a signal), its output and the seconds it took. */
export function run(command, { env = {}, show = false } = {}) {
  const started = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: show ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ status: 127, output: String(error), seconds: 0 }));
    child.on('close', (status) => {
      resolve({ status: status ?? 1, output, seconds: (performance.now() - started) / 1000 });
    });
  });
}

/** Runs a check that passes or fails as a whole; counts as one test. */
export async function check(name, command) {
  const { status, output, seconds } = await run(command);
  report(name, status === 0, seconds);
  if (status !== 0) process.stdout.write(`${output}\n`);
  return { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, skipped: 0 };
}

/**
 * Runs vitest and counts its tests. A run that broke without a failed test (an error outside of one, no test at all)
 * counts as one failure.
 *
 * @param prefix words before vitest's own: another Node, or namespaces.
 */
export async function vitest(name, words, { prefix = [process.execPath], env = {} } = {}) {
  const results = join(RESULTS, `${name.replaceAll(/[^a-z0-9]+/gi, '-')}.json`);
  mkdirSync(RESULTS, { recursive: true });
  rmSync(results, { force: true });
  const command = [...prefix, programOf('vitest'), 'run', ...words, '--reporter=json', `--outputFile=${results}`];
  const { status, output, seconds } = await run(command, { env: { NO_COLOR: '1', ...env } });
  const { names, failures, ...counted } = count(results);
  if (status !== 0 && counted.failed === 0) {
    counted.failed = 1;
    failures.push(`It ended with status ${status}, though no test failed:\n${output}`);
  }
  const numbers = `${counted.passed} passed, ${counted.failed} failed, ${counted.skipped} skipped`;
  report(`${name}: ${numbers}`, counted.failed === 0, seconds);
  for (const skipped of names) process.stdout.write(`       skipped: ${skipped}\n`);
  for (const failure of failures) process.stdout.write(`${failure}\n`);
  return counted;
}

/** Runs a program that counts for itself: its last line is `N passed, N failed, N skipped`. */
export async function counted(name, command) {
  const { status, output, seconds } = await run(command);
  const [, passed, failed, skipped] = /(\d+) passed, (\d+) failed, (\d+) skipped\s*$/.exec(output) ?? [];
  const counts = { passed: Number(passed ?? 0), failed: Number(failed ?? 1), skipped: Number(skipped ?? 0) };
  if (status !== 0 && counts.failed === 0) counts.failed = 1;
  report(
    `${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`,
    counts.failed === 0,
    seconds,
  );
  if (counts.failed > 0 || counts.skipped > 0) process.stdout.write(`${output}\n`);
  return counts;
}

/** Forgets the results of earlier runs, which the last stages read. */
export function forgetResults() {
  rmSync(RESULTS, { recursive: true, force: true });
}

function count(file) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults);
    const of = (...kinds) => tests.filter(({ status }) => kinds.includes(status));
    // What fails outside of every test, as a hook does, fails the file: its tests only count as skipped.
    const broken = report.testResults.filter(({ status, assertionResults }) => {
      return status === 'failed' && assertionResults.every((one) => one.status !== 'failed');
    });
    return {
      passed: of('passed').length,
      failed: of('failed').length + broken.length,
      skipped: of('skipped', 'pending', 'todo').length,
      names: of('skipped', 'pending', 'todo').map(({ fullName }) => fullName),
      failures: [
        ...of('failed').map(({ fullName, failureMessages }) => `\n${fullName}\n${failureMessages.join('\n')}`),
        ...broken.map(
          ({ name, message }) => `\n${name}\n${message || 'A hook failed. Run this file alone to see which.'}`,
        ),
      ],
    };
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    return { passed: 0, failed: 0, skipped: 0, names: [], failures: [] };
  }
}

/** A stage that this host cannot run. With CI set that is a failure: CI must not skip what CI can run. */
export function skip(name, why) {
  const fatal = process.env.CI === 'true';
  process.stdout.write(`${fatal ? 'FAILED' : 'skip  '} ${name}: ${why}\n`);
  return { passed: 0, failed: fatal ? 1 : 0, skipped: fatal ? 0 : 1 };
}

function report(name, passed, seconds) {
  process.stdout.write(`${passed ? 'ok    ' : 'FAILED'} ${name} (${seconds.toFixed(1)} s)\n`);
}

/** The last line, and the exit status. */
export function finish(counts) {
  const sum = (field) => counts.reduce((total, one) => total + one[field], 0);
  process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`);
  process.exitCode = sum('failed') === 0 ? 0 : 1;
}
