// What reviewers claimed about the driver that Fairlead takes the place of, what became of each claim, and what may be
// concluded. In come the tables beside this file and the results of test runs; out goes a report. A verdict is computed
// from evidence here and never taken from anybody.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Catcher, Mutant } from './mutants/mutant.js';
import type { Ran } from './results.js';
import { patternOf, titlesOf } from './titles.js';

/** A claim, and the tests that would fail if it were true of Fairlead. */
export interface Claim {
  /** The review's number and the claim's within it. */
  readonly id: string;
  readonly claim: string;
  /** Whether it was so of the original. `invented`: the code that it names never existed. */
  readonly verdict: 'true' | 'partly' | 'false' | 'invented';
  /** The class of weakness: a pillar of the CWE's view 1000. */
  readonly pillar: number;
  readonly requirements: readonly string[];
  /** How Fairlead settles it. */
  readonly settled: string;
  readonly tests: readonly Catcher[];
}

/** A requirement, and the tests that attack it. */
export interface Requirement {
  readonly id: string;
  readonly title: string;
  readonly tests: readonly Catcher[];
}

/** What is known. */
export interface Evidence {
  readonly claims: readonly Claim[];
  readonly ran: readonly Ran[];
  readonly mutants: readonly Pick<Mutant, 'name'>[];
  /** Names of the mutants that were tried and caught. */
  readonly caught: readonly string[];
}

/** What follows from it. */
export interface Report {
  /** What stands against a clean verdict, a line each. */
  readonly findings: readonly string[];
  readonly verdict: 'defects' | 'no known defect';
}

/** The tables, from the checkout at `root`. */
export function readTables(root: string): {
  readonly claims: readonly Claim[];
  readonly requirements: readonly Requirement[];
} {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(root, 'test/attack', name), 'utf8'));
  return {
    claims: read('claims.json') as readonly Claim[],
    requirements: read('requirements.json') as readonly Requirement[],
  };
}

/** Why the test does not count, or null: it must stand in its file and not be marked as skipped. */
export function faultOf(root: string, { file, test }: Catcher): string | null {
  let titles: ReturnType<typeof titlesOf>;
  try {
    titles = titlesOf(join(root, file));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return `${file} does not exist`;
    throw error;
  }
  const found = titles.filter(({ name }) => name === test);
  if (found.length === 0) return `${file} has no test “${test}”`;
  return found.every(({ skipped }) => skipped) ? `${file}: “${test}” is skipped` : null;
}

/** What was run of a test: each of its cases. */
export function casesOf(ran: readonly Ran[], { file, test }: Catcher): readonly Ran[] {
  const pattern = patternOf(test);
  return ran.filter((each) => each.file === file && pattern.test(each.name));
}

/** Every claim needs its tests run and passed, every mutant needs to be caught; only then nothing stands against it. */
export function conclude({ claims, ran, mutants, caught }: Evidence): Report {
  const findings: string[] = [];
  for (const { id, tests } of claims) {
    if (tests.length === 0) findings.push(`${id} has no test`);
    for (const { file, test } of tests) {
      const cases = casesOf(ran, { file, test });
      const failed = cases.find(({ status }) => status === 'failed');
      if (failed !== undefined) findings.push(`${id}: ${file}: “${failed.name}” failed`);
      else if (!cases.some(({ status }) => status === 'passed')) findings.push(`${id}: ${file}: “${test}” was not run`);
    }
  }
  for (const { name } of mutants) if (!caught.includes(name)) findings.push(`the defect “${name}” was not caught`);
  return { findings, verdict: findings.length === 0 ? 'no known defect' : 'defects' };
}

/** Refuses a report that contradicts itself. */
export function checkReport({ findings, verdict }: Report): void {
  if (verdict === 'no known defect' && findings.length > 0) {
    throw new Error(`a clean verdict beside ${findings.length} findings: ${findings[0] ?? ''}`);
  }
}
