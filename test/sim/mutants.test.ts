// The checker can fail: each known defect is caught within a few seeds, by an invariant that it breaks.

import { describe, expect, it } from 'vitest';
import { realOptions } from './makers.js';
import { MUTANTS } from './mutants.js';
import { simulate } from './simulate.js';

/** Seeds within which a defect must show. */
const ENOUGH = 150;

describe('a defect is caught:', () => {
  it.each(MUTANTS.map((mutant) => [mutant.defect, mutant] as const))('%s', async (_, { caughtBy, profile, makers }) => {
    const seen: string[] = [];
    for (let seed = 1; seed <= ENOUGH && !caughtBy.some((invariant) => seen.includes(invariant)); seed += 1) {
      const { violation } = await simulate(seed, { ...realOptions('hash-only'), makers, profile });
      if (violation !== null) seen.push(violation.invariant);
    }
    expect(
      caughtBy.some((invariant) => seen.includes(invariant)),
      `only ${seen.join(' ')} within ${ENOUGH} seeds`,
    ).toBe(true);
  });
});

describe('a run', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('of seed %i is the same every time', async (seed) => {
    const first = await simulate(seed, realOptions('lines'));
    const second = await simulate(seed, realOptions('hash-only'));
    expect(first.steps).toBeGreaterThan(50);
    expect([second.hash, second.steps]).toEqual([first.hash, first.steps]);
  });
});
