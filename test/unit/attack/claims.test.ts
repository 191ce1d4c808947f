// R25: verdicts rest on evidence. The table of claims is checked against the tree, and whoever would say "no defect" over
// findings is refused.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, parse } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkReport, conclude, faultOf, readTables, type Claim, type Evidence } from '../../attack/claims.js';
import { MUTANTS } from '../../attack/mutants/table.js';
import { claimsPage } from '../../attack/page.js';
import { patternOf, titlesOf } from '../../attack/titles.js';
import { ROOT } from '../../rig/programs.js';

const { claims, requirements } = readTables(ROOT);
/** How many claims each of the five reviews makes. */
const REVIEWS: readonly (readonly [string, number])[] = [
  ['000', 22],
  ['001', 15],
  ['002', 19],
  ['003', 14],
  ['004', 17],
];
const REQUIREMENTS = Array.from({ length: 26 }, (_, index) => `R${index + 1}`);

describe('the claims', () => {
  it('are all there, once', () => {
    const expected = REVIEWS.flatMap(([review, count]) =>
      Array.from({ length: count }, (_, index) => `${review}-${index + 1}`),
    );
    expect(claims.map(({ id }) => id)).toEqual(expected);
    expect(expected).toHaveLength(87);
  });

  it('each have a test that stands in the tree and is run', () => {
    expect(claims.filter(({ tests }) => tests.length === 0).map(({ id }) => id)).toEqual([]);
    const faults = claims.flatMap(({ id, tests }) => tests.map((test) => [id, faultOf(ROOT, test)] as const));
    expect(faults.filter(([, fault]) => fault !== null)).toEqual([]);
  });

  it('each name requirements that exist', () => {
    for (const { id, requirements: named } of claims) {
      expect([id, named.length > 0, named.filter((each) => !REQUIREMENTS.includes(each))]).toEqual([id, true, []]);
    }
  });

  it('stand in the documents as they stand here (node dist/scripts/claims-report.js)', () => {
    expect(readFileSync(join(ROOT, 'docs/claims.md'), 'utf8')).toBe(claimsPage(claims));
  });

  it('leave no pillar without a test and a mutant', () => {
    const pillars = [...new Set(claims.map(({ pillar }) => pillar))].sort((one, other) => one - other);
    expect(pillars).toEqual([284, 435, 664, 682, 691, 693, 697, 703, 707, 710]);
    const withMutant = new Set(MUTANTS.flatMap((mutant) => mutant.claims));
    const bare = pillars.filter((pillar) => !claims.some((each) => each.pillar === pillar && withMutant.has(each.id)));
    expect(bare).toEqual([]);
  });
});

describe('the requirements', () => {
  it('each have attacks that stand in the tree and are run', () => {
    expect(requirements.map(({ id }) => id)).toEqual(REQUIREMENTS);
    for (const { id, tests } of requirements) {
      expect([
        id,
        tests.length > 0,
        tests.map((test) => faultOf(ROOT, test)).filter((fault) => fault !== null),
      ]).toEqual([id, true, []]);
    }
  });

  it('leave no attack unnamed', () => {
    const named = new Set([...claims, ...requirements].flatMap(({ tests }) => tests.map(({ file }) => file)));
    const files = ['test/attack', 'test/unit/attack'].flatMap((room) =>
      readdirSync(join(ROOT, room))
        .filter((name) => name.endsWith('.test.ts'))
        .map((name) => `${room}/${name}`),
    );
    expect(files.filter((file) => !named.has(file))).toEqual([]);
  });
});

describe('the mutants', () => {
  it('name claims and tests that exist, and each another defect', () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    for (const { name, claims: named, caughtBy } of MUTANTS) {
      expect([name, named.filter((id) => !claims.some((claim) => claim.id === id))]).toEqual([name, []]);
      expect([name, caughtBy.map((test) => faultOf(ROOT, test)).filter((fault) => fault !== null)]).toEqual([name, []]);
    }
  });
});

describe('a test', () => {
  const here = 'test/unit/attack/claims.test.ts';

  it('that does not exist does not count', () => {
    expect(faultOf(ROOT, { file: 'test/none.test.ts', test: 'x' })).toBe('test/none.test.ts does not exist');
    expect(faultOf(ROOT, { file: here, test: 'a test > that was renamed' })).toMatch(/has no test/);
    expect(faultOf(ROOT, { file: here, test: 'a test > that does not exist does not count' })).toBeNull();
  });

  it('that is skipped does not count', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'fairlead-titles-')), 'x.test.ts');
    writeFileSync(
      file,
      `it.skip('one', f); it.todo('two'); describe.skip('three', () => { it.each([1])('%i', f); }); it('four', f);
       describe('five', () => { test('six', f); }); it.each([[1]])(\`seven \${x}\`, f); test.skipIf(x)('eight', f);`,
    );
    const { dir, base } = parse(file);
    const faults = ['one', 'two', 'three > %i', 'four', 'five > six', 'seven ${}', 'eight'].map((test) => [
      test,
      faultOf(dir, { file: base, test })?.replace(/.* is /, '') ?? 'counts',
    ]);
    expect(Object.fromEntries(faults)).toEqual({
      one: 'skipped',
      two: 'skipped',
      'three > %i': 'skipped',
      four: 'counts',
      'five > six': 'counts',
      'seven ${}': 'counts',
      eight: 'counts',
    });
    rmSync(dir, { recursive: true });
  });

  it('is known by its title with any values filled in', () => {
    expect(patternOf('a $b > c %j (%i)').test('a 1 > c "x > y" (2)')).toBe(true);
    expect(patternOf('a > c').test('b a > c')).toBe(false);
    expect(patternOf('a.b').test('axb')).toBe(false);
    expect(titlesOf(join(ROOT, here)).length).toBeGreaterThan(10);
  });
});

describe('a report', () => {
  const claim = (tests: Claim['tests']): Claim => ({
    id: '000-1',
    claim: 'x',
    verdict: 'true',
    pillar: 707,
    requirements: ['R2'],
    settled: 'x',
    tests,
  });
  const tests = [{ file: 'f', test: 'a > b %s' }];
  const sound: Evidence = {
    claims: [claim(tests)],
    ran: [{ file: 'f', name: 'a > b 1', status: 'passed' }],
    mutants: [{ name: 'm' }],
    caught: ['m'],
  };

  it('is clean only where every claim’s tests passed and every defect was caught', () => {
    expect(conclude(sound)).toEqual({ findings: [], verdict: 'no known defect' });
    const spoilt: readonly Partial<Evidence>[] = [
      { claims: [claim([])] },
      { ran: [] },
      { ran: [{ file: 'f', name: 'a > b 1', status: 'skipped' }] },
      { ran: [...sound.ran, { file: 'f', name: 'a > b 2', status: 'failed' }] },
      { ran: [{ file: 'g', name: 'a > b 1', status: 'passed' }] },
      { caught: [] },
    ];
    for (const change of spoilt) {
      const report = conclude({ ...sound, ...change });
      expect([report.verdict, report.findings.length]).toEqual(['defects', 1]);
    }
  });

  it('with findings and a clean verdict is refused', () => {
    expect(() => {
      checkReport({ findings: ['one'], verdict: 'no known defect' });
    }).toThrow(/clean verdict beside 1 finding/);
    checkReport({ findings: ['one'], verdict: 'defects' });
    checkReport(conclude(sound));
  });
});
