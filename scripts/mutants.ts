// Puts each original defect back (test/attack/mutants/table.ts), one at a time, into a copy of the tree, and demands that
// the tests that are named for it fail: node dist/scripts/mutants.js [WORD …], where only mutants with one of the words in
// their name are tried. Without a defect the same tests must pass. Defects that only real mounts show need root, and are
// skipped by name without it. The last line is `N passed, N failed, N skipped`.

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { casesOf } from '../test/attack/claims.js';
import type { Catcher, Mutant } from '../test/attack/mutants/mutant.js';
import { MUTANTS } from '../test/attack/mutants/table.js';
import { readResults, type Ran } from '../test/attack/results.js';
import { patternOf } from '../test/attack/titles.js';
import { ROOT, run } from '../test/rig/programs.js';

/** What a test run needs of the tree. */
const COPIED = ['src', 'test', 'scripts', 'sandbox', 'package.json', 'tsconfig.json', 'vitest.config.ts'];
/** Milliseconds for one test under a defect: some defects make it wait for ever. */
const TEST_MS = 5000;
/** Milliseconds for one run of named tests. */
const RUN_MS = 300_000;
/** The words before a run whose tests mount. */
const UNSHARE = '/usr/bin/unshare';
const ISOLATED = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc'];
const MAY_MOUNT = process.geteuid?.() === 0;
const WORKERS = Math.min(2, availableParallelism());

/** A copy of the tree in which anything may be broken. */
class Copy implements Disposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'fairlead-mutant-'));

  constructor() {
    for (const name of COPIED) cpSync(join(ROOT, name), join(this.dir, name), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), join(this.dir, 'node_modules'));
  }

  /** Runs the named tests and no others. */
  async run(tests: readonly Catcher[], project: Mutant['project']): Promise<readonly Ran[]> {
    if (tests.length === 0) return [];
    const results = join(this.dir, 'results.json');
    rmSync(results, { force: true });
    const names = [...new Set(tests.map(({ test }) => patternOf(test, ' ').source))];
    const vitest = join(this.dir, 'node_modules/vitest/vitest.mjs');
    const options = [`--project=${project}`, `--testTimeout=${TEST_MS}`, '--reporter=json', `--outputFile=${results}`];
    const files = [...new Set(tests.map(({ file }) => file))];
    const words = [vitest, 'run', ...files, ...options, '--testNamePattern', names.join('|')];
    const [program, before] = project === 'fast' ? [process.execPath, []] : [UNSHARE, [...ISOLATED, process.execPath]];
    const { stderr } = await run(program, [...before, ...words], { cwd: this.dir, deadlineMs: RUN_MS });
    try {
      return readResults(results, this.dir);
    } catch (error) {
      throw new Error(`the tests left no results: ${stderr}`, { cause: error });
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What is wrong with a mutant; null when every test that is named for it caught it. */
async function faultOf(copy: Copy, { file, from, to, project, caughtBy }: Mutant): Promise<string | null> {
  const path = join(copy.dir, file);
  const text = readFileSync(path, 'utf8');
  if (text.split(from).length !== 2) return 'its fragment does not stand exactly once in the file; bring it up to date';
  writeFileSync(
    path,
    text.replace(from, () => to),
  );
  try {
    const ran = await copy.run(caughtBy, project);
    const blind = caughtBy.filter((catcher) => !casesOf(ran, catcher).some(({ status }) => status === 'failed'));
    return blind.length === 0 ? null : `not caught by ${blind.map(({ test }) => `“${test}”`).join(', ')}`;
  } finally {
    writeFileSync(path, text);
  }
}

/** Every named test must be there and pass while nothing is broken. */
async function soundness(copy: Copy, mutants: readonly Mutant[]): Promise<readonly string[]> {
  const catchersOf = (project: Mutant['project']): readonly Catcher[] =>
    mutants.filter((mutant) => mutant.project === project).flatMap(({ caughtBy }) => caughtBy);
  const ran = [...(await copy.run(catchersOf('fast'), 'fast')), ...(await copy.run(catchersOf('real'), 'real'))];
  const catchers = [
    ...new Map(mutants.flatMap(({ caughtBy }) => caughtBy).map((each) => [JSON.stringify(each), each])).values(),
  ];
  return catchers
    .filter((catcher) => !casesOf(ran, catcher).every(({ status }) => status === 'passed'))
    .map(({ file, test }) => `fails without any defect: ${file}, “${test}”`);
}

const words = process.argv.slice(2);
const wanted = MUTANTS.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
const mutants = wanted.filter(({ project }) => project === 'fast' || MAY_MOUNT);
const results: { readonly name: string; readonly fault: string | null }[] = [];
const begun = performance.now();
const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function work(copy: Copy, queue: Mutant[]): Promise<void> {
  for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
    const fault = await faultOf(copy, mutant);
    results.push({ name: mutant.name, fault });
    say(fault === null ? `caught    ${mutant.name}` : `SURVIVED  ${mutant.name}: ${fault}`);
  }
}

const copies = Array.from({ length: WORKERS }, () => new Copy());
try {
  const faults = await soundness(copies[0] ?? new Copy(), mutants);
  for (const fault of faults) say(fault);
  const queue = [...mutants];
  await Promise.all(copies.map((copy) => work(copy, queue)));
  const failed = results.filter(({ fault }) => fault !== null).length + faults.length;
  mkdirSync(join(ROOT, '.cache/results'), { recursive: true });
  writeFileSync(join(ROOT, '.cache/results/mutants.json'), JSON.stringify(results));
  for (const { name } of wanted.filter((mutant) => !mutants.includes(mutant)))
    say(`skipped   ${name}: run this as root`);
  say(`${Math.round((performance.now() - begun) / 1000)} s`);
  const caught = results.filter(({ fault }) => fault === null).length;
  say(`${caught} passed, ${failed} failed, ${wanted.length - mutants.length} skipped`);
  process.exitCode = failed === 0 ? 0 : 1;
} finally {
  for (const copy of copies) copy[Symbol.dispose]();
}
